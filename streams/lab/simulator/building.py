"""Builds a world: uploads, admissions, audiences, slots, and rates that have the drawn means."""

from collections.abc import Sequence
from random import Random
from typing import Final

import numpy as np
from msgspec.structs import replace

from streams.core.events import Admit, Upload, VideoControl
from streams.core.units import MICROS, surface_of
from streams.lab.simulator.admission import START_MS, Platform, admit, draw_uploads
from streams.lab.simulator.arrays import Floats, Ints
from streams.lab.simulator.names import Regime
from streams.lab.simulator.tastes import WORLDS, Stage
from streams.lab.simulator.world import CROWD, SCALE, SLOTS, TICK_MS, TICKS, Tastes, World
from streams.lab.viewers import Rates, Style, rates_in, worth

VIDEOS: Final = 2_000
"""Videos of the full size; the crowded regime has four times as many."""
ARRIVING: Final = 0.5
"""Videos arrive evenly over this share of the ticks, the first tenth of them at once."""
DURATIONS_MS: Final = (10_000, 12_000, 15_000, 20_000, 30_000, 60_000)
"""Each divides a full watch's worth, so that the value of a millisecond is a whole number."""
APPEALS: Final = np.linspace(0, 1, 401)


def build_world(platform: Platform, name: str, regime: Regime, size: float, seed: int) -> World:
    """Return a world, the same for the same arguments; `size` scales the number of videos."""
    count = max(round(VIDEOS * size), 10) * CROWD[regime]
    rng = np.random.default_rng([seed, sorted(WORLDS).index(name), 1])
    uploads = draw_uploads(Random(seed), platform, count)  # noqa: S311 - a repeatable world
    arrivals = _arrivals(count)
    admissions = [
        tuple(admit(platform, upload, START_MS + int(tick) * TICK_MS))
        for upload, tick in zip(uploads, arrivals, strict=True)
    ]
    stage = _stage(platform, uploads, admissions, rng)
    tastes = WORLDS[name](stage)
    rates, means = _rates(stage, tastes)
    audience = _audience(stage)
    return World(
        name=name,
        policy=replace(stage.policy, explore_key=f"{name} {regime} {seed}"),
        slices=stage.slices,
        videos=tuple(upload.video for upload in uploads),
        admissions=tuple(admissions),
        arrivals=arrivals,
        followers=stage.followers,
        durations_ms=rng.choice(np.array(DURATIONS_MS, np.int64), count),
        fits=stage.fits,
        reachable=stage.reachable,
        audience=audience,
        slots=(audience.sum(axis=1) * SLOTS[regime] / CROWD[regime]).astype(np.int64),
        ticks=TICKS,
        rates=rates,
        means=means,
        tastes=tastes,
        alike=stage.alike,
    )


def _stage(
    platform: Platform,
    uploads: Sequence[Upload],
    admissions: Sequence[Sequence[VideoControl]],
    rng: np.random.Generator,
) -> Stage:
    """Return what is known before tastes are drawn."""
    policy = platform.policy
    slices = tuple(sorted(policy.slices))
    discover = np.array([surface_of(name) == "discover" for name in slices])
    fits = np.zeros((len(slices), len(admissions)))
    for video, records in enumerate(admissions):
        for record in records:
            if isinstance(record, Admit):
                fits[:, video] = [record.fits.get(name, 0) / MICROS for name in slices]
    followers = np.array([upload.followers for upload in uploads], np.int64)
    commercial = np.array([upload.commercial for upload in uploads])
    reachable = discover[:, None] | (fits > 0)
    alike = platform.tools.catalogue.alike
    return Stage(policy, slices, fits, reachable, followers, commercial, alike, rng)


def _arrivals(count: int) -> Ints:
    places = np.maximum(np.arange(count) - count // 10, 0)
    return np.asarray(places * TICKS * ARRIVING // max(count - count // 10, 1), np.int64)


def _audience(stage: Stage) -> Ints:
    """Return the viewers of each pair: a slice's reach to scale, followers as there are."""
    reach = np.array([stage.policy.slices[name].reach // SCALE for name in stage.slices], np.int64)
    viewers = np.where(stage.reachable, reach[:, None], 0)
    private = np.array([surface_of(name) == "following" for name in stage.slices])
    return np.where(private[:, None], np.minimum(viewers, stage.followers), viewers)


def _rates(stage: Stage, tastes: Tastes) -> tuple[Rates[Floats], Floats]:
    """Return rates whose worth is the target, and their true means."""
    weights, orders = stage.policy.weights, stage.commercial.astype(np.float64)
    bends = np.exp2(np.clip(stage.rng.normal(0, 0.5, (3, len(orders))), -1, 1))
    appeals = np.empty_like(tastes.targets)
    for video, ordered in enumerate(orders.tolist()):
        style = Style(*(np.full_like(APPEALS, bend) for bend in bends[:, video]))
        worths = worth(rates_in(APPEALS, style, np.full_like(APPEALS, ordered)), weights) / MICROS
        appeals[:, :, video] = np.interp(tastes.targets[:, :, video], worths, APPEALS)
    style = Style(*(np.broadcast_to(bend, appeals.shape) for bend in bends))
    rates = rates_in(appeals, style, np.broadcast_to(orders, appeals.shape))
    return rates, worth(rates, weights) / MICROS

"""Videos as rows, for the keeper: what crowds of known taste would have left in the counters."""

from random import Random
from typing import Final

from msgspec.structs import replace

from kit.events import NOW, policy
from kit.rows import honest
from streams.core.counters import ACTIVE, Slice, Video, VideoState
from streams.core.events import Policy
from streams.core.units import MICROS

KEY: Final = b"nobody knows this"


def row_of(mean: float, views: int = 60, allowance: int = 80) -> Slice:
    """Return a row whose views are worth `mean` each, by watching alone, a third of them none."""
    share = round(mean / 0.6 * MICROS)
    return honest(
        impressions=views,
        views=views,
        ratio_sum=share * views,
        ratio_sq=share * share * 3 // 2 // MICROS * views,
        status=ACTIVE,
        allowance=allowance,
        tranche=20,
    )


def video_of(rows: dict[str, Slice], fits: dict[str, int] | None = None) -> VideoState:
    """Return a public video with these rows."""
    state = VideoState()
    state.row = Video(stage="public", seq=1, fits=fits or {}, admitted=NOW)
    state.slices = rows
    return state


def videos_of(truth: Policy, count: int, seed: int = 1, seen: float = 0.6) -> dict[str, VideoState]:
    """Return videos whose means are drawn from a policy, each pair seen with probability `seen`."""
    chance = Random(seed)
    videos = {}
    for number in range(count):
        tastes = [chance.gauss(0, 1) for _ in range(3)]
        rows = {}
        for name, spec in truth.slices.items():
            common = sum(load * taste for load, taste in zip(spec.loadings, tastes, strict=True))
            own = chance.gauss(0, (spec.own_variance * MICROS) ** 0.5)
            error = chance.gauss(0, (spec.noise_variance * MICROS / 60) ** 0.5)
            mean = (spec.prior_mean + common + own + error) / MICROS
            if chance.random() < seen:
                rows[name] = row_of(min(max(mean, 0.02), 0.58))
        videos[f"v{number}"] = video_of(rows)
    return videos


def other_tastes() -> Policy:
    """Return the fixed policy as it should be: other means, and all crowds share one taste."""
    base = policy()
    slices = {
        name: replace(
            spec, prior_mean=300_000 - 4_000 * place, own_variance=3_000, loadings=(80_000, 0, 0)
        )
        for place, (name, spec) in enumerate(base.slices.items())
    }
    return replace(base, slices=slices)

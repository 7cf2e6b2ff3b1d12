"""Worlds: the truth is known exactly, and each regime has the slots that it says."""

from collections.abc import Callable
from random import Random

import msgspec
import numpy as np
import pytest

from streams.core.events import Admit
from streams.core.units import MICROS, surface_of
from streams.lab.simulator.admission import Platform, admit, draw_uploads
from streams.lab.simulator.building import build_world
from streams.lab.simulator.tastes import WORLDS, shipped_correlation
from streams.lab.simulator.world import World
from streams.lab.viewers import worth

BuildWorld = Callable[..., World]


def test_the_same_arguments_give_the_same_world(platform: Platform, a_world: BuildWorld) -> None:
    again = build_world(platform, "correlated", "scarce", 0.005, 1)
    assert np.array_equal(again.means, a_world().means)
    assert again.admissions == a_world().admissions
    assert not np.array_equal(a_world(seed=2).means, again.means)


@pytest.mark.parametrize("name", WORLDS)
def test_true_means_follow_from_the_rates(name: str, a_world: BuildWorld) -> None:
    world = a_world(name)
    assert np.array_equal(world.means, worth(world.rates, world.policy.weights) / MICROS)


@pytest.mark.parametrize("name", WORLDS)
def test_rates_stay_within_the_published_spans(name: str, a_world: BuildWorld) -> None:
    rates = a_world(name).rates
    spans = {"skip": (0.03, 0.85), "complete": (0.01, 0.69), "like": (0.003, 0.30)}
    spans |= {"comment": (0.0001, 0.01), "follow": (0.0003, 0.01), "share": (0, 0.006)}
    spans |= {"hide": (0, 0.006), "report": (0, 0.0005)}
    for field, (least, most) in spans.items():
        rate = getattr(rates, field)
        assert (rate >= least - 1e-12).all(), field
        assert (rate <= most + 1e-12).all(), field
    assert (rates.skip + rates.complete < 1).all()


def test_rates_are_heavy_tailed_over_videos(a_world: BuildWorld) -> None:
    world = a_world(size=0.05)
    likes = world.rates.like[0][world.reachable]
    assert likes.mean() > 1.2 * np.median(likes)
    alike = world.reachable & (abs(world.means[0] - 0.40) < 0.01)
    assert np.quantile(world.rates.like[0][alike], 0.9) > 2 * np.quantile(
        world.rates.like[0][alike], 0.1
    )


def test_the_world_says_what_the_policy_expects_unless_its_priors_are_wrong(
    a_world: BuildWorld,
) -> None:
    def surprise(name: str) -> float:
        world = a_world(name, size=0.05)
        apart = (
            world.means[0] - a_world("independent", size=0.05).tastes.expected
        ) * world.reachable
        return float(np.abs(apart.sum(axis=1) / world.reachable.sum(axis=1))[world.public].mean())

    assert surprise("independent") < 0.03
    assert surprise("wrong-priors") > 0.04


def test_neighbours_become_the_nearest_correlation(platform: Platform) -> None:
    names, alike = sorted(platform.policy.slices), platform.tools.catalogue.alike
    correlation = shipped_correlation(names, alike)
    assert np.allclose(np.diag(correlation), 1)
    assert np.linalg.eigvalsh(correlation).min() > 0
    food, cooking = names.index("discover:food"), names.index("discover:cooking")
    assert 0.5 < correlation[food, cooking] <= 0.8


def test_regimes_have_their_share_of_what_videos_could_use(a_world: BuildWorld) -> None:
    rich, middle, scarce = (a_world(regime=name) for name in ("rich", "middle", "scarce"))
    use = middle.audience[middle.public].sum()
    assert rich.slots[rich.public].sum() == pytest.approx(0.5 * use, rel=0.01)
    assert middle.slots[middle.public].sum() == pytest.approx(0.05 * use, rel=0.01)
    assert scarce.slots[scarce.public].sum() == pytest.approx(0.01 * use, rel=0.02)


def test_the_crowded_regime_has_four_times_the_videos_on_the_slots_of_middle(
    a_world: BuildWorld,
) -> None:
    crowded, middle = a_world(regime="crowded", size=0.05), a_world(regime="middle", size=0.05)
    assert len(crowded.videos) == 4 * len(middle.videos)
    discover = [surface_of(name) == "discover" for name in crowded.slices]
    assert np.abs(crowded.slots - middle.slots)[discover].max() <= 1
    a_video = crowded.slots[crowded.public].sum() / len(crowded.videos)
    assert a_video == pytest.approx(5_000, rel=0.15)


def test_slots_of_ticks_add_up(a_world: BuildWorld) -> None:
    world = a_world()
    assert (sum(world.slots_at(tick) for tick in range(world.ticks)) == world.slots).all()


def test_creators_of_all_bands_upload_ordinary_and_commercial_videos(platform: Platform) -> None:
    uploads = draw_uploads(Random(1), platform, 500)
    assert {len(str(upload.followers)) for upload in uploads} == set(range(1, 8))
    assert 20 < sum(upload.commercial for upload in uploads) < 80


def test_every_upload_passes_the_real_admission(platform: Platform, a_world: BuildWorld) -> None:
    for upload in draw_uploads(Random(2), platform, 100):
        first = admit(platform, upload, 1_700_000_000_000)[0]
        assert isinstance(first, Admit)
        assert not first.limited
    world = a_world()
    told = msgspec.to_builtins(world.admissions[0][0])
    assert 0 <= told["band"] <= 5
    assert set(told["fits"]) == {
        world.slices[place] for place in np.flatnonzero(world.fits[:, 0] > 0)
    }


def test_drift_lowers_means_and_other_worlds_keep_them(a_world: BuildWorld) -> None:
    drift, plain = a_world("drift"), a_world()
    assert (drift.means_at(drift.ticks) <= drift.means_at(0) + 1e-12).all()
    assert (drift.means_at(drift.ticks) < drift.means_at(0) - 0.05).mean() > 0.3
    assert (plain.means_at(plain.ticks) == plain.means_at(0)).all()


def test_rare_hits_are_loved_by_one_crowd_that_the_tags_do_not_name(a_world: BuildWorld) -> None:
    world = a_world("rare-hits", size=0.05)
    hits = world.reachable & (world.means[0] > world.prices[:, None] + 0.14)
    assert 0.3 < hits.sum() / len(world.videos) < 0.7
    assert (world.fits[hits] == 0).all()
    good = world.reachable & (world.means[0] > world.prices[:, None])
    assert good[world.reachable].mean() < 0.25

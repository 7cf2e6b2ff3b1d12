"""Contenders: who knows more does better, and each does what its name says."""

from collections.abc import Callable

import numpy as np
import pytest

from streams.core import boundary
from streams.core.units import MICROS
from streams.lab.simulator.contenders import AlwaysWiden, Oracle, Ranking, Tallies, Thompson
from streams.lab.simulator.joint import JointPosterior, LearnedPosterior, psi
from streams.lab.simulator.lanes import POOLS, PeekingZ, TrafficPools
from streams.lab.simulator.loop import Course, run
from streams.lab.simulator.serving import KnowingServers
from streams.lab.simulator.traffic import IMPRESSION, LIKE, VIEW, EventBatch, Traffic
from streams.lab.simulator.world import World

BuildWorld = Callable[..., World]


def value_of(course: Course, world: World) -> float:
    return float(course.value[world.public].sum())


def test_who_knows_more_shows_what_is_worth_more(a_world: BuildWorld) -> None:
    world = a_world()
    values = {
        ranking: value_of(run(world, ranking(world, KnowingServers(), 1), 1), world)
        for ranking in (AlwaysWiden, Thompson, JointPosterior, Oracle)
    }
    assert list(values.values()) == sorted(values.values())


def test_the_oracle_wastes_nothing_and_leaves_no_slot_that_it_could_fill(
    a_world: BuildWorld,
) -> None:
    world = a_world(size=0.05)
    course = run(world, Oracle(world, KnowingServers(), 1), 1)
    assert course.wasted.sum() == 0
    assert course.shown.sum() > 0.95 * world.slots.sum()


def test_tallies_count_what_the_events_say(a_world: BuildWorld) -> None:
    world = a_world()
    pair = int(np.flatnonzero(world.reachable.ravel())[0])
    duration = int(world.durations_ms[pair % len(world.videos)])
    kinds = np.array([IMPRESSION, VIEW, LIKE])
    numbers = np.arange(3)
    tallies = Tallies(world)
    watch = np.array([0, duration, 0])
    tallies.add(EventBatch(np.full(3, pair), kinds, watch, numbers, numbers))
    weights = world.policy.weights
    worth = (weights.watch + weights.complete + weights.like) / MICROS
    assert tallies.mean().ravel()[pair] == pytest.approx(worth)
    assert tallies.views.sum() == tallies.impressions.sum() == tallies.completes.sum() == 1


def test_the_noise_of_a_view_is_that_of_simulated_viewers(a_world: BuildWorld) -> None:
    """Within 10 % on average, and never off by half: parts are squared apart."""
    world = a_world()
    tallies, traffic = Tallies(world), Traffic(world, 1)
    traffic.expose(world.reachable * np.int64(1_000), 0)
    batch = EventBatch.joined([traffic.due(tick) for tick in range(20)])
    tallies.add(batch)
    told = np.sqrt(tallies.noise())[world.reachable]
    true = _value_sds(world, batch)[world.reachable]
    ratios = told / true
    assert ratios.mean() == pytest.approx(1, abs=0.1)
    assert 0.7 < ratios.min() <= ratios.max() < 1.4


def _value_sds(world: World, batch: EventBatch) -> np.ndarray:
    """Standard deviation of the value of whole views, by pair."""
    weights = world.policy.weights
    buttons = np.array([0, 0, weights.like, weights.comment, weights.share, weights.follow])
    worths = np.append(buttons, (weights.hide, weights.report, weights.order)) / MICROS
    durations = world.durations_ms[batch.pair % len(world.videos)]
    share = batch.watch_ms / durations
    value = (weights.watch * share + weights.complete * (share >= 0.95)) / MICROS
    value = np.where(batch.kind == VIEW, value, worths[batch.kind])
    views = np.zeros((2, int(batch.serial.max()) + 1))
    np.add.at(views[0], batch.serial, value)
    views[1][batch.serial[batch.kind == VIEW]] = 1
    pairs = np.zeros(views.shape[1], np.int64)
    pairs[batch.serial] = batch.pair
    seen = views[1] > 0
    size = int(np.prod(world.shape))
    count = np.maximum(np.bincount(pairs[seen], minlength=size), 1)
    mean = np.bincount(pairs[seen], views[0][seen], minlength=size) / count
    square = np.bincount(pairs[seen], views[0][seen] ** 2, minlength=size) / count
    return np.sqrt(np.maximum(square - mean**2, 1e-9)).reshape(world.shape)


@pytest.mark.parametrize("s", [0.02, 0.19, 0.5, 4, 10, 2_000])
def test_the_boundary_is_that_of_the_rule(s: float) -> None:
    assert psi(np.array([s]))[0] == pytest.approx(boundary.psi(int(s * MICROS)) / MICROS, abs=2e-6)


def _looked_at(world: World, kind: type[JointPosterior]) -> JointPosterior:
    joint, traffic = kind(world, KnowingServers(), 1), Traffic(world, 1)
    for video in range(len(world.videos)):
        joint.admit(video)
    traffic.expose(world.reachable * np.int64(40), 0)
    joint.learn(traffic.due(0), 0)
    return joint


def test_the_joint_posterior_is_that_of_a_dense_gaussian(a_world: BuildWorld) -> None:
    world = a_world("hidden")
    joint = _looked_at(world, JointPosterior)
    views, noise, mean = joint.tallies.views, joint.tallies.noise(), joint.tallies.mean()
    for video in range(3):
        seen = views[:, video] > 0
        error = np.diag(noise[seen, video] / views[seen, video])
        gain = world.tastes.covariance[:, seen] @ np.linalg.inv(
            world.tastes.covariance[seen][:, seen] + error
        )
        dense = world.tastes.expected[:, video] + gain @ (mean - world.tastes.expected)[seen, video]
        second = world.tastes.covariance - gain @ world.tastes.covariance[seen]
        assert np.allclose(joint.mean[:, video], dense)
        assert np.allclose(joint.second[video], second, atol=1e-9)


def test_without_covariance_the_joint_posterior_is_each_pairs_own(a_world: BuildWorld) -> None:
    world = a_world("independent")
    joint = _looked_at(world, JointPosterior)
    alone = Thompson(world, KnowingServers(), 1)
    alone.tallies = joint.tallies
    mean, sd = alone.posterior()
    assert np.allclose(joint.mean, mean)
    assert np.allclose(np.sqrt(np.diagonal(joint.second, axis1=1, axis2=2).T), sd)


def test_learning_finds_hidden_tastes(a_world: BuildWorld) -> None:
    world = a_world("hidden", size=0.04)
    learned = LearnedPosterior(world, KnowingServers(), 1)

    def apart() -> float:
        spreads = np.sqrt(np.diag(learned.covariance))
        correlation = learned.covariance / np.outer(spreads, spreads)
        truth = np.sqrt(np.diag(world.tastes.covariance))
        discover = np.array([name.startswith("discover") for name in world.slices])
        wrong = correlation - world.tastes.covariance / np.outer(truth, truth)
        return float(np.abs(wrong[discover][:, discover]).mean())

    before = apart()
    run(world, learned, 1)
    assert apart() < 0.7 * before


def a_ladder(world: World, likes: int) -> tuple[TrafficPools, tuple[int, int]]:
    """A ladder whose first pool of one pair was used up, with so many likes."""
    ladder = TrafficPools(world, KnowingServers())
    ladder.admit(0)
    place, video = np.argwhere(ladder.open & world.public[:, None])[0].tolist()
    pair, pool = place * len(world.videos) + video, int(POOLS[0])
    kinds = np.concatenate([np.full(pool, kind) for kind in (IMPRESSION, VIEW)])
    kinds = np.append(kinds, np.full(likes, LIKE))
    numbers = np.arange(len(kinds))
    ladder.learn(EventBatch(np.full(len(kinds), pair), kinds, 0 * numbers, numbers, numbers), 0)
    return ladder, (place, video)


def test_the_ladder_promotes_at_a_tenth_of_likes(a_world: BuildWorld) -> None:
    ladder, pair = a_ladder(a_world(), likes=30)
    assert ladder.allowance[pair] == 3_300
    assert not ladder.stops


def test_the_ladder_stops_below_it_and_tries_the_next_crowd(a_world: BuildWorld) -> None:
    ladder, pair = a_ladder(a_world(), likes=29)
    assert ladder.stopped()[pair]
    assert [stop.impressions for stop in ladder.stops] == [300]
    assert ladder.open[:, 0].sum() == len(a_world().first_crowds(0))


def test_peeking_stops_sooner_than_the_ladder_and_more_often_wrongly_than_it_claims(
    a_world: BuildWorld,
) -> None:
    world = a_world(regime="middle", size=0.02)
    peeking = PeekingZ(world, KnowingServers())
    run(world, peeking, 1)
    assert np.median([stop.impressions for stop in peeking.stops]) < 300
    assert {stop.pair for stop in peeking.stops} == set(
        np.flatnonzero(peeking.stopped().ravel()).tolist()
    )


def test_a_ranking_stops_nothing(a_world: BuildWorld) -> None:
    world = a_world()
    ranking: Ranking = Thompson(world, KnowingServers(), 1)
    assert not ranking.stopped().any()

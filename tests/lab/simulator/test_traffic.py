"""What follows from showing videos: rates as the truth says, late, lost and overtaking views."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from kit.rows import value_of

from streams.core.counters import Slice
from streams.core.units import MICROS
from streams.lab.simulator.folded import running_sums
from streams.lab.simulator.traffic import (
    IMPRESSION,
    NAMES,
    REPORT,
    VIEW,
    EventBatch,
    Traffic,
    record_at,
)
from streams.lab.simulator.world import TICK_MS, World

BuildWorld = Callable[..., World]


def all_events(world: World, shown: int, ticks: int = 30) -> EventBatch:
    """What comes of showing every reachable pair so often in the first tick."""
    traffic = Traffic(world, 1)
    traffic.expose(world.reachable * np.int64(shown), 0)
    nobody = np.zeros(world.shape, np.int64)
    batches = [traffic.due(0)]
    for tick in range(1, ticks):
        traffic.expose(nobody, tick)
        batches.append(traffic.due(tick))
    return EventBatch.joined(batches)


def value_per_view(world: World, batch: EventBatch) -> float:
    """What a view was worth on average, by the real weights."""
    row = Slice(*running_sums(world, batch)[-1].tolist())
    return value_of(row, world.policy.weights) / row.views / MICROS


@pytest.mark.parametrize("name", ["correlated", "rare-hits", "late"])
def test_views_are_worth_the_true_mean(name: str, a_world: BuildWorld) -> None:
    world = a_world(name)
    batch = all_events(world, 300)
    views = (batch.kind == VIEW).sum()
    expected = world.means_at(0)[world.reachable].mean()
    assert value_per_view(world, batch) == pytest.approx(expected, abs=4 * 0.35 / views**0.5)


def test_each_pair_is_worth_its_own_mean(a_world: BuildWorld) -> None:
    world = a_world()
    counts = np.zeros(world.shape, np.int64)
    place, video = np.argwhere(world.reachable)[7]
    counts[place, video] = 100_000
    traffic = Traffic(world, 3)
    traffic.expose(counts, 0)
    mean = value_per_view(world, EventBatch.joined([traffic.due(tick) for tick in range(30)]))
    assert mean == pytest.approx(world.means[0][place, video], abs=0.005)


def test_every_button_is_pressed_at_its_rate(a_world: BuildWorld) -> None:
    world = a_world()
    batch = all_events(world, 1_000)
    kinds = Counter(batch.kind.tolist())
    for kind, name in enumerate(NAMES[2:], 2):
        rate = getattr(world.rates, name)[0][world.reachable].mean()
        expected = rate * kinds[VIEW]
        assert kinds[kind] == pytest.approx(expected, abs=5 * expected**0.5 + 1), name


def test_some_views_are_lost_some_late_and_some_overtake_their_impression(
    a_world: BuildWorld,
) -> None:
    world = a_world()
    batch = all_events(world, 500)
    impressions = dict(zip(*_columns(batch, IMPRESSION), strict=True))
    views = dict(zip(*_columns(batch, VIEW), strict=True))
    assert 1 - len(views) / len(impressions) == pytest.approx(world.tastes.habits.lost, abs=0.01)
    ahead = np.mean([views[serial] < impressions[serial] for serial in views])
    assert ahead == pytest.approx(world.tastes.habits.overtaking, abs=0.005)
    late = np.mean([views[serial] > impressions[serial] + TICK_MS for serial in views])
    assert late == pytest.approx(world.tastes.habits.late, abs=0.02)


def test_buttons_come_long_after_the_view_in_the_late_world(a_world: BuildWorld) -> None:
    world = a_world("late")
    batch = all_events(world, 500)
    views = dict(zip(*_columns(batch, VIEW), strict=True))
    pressed = batch.take(batch.kind > VIEW)
    waits = [
        when - views[serial] for serial, when in zip(pressed.serial, pressed.when, strict=True)
    ]
    assert min(waits) >= 8 * TICK_MS
    assert world.tastes.habits.lost == 0.10


def test_events_come_by_pair_then_time_and_each_once(a_world: BuildWorld) -> None:
    world = a_world()
    traffic = Traffic(world, 1)
    traffic.expose(world.reachable * np.int64(50), 0)
    batch = traffic.due(0).in_order(0)
    keys = list(zip(batch.pair.tolist(), batch.when.tolist(), strict=True))
    assert keys == sorted(keys)
    assert batch.when.max() < TICK_MS
    ids = {
        (kind, serial)
        for kind, serial in zip(batch.kind.tolist(), batch.serial.tolist(), strict=True)
    }
    assert len(ids) == len(batch)


def test_nobody_is_shown_and_nothing_happens(a_world: BuildWorld) -> None:
    world = a_world()
    traffic = Traffic(world, 1)
    traffic.expose(np.zeros(world.shape, np.int64), 0)
    assert len(traffic.due(0)) == 0
    assert traffic.exposed == 0


def test_fakes_praise_and_report_without_impressions(a_world: BuildWorld) -> None:
    world = a_world("fake", size=0.02)
    assert world.tastes.fakes is not None
    traffic = Traffic(world, 1)
    nobody = np.zeros(world.shape, np.int64)
    traffic.expose(nobody, 0)
    batch = traffic.due(0)
    assert not (batch.kind == IMPRESSION).any()
    first = world.arrivals == 0
    reported = [p for p in world.tastes.fakes.reported.tolist() if first[p % len(world.videos)]]
    assert (batch.kind == REPORT).sum() == 3 * len(reported)


def test_a_record_says_what_the_columns_say(a_world: BuildWorld) -> None:
    world = a_world()
    batch = all_events(world, 5)
    at = int(np.flatnonzero(batch.kind == VIEW)[0])
    record = record_at(world, batch, at)
    place, video = divmod(int(batch.pair[at]), len(world.videos))
    assert (record.video, record.slice) == (world.videos[video], world.slices[place])
    assert record.watch_ms == batch.watch_ms[at] <= record.duration_ms  # type: ignore[union-attr]


def _columns(batch: EventBatch, kind: int) -> tuple[list[int], list[int]]:
    mine = batch.take(batch.kind == kind)
    return mine.serial.tolist(), mine.when.tolist()

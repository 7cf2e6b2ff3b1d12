"""Horizons settle where slots and competitors put them, from any start, and do not swing."""

from itertools import pairwise
from random import Random

import pytest
from kit.events import FANS, FOOTBALL, MUSIC, policy
from kit.evidence import row_of, video_of

from streams.control.policy.horizon import (
    LIFE_DAYS,
    STEP,
    next_horizon,
    next_horizons,
    open_pairs,
)
from streams.core.counters import HELD, STOPPED, Slice
from streams.core.units import surface_of

REACH, TRANCHE = 2_400_000, 60
SLOTS_A_DAY = 5_300_000.0
PAIRS = 40_000.0
RECORDS = 120


def course(start: int, seed: int = 1, slots_from: int = 0, pairs_from: int = 0) -> list[int]:
    """Return the horizon after each record, in a slice whose pairs answer to it.

    The more impressions a pair can expect, the more pairs are worth trying: their number goes with
    the fourth root of the horizon, a record late, and is counted by the chance of a sample.
    """
    chance, horizon, before = Random(seed), start, start
    passed = []
    for record in range(RECORDS):
        open_now = PAIRS * (before / 400) ** 0.25 if record >= pairs_from else 0.0
        sampled = round(chance.gauss(open_now / 100, (open_now / 100) ** 0.5))
        slots = SLOTS_A_DAY * chance.uniform(0.95, 1.05)
        expected = slots * LIFE_DAYS / (max(sampled, 1) * 100)
        before = horizon
        if record >= slots_from:
            horizon = next_horizon(horizon, expected, TRANCHE, REACH)
        passed.append(horizon)
    return passed


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("start", [TRANCHE, 400, 30_000, REACH], ids=str)
def test_from_starved_and_flooded_starts_it_settles_in_fifty_records(start: int, seed: int) -> None:
    passed = course(start, seed)
    settled = sum(passed[60:]) / len(passed[60:])
    assert all(abs(horizon / settled - 1) <= 0.1 for horizon in passed[50:])


@pytest.mark.parametrize("seed", range(5))
def test_from_an_empty_start_it_settles_fifty_records_after_the_first_videos(seed: int) -> None:
    passed = course(400, seed, pairs_from=20)
    settled = sum(passed[80:]) / len(passed[80:])
    assert max(passed[:20]) <= 400 * STEP**20
    assert all(abs(horizon / settled - 1) <= 0.1 for horizon in passed[70:])


@pytest.mark.parametrize("start", [TRANCHE, REACH])
def test_on_its_way_it_does_not_shoot_past(start: int) -> None:
    passed = course(start)
    settled = sum(passed[60:]) / len(passed[60:])
    beyond = max(passed) / settled if start < settled else settled / min(passed)
    assert beyond <= 1.1


def test_no_record_moves_it_by_more_than_a_quarter() -> None:
    for start in (TRANCHE, REACH):
        for before, after in pairwise([start, *course(start)]):
            assert before / STEP - 1 <= after <= before * STEP + 1


def test_it_stays_between_a_tranche_and_the_reach() -> None:
    assert next_horizon(70, 0.1, least=60, most=5_000) == 67
    assert next_horizon(60, 0.1, least=60, most=5_000) == 60
    assert next_horizon(5_000, 1e12, least=60, most=5_000) == 5_000


def test_a_horizon_outside_comes_back_step_by_step() -> None:
    assert next_horizon(1, 400, least=60, most=5_000) == 2
    assert next_horizon(10_000, 400, least=60, most=5_000) == 8_000


def test_without_counted_slots_none_falls() -> None:
    assert next_horizons(policy(), {}, dict.fromkeys(policy().slices, 1e9)) == {}


def test_where_nobody_asks_it_falls_to_a_tranche() -> None:
    moved = next_horizons(policy(), {FOOTBALL: 0.0}, {FOOTBALL: 100.0})
    assert moved == {FOOTBALL: 320}


def test_slots_of_a_slice_that_left_the_policy_move_nothing() -> None:
    assert next_horizons(policy(), {"discover:gone": 10.0}, {}) == {}


def test_pairs_compete_that_are_open_and_have_allowance_left() -> None:
    fresh = video_of({})
    used_up = video_of({FOOTBALL: row_of(0.4, views=80, allowance=80)})
    stopped, held = video_of({FOOTBALL: Slice(status=STOPPED)}), video_of({})
    held.slices = {FOOTBALL: Slice(status=HELD, allowance=20)}
    counts = open_pairs(policy(), [fresh, used_up, stopped, held])
    assert counts[FOOTBALL] == 1
    assert counts[MUSIC] == 4
    assert counts[FANS] == 0  # nobody of these follows


def test_a_video_that_is_not_admitted_competes_nowhere() -> None:
    unknown = video_of({})
    unknown.row.stage = "unknown"
    assert not any(open_pairs(policy(), [unknown]).values())


def test_every_slice_of_the_policy_is_counted() -> None:
    counts = open_pairs(policy(), [])
    assert counts == dict.fromkeys(policy().slices, 0)
    assert {surface_of(name) for name in counts} == {"following", "nearby", "discover"}

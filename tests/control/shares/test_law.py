"""The control law of one promise, against plants that are known: settling, bounds, no windup."""

from collections.abc import Callable
from itertools import accumulate
from random import Random
from statistics import pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.control.shares.law import (
    DEAD_BAND,
    LOOP,
    SLOW_TICKS,
    STEP,
    advance,
    cost_of,
    is_missing,
    is_out_of_reach,
    tilt_of,
    with_gain,
)
from streams.control.shares.rules import ShareRules
from streams.core.shares import MARGIN, Bar
from streams.core.units import MICROS
from streams.runtime.mixes import PAST, Promise, Shortness

FLOOR = Bar("ordinary", 700_000)
CEILING = Bar("commercial", 150_000)
RULES = ShareRules((FLOOR, CEILING), 100_000, 50_000, gain=3 * MICROS, feeds="blend")
NOTHING_OWED = Promise("ordinary", 700_000)
OF = 100_000
DELAY = 2
Unforced = Callable[[int], int]


def run(
    unforced: Unforced,
    ticks: int,
    *,
    gain: int = 3 * MICROS,
    bar: Bar = FLOOR,
    delay: int = DELAY,
) -> list[Promise]:
    """Return a promise tick by tick where a tilt moves the share by `gain`, `delay` ticks later."""
    promise = Promise(bar.name, bar.bound)
    sign = -1 if bar.ceiling else 1
    course: list[Promise] = []
    for tick in range(ticks):
        tilt = course[tick - delay - 1].tilt if tick > delay else 0
        share = unforced(tick) + sign * gain * tilt // MICROS
        own = min(max(share, 0), MICROS) * OF // MICROS
        promise = advance(bar, promise, own, OF, RULES)
        course.append(promise)
    return course


def settled_at(course: list[Promise], bar: Bar = FLOOR) -> int:
    """Return the tick from which on the share stays within the dead band of its target."""
    off = [t for t, one in enumerate(course) if abs(one.share - bar.target) > 2 * DEAD_BAND]
    return max(off, default=-1) + 1


def test_a_share_above_its_target_owes_nothing() -> None:
    course = run(lambda _: 850_000, 50)
    assert {(one.owed, one.tilt, one.slow, one.cost) for one in course} == {(0, 0, 0, 0)}


def test_a_step_is_settled_within_twenty_ticks_and_does_not_overshoot() -> None:
    course = run(lambda tick: 850_000 if tick < 10 else 600_000, 120)
    assert settled_at(course) <= 10 + 20
    assert max(one.share for one in course[20:]) <= FLOOR.target + MARGIN


@pytest.mark.parametrize("of", [OF // 5, OF - OF // 7, 3 * OF])
def test_more_or_fewer_impressions_alone_move_no_tilt(of: int) -> None:
    """Minutes come late and in lumps; nights are quiet."""
    before = run(lambda _: 600_000, 60)[-1]
    after = before
    for _ in range(40):
        after = advance(FLOOR, after, FLOOR.target * of // MICROS, of, RULES)
        assert after.tilt == pytest.approx(before.tilt, abs=20)
    assert after.owed == pytest.approx(before.owed * of / OF, rel=0.05)


def test_lumps_of_few_impressions_lose_nothing_of_what_is_owed() -> None:
    tilt = tilt_of(9, 500, NOTHING_OWED.gain, RULES.tilt_max)
    promise = replace(NOTHING_OWED, owed=9, pace=500, tilt=tilt)
    for number in range(400):
        of = 440 if number % 2 else 560
        promise = advance(FLOOR, promise, -(-FLOOR.target * of // MICROS), of, RULES)
    assert promise.owed == 9


def test_a_ceiling_lowers_its_class() -> None:
    course = run(lambda _: 250_000, 120, bar=CEILING)
    assert settled_at(course, CEILING) <= 20
    assert min(one.share for one in course) >= CEILING.target - MARGIN


@pytest.mark.parametrize("factor", [1.2, 1 / 1.2])
def test_a_gain_that_is_nearly_right_is_as_good(factor: float) -> None:
    course = run(lambda tick: 850_000 if tick < 10 else 600_000, 120, gain=round(factor * 3e6))
    assert settled_at(course) <= 10 + 20
    assert max(one.share for one in course[20:]) <= FLOOR.target + DEAD_BAND


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_a_delay_that_is_not_the_one_thought_settles_as_well(delay: int) -> None:
    course = run(lambda tick: 850_000 if tick < 10 else 450_000, 120, delay=delay)
    assert settled_at(course) <= 10 + 25
    assert max(one.share for one in course[20:]) <= FLOOR.target + MARGIN


def test_what_tilts_move_already_is_not_asked_for_again() -> None:
    first = advance(FLOOR, replace(NOTHING_OWED, pace=OF), OF * 6 // 10, OF, RULES)
    second = advance(FLOOR, first, OF * 6 // 10, OF, RULES)
    assert second.owed - first.owed == pytest.approx(first.owed * (1 - LOOP / MICROS), rel=1e-3)
    arrived = replace(second, past=(second.tilt,) * PAST)
    third = advance(FLOOR, arrived, OF * 6 // 10, OF, RULES)
    assert third.owed - second.owed == first.owed


def test_a_gain_four_times_what_was_thought_is_stable() -> None:
    course = run(lambda _: 600_000, 300, gain=12 * MICROS)
    late = [one.share for one in course[200:]]
    assert max(late) - min(late) <= 4 * DEAD_BAND


def test_a_loop_that_is_faster_than_its_delay_allows_swings_for_ever() -> None:
    beyond = round(4.5 * 3 * MICROS)  # stable below 4.1 times what it is thought to be
    late = [one.share for one in run(lambda _: 600_000, 400, gain=beyond)[300:]]
    assert max(late) - min(late) > 10 * DEAD_BAND


def test_of_tastes_that_wander_little_more_is_left_than_any_loop_so_late_must_leave() -> None:
    """The least variance is that of what comes within the delay, as nobody can know of it yet."""
    chance, moved, stays = Random(1), 3_000, 119 / 120
    steps = [chance.gauss(0, moved) for _ in range(3_000)]
    wandered = list(accumulate(steps, lambda before, step: stays * before + step))
    course = run(lambda tick: 640_000 + round(wandered[tick]), 3_000)[50:]
    assert min(one.tilt for one in course) > 0
    assert pstdev(one.share for one in course) <= 1.4 * moved * (DELAY + 1) ** 0.5


def test_what_cannot_be_held_is_owed_no_more_than_the_bound_asks_for() -> None:
    course = run(lambda tick: 100_000 if tick < 500 else 700_000, 560)
    assert course[499].tilt == RULES.tilt_max
    assert course[499].owed <= RULES.tilt_max * OF * 3 // LOOP + 1
    back = next(tick for tick in range(500, 560) if course[tick].tilt < RULES.tilt_max)
    assert back - 500 <= 3  # nothing was saved up in 500 ticks


@pytest.mark.parametrize("cause", ["supply", "surfaces", "unmeasured", "yields"])
def test_while_something_else_keeps_it_from_being_held_nothing_more_is_owed(
    cause: Shortness,
) -> None:
    before = replace(NOTHING_OWED, owed=500, pace=OF, short=cause)
    assert advance(FLOOR, before, OF // 2, OF, RULES).owed == 500
    assert advance(FLOOR, before, OF, OF, RULES).owed == 0


def test_at_the_bound_it_goes_on_up_to_there() -> None:
    before = replace(NOTHING_OWED, owed=500, pace=OF, short="bound")
    assert advance(FLOOR, before, OF // 2, OF, RULES).owed > 500


def test_a_tick_of_chance_moves_it_by_a_step_at_most() -> None:
    after = advance(FLOOR, NOTHING_OWED, 0, OF, RULES)
    assert after.owed == STEP * OF // MICROS


def test_within_the_dead_band_nothing_moves() -> None:
    before = replace(NOTHING_OWED, owed=500, pace=OF)
    for share in (FLOOR.target - DEAD_BAND, FLOOR.target + DEAD_BAND):
        assert advance(FLOOR, before, share * OF // MICROS, OF, RULES).owed == 500
    below = (FLOOR.target - DEAD_BAND - 100) * OF // MICROS
    assert advance(FLOOR, before, below, OF, RULES).owed > 500


def test_a_tick_without_impressions_changes_nothing() -> None:
    before = replace(NOTHING_OWED, owed=500, pace=OF)
    assert advance(FLOOR, before, 0, 0, RULES) == before


def test_the_slow_mean_is_more_than_ten_times_slower_and_bounded() -> None:
    course = run(lambda _: 100_000, 3_000)
    reached = next(tick for tick, one in enumerate(course) if one.slow >= RULES.term_max // 2)
    assert reached >= 10 * 12 // 2
    assert {one.slow for one in course[-100:]} == {RULES.term_max}
    assert reached <= SLOW_TICKS
    gone = [replace(course[-1], owed=0)]
    for _ in range(3_000):
        gone.append(advance(FLOOR, gone[-1], OF, OF, RULES))
    assert gone[-1].slow == 0


def test_another_gain_leaves_the_tilt_where_it_is() -> None:
    before = replace(NOTHING_OWED, owed=3_000, pace=OF)
    before = replace(before, tilt=tilt_of(before.owed, OF, before.gain, RULES.tilt_max))
    after = with_gain(before, 5 * MICROS)
    assert after.gain == 5 * MICROS
    assert abs(tilt_of(after.owed, OF, after.gain, RULES.tilt_max) - before.tilt) <= 2
    assert with_gain(before, 10**9).gain == 12 * MICROS
    assert with_gain(before, 1).gain == 750_000


def test_what_it_costs_is_half_the_tilt_of_what_moved() -> None:
    # a tilt of 0.02 at a gain of 3 moves 6 of 100 impressions, from worth up to 0.02 less
    assert cost_of(20_000, 3 * MICROS, 100) == 6 * 20_000 // 2


def test_missing_is_what_is_off_to_the_wrong_side() -> None:
    def at(share: int, bar: Bar = FLOOR) -> bool:
        return is_missing(bar, Promise(bar.name, bar.bound, share))

    assert (at(650_000), at(FLOOR.target), at(900_000)) == (True, False, False)
    assert (at(200_000, CEILING), at(100_000, CEILING)) == (True, False)


def test_what_the_bound_could_not_raise_is_out_of_reach() -> None:
    near, far = Promise("ordinary", 700_000, 600_000), Promise("ordinary", 700_000, 300_000)
    assert (is_out_of_reach(FLOOR, near, RULES), is_out_of_reach(FLOOR, far, RULES)) == (
        False,
        True,
    )


def test_what_is_under_way_is_within_reach() -> None:
    rising = Promise("ordinary", 700_000, 500_000, tilt=60_000, past=(40_000, 20_000, 0))
    assert not is_out_of_reach(FLOOR, rising, RULES)
    risen = replace(rising, past=(60_000, 60_000, 60_000))
    assert is_out_of_reach(FLOOR, risen, RULES)


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), max_size=30),
    st.booleans(),
    st.integers(1, 10**9),
)
def test_whatever_is_measured_everything_stays_within_its_bounds(
    ticks: list[tuple[int, int]], ceiling: bool, gain: int
) -> None:
    bar = CEILING if ceiling else FLOOR
    promise = Promise(bar.name, bar.bound, gain=gain)
    for own, more in ticks:
        promise = advance(bar, promise, own, own + more, RULES)
        assert 0 <= promise.tilt <= RULES.tilt_max
        assert 0 <= promise.slow <= RULES.term_max
        assert promise.owed >= 0
        assert promise.cost >= 0

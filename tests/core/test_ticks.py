"""The clock of a partition, and the minute that is open by it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.events import (
    BASKETBALL,
    FANS,
    FIXED,
    FOOTBALL,
    HOUR_MS,
    NOW,
    admit,
    impression,
    like,
    policy,
    takedown,
    unlike,
    view,
)
from kit.folding import Folding, folded, placed

from streams.core.events import LogRecord
from streams.core.ticks import RUN, StoredTraffic, read_stored
from streams.core.traffic import GAPS, MIX_TICKS, SUMS, ClassSums, Tick
from streams.core.units import surface_of

MINUTE = 60_000
FIRST = NOW // MINUTE


def feedback(times: Iterable[int], first: int = 0) -> list[LogRecord]:
    """One impression at each time."""
    return [impression(f"e{n}", ts=ts) for n, ts in enumerate(times, first)]


def runs(*minutes: int) -> list[int]:
    """The times of whole runs, one in each of these minutes."""
    return [NOW + minute * MINUTE for minute in minutes for _ in range(RUN)]


def opened(done: Folding) -> StoredTraffic:
    return read_stored(done.flush().meta.traffic)


def total(sums: Iterable[ClassSums], name: str) -> int:
    return sum(getattr(each, name) for each in sums)


def by_place(sums: Iterable[ClassSums], name: str = "impressions") -> dict[tuple[str, str], int]:
    counts = {(each.slice, each.kind): getattr(each, name) for each in sums}
    return {place: count for place, count in counts.items() if count}


# ---------------------------------------------------------------- the clock


def test_a_tick_has_its_number_from_the_first_whole_run_on() -> None:
    done = folded(feedback(runs(0)[1:]))
    assert opened(done).tick == 0
    done.fold(placed(feedback([NOW], 1_000), 1_000))
    assert opened(done).tick == FIRST
    assert not done.ticks


def test_what_was_folded_before_the_clock_moved_on_is_of_the_minute_before() -> None:
    done = folded(feedback(runs(0, 1, 1)))
    (tick,) = done.ticks
    assert (tick.id, tick.partition, tick.tick) == (f"0.{FIRST}", 0, FIRST)
    assert total(tick.sums, "impressions") == 2 * RUN, "the run that moves the clock is the last"
    assert total(opened(done).sums, "impressions") == RUN
    assert opened(done).tick == FIRST + 1


def test_the_clock_never_goes_back_and_may_leave_minutes_out() -> None:
    done = folded(feedback(runs(0, 5, 2, 5, 9, 0)))
    assert [tick.tick - FIRST for tick in done.ticks] == [0, 5]
    assert opened(done).tick == FIRST + 9


def test_fewer_than_half_of_a_run_cannot_move_the_clock() -> None:
    ahead = [NOW + HOUR_MS] * (RUN // 2)
    honest = [NOW] * (RUN - len(ahead))
    done = folded(feedback([*honest, *ahead, *ahead, *honest]))
    assert opened(done).tick == FIRST
    done.fold(placed(feedback([NOW + HOUR_MS] * (RUN // 2 + 1) + honest[1:], 1_000), 1_000))
    assert opened(done).tick == FIRST + HOUR_MS // MINUTE


def test_with_a_producer_an_hour_ahead_ticks_are_those_of_the_others() -> None:
    times = [NOW + 250 * n for n in range(2_000)]
    wrong = [ts + HOUR_MS if n % 3 == 0 else ts for n, ts in enumerate(times)]
    right, done = folded(feedback(times)), folded(feedback(wrong))
    assert len(right.ticks) > 5
    assert [tick.tick for tick in done.ticks] == [tick.tick for tick in right.ticks]
    for one, other in zip(done.ticks, right.ticks, strict=True):
        assert abs(total(one.sums, "impressions") - total(other.sums, "impressions")) <= RUN


def test_repeats_and_what_is_refused_leave_the_clock_alone() -> None:
    once = folded(feedback(runs(0))).flush()
    later = [impression("e1", ts=NOW + HOUR_MS)] * 100
    elsewhere = Folding(partition=0, partitions=12)
    elsewhere.fold(placed([impression(f"x{n}", video="v1") for n in range(40)]))
    assert folded([*feedback(runs(0)), *later]).flush().meta.traffic == once.meta.traffic
    assert opened(elsewhere).times == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20 * MINUTE), max_size=400), st.integers(1, 90), st.data())
def test_no_batches_and_no_restarts_move_a_tick(
    after: list[int], length: int, data: st.DataObject
) -> None:
    places = placed(feedback([NOW + ms for ms in after]))
    whole, done = Folding().fold(places).flush(), Folding()
    for first in range(0, len(places), length):
        done.fold(places[first : first + length])
        if data.draw(st.booleans()):
            done.flush().restart(places[: first + length])
    assert done.flush().bytes() == whole.bytes()
    assert [tick.tick for tick in whole.ticks] == [*closed_plainly([NOW + ms for ms in after])]


def closed_plainly(times: Sequence[int]) -> Iterator[int]:
    """The ticks that close, said as simply as can be."""
    tick = 0
    for end in range(RUN, len(times) + 1, RUN):
        now = sorted(times[end - RUN : end])[RUN // 2] // MINUTE
        if now > tick:
            if tick:
                yield tick
            tick = now


# ---------------------------------------------------------------- what is summed


def test_it_is_summed_by_slice_and_class_and_before_an_admission_as_unknown() -> None:
    done = folded(
        [
            FIXED,
            admit(band=3, commercial=True),
            *(impression(f"a{n}") for n in range(3)),
            impression("b1", slice_id=BASKETBALL),
            impression("c1", video="v2"),
            admit("admit-2", video="v2", band=0),
            impression("c2", video="v2"),
        ]
    )
    assert by_place(opened(done).sums) == {
        (FOOTBALL, "3c"): 3,
        (BASKETBALL, "3c"): 1,
        (FOOTBALL, "unknown"): 1,
        (FOOTBALL, "0"): 1,
    }


def test_a_video_taken_down_before_any_admission_stays_unknown_also_when_it_was_forgotten() -> None:
    done = folded([FIXED, takedown(seq=1), impression("e1")]).evict()
    done.fold(placed([impression("e2")], 10))
    assert by_place(opened(done).sums) == {(FOOTBALL, "unknown"): 2}


def test_slices_outside_the_policy_are_summed_by_surface_so_that_a_tick_stays_small() -> None:
    strays = [impression(f"e{n}", slice_id=f"discover:x{n}", video=f"v{n}") for n in range(200)]
    done = folded([FIXED, *strays, impression("fan", slice_id="following:nobody")])
    assert by_place(opened(done).sums) == {
        ("discover:", "unknown"): 200,
        ("following:", "unknown"): 1,
    }


def test_what_a_slice_had_before_it_left_the_policy_stays_under_its_name() -> None:
    rest = {name: spec for name, spec in FIXED.slices.items() if name != FOOTBALL}
    done = folded([FIXED, impression("e1"), policy(id="p2", seq=2, slices=rest), impression("e2")])
    assert by_place(opened(done).sums) == {(FOOTBALL, "unknown"): 1, ("discover:", "unknown"): 1}
    done.fold(placed([policy(id="p3", seq=3), impression("e3")], 10))
    assert by_place(opened(done).sums)[FOOTBALL, "unknown"] == 2


def test_why_an_impression_was_shown_and_how_far_above_the_price_is_counted() -> None:
    price = FIXED.slices[FOOTBALL].price + FIXED.terms["discover:5"]
    done = folded(
        [
            FIXED,
            admit(band=5),
            impression("e1", via="rank", score=price),
            impression("e2", via="fresh", score=price - 1),
            impression("e3", via="rank", score=price + 10**9),
            impression("e4", score=price - 10**9),
            impression("e5", via="explore"),
            impression("e6"),
        ]
    )
    sums = next(each for each in opened(done).sums if each.slice == FOOTBALL)
    assert (sums.impressions, sums.via) == (6, {"rank": 2, "fresh": 1, "explore": 1})
    assert {place: count for place, count in enumerate(sums.gaps) if count} == {
        0: 1,
        3: 1,
        4: 1,
        GAPS - 1: 1,
    }


def test_an_impression_that_went_by_a_mix_of_the_latest_minutes_is_steered() -> None:
    minute = NOW // 60_000
    done = folded([FIXED, admit(), *(impression(f"i{n}", viewer=f"u{n}") for n in range(31))])
    mixes = (minute, minute - MIX_TICKS, minute + MIX_TICKS)
    old = (minute - MIX_TICKS - 1, minute + MIX_TICKS + 1, 1, None)
    done.fold(placed([impression(f"m{n}", mix=mix) for n, mix in enumerate((*mixes, *old))], 100))
    sums = next(each for each in opened(done).sums if each.slice == FOOTBALL)
    assert (sums.impressions, sums.steered) == (31 + 7, 3)


def test_a_score_without_a_price_to_compare_it_with_is_in_no_bucket() -> None:
    done = folded(
        [FIXED, impression("e1", score=1), impression("e2", slice_id="discover:x", score=1)]
    )
    assert [each.gaps for each in opened(done).sums] == [[], []]


def test_feedback_is_summed_by_kind() -> None:
    events = [
        view("e1", watch_ms=2_500),
        view("e2", watch_ms=99_000),
        like("e3"),
        like("e4", viewer="b"),
    ]
    (sums,) = opened(folded([FIXED, *events, unlike("e5")])).sums
    assert (sums.views, sums.ratio_sum, sums.completes, sums.likes) == (2, 1_250_000, 1, 1)


def test_what_is_granted_and_given_back_is_summed() -> None:
    shown = [impression(f"e{n}") for n in range(5)]
    fans = impression("fan", slice_id=FANS)
    done = folded([FIXED, admit(fits={FANS: 0}), *shown, fans, takedown(seq=2)])
    sums = opened(done).sums
    assert by_place(sums, "granted") == {(FANS, "5"): 20, (FOOTBALL, "5"): 20}
    assert by_place(sums, "returned") == {(FANS, "5"): 19, (FOOTBALL, "5"): 15}


def test_what_ticks_and_the_open_one_sum_to_is_what_the_counters_hold() -> None:
    done = Folding()
    for number in range(40):
        events = [
            *feedback(runs(number)[:20], number * 100),
            like(f"l{number}", viewer=f"u{number}"),
        ]
        done.fold(placed([FIXED, admit(), *events] if not number else events, number * 100)).flush()
    sums = [each for tick in done.ticks for each in tick.sums] + [*opened(done).sums]
    row = done.row(FOOTBALL)
    assert len(done.ticks) > 20
    assert (total(sums, "impressions"), total(sums, "likes")) == (row.impressions, row.likes)
    public = [each for each in sums if surface_of(each.slice) != "following"]
    assert total(public, "granted") - total(public, "returned") == done.own().granted


# ---------------------------------------------------------------- how it is stored


def test_sums_stored_by_an_earlier_release_have_nothing_in_what_came_later() -> None:
    read = read_stored(b'[3,28333333,[1700000000000],[["discover:football","3c",5]]]')
    assert read.sums == [ClassSums(FOOTBALL, "3c", impressions=5)]
    assert (read.since, read.tick, read.times) == (3, 28_333_333, [NOW])


def test_all_that_is_summed_comes_back_from_its_bytes() -> None:
    numbers = dict(zip(SUMS, range(1, 20), strict=False))
    sums = ClassSums(FOOTBALL, "0", **numbers, via={"rank": 2}, gaps=[*range(GAPS)])
    raw = msgspec.json.encode((1, 2, [3], [msgspec.structs.astuple(sums)]))
    assert read_stored(raw).sums == [sums]


@pytest.mark.parametrize("raw", [b"{}", b"[1]", b'[1,2,[3],[["x"]]]', b"["])
def test_what_nobody_stored_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="traffic"):
        read_stored(raw)


def test_a_fresh_partition_has_no_traffic() -> None:
    assert read_stored(b"") == StoredTraffic()


def test_of_a_log_that_is_read_from_its_middle_it_is_said_from_where_on_it_is_summed() -> None:
    assert opened(Folding().fold(placed(feedback([NOW]), 700))).since == 700


def test_ids_of_ticks_are_of_partition_and_minute() -> None:
    done = Folding(partition=0)
    done.fold(placed(feedback(runs(0, 1, 2, 3))))
    assert Counter(tick.id for tick in done.ticks).most_common(1)[0][1] == 1
    assert all(isinstance(tick, Tick) for tick in done.ticks)

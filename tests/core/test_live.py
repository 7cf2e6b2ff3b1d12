"""Live rooms: visits, evidence that fades by the partition's clock, and their end."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from kit.events import (
    BASKETBALL,
    FANS,
    FIXED,
    FOOTBALL,
    NOW,
    admit,
    end,
    hold,
    impression,
    like,
    policy,
    reconsider,
    release,
    takedown,
    view,
)
from kit.folding import Folding, folded, placed
from msgspec.structs import replace

from streams.core.counters import ACTIVE, IDLE, LAPSED, STOPPED, Slice, decode_video
from streams.core.events import LogRecord, Policy, Report, Stay
from streams.core.fading import evidence_of, fade, views_left
from streams.core.rule import assess, set_checkpoints
from streams.core.ticks import RUN

MINUTE_MS: Final = 60_000
OPEN: Final = policy(
    slices={name: FIXED.slices[name] for name in (FOOTBALL, BASKETBALL, FANS)}, budget=100_000
)
CHEAP: Final = replace(
    OPEN,
    slices={name: replace(spec, price=0, reach=100_000) for name, spec in OPEN.slices.items()},
)


def room(**more: Any) -> LogRecord:
    return admit(format="live", **more)


def visits(
    count: int, *, first: int = 0, slice_id: str = FOOTBALL, ts: int = NOW, watch_ms: int = 15_000
) -> list[LogRecord]:
    """So many visits of the room, each with its view."""
    named = slice_id.replace(":", "_")
    return [
        act
        for at in range(first, first + count)
        for act in (
            impression(f"i{named}{at}", viewer=f"u{at}", slice_id=slice_id, ts=ts),
            view(f"w{named}{at}", viewer=f"u{at}", slice_id=slice_id, ts=ts, watch_ms=watch_ms),
        )
    ]


def minutes_pass(minutes: int, video: str = "v2") -> list[LogRecord]:
    """What moves the partition's clock: one run of events about something else."""
    ts = NOW + minutes * MINUTE_MS
    return [impression(f"c{minutes}-{at}", video=video, ts=ts) for at in range(2 * RUN)]


def then(done: Folding, *parts: Sequence[LogRecord]) -> Folding:
    for part in parts:
        done.fold(placed(part, done.offset + 1))
    return done


def opened(count: int, by: Policy = CHEAP, watch_ms: int = 15_000) -> Folding:
    """A room with so many visits, after which the partition's clock has begun."""
    return then(folded([by, room()]), minutes_pass(0), visits(count, watch_ms=watch_ms))


# ---------------------------------------------------------------- what a visit is


@pytest.mark.parametrize("duration_ms", [1_000, 30_000, 86_400_000])
def test_a_view_of_a_room_is_a_share_of_thirty_seconds(duration_ms: int) -> None:
    watched = [view("e1", watch_ms=7_500, duration_ms=duration_ms)]
    row = folded([FIXED, room(), *watched]).row(FOOTBALL)
    assert (row.views, row.watch_ms, row.ratio_sum) == (1, 7_500, 250_000)


@pytest.mark.parametrize(("watch_ms", "completes"), [(28_499, 0), (28_500, 1), (3_600_000, 1)])
def test_a_view_of_a_room_is_whole_after_thirty_seconds(watch_ms: int, completes: int) -> None:
    row = folded([FIXED, room(), view("e1", watch_ms=watch_ms)]).row(FOOTBALL)
    assert row.completes == completes
    assert row.ratio_sum == min(watch_ms, 30_000) * 1_000_000 // 30_000
    assert row.watch_ms == watch_ms


def test_traffic_counts_the_same_share() -> None:
    done = then(
        folded([FIXED, room()]), minutes_pass(0), [view("e1", watch_ms=7_500)], minutes_pass(1)
    )
    sums = next(each for each in done.ticks[0].sums if each.views)
    assert (sums.views, sums.ratio_sum, sums.completes) == (1, 250_000, 0)


def test_what_was_seen_before_the_admission_counts_as_that_of_a_video() -> None:
    row = folded([FIXED, view("e1"), room(), view("e2")]).row(FOOTBALL)
    assert row.ratio_sum == 500_000 + 5_000 * 1_000_000 // 30_000


def test_the_same_video_is_no_room() -> None:
    row = folded([FIXED, admit(), view("e1")]).row(FOOTBALL)
    assert row.ratio_sum == 500_000


def test_the_allowance_counts_visits() -> None:
    done = then(folded([CHEAP, room()]), visits(5)).flush()
    (entry,) = [each for each in done.entries[FOOTBALL] if each.video == "v1"]
    assert (entry.impressions, entry.allowance) == (5, 20)


def test_who_stays_on_is_counted_and_worth_nothing() -> None:
    done, other = opened(40), opened(40)
    stays = [Stay(f"s{at}", "v1", f"u{at}", FOOTBALL, NOW, stay_ms=600_000) for at in range(40)]
    then(done, stays)
    then(other, [impression(f"x{at}", video="v2") for at in range(40)])
    row = done.row(FOOTBALL)
    assert (row.stays, row.stay_ms) == (40, 24_000_000)
    assert _assessed(done) == _assessed(other)


# ---------------------------------------------------------------- fading


def _assessed(done: Folding, slice_id: str = FOOTBALL) -> tuple[int, int]:
    outlook = done.state.outlook
    assert outlook is not None
    video = done.video()
    found = assess(outlook, video, slice_id, video.slices[slice_id])
    return found.views, found.estimate.mean


@pytest.mark.parametrize(("minutes", "left"), [(1, 40), (5, 20), (10, 10), (15, 5), (60, 0)])
def test_evidence_of_a_room_halves_every_five_minutes(minutes: int, left: int) -> None:
    done = then(opened(40), minutes_pass(minutes), [like("l", viewer="u1")])
    row = done.row(FOOTBALL)
    assert (row.impressions, row.views) == (40, 40)
    assert views_left(row) == left


def test_evidence_of_a_video_never_fades() -> None:
    done = then(folded([CHEAP, admit()]), minutes_pass(0), visits(40), minutes_pass(60))
    then(done, [like("l", viewer="u1")])
    row = done.row(FOOTBALL)
    assert row.faded is None
    assert views_left(row) == 40


def test_an_event_from_the_future_lets_nothing_fade() -> None:
    done = then(opened(40), [view("late", ts=NOW + 60 * MINUTE_MS)])
    assert done.row(FOOTBALL).faded is None


def test_all_crowds_of_a_room_fade_at_once() -> None:
    done = then(opened(40), visits(30, slice_id=BASKETBALL), minutes_pass(5))
    then(done, visits(1, first=90))
    assert views_left(done.row(BASKETBALL)) == 15
    assert views_left(done.row(FOOTBALL)) == 20 + 1


def test_a_room_that_was_poor_an_hour_ago_is_judged_anew() -> None:
    done = opened(40, watch_ms=500)
    poor = _assessed(done)
    then(done, minutes_pass(60), [like("l", viewer="u1")])
    views, mean = _assessed(done)
    assert views == 0
    assert mean == CHEAP.slices[FOOTBALL].prior_mean > poor[1]


def test_feeds_are_told_of_what_faded() -> None:
    done = then(opened(40, watch_ms=500), minutes_pass(1)).flush()
    before = _scores(done)
    then(done, minutes_pass(20), [like("l", viewer="u1")]).flush()
    assert _scores(done)[FOOTBALL] > before.get(FOOTBALL, -(1 << 40))


def _scores(done: Folding) -> dict[str, int]:
    return {
        name: entry.score
        for name, entries in done.entries.items()
        for entry in entries
        if entry.video == "v1" and entry.score is not None
    }


def test_a_room_is_judged_again_after_a_quarter_more_than_still_weigh() -> None:
    row = Slice(impressions=1_600, views=1_600, allowance=2_000, tranche=500)
    set_checkpoints(CHEAP, row)
    assert row.check_views == 1_600 + 400
    fade(row, 3)
    set_checkpoints(CHEAP, row)
    assert row.check_views == 1_600 + 200 // 4
    fade(row, 9)
    set_checkpoints(CHEAP, row)
    assert row.check_views == 1_600 + 15


def test_a_room_comes_back_by_what_still_weighs() -> None:
    """Of all its views most are gone: that does not count against it."""
    done = then(folded([OPEN, room()]), minutes_pass(0), visits(20, watch_ms=500))
    row = done.row(FOOTBALL)
    assert (row.status, row.cause) == (STOPPED, LAPSED)
    then(done, minutes_pass(60), visits(20, first=500, watch_ms=30_000), [reconsider()])
    assert "reconsidered" in [receipt.reason for receipt in done.receipts]


def test_old_rows_are_read_as_those_of_a_video_that_never_faded() -> None:
    own = decode_video(b'[2,"public",3,false,7]')
    assert (own.format, own.halved) == ("video", 0)


def test_a_row_that_faded_comes_back_from_the_store() -> None:
    done = then(opened(40), minutes_pass(5), visits(1, first=90))
    before = evidence_of(done.row(FOOTBALL))
    again = evidence_of(done.evict().row(FOOTBALL))
    assert again == before
    assert again.views == 21


# ---------------------------------------------------------------- the end


def test_a_room_that_ended_is_told_off_every_crowd() -> None:
    done = opened(30).flush()
    then(done, [end(seq=2)]).flush()
    gone = {name for name, told in done.entries.items() if [e.score for e in told] == [None]}
    assert {FOOTBALL, BASKETBALL} <= gone
    assert not _scores(done)


def test_its_receipt_says_so_and_names_what_was_open() -> None:
    done = then(opened(30), [end(seq=2)])
    last = done.receipts[-1]
    assert (last.slice, last.action, last.reason) == ("", "stop", "ended")
    assert FOOTBALL in {crowd.slice for crowd in last.crowds}
    assert (last.format, last.by) == ("live", "")
    assert "takedown" not in {receipt.reason for receipt in done.receipts}


def test_what_was_not_shown_goes_back() -> None:
    done = then(opened(12), [end(seq=2)])
    row = done.row(FOOTBALL)
    assert (row.status, row.cause, row.allowance) == (STOPPED, 0, 12)
    assert done.own().granted == 12


def test_nothing_brings_a_room_back_that_ended() -> None:
    done = then(opened(30), [end(seq=2)])
    told = len(done.receipts)
    words = [release(seq=3), hold(seq=4), release("r2", seq=5), admit("a2", seq=6)]
    then(done, words, visits(40, first=100), visits(40, slice_id=BASKETBALL))
    assert done.own().stage == "ended"
    assert [receipt.action for receipt in done.receipts[told:]] == []
    assert done.row(BASKETBALL).status == IDLE


def test_no_second_look_opens_it() -> None:
    done = then(folded([OPEN, room()]), visits(20, watch_ms=500))
    assert done.own().lapsed == 1
    then(done, [end(seq=2), replace(OPEN, id="p2", seq=2, slices=CHEAP.slices)])
    then(done, [reconsider(seq=3)])
    assert done.row(FOOTBALL).status == STOPPED


def test_what_still_comes_in_counts() -> None:
    done = then(opened(10), [end(seq=2)], visits(5, first=50))
    assert done.row(FOOTBALL).views == 15


def test_a_room_that_ended_is_taken_down_without_a_word_of_crowds() -> None:
    done = then(opened(10), [end(seq=2)])
    told = len(done.receipts)
    then(done, [takedown(seq=3)])
    assert done.own().stage == "removed"
    assert len(done.receipts) == told


@pytest.mark.parametrize("before", [[], [FIXED]])
def test_a_room_that_ended_before_its_admission_never_opens(before: list[LogRecord]) -> None:
    done = folded([*before, end(seq=1), FIXED, room(seq=2)])
    assert done.own().stage == "ended"
    assert done.receipts == []


def test_a_held_room_ends_too() -> None:
    done = then(opened(20), [hold(seq=2), end(seq=3), release(seq=4)])
    assert done.own().stage == "ended"
    assert done.row(FOOTBALL).status == STOPPED


def test_nobody_is_asked_about_a_room_that_ended() -> None:
    reports = [Report(f"r{at}", "v1", f"u{at}", FOOTBALL, NOW) for at in range(6)]
    done = then(opened(20), reports)
    assert [waiting for _, waiting in done.waiting if waiting]
    then(done, [end(seq=2)])
    assert done.waiting[-1] == ("v1", None)
    more = [Report(f"q{at}", "v1", f"u{at}", FOOTBALL, NOW) for at in range(6, 20)]
    then(done, more)
    assert done.waiting[-1] == ("v1", None)
    assert done.row(FOOTBALL).status != ACTIVE

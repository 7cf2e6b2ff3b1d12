import dataclasses
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.events import (
    BASKETBALL,
    FIXED,
    FOOTBALL,
    HOUR_MS,
    MUSIC,
    NOW,
    WEIGHTS,
    admit,
    hold,
    impression,
    like,
    policy,
    release,
    synthetic_log,
    takedown,
    unlike,
    view,
)
from kit.folding import Folding, Placed, decoded, folded, placed

from streams.core.counters import COUNTERS, VIDEO_ROW, load_video, row_digest, salt_of
from streams.core.events import (
    EVENT_TYPES,
    Admit,
    Comment,
    FirstRecord,
    Follow,
    Gift,
    Hide,
    InteractionRecord,
    Like,
    LogRecord,
    Order,
    Report,
    Share,
    Stay,
    Unlike,
    View,
    Weightless,
)
from streams.core.partition_control import Generation, Repartition
from streams.core.receipts import ACTIONS, Draw
from streams.core.rule import assess
from streams.core.state import DIGEST_MODULUS, TRAFFIC_SALT
from streams.core.units import SLICES_PER_VIDEO, is_slice
from streams.core.window import Window

TESTS = Path(__file__).parents[1]
GENERATION = 200
LOG = decoded(synthetic_log(seed=5, videos=10, events=2_500))


def runs(log: Sequence[Placed], length: int) -> Iterator[Sequence[Placed]]:
    for first in range(0, len(log), length):
        yield log[first : first + length]


def whole(log: Sequence[Placed] = LOG) -> Folding:
    return Folding(GENERATION).fold(log).flush()


WHOLE = whole()


def test_the_log_of_these_tests_holds_what_they_are_about() -> None:
    assert {each.action for each in WHOLE.receipts} == set(ACTIONS)
    assert {outcome for _, outcome in WHOLE.outcomes} == {"applied", "duplicate", "late", "invalid"}
    assert LOG[-1].offset > 5 * GENERATION
    elsewhere = (*FirstRecord.__args__, Repartition)  # at the beginning of logs of their own
    assert {type(place.event) for place in LOG} == set(EVENT_TYPES).difference(elsewhere)
    assert len(WHOLE.ticks) > 5
    rows = [row for video in WHOLE.state.videos.values() for row in video.slices.values()]
    assert any(row.faded and any(row.faded) for row in rows)
    assert "ended" in {each.reason for each in WHOLE.receipts}
    draws = [each.draw for each in WHOLE.receipts if isinstance(each.draw, Draw)]
    assert {bool(each.slice) for each in draws if each.among} == {True, False}


# ---------------------------------------------------------------- the log alone decides


@pytest.mark.parametrize("length", [1, 7, 500, 5_000])
def test_batches_change_nothing(length: int) -> None:
    done = Folding(GENERATION)
    for run in runs(LOG, length):
        done.fold(run).flush()
    assert done.bytes() == WHOLE.bytes()
    assert done.outcomes == WHOLE.outcomes
    assert done.rejected == WHOLE.rejected
    assert done.meta == WHOLE.meta


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=20), st.integers(1, 5))
def test_no_batches_and_no_flushes_change_anything(lengths: list[int], every: int) -> None:
    done, first = Folding(GENERATION), 0
    for number in range(10_000):
        length = lengths[number % len(lengths)]
        done.fold(LOG[first : first + length])
        first += length
        if number % every == 0:
            done.flush()
        if first >= len(LOG):
            break
    assert done.flush().bytes() == WHOLE.bytes()
    assert done.outcomes == WHOLE.outcomes


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, len(LOG)), min_size=1, max_size=4).map(sorted))
def test_restarts_anywhere_change_nothing(cuts: list[int]) -> None:
    done, before = Folding(GENERATION), 0
    for cut in [*cuts, len(LOG)]:
        done.fold(LOG[before:cut]).flush().restart(LOG[:cut])
        before = cut
    assert done.bytes() == WHOLE.bytes()
    assert done.outcomes == WHOLE.outcomes


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_forgetting_videos_between_batches_changes_nothing(keep: int) -> None:
    done, evicted = Folding(GENERATION), 0
    for run in runs(LOG, 20):
        done.fold(run).flush()
        evicted += done.state.evict(keep)
    assert evicted
    assert done.bytes() == WHOLE.bytes()


def test_forgetting_the_video_before_every_judgement_changes_nothing() -> None:
    done = Folding(GENERATION)
    for place in LOG:
        done.fold([place]).evict()
    assert not done.state.videos
    assert done.bytes() == WHOLE.bytes()
    assert done.outcomes == WHOLE.outcomes


def test_what_feeds_were_told_changes_nothing() -> None:
    done = Folding(GENERATION)
    for run in runs(LOG, 20):
        done.fold(run)
        done.state.take_changes(done.offset)
        done.rows.clear()
    told = Folding(GENERATION).fold(LOG)
    assert [*done.receipts] == [*told.receipts]


def test_a_video_whose_changes_are_not_stored_is_not_forgotten() -> None:
    done = Folding(GENERATION)
    for number in range(20):
        done.fold(placed([view(f"e{number}", video=f"v{number}")], number))
        done.state.take_changes()  # and never stored
    assert done.state.evict(0) == 0


def test_every_tenth_record_sent_twice_counts_once() -> None:
    log = [place for place in LOG if isinstance(place.event, InteractionRecord)]
    once = [Placed(place.event, offset) for offset, place in enumerate(log)]
    twice: list[Placed] = []
    for number, place in enumerate(log):
        for _ in range(2 if number % 10 == 0 else 1):
            twice.append(Placed(place.event, len(twice)))
    wide = Folding(generation=100_000)
    without = wide.fold(placed([FIXED, admit(video="v0")])).fold(shifted(once)).flush()
    repeats = Folding(generation=100_000).fold(placed([FIXED, admit(video="v0")]))
    repeats.fold(shifted(twice)).flush()
    assert repeats.bytes() == without.bytes()
    assert repeats.outcomes.total() - without.outcomes.total() == -(-len(log) // 10)


def shifted(log: Sequence[Placed]) -> list[Placed]:
    return [Placed(place.event, place.offset + 2) for place in log]


PRINTS_ITS_BYTES = """
from hashlib import sha256
from kit.events import synthetic_log
from kit.folding import Folding, decoded
done = Folding(200).fold(decoded(synthetic_log(seed=5, videos=10, events=2_500))).flush()
receipts, ticks, digest, rows = done.bytes()
text = repr((receipts, ticks, digest, sorted((v, sorted(f.items())) for v, f in rows.items())))
print(sha256(text.encode()).hexdigest())
"""


def test_another_hash_seed_changes_nothing() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", PRINTS_ITS_BYTES],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(TESTS)},
            cwd=TESTS.parent,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "77")
    }
    assert len(printed) == 1


def test_the_digest_is_the_sum_over_the_rows_and_the_traffic_from_scratch() -> None:
    total = row_digest(TRAFFIC_SALT, WHOLE.meta.traffic) + sum(
        row_digest(salt_of(video, field), raw)
        for video, fields in WHOLE.rows.items()
        for field, raw in fields.items()
    )
    assert WHOLE.meta.digest == f"{total % DIGEST_MODULUS:032x}"


def test_one_counter_more_is_another_digest() -> None:
    more = Folding(GENERATION).fold(LOG).fold([Placed(impression("new", video="v0"), 10**6)])
    assert more.flush().meta.digest != WHOLE.meta.digest


def test_rows_come_back_from_their_bytes_as_they_were() -> None:
    for video, state in WHOLE.state.videos.items():
        again = load_video(video, WHOLE.rows.get(video, {}))
        stored = {
            name: dataclasses.replace(row, epoch=-1, weighed=None, summed=None, sums=None, hot=None)
            for name, row in state.slices.items()
        }
        assert again.slices == stored
        assert again.row == state.row


# ---------------------------------------------------------------- counted exactly


def rooms_of(log: Sequence[Placed]) -> dict[str, int]:
    """Live rooms, and where each was admitted."""
    return {
        place.event.video: place.offset
        for place in reversed(log)
        if isinstance(place.event, Admit) and place.event.format == "live"
    }


def recount(log: Sequence[Placed]) -> Counter[tuple[str, str, str]]:
    """Feedback by (video, slice, counter), the plain way."""
    window, seen = Window(GENERATION), Counter[tuple[str, str, str]]()
    firsts = {Comment: "commenters", Share: "sharers", Report: "reporters", Order: "buyers"}
    rooms = rooms_of(log)
    for event, offset, _ in log:
        if isinstance(event, Generation):
            window.lengthen(offset, event.records)
        if not isinstance(event, InteractionRecord):
            continue
        if offset >= window.end:
            window.turn(offset)
        pair = f"{event.video} {event.viewer} {type(event)}"
        if window._met(event.id):
            continue
        first = type(event) in firsts and not window._met(pair)
        slice_id = window.settle(event)
        if not slice_id:
            continue
        key = (event.video, slice_id)
        if first:
            seen[*key, firsts[type(event)]] += 1
        if isinstance(event, View):
            seen[*key, "views"] += 1
            seen[*key, "watch_ms"] += event.watch_ms
            in_room = offset > rooms.get(event.video, offset)
            whole = 30_000 if in_room else event.duration_ms
            seen[*key, "completes"] += event.watch_ms >= 0.95 * whole
        elif isinstance(event, Unlike):
            seen[*key, "likes"] -= 1
        else:
            seen[*key, f"{type(event).__name__.lower()}s"] += 1
        seen[*key, "gift_amount"] += event.amount if isinstance(event, Gift) else 0
        seen[*key, "stay_ms"] += event.stay_ms if isinstance(event, Stay) else 0
    return seen


def test_every_counter_is_what_a_recount_of_the_log_says() -> None:
    counted: Counter[tuple[str, str, str]] = Counter()
    for video, state in WHOLE.state.videos.items():
        for slice_id, row in state.slices.items():
            for name in COUNTERS:
                if not name.startswith("ratio"):
                    counted[video, slice_id, name] = getattr(row, name)
    assert +counted == +recount(LOG)


def test_every_event_has_exactly_one_outcome() -> None:
    by_type: Counter[str] = Counter()
    for (kind, _), count in WHOLE.outcomes.items():
        by_type[kind] += count
    assert by_type == Counter(EVENT_TYPES[type(place.event)] for place in LOG)
    invalid = sum(count for (_, outcome), count in WHOLE.outcomes.items() if outcome == "invalid")
    assert invalid == len(WHOLE.rejected)


def test_a_row_holds_what_was_watched_and_not_what_it_was_worth() -> None:
    row = folded([view("e1", watch_ms=2_500), view("e2", watch_ms=99_000)]).row(FOOTBALL)
    assert row.ratio_sum == 250_000 + 1_000_000
    assert row.ratio_sq == 250_000**2 // 10**6 + 10**6
    assert (row.views, row.watch_ms, row.completes) == (2, 101_500, 1)


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 20_000)), max_size=40))
def test_shares_watched_add_up_view_by_view(watches: list[tuple[int, int]]) -> None:
    events: list[LogRecord] = [
        view(f"e{number}", watch_ms=watched, duration_ms=duration)
        for number, (watched, duration) in enumerate(watches)
    ]
    ratios = [min(watched * 10**6 // duration, 10**6) for watched, duration in watches]
    row = folded([*events, impression("last")]).row(FOOTBALL)
    assert row.ratio_sum == sum(ratios)
    assert row.ratio_sq == sum(ratio * ratio // 10**6 for ratio in ratios)


TEN_SHOWN = [act for number in range(10) for act in (impression(f"i{number}"), view(f"e{number}"))]
BUTTONS = (Comment, Follow, Hide, Like, Order, Report, Share)


@pytest.mark.parametrize("kind", [*BUTTONS, View])
def test_more_feedback_is_weighed_anew(kind: type) -> None:
    """What a row says is computed once; any feedback after that must count at once."""
    done = folded([FIXED, admit(), *TEN_SHOWN, impression("late", viewer="u9")])
    outlook, video, row = done.state.outlook, done.video(), done.row(FOOTBALL)
    assert outlook is not None
    before = assess(outlook, video, FOOTBALL, row)
    about = ("new", "v1", "u9", FOOTBALL, NOW)
    event = View(*about, 5_000, 10_000) if kind is View else kind(*about)
    done.fold(placed([event], 100))
    assert assess(outlook, video, FOOTBALL, row).value != before.value


@pytest.mark.parametrize("kind", Weightless.__args__)
def test_what_weighs_nothing_is_counted_and_changes_no_judgement(kind: type) -> None:
    done = folded([FIXED, admit(), *TEN_SHOWN, impression("late", viewer="u9")])
    outlook, video, row = done.state.outlook, done.video(), done.row(FOOTBALL)
    assert outlook is not None
    before, presses = assess(outlook, video, FOOTBALL, row), row.presses
    more = {Gift: (12,), Stay: (40_000,)}.get(kind, ())
    events = [kind(f"new-{n}", "v1", "u9", FOOTBALL, NOW, *more) for n in range(30)]
    done.fold(placed(events, 100))
    assert getattr(row, f"{EVENT_TYPES[kind]}s") == 30
    assert (row.gift_amount, row.stay_ms) == (360 * (kind is Gift), 1_200_000 * (kind is Stay))
    row.weighed = None
    assert assess(outlook, video, FOOTBALL, row) == before
    assert row.presses == presses


def test_a_like_taken_back_is_weighed_anew() -> None:
    done = folded([FIXED, admit(), *TEN_SHOWN, like("l", viewer="u-i1", slice_id=FOOTBALL)])
    outlook, video, row = done.state.outlook, done.video(), done.row(FOOTBALL)
    assert outlook is not None
    before = assess(outlook, video, FOOTBALL, row)
    done.fold(placed([unlike("u", viewer="u-i1", slice_id=MUSIC)], 100))
    assert assess(outlook, video, FOOTBALL, row).value == before.value - WEIGHTS.like


def test_a_like_taken_back_leaves_no_trace_in_the_counters() -> None:
    row = folded([view("e1"), like("e2"), unlike("e3")]).row(FOOTBALL)
    plain = folded([view("e1")]).row(FOOTBALL)
    assert [getattr(row, name) for name in COUNTERS] == [getattr(plain, name) for name in COUNTERS]


def test_no_counter_ever_falls_below_zero() -> None:
    states: list[LogRecord] = [like("a"), like("b", slice_id=MUSIC), unlike("c", slice_id=MUSIC)]
    done = Folding(generation=1)
    for offset, event in enumerate(states):
        done.fold([Placed(event, offset)])
        assert all(row.likes >= 0 for row in done.video().slices.values())


def test_feedback_before_an_admission_is_counted_and_decides_nothing() -> None:
    done = folded([view("e1")])
    assert done.row(FOOTBALL).views == 1
    assert not done.receipts


# ---------------------------------------------------------------- outcomes


def test_an_event_older_than_the_limit_is_late_and_counted() -> None:
    old = view("e2", ts=NOW - HOUR_MS - 1)
    done = folded([FIXED, view("e1"), old, view("e3", ts=NOW - HOUR_MS)])
    assert done.outcomes["view", "late"] == 1
    assert done.row(FOOTBALL).views == 3


def test_what_is_late_does_not_depend_on_the_batch_that_a_policy_came_in() -> None:
    events: list[LogRecord] = [view("e1"), FIXED, view("e2", ts=NOW - 2 * HOUR_MS)]
    apart = Folding()
    for place in placed(events):
        apart.fold([place])
    assert folded(events).outcomes == apart.outcomes
    assert apart.outcomes["view", "late"] == 1


def test_a_video_of_another_partition_is_misrouted() -> None:
    done = Folding(partition=0, partitions=12).fold(placed([view("e1", video="v1")]))
    assert [said.reason for said in done.rejected] == ["misrouted"]
    assert not done.flush().rows


def test_a_video_holds_feedback_in_so_many_slices_and_no_more() -> None:
    crowds = [f"discover:c{number}" for number in range(SLICES_PER_VIDEO + 1)]
    done = folded([view(f"e{name[10:]}", slice_id=name) for name in crowds])
    assert [said.reason for said in done.rejected] == ["slice_limit"]
    assert len(done.video().slices) == SLICES_PER_VIDEO
    done.fold(placed([view("again", slice_id=crowds[0])], 1_000))
    assert done.row(crowds[0]).views == 2


def test_a_policy_that_names_no_slice_never_comes_into_force() -> None:
    odd = policy(slices={**FIXED.slices, "discover:A B": FIXED.slices[MUSIC]})
    done = folded([odd])
    assert [said.reason for said in done.rejected] == ["slice"]
    assert done.state.policy is None


@pytest.mark.parametrize("event", [admit(), hold(), release()])
def test_without_a_policy_nothing_is_admitted(event: LogRecord) -> None:
    done = folded([event])
    assert [said.reason for said in done.rejected] == ["illegal_move"]


def test_a_takedown_before_any_policy_is_remembered() -> None:
    done = folded([takedown(seq=1)]).flush()
    assert done.own().stage == "removed"
    assert VIDEO_ROW in done.rows["v1"]


def test_only_names_of_slices_become_fields_beside_the_own_row() -> None:
    fields = {field for fields in WHOLE.rows.values() for field in fields}
    assert all(field == VIDEO_ROW or is_slice(field) for field in fields)
    assert {FOOTBALL, BASKETBALL} < fields


def test_likes_of_the_log_are_states() -> None:
    kinds = Counter(type(place.event) for place in LOG)
    assert 0 < WHOLE.outcomes["like", "applied"] < kinds[Like]

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kit.events import FOOTBALL, MUSIC, NOW, like, unlike

from streams.core.events import (
    Comment,
    Follow,
    Hide,
    Interaction,
    InteractionRecord,
    Like,
    Unlike,
)
from streams.core.window import REPLAYED_GENERATIONS, Part, Window

GENERATION = 4
KINDS: list[type[Like | Unlike | Follow | Hide | Comment]] = [
    *(Like, Like, Unlike),
    *(Follow, Hide, Comment),
]
Log = list[tuple[int, InteractionRecord]]


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Small alphabets, so that everything repeats; offsets rise, repeat (arrays) and jump."""
    offset = 0
    log: Log = []
    for _ in range(draw(st.integers(0, 40))):
        offset += draw(st.sampled_from([0, 1, 1, 1, 2, 5]))
        kind = draw(st.sampled_from(KINDS))
        number = draw(st.integers(0, 25))
        viewer, slice_id = draw(st.sampled_from("ab")), draw(st.sampled_from([FOOTBALL, MUSIC]))
        log.append((offset, kind(f"e{number}", "v1", viewer, slice_id, NOW)))
    return log


def generation_of(offset: int) -> int:
    return offset // GENERATION


def in_window(log: Log, at: int) -> Log:
    """The events before place `at` in its generation or the one before."""
    now = generation_of(log[at][0])
    return [(offset, event) for offset, event in log[:at] if generation_of(offset) >= now - 1]


def repeats_by_id(log: Log, at: int) -> bool:
    return log[at][1].id in {event.id for _, event in in_window(log, at)}


def acts_before(log: Log, at: int) -> Log:
    """What the same viewer did with the same video before, repeated ids left out."""
    event = log[at][1]
    return [
        (offset, earlier)
        for place, (offset, earlier) in enumerate(log[:at])
        if not repeats_by_id(log, place)
        and (earlier.viewer, earlier.video) == (event.viewer, event.video)
    ]


def settled(log: Log, at: int) -> str:
    """The slice that a new event changes, by looking through the whole log."""
    offset, event = log[at]
    acts = acts_before(log, at)
    before = [act for place, act in acts if generation_of(place) >= generation_of(offset) - 1]
    if isinstance(event, Follow | Hide):
        return "" if any(type(earlier) is type(event) for earlier in before) else event.slice
    states = [act for act in before if isinstance(act, Like | Unlike)]
    liked = bool(states) and isinstance(states[-1], Like)
    if isinstance(event, Like):
        return "" if liked else event.slice
    if isinstance(event, Unlike):
        return taken_back(log, at, acts) if liked else ""
    return event.slice


def taken_back(log: Log, at: int, acts: Log) -> str:
    """The slice of the like that counted, "" if three generations do not tell that it did."""
    now = generation_of(log[at][0])
    ended = [n for n, (_, act) in enumerate(acts) if isinstance(act, Unlike)]
    in_force = [one for one in acts[ended[-1] + 1 if ended else 0 :] if isinstance(one[1], Like)]
    counted = in_force[-1]
    for like_before in reversed(in_force):  # from repeat to what it repeats
        if generation_of(like_before[0]) >= generation_of(counted[0]) - 1:
            counted = like_before
    born = generation_of(counted[0])
    after_unlike = bool(ended) and generation_of(acts[ended[-1]][0]) == born
    pair = (log[at][1].viewer, log[at][1].video)
    older_like = any(
        generation_of(offset) == now - 3
        and isinstance(event, Like)
        and (event.viewer, event.video) == pair
        for offset, event in log[:at]
    )
    known = born >= now - 1 or (born == now - 2 and (after_unlike or not older_like))
    return counted[1].slice if known else ""


def answers(window: Window, log: Log) -> list[str]:
    """What the window says to each event: "" counts nothing."""
    said: list[str] = []
    for offset, event in log:
        if offset >= window.end:
            window.turn(offset)
        if window._met(event.id):
            window.repeat(event)
            said.append("")
        else:
            said.append(window.settle(event))
    return said


@contextmanager
def parts_of(records: int) -> Iterator[None]:
    """Have generations fill by parts of so many records."""
    with patch("streams.core.generations.PART_RECORDS", records):
        yield


def filling() -> Window:
    """A window whose owner takes the parts that fill."""
    window = Window(GENERATION)
    window.filled = []
    return window


@given(logs(), st.integers(1, GENERATION))
def test_what_fills_in_parts_answers_like_what_does_not(log: Log, records: int) -> None:
    whole = answers(Window(GENERATION), log)
    with parts_of(records):
        assert answers(Window(GENERATION), log) == whole


@given(logs(), st.integers(1, GENERATION), st.data())
def test_a_frozen_window_goes_on_as_the_one_that_lived(
    log: Log, records: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(log)))
    with parts_of(records):
        window, thawed = Window(GENERATION), Window(GENERATION)
        answers(window, log[:cut])
        thawed.thaw(window.frozen())
        assert thawed.frozen() == window.frozen()
        assert answers(thawed, log[cut:]) == answers(window, log[cut:])


@given(logs(), st.integers(1, GENERATION), st.data())
def test_full_parts_that_are_loaded_stand_for_the_log(
    log: Log, records: int, data: st.DataObject
) -> None:
    """With what the log has of the part of the last record, nothing is missing."""
    cut = data.draw(st.integers(1, max(len(log), 1)))
    assume(cut < len(log) and log[cut][0] > log[cut - 1][0])  # records are taken whole
    with parts_of(records):
        lived, loaded = filling(), Window(GENERATION)
        live = answers(lived, log)[cut:]
        at, _ = lived.generations.part(log[cut - 1][0])
        ids_from = lived.generations.back(at, 1)
        first = lived.generations.back(at, REPLAYED_GENERATIONS)
        for part in lived.filled or ():
            if first <= part.start < at:
                needed = part if part.start >= ids_from else part._replace(ids=(), digests=b"")
                loaded.load(needed)
        answers(loaded, [(offset, event) for offset, event in log[:cut] if offset >= at])
        assert answers(loaded, log[cut:]) == live


@given(logs(), st.integers(1, GENERATION))
def test_the_parts_that_filled_leave_no_gap_in_the_window(log: Log, records: int) -> None:
    with parts_of(records):
        window = filling()
        answers(window, log)
        assume(window.end)
        begun, _ = window.generations.part(log[0][0])
        first = max(window.generations.back(window.part, REPLAYED_GENERATIONS), begun)
        bounds = [(part.start, part.end) for part in window.filled or () if part.start >= first]
        expected = []
        while first < window.part:
            expected.append(window.generations.part(first))
            first = expected[-1][1]
        assert bounds == expected


def test_a_generation_that_becomes_long_goes_on_with_what_it_knew() -> None:
    def events(window: Window) -> list[bool]:
        window.repeats(like("e1"), 0)
        window.repeats(like("e2", viewer="u2"), 5)
        window.lengthen(6, 400)
        window.repeats(like("e3", viewer="u3"), 7)
        return [window.repeats(like(f"e{n}", viewer="u9"), 398) for n in (1, 2, 3, 4)]

    expected = events(Window(GENERATION))
    with parts_of(100):
        assert events(Window(GENERATION)) == expected
    with parts_of(6):
        assert events(Window(GENERATION)) == expected


def test_digests_are_not_taken_for_the_ids_of_a_short_generation() -> None:
    with pytest.raises(ValueError, match="digests"):
        Window(GENERATION).load(Part(0, GENERATION, digests=b"0" * 16))


@given(logs())
def test_an_id_is_a_duplicate_if_met_in_this_generation_or_the_previous(log: Log) -> None:
    window = Window(GENERATION)
    for at, (offset, event) in enumerate(log):
        plain = Comment(event.id, event.video, event.viewer, event.slice, event.ts)
        assert window.repeats(plain, offset) == repeats_by_id(log, at)


@given(logs())
def test_likes_follows_and_hides_are_states_of_viewer_and_video(log: Log) -> None:
    expected = ["" if repeats_by_id(log, at) else settled(log, at) for at in range(len(log))]
    assert answers(Window(GENERATION), log) == expected


@given(logs())
def test_repeats_is_the_answer_of_id_and_state_together(log: Log) -> None:
    window = Window(GENERATION)
    assert [window.repeats(event, offset) for offset, event in log] == [
        not said for said in answers(Window(GENERATION), log)
    ]


def rebuilt(log: Log, cut: int, generations: int) -> Window:
    """A window that read again only so many whole generations before that of the next offset."""
    window = Window(GENERATION)
    if cut:
        first = (generation_of(log[cut - 1][0] + 1) - generations) * GENERATION
        for offset, event in log[:cut]:
            if offset >= first:
                window.repeats(event, offset)
    return window


@given(logs(), st.data())
def test_a_window_rebuilt_after_a_restart_answers_like_the_one_that_lived(
    log: Log, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(log)))
    assume(not 0 < cut < len(log) or log[cut][0] > log[cut - 1][0])  # records are taken whole
    live = answers(Window(GENERATION), log)[cut:]
    assert answers(rebuilt(log, cut, REPLAYED_GENERATIONS), log[cut:]) == live


def test_reading_one_generation_back_would_not_be_enough() -> None:
    log: Log = [
        (0, like("e1", viewer="a")),  # liked
        (1, unlike("e2", viewer="a")),  # and taken back
        (GENERATION, like("e1", viewer="a")),  # the same record once more: counts nothing
        (2 * GENERATION, like("e3", viewer="b")),
        (2 * GENERATION + 1, like("e4", viewer="a")),  # liked again: counts
    ]
    live = answers(Window(GENERATION), log)
    assert live == [FOOTBALL, FOOTBALL, "", FOOTBALL, FOOTBALL]
    assert answers(rebuilt(log, 4, 1), log[4:]) != live[4:]
    assert answers(rebuilt(log, 4, REPLAYED_GENERATIONS), log[4:]) == live[4:]


def test_nor_would_two() -> None:
    log: Log = [
        (0, like("e1", slice_id=FOOTBALL)),
        (GENERATION, like("e2", slice_id=MUSIC)),  # a repeat: counts nothing
        (2 * GENERATION, like("e3", slice_id=MUSIC)),  # so does this one
        (3 * GENERATION, like("e4", viewer="b")),
        (3 * GENERATION + 1, unlike("e5")),  # of a like of generation 0: not known to count
    ]
    live = answers(Window(GENERATION), log)
    assert live == [FOOTBALL, "", "", FOOTBALL, ""]
    assert answers(rebuilt(log, 4, 2), log[4:]) == [MUSIC]
    assert answers(rebuilt(log, 4, REPLAYED_GENERATIONS), log[4:]) == live[4:]


def chain(repeats: int) -> Log:
    """A like in football, repeated in another slice in each generation after it, then an unlike."""
    likes: Log = [
        (n * GENERATION, like(f"e{n}", slice_id=MUSIC if n else FOOTBALL))
        for n in range(repeats + 1)
    ]
    return [*likes, ((repeats + 1) * GENERATION, unlike("last", slice_id=MUSIC))]


@pytest.mark.parametrize(("repeats", "taken"), [(0, FOOTBALL), (1, FOOTBALL), (2, ""), (5, "")])
def test_an_unlike_takes_back_the_like_that_counted_or_none(repeats: int, taken: str) -> None:
    assert answers(Window(GENERATION), chain(repeats)) == [FOOTBALL, *[""] * repeats, taken]


@pytest.mark.parametrize("repeats", range(6))
def test_a_restart_in_any_generation_of_a_chain_of_repeats_changes_no_answer(repeats: int) -> None:
    log = chain(repeats)
    live = answers(Window(GENERATION), log)
    for cut in range(len(log) + 1):
        assert answers(rebuilt(log, cut, REPLAYED_GENERATIONS), log[cut:]) == live[cut:]


def test_a_duplicate_like_of_three_generations_ago_leaves_open_what_counted() -> None:
    """Whether it was a duplicate is not known from there on, and a restart must not guess."""
    log: Log = [
        (0, like("e0", slice_id=MUSIC)),
        (GENERATION, like("e0", slice_id=MUSIC)),  # the same record again
        (2 * GENERATION, like("e1")),
        (3 * GENERATION, like("e2", slice_id=MUSIC)),
        (4 * GENERATION, unlike("e3")),
    ]
    live = answers(Window(GENERATION), log)
    assert live == [MUSIC, "", FOOTBALL, "", ""]
    assert answers(rebuilt(log, 4, REPLAYED_GENERATIONS), log[4:]) == live[4:]


@pytest.mark.parametrize(
    ("offset", "forgotten"),
    [(GENERATION - 1, False), (2 * GENERATION - 1, False), (2 * GENERATION, True)],
)
def test_an_id_is_forgotten_two_generations_later(offset: int, forgotten: bool) -> None:
    window = Window(GENERATION)
    window.repeats(like("e1"), 0)
    window.repeats(like("other", viewer="else"), GENERATION - 1)
    for between in range(GENERATION, offset):
        window.repeats(like(f"e{between + 100}", viewer=f"u{between}"), between)
    again = Comment("e1", "v1", "u1", FOOTBALL, NOW)
    assert window.repeats(again, offset) is not forgotten


def test_a_generation_without_any_event_leaves_nothing_behind() -> None:
    window = Window(GENERATION)
    window.repeats(like("e1"), 0)
    assert not window.repeats(like("e1"), 2 * GENERATION)


def counts(window: Window, events: Sequence[Interaction]) -> list[str]:
    return ["" if window.repeats(event, 0) else type(event).__name__.lower() for event in events]


def test_a_second_like_counts_nothing_until_an_unlike_took_back_the_first() -> None:
    events = [like("e1"), like("e2"), unlike("e3"), unlike("e4"), like("e5")]
    assert counts(Window(10), events) == ["like", "", "unlike", "", "like"]


def test_an_unlike_takes_back_the_like_in_the_slice_where_it_counted() -> None:
    window = Window(10)
    window.repeats(like("e1", slice_id=FOOTBALL), 0)
    window.repeats(like("e2", slice_id=MUSIC), 1)
    assert window.settle(unlike("e3", slice_id=MUSIC)) == FOOTBALL


def test_states_belong_to_one_viewer_and_one_video() -> None:
    events = [like("e1"), like("e2", viewer="u2"), like("e3", video="v2")]
    assert counts(Window(10), events) == ["like", "like", "like"]


def test_a_follow_is_no_hide_and_an_id_is_no_state() -> None:
    about = ("v1", "u1", FOOTBALL, NOW)
    events = [Follow("e1", *about), Hide("e2", *about), Follow("e3", *about), Hide("e4", *about)]
    assert counts(Window(10), events) == ["follow", "hide", "", ""]


def test_a_window_that_is_filled_again_knows_whose_comment_was_the_first() -> None:
    window, later = Window(100), Comment("e2", "v1", "a", FOOTBALL, NOW)
    assert not window.repeats(Comment("e1", "v1", "a", FOOTBALL, NOW), 0)
    assert not window.is_first(later)

from collections.abc import Sequence

import pytest
from hypothesis import given
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
from streams.core.window import REPLAYED_GENERATIONS, Window

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


def settled(log: Log, at: int) -> str:
    """The slice that a new event changes, by looking through the whole log."""
    event = log[at][1]
    now = generation_of(log[at][0])
    before = [
        earlier
        for place, (offset, earlier) in enumerate(log[:at])
        if generation_of(offset) >= now - 1
        and not repeats_by_id(log, place)
        and (earlier.viewer, earlier.video) == (event.viewer, event.video)
    ]
    if isinstance(event, Follow | Hide):
        return "" if any(type(earlier) is type(event) for earlier in before) else event.slice
    liked_in = ""
    for earlier in before:
        if isinstance(earlier, Like):
            liked_in = liked_in or earlier.slice
        elif isinstance(earlier, Unlike):
            liked_in = ""
    if isinstance(event, Like):
        return "" if liked_in else event.slice
    return liked_in if isinstance(event, Unlike) else event.slice


def answers(window: Window, log: Log) -> list[str]:
    """What the window says to each event: "" counts nothing."""
    said: list[str] = []
    for offset, event in log:
        if offset >= window.end:
            window.turn(offset)
        said.append("" if window._met(event.id) else window.settle(event))
    return said


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
    """A window that read again only the last whole generations before the cut."""
    window = Window(GENERATION)
    if cut:
        first = (generation_of(log[cut - 1][0]) - generations) * GENERATION
        for offset, event in log[:cut]:
            if offset >= first:
                window.repeats(event, offset)
    return window


@given(logs(), st.data())
def test_a_window_rebuilt_after_a_restart_answers_like_the_one_that_lived(
    log: Log, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(log)))
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

"""Which records a selection takes."""

import pytest
from kit.events import NOW, encode, record, view

from streams.recording.selection import Selection, parse_where

VIEW = record(encode(view("e1", video="v7")), timestamp=NOW, key=b"v7", partition=2)
ARRAY = record(encode([view("e1", video="a"), view("e2", video="b", viewer="u9")]))


@pytest.mark.parametrize(
    ("where", "taken"),
    [
        ("type=view", True),
        ("type=like", False),
        ("video=v7", True),
        ("watch_ms=5000", True),
        ("watch_ms=500", False),
        ("colour=red", False),
        ("key=v7", True),
        ("key=v8", False),
        ("partition=2", True),
        ("topic=interactions", True),
        ("topic=other", False),
    ],
)
def test_a_condition_names_a_field_or_a_part_of_the_record(where: str, taken: bool) -> None:
    assert Selection(where=parse_where((where,))).takes(VIEW) is taken


def test_all_conditions_must_hold() -> None:
    assert Selection(where={"type": "view", "partition": "2"}).takes(VIEW)
    assert not Selection(where={"type": "view", "partition": "1"}).takes(VIEW)


def test_one_event_of_an_array_must_meet_them_all() -> None:
    assert Selection(where={"video": "b", "viewer": "u9"}).takes(ARRAY)
    assert not Selection(where={"video": "a", "viewer": "u9"}).takes(ARRAY)


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff", b"[[1]]", b"7"])
def test_a_value_without_fields_meets_no_condition_on_one(value: object) -> None:
    assert not Selection(where={"type": "view"}).takes(record(value))
    assert Selection(where={"topic": "interactions"}).takes(record(value))


def test_the_start_is_taken_and_the_end_left_out() -> None:
    assert Selection(start_ms=NOW, end_ms=NOW + 1).takes(VIEW)
    assert not Selection(start_ms=NOW + 1).takes(VIEW)
    assert not Selection(end_ms=NOW).takes(VIEW)


def test_no_condition_is_no_selection() -> None:
    assert not Selection()
    assert Selection(end_ms=0)


@pytest.mark.parametrize("conditions", [("type",), ("=view",), ("a=1", "a=2")])
def test_what_is_no_condition_is_refused(conditions: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="write NAME=TEXT"):
        parse_where(conditions)

"""What people write is judged in words: the key, the value, what to write."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from streams.errors import Misconfigured
from streams.shapes import Problem, problems, shaped


class Bounds(Struct, frozen=True, forbid_unknown_fields=True):
    least: Annotated[int, Meta(ge=0)] | None = None


class Rule(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"\A[a-z]+\Z", description="a name of a-z")]
    share: Decimal
    kind: Literal["approve", "reject"] = "approve"
    words: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    bounds: Bounds = Bounds()
    tags: dict[Literal["scene", "music"], dict[str, Decimal]] = {}
    rows: Annotated[tuple[dict[str, Any], ...], Meta(max_length=1)] = ()
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    sold: bool | None = None
    old: tuple[int, int] = (0, 0)


class Open(Struct):
    name: str


WELL: dict[str, object] = {"name": "x", "share": 0.5}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"name": "X"}, 'name is "X": write a name of a-z'),
        ({"share": "half"}, 'share is "half": write a number'),
        ({"kind": "allow"}, 'kind is "allow": write one of approve, reject'),
        ({"words": ["a", ""]}, 'words[2] is "": write text'),
        ({"words": "a"}, 'words is "a": write a list of values'),
        ({"bounds": 7}, "bounds is 7: write a table"),
        ({"bounds": {"least": -1}}, "bounds.least is -1: write a whole number from 0 on"),
        ({"bounds": {"leest": 1}}, "bounds.leest is not known: did you mean least?"),
        ({"tags": {"scenes": {}}}, "tags.scenes is no name for this: did you mean scene?"),
        ({"tags": {"mood": {}}}, "tags.mood is no name for this: write one of music, scene"),
        ({"tags": {"scene": {"sea": "x"}}}, 'tags.scene.sea is "x": write a number'),
        ({"rows": [{}, {}]}, "rows is [{}, {}]: write a list of tables, at most 1"),
        ({"port": 70_000}, "port is 70000: write a whole number from 0 to 65535"),
        ({"sold": "yes"}, 'sold is "yes": write true or false'),
        ({"old": [1]}, "old is [1]: write a list of two: least and most"),
    ],
)
def test_a_problem_names_key_value_and_what_to_write(change: dict[str, object], line: str) -> None:
    assert [str(problem) for problem in problems(WELL | change, Rule)] == [line]


def test_what_is_missing_says_what_to_write() -> None:
    assert problems({"share": 1}, Rule) == [Problem("name", "is missing: write a name of a-z")]


def test_every_problem_is_told_and_the_error_shows_the_first() -> None:
    with pytest.raises(
        Misconfigured, match=r"^f: nam is not known: did you mean name\? \(and 2"
    ) as told:
        shaped({"nam": 1, "share": "x"}, Rule, "f")
    assert len(told.value.problems) == 3
    assert "\n" not in str(told.value)


def test_what_is_sound_becomes_the_type() -> None:
    assert shaped(WELL | {"tags": {"scene": {"sea": 0.5}}}, Rule, "f").tags == {
        "scene": {"sea": Decimal("0.5")}
    }
    assert shaped({"name": "x", "more": 1}, Open, "f") == Open("x")


def test_a_long_value_is_cut_and_a_password_is_never_shown() -> None:
    assert str(problems(WELL | {"sold": "x" * 99}, Rule)[0]).count("x") < 70
    for url in ("http://app:hunter2@host", "app:hunter2@host"):
        assert "hunter2" not in str(problems(WELL | {"sold": url}, Rule)[0])

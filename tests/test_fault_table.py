"""The page of faults names tests that exist, and every kind of bad input with its reason."""

import ast
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
from runtime.test_codec import BAD

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / ".docs" / "faults.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))
ROWS = [
    line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| fault")
]


@cache
def nights_of(file: str) -> Mapping[str, bool]:
    """Return the tests of a file, and whether each waits for the night."""
    module = ast.parse((TESTS / file).read_text("utf-8"))
    marks = [ast.unparse(each) for each in module.body if isinstance(each, ast.Assign)]
    night = any(each.startswith("pytestmark") and "mark.slow" in each for each in marks)
    return {
        node.name: night or any("mark.slow" in ast.unparse(each) for each in node.decorator_list)
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_each_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in nights_of(file)


def test_what_is_for_the_night_is_marked() -> None:
    for row in ROWS:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        if any(nights_of(file)[name] for file, name in named):
            assert "*n*" in row, row


def test_every_bad_input_stands_under_its_reason() -> None:
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for name, (_, reason) in BAD.items():
        wanted[reason].append(name)
    told: dict[str, Sequence[str]] = {}
    for reason, names in re.findall(r"^\| `(\w+)` \| ((?:\w+(?:, )?)+) \|$", PAGE, re.MULTILINE):
        told[reason] = names.split(", ")
    assert told == wanted

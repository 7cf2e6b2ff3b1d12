"""RFC 7396, its own examples first."""

import json
from typing import Any

import pytest

from streams.errors import Misconfigured
from streams.ops.merge_patch import merge, parse_patch


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [  # appendix A of the RFC, as far as the patch is an object
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], {"a": "b"}, {"a": "b"}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_the_standard_hold(target: Any, patch: Any, merged: Any) -> None:
    assert json.loads(merge(json.dumps(target).encode(), patch)) == merged


def test_what_the_patch_does_not_name_keeps_its_own_spelling() -> None:
    spelled = b'{"n":18446744073709551616000,"f":1.500,"t":"\\u00e9","x":1}'
    assert merge(spelled, {"x": 2}) == spelled[:-2] + b"2}"


@pytest.mark.parametrize("text", ["", "[]", "7", '"x"', "{", '{"a":1} {}', "\ud800"])
def test_what_is_no_object_is_no_patch(text: str) -> None:
    with pytest.raises(Misconfigured, match="--patch is no JSON object"):
        parse_patch(text)

"""Viewers in what strangers wrote: found wherever they stand, and masked there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ops.masking import MASK, ShownRecord, names_viewer

VIEWER = "viewer-of-this-test"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


def with_viewer(path: list[str | int], leaf: object) -> object:
    for step in reversed(path):
        leaf = [leaf] * (step + 1) if isinstance(step, int) else {step: leaf, "viewer": VIEWER}
    return {"viewer": VIEWER, "more": leaf}


@given(st.lists(st.sampled_from(["a", "viewer", 0, 2]), max_size=8), JSON, st.booleans())
def test_a_viewer_is_masked_at_any_depth_and_nothing_else_is(
    path: list[str | int], leaf: object, ascii_only: bool
) -> None:
    value = json.dumps(with_viewer(path, leaf), ensure_ascii=ascii_only).encode("utf-8", "replace")
    shown = ShownRecord(value, reveal=False)
    assert VIEWER not in str(shown.value)
    if "viewer" not in path:
        assert json.loads(value) == json.loads(json.dumps(shown.value).replace(MASK, VIEWER))


@pytest.mark.parametrize(
    "value",
    [b'{"viewer":["bob"]}', b'{"viewer":{"id":"bob"}}', b'{"\\u0076iewer":"b\\u006fb"}'],
)
def test_however_it_is_spelled(value: bytes) -> None:
    assert "bob" not in str(ShownRecord(value, reveal=False).value)


def test_what_is_no_json_is_told_by_its_size_alone() -> None:
    for value in (b"\xff bob", b'{"viewer":"bob"', b'{"viewer":"bob"}x', b"[" * 5_000 + b'"bob"'):
        assert ShownRecord(value, reveal=False).value == (
            f"{len(value):,} bytes, no JSON: see --reveal"
        )


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (b'{"viewer":"b\\u006fb"}', 1),
        (b'[{"viewer":"bob"},{"viewer":"bobby"},{"a":[{"viewer":"bob"}]}]', 2),
        (b'{"video":"bob"}', 0),
        (b'{"viewer":"bob"', 1),
        (b'{"viewer":"bobby"}', 0),
        (None, 0),
    ],
)
def test_events_of_a_viewer_are_counted(value: bytes | None, count: int) -> None:
    assert names_viewer(value, (), "bob") == count


def test_a_key_or_a_header_tells_too() -> None:
    assert names_viewer(b"{}", [None, b"bob"], "bob") == 1
    assert names_viewer(b"{}", [b"bobby"], "bob") == 0

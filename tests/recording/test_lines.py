"""A record survives the round trip through a line, whatever its bytes."""

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.recording.lines import Recorded, decode_lines, encode_lines, line_prefix

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BYTES = st.none() | st.binary(max_size=40) | st.text().map(lambda t: t.encode("utf-8", "ignore"))
SPELLED = JSON.map(lambda value: repr(value).encode("utf-8", "ignore")) | JSON.map(
    lambda value: (
        orjson.dumps(value, default=str, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
        if not _big(value)
        else b"18446744073709551616"
    )
)
NAMES = st.text(st.characters(codec="utf-8"), max_size=10)
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=12) | st.none()), max_size=3)


def _big(value: object) -> bool:
    if isinstance(value, int):
        return not -(2**63) <= value < 2**64
    if isinstance(value, list):
        return any(map(_big, value))
    return isinstance(value, dict) and any(map(_big, value.values()))


def round_trip(record: Recorded) -> Recorded:
    (line,) = encode_lines(line_prefix(record.topic, record.partition), [record])
    assert line.count(b"\n") == 1
    (back,) = decode_lines(line)
    return back


def line_of(value: bytes | None) -> dict[str, object]:
    record = Recorded("t", 0, 0, 1, None, value)
    fields: dict[str, object] = orjson.loads(encode_lines(line_prefix("t", 0), [record])[0])
    return fields


@given(
    key=BYTES,
    value=BYTES | SPELLED,
    headers=HEADERS,
    timestamp=st.integers(-1, 2**53),
    kind=st.integers(0, 1),
)
@example(key=b"", value=b"null", headers=[], timestamp=-1, kind=0)
@example(key=None, value=None, headers=[("", b""), ("", b"")], timestamp=0, kind=1)
@example(key=b"\xff", value=b'"a\\u0041"', headers=[("h", b"\xff\n")], timestamp=0, kind=0)
def test_every_byte_survives(
    key: bytes | None, value: object, headers: Any, timestamp: int, kind: int
) -> None:
    record = Recorded("interactions", 3, 7, timestamp, key, value, headers, kind)
    back = round_trip(record)
    assert [back.key, back.value, list(back.headers)] == [key, value, headers]
    assert (back.topic, back.partition, back.offset) == ("interactions", 3, 7)
    assert (back.timestamp, back.timestamp_type) == (timestamp, kind)


@pytest.mark.parametrize(
    "value",
    [
        b'{"a": 1}',  # white space
        b'{"a":1,"a":2}',  # a name twice
        b"18446744073709551616",  # becomes a float
        b"1.0e5",
        b"1E5",
        b"-0",
        b'"\\u0041"',  # an escape that nobody needs
        b"02",
        b"NaN",
        b"null",  # would read as a tombstone
        b"\xef\xbb\xbf{}",
        b"[" * 300 + b"]" * 300,  # deeper than the serialiser goes
    ],
)
def test_what_would_not_serialise_to_the_same_bytes_is_kept_as_text(value: object) -> None:
    assert line_of(value)["value_encoding"] == "utf8"
    assert line_of(value)["value"] == value.decode()


def test_json_that_serialises_to_the_same_bytes_is_embedded() -> None:
    line = line_of(b'{"type":"view","ts":1700000000000,"x":[1.5,null]}')
    assert line["value_encoding"] == "json"
    assert line["value"] == {"type": "view", "ts": 1_700_000_000_000, "x": [1.5, None]}


def test_bytes_that_are_no_text_are_base64() -> None:
    assert (line_of(b"\xff\x00")["value"], line_of(b"\xff\x00")["value_encoding"]) == (
        "/wA=",
        "base64",
    )


def test_a_tombstone_is_null() -> None:
    assert line_of(None)["value"] is None


def test_the_line_has_the_documented_fields_in_the_documented_order() -> None:
    assert list(line_of(b"{}")) == [
        *("topic", "partition", "offset", "timestamp", "timestamp_type"),
        *("key", "key_encoding", "value", "value_encoding", "headers"),
    ]


def test_headers_keep_their_order_and_their_repeats() -> None:
    headers = [("b", b"1"), ("a", b"2"), ("b", b"3")]
    assert list(round_trip(Recorded("t", 0, 0, 1, None, None, headers)).headers) == headers


def test_a_header_name_that_is_not_utf8_comes_back_as_it_was() -> None:
    headers = [("a", b"1"), (b"caf\xe9".decode("utf-8", "surrogateescape"), None), ("名", b"\xff")]
    record = Recorded("t", 0, 7, 1_695_645_345_123, b"v1", b"{}", headers)
    (line,) = encode_lines(line_prefix("t", 0), [record])
    assert b'"key":"Y2Fm6Q==","value":null,"key_encoding":"base64"' in line
    assert decode_lines(line) == [record]

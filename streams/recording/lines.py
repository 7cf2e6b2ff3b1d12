"""One record, one line of JSON, and back to the same bytes.

    {"topic":"interactions","partition":3,"offset":821122,"timestamp":1695645345123,
     "timestamp_type":"create","key":"v123","key_encoding":"utf8","value":{..},
     "value_encoding":"json","headers":[{"key":"..","value":".."}]}

`json` only if re-serialising gives the same bytes, else `utf8` (a JSON string of the text) or
`base64`; null is a tombstone, whatever the encoding says. A header's value is text, or carries
`"value_encoding":"base64"`, or is null where the header has none.
"""

import sys
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
import orjson

from streams.runtime.ports import Headers, Record

Encoding = Literal["json", "utf8", "base64"]
TimestampType = Literal["create", "log_append"]
TIMESTAMP_TYPES: Final[tuple[TimestampType, ...]] = ("create", "log_append")
"""Names of Kafka's timestamp types 0 and 1."""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A record as it was in the log; a `runtime.ports.Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # milliseconds since 1970, -1 where the log has none
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_type: int = 0  # place in TIMESTAMP_TYPES


class HeaderLine(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A header as a line spells it."""

    key: str
    value: str | None
    value_encoding: Literal["utf8", "base64"] = "utf8"


class Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A record as a line spells it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: TimestampType
    key: str | None
    key_encoding: Literal["utf8", "base64"]
    value: msgspec.Raw
    value_encoding: Encoding
    headers: list[HeaderLine]


_decode: Final = msgspec.json.Decoder(Line).decode_lines
_decode_text: Final = msgspec.json.Decoder(str).decode
LINE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
"""What `decode_lines` raises on text that is not lines of this format."""


def line_prefix(topic: str, partition: int) -> bytes:
    """Return how every line of a partition begins."""
    return b'{"topic":%b,"partition":%d,"offset":' % (orjson.dumps(topic), partition)


def encode_lines(prefix: bytes, records: Iterable[Record], limit: int = sys.maxsize) -> list[bytes]:
    r"""Return one line for each record of the partition that `prefix` is of, in their order.

    The line that brings them to `limit` bytes is the last: further records are not looked at.

    >>> record = Recorded("t", 0, 7, 1_695_645_345_123, b"v1", b'{"a":1}')
    >>> encode_lines(line_prefix("t", 0), [record])[0].decode().partition(',"timestamp_type"')[0]
    '{"topic":"t","partition":0,"offset":7,"timestamp":1695645345123'
    """
    lines = []
    size = 0
    for record in records:
        key, value, headers = record.key, record.value, record.headers
        spelled, encoding = _spell_value(value)
        line = (
            b'%b%d,"timestamp":%d,"timestamp_type":"%b","key":%b,"value":%b,'
            b'"value_encoding":"%b","headers":%b}\n'
        ) % (
            prefix,
            record.offset,
            record.timestamp,
            b"log_append" if getattr(record, "timestamp_type", 0) == 1 else b"create",
            _spell_key(key),
            spelled,
            encoding,
            _spell_headers(headers) if headers else b"[]",
        )
        lines.append(line)
        size += len(line)
        if size >= limit:
            break
    return lines


def decode_lines(text: bytes) -> list[Recorded]:
    """Return the records of whole lines; raises one of `LINE_ERRORS`."""
    out: list[Recorded] = []
    add = out.append
    for line in _decode(text):
        key, encoding = line.key, line.value_encoding
        value = bytes(line.value)
        if encoding != "json" or value == b"null":
            value = _read_value(value, encoding)  # type: ignore[assignment]
        add(
            Recorded(
                line.topic,
                line.partition,
                line.offset,
                line.timestamp,
                key if key is None else _read(key, line.key_encoding),
                value,
                [(header.key, _read_header(header)) for header in line.headers]
                if line.headers
                else (),
                0 if line.timestamp_type == "create" else 1,
            )
        )
    return out


def _spell_value(value: bytes | None) -> tuple[bytes, bytes]:
    if value is None:
        return b"null", b"utf8"
    try:
        if orjson.dumps(orjson.loads(value)) == value != b"null":
            return value, b"json"
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    return _spell(value)


def _spell(raw: bytes) -> tuple[bytes, bytes]:
    try:
        return orjson.dumps(raw.decode()), b"utf8"
    except UnicodeDecodeError:
        return b'"%b"' % b64encode(raw), b"base64"


def _spell_key(key: bytes | None) -> bytes:
    spelled, encoding = (b"null", b"utf8") if key is None else _spell(key)
    return b'%b,"key_encoding":"%b"' % (spelled, encoding)


def _spell_headers(headers: Headers) -> bytes:
    parts = []
    for name, value in headers:
        spelled, encoding = (b"null", b"utf8") if value is None else _spell(value)
        tail = b"" if encoding == b"utf8" else b',"value_encoding":"base64"'
        parts.append(b'{"key":%b,"value":%b%b}' % (orjson.dumps(name), spelled, tail))
    return b"[%b]" % b",".join(parts)


def _read(text: str, encoding: Encoding) -> bytes:
    return text.encode() if encoding == "utf8" else b64decode(text, validate=True)


def _read_value(raw: bytes, encoding: Encoding) -> bytes | None:
    return None if raw == b"null" else _read(_decode_text(raw), encoding)


def _read_header(header: HeaderLine) -> bytes | None:
    if header.value is None:
        return None
    return _read(header.value, header.value_encoding)

"""Bytes to events and back: typed decode of the log, sorted refusals, signatures, dead letters.

The hot path is `decode_log`: one parse per record by msgspec, the ids of a whole batch checked in
one pass. Whatever cannot be used comes back as a `Refusal` with its reason and its own bytes; a
bad element of an array does not lose its neighbours.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Raw

from streams.core.events import (
    CONTROL_TYPES,
    EVENT_TYPES,
    ControlRecord,
    InteractionRecord,
    LogRecord,
    Policy,
    Recognition,
    Review,
    Upload,
)
from streams.core.units import ID_ALPHABET
from streams.errors import DeadLetter, RejectReason
from streams.runtime.ports import Headers, Outgoing, Record
from streams.settings import DEAD_LETTER_SUFFIX

SIGNATURE: Final = "streams-signature"
"""Header of a control record: hex HMAC-SHA256(secret, key + NUL + value)."""
FUTURE_MS: Final = 300_000
"""An event may be this much ahead of its record's timestamp: clocks differ, prophets lie."""
ARRAY_MAX: Final = 10_000
APP_VERSION: Final = version("streams")

ControlTopic = Literal["uploads", "recognitions", "reviews"]

_decode_log: Final = msgspec.json.Decoder(InteractionRecord | list[InteractionRecord]).decode
_decode_element: Final = msgspec.json.Decoder(InteractionRecord).decode
_decode_elements: Final = msgspec.json.Decoder(list[Raw]).decode
_control_decoder: Final[msgspec.json.Decoder[ControlRecord]] = msgspec.json.Decoder(ControlRecord)
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw: Final = msgspec.json.Decoder(Raw).decode
_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "uploads": msgspec.json.Decoder(Upload),
    "recognitions": msgspec.json.Decoder(Recognition),
    "reviews": msgspec.json.Decoder(Review),
}
_FIELDS: Final = {kind: len(msgspec.structs.fields(kind)) + 1 for kind in EVENT_TYPES}
_PARSER_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)
encode: Final = msgspec.json.Encoder().encode
"""Any event to the bytes of its record."""


class Refusal(NamedTuple):
    """A record, or one element of its array, that goes to the dead letters."""

    record: Record
    element: int
    value: bytes | None  # the element's own bytes, the record's where it is not an array
    reason: RejectReason
    message: str  # names fields, never repeats payload


class Decoded(NamedTuple):
    """Events of a run of records in log order; `offsets` and `elements` say where they stood."""

    events: list[LogRecord]
    offsets: list[int]
    elements: list[int]
    refusals: list[Refusal]
    unknown_fields: int  # fields that the schema does not have; read over, counted


def decode_log(records: Sequence[Record], secret: bytes, limit: int) -> Decoded:
    """Decode records of the log; refuses, never raises, whatever the bytes.

    `secret` verifies control records, `limit` is the largest value in bytes that is parsed.
    """
    out = Decoded([], [], [], [], 0)
    add_event, add_offset = out.events.append, out.offsets.append
    add_element = out.elements.append
    unknown = 0
    for record in records:
        value = record.value
        try:
            if record.headers and _signed(record.headers):
                decoded = _open_control(record, secret, limit)
            else:
                if len(value) > limit:  # type: ignore[arg-type]
                    raise DeadLetter("too_large", f"{len(value)} bytes, {limit} allowed")  # type: ignore[arg-type]
                decoded = _decode_log(value)  # type: ignore[arg-type]
        except DeadLetter as letter:
            out.refusals.append(Refusal(record, 0, value, letter.reason, str(letter)))
            continue
        except _PARSER_ERRORS as error:
            unknown += _refuse(out, record, error)
            continue
        latest = record.timestamp + FUTURE_MS
        if isinstance(decoded, list):
            unknown += _add_array(out, record, decoded, latest)
        elif decoded.ts > latest:
            out.refusals.append(Refusal(record, 0, value, *_FUTURE))
        else:
            add_event(decoded)
            add_offset(record.offset)
            add_element(0)
            if value.count(b'":') != _FIELDS[type(decoded)]:  # type: ignore[union-attr]
                unknown += _unknown_fields(value, type(decoded))  # type: ignore[arg-type]
    checked = _check_ids(out, records)
    return checked._replace(unknown_fields=unknown)


def decode_one(
    topic: ControlTopic, value: bytes | None, limit: int
) -> Upload | Recognition | Review:
    """Decode one record of a control-plane topic; `DeadLetter` if it cannot be used."""
    try:
        if len(value) > limit:  # type: ignore[arg-type]
            raise DeadLetter("too_large", f"{len(value)} bytes, {limit} allowed")  # type: ignore[arg-type]
        event: Upload | Recognition | Review = _DECODERS[topic].decode(value)  # type: ignore[arg-type]
    except _PARSER_ERRORS as error:
        raise _classify(error, value) from None
    _require_ids(event)
    return event


def decode_interaction(value: bytes) -> InteractionRecord:
    """Decode one interaction; `DeadLetter` if it cannot be used."""
    try:
        event: InteractionRecord = _decode_element(value)
    except _PARSER_ERRORS as error:
        raise _classify(error, value) from None
    _require_ids(event)
    return event


def sign(secret: bytes, key: bytes | None, value: bytes) -> bytes:
    """Return the signature of a control record, to be sent in the header `SIGNATURE`.

    >>> sign(b"0123456789abcdef", b"v1", b"{}")[:16]
    b'26ebf674fd63298d'
    """
    return hmac.new(secret, (key or b"") + b"\0" + value, sha256).hexdigest().encode()


def control_record(
    topic: str, record: ControlRecord, secret: bytes, partition: int | None = None
) -> Outgoing:
    """Return a control record ready to be sent, signed; a policy needs its `partition` named."""
    value = encode(record)
    key = None if isinstance(record, Policy) else record.video.encode()
    headers = [(SIGNATURE, sign(secret, key, value))]
    return Outgoing(topic, value, key, headers, partition)


def dead_letter(refusal: Refusal, group: str, stage: str) -> Outgoing:
    """Return the dead letter of a refusal: original bytes, key, timestamp and headers, and why.

    `stage` is the part of the pipeline that refused: decode, fold or control.
    """
    record = refusal.record
    said = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "element": refusal.element,
        "timestamp": record.timestamp,
        "stage": stage,
        "reason": refusal.reason,
        "message": refusal.message,
        "attempts": 1,
        "consumer.group": group,
        "app.version": APP_VERSION,
    }
    headers = [
        *record.headers,
        *((f"__streams.errors.{name}", str(text).encode()) for name, text in said.items()),
        ("x-original-topic", record.topic.encode()),
    ]
    topic = record.topic + DEAD_LETTER_SUFFIX
    return Outgoing(topic, refusal.value, record.key, headers, None, record.timestamp)


def element_bytes(record: Record, element: int) -> bytes | None:
    """Return the bytes of one element of a record's array; the value itself if it is no array."""
    value = record.value
    if value is None or not value.lstrip().startswith(b"["):
        return value
    return bytes(_decode_elements(value)[element])


_FUTURE: Final[tuple[RejectReason, str]] = (
    "future",
    f"ts is more than {FUTURE_MS // 1000} s ahead of the record's timestamp",
)
_IDS: Final = ("id", "video", "viewer", "creator", "source", "by", "version")


def _add_array(out: Decoded, record: Record, events: list[InteractionRecord], latest: int) -> int:
    """Add the events of a well-formed array; return the fields that no schema has."""
    value = record.value or b""
    if not events:
        message = "an array without events"
        out.refusals.append(Refusal(record, 0, value, "not_object", message))
        return 0
    if len(events) > ARRAY_MAX:
        message = f"an array of {len(events)} events, {ARRAY_MAX} allowed"
        out.refusals.append(Refusal(record, 0, value, "too_large", message))
        return 0
    offset = record.offset
    for element, event in enumerate(events):
        if event.ts > latest:
            raw = element_bytes(record, element)
            out.refusals.append(Refusal(record, element, raw, *_FUTURE))
        else:
            out.events.append(event)
            out.offsets.append(offset)
            out.elements.append(element)
    if value.count(b'":') == sum([_FIELDS[type(event)] for event in events]):
        return 0
    raws = _decode_elements(value)
    return sum(_unknown_fields(raw, type(event)) for raw, event in zip(raws, events, strict=True))


def _refuse(out: Decoded, record: Record, error: Exception) -> int:
    """Sort out a record that did not parse: an array element by element, or all of it."""
    value = record.value
    if value is not None and isinstance(error, msgspec.ValidationError):
        try:
            elements = _decode_elements(value)
        except _PARSER_ERRORS:
            elements = None
        if elements is not None and len(elements) <= ARRAY_MAX:
            return _refuse_elements(out, record, elements)
    letter = _classify(error, value)
    out.refusals.append(Refusal(record, 0, value, letter.reason, str(letter)))
    return 0


def _refuse_elements(out: Decoded, record: Record, elements: list[Raw]) -> int:
    unknown = 0
    for element, raw in enumerate(elements):
        value = bytes(raw)
        try:
            event: InteractionRecord = _decode_element(value)
        except _PARSER_ERRORS as error:
            letter = _classify(error, value)
            out.refusals.append(Refusal(record, element, value, letter.reason, str(letter)))
            continue
        if event.ts > record.timestamp + FUTURE_MS:
            out.refusals.append(Refusal(record, element, value, *_FUTURE))
            continue
        out.events.append(event)
        out.offsets.append(record.offset)
        out.elements.append(element)
        unknown += _unknown_fields(value, type(event))
    return unknown


def _check_ids(out: Decoded, records: Sequence[Record]) -> Decoded:
    """Refuse events whose ids leave the alphabet: one pass over all, a second one if any does."""
    text = "".join(
        [
            event.id + event.video + event.viewer  # type: ignore[union-attr]
            if type(event) not in _CONTROL
            else event.id + getattr(event, "video", "") + getattr(event, "version", "")
            for event in out.events
        ]
    )
    if not text.encode().translate(None, ID_ALPHABET):
        return out
    by_offset = {record.offset: record for record in records}
    kept = Decoded([], [], [], out.refusals, 0)
    for event, offset, element in zip(out.events, out.offsets, out.elements, strict=True):
        try:
            _require_ids(event)
        except DeadLetter as letter:
            record = by_offset[offset]
            raw = element_bytes(record, element)
            kept.refusals.append(Refusal(record, element, raw, letter.reason, str(letter)))
        else:
            kept.events.append(event)
            kept.offsets.append(offset)
            kept.elements.append(element)
    return kept


_CONTROL: Final = frozenset(ControlRecord.__args__)


def _require_ids(event: object) -> None:
    for field in _IDS:
        text = getattr(event, field, "")
        if text.encode().translate(None, ID_ALPHABET):
            raise DeadLetter("id", f"{field} has a character outside A-Z a-z 0-9 _ -")


def _signed(headers: Headers) -> bool:
    return any(name == SIGNATURE for name, _ in headers)


def _open_control(record: Record, secret: bytes, limit: int) -> ControlRecord:
    value = record.value
    if value is None:
        raise DeadLetter("tombstone", "the record has no value")
    if len(value) > limit:
        raise DeadLetter("too_large", f"{len(value)} bytes, {limit} allowed")
    said = [text for name, text in record.headers if name == SIGNATURE]
    if len(said) != 1 or not hmac.compare_digest(said[0], sign(secret, record.key, value)):
        raise DeadLetter("signature", "the signature is not that of this secret and record")
    return _control_decoder.decode(value)


def _unknown_fields(value: bytes | Raw, kind: type) -> int:
    known = {*(field.name for field in msgspec.structs.fields(kind)), "type"}
    return len(_decode_fields(value).keys() - known)


def _classify(error: Exception, value: bytes | None) -> DeadLetter:
    """Return the dead letter for what a parser raised; its messages name fields, not contents."""
    if value is None:
        return DeadLetter("tombstone", "the record has no value")
    if isinstance(error, msgspec.ValidationError):
        try:
            _decode_raw(value)  # what is not JSON at all is refused as such
        except _PARSER_ERRORS as syntax:
            return _classify(syntax, value)
        return _classify_field(str(error), value)
    if isinstance(error, UnicodeDecodeError):
        return DeadLetter("utf8", "a string that is not UTF-8")
    if isinstance(error, RecursionError):
        return DeadLetter("depth", "nested too deeply")
    if not value.strip(b" \t\r\n"):
        return DeadLetter("empty", "nothing but white space")
    return DeadLetter("json", str(error))


def _classify_field(text: str, value: bytes) -> DeadLetter:
    """Return the dead letter for JSON that is no event, from msgspec's one-line message."""
    said, _, path = text.partition(" - at ")
    field = path.strip("`").removeprefix("$").removeprefix(".")
    if said.startswith("Object missing"):
        return DeadLetter("missing", said)
    if not field:
        return DeadLetter("not_object", "neither an object nor an array of objects")
    if field == "type":
        return _classify_tag(_decode_fields(value)["type"])
    if " of length " in said:
        return DeadLetter(_LENGTH_REASONS.get(field, "range"), f"{field}: {said}")
    if ", got " in said:
        return DeadLetter("type", f"{field}: {said}")
    if field == "ts":
        return DeadLetter("ts", "ts is not in milliseconds between 2001 and 2100")
    return DeadLetter("range", f"{field}: outside its documented range")


def _classify_tag(raw: Raw) -> DeadLetter:
    tag = msgspec.json.decode(raw)
    if not isinstance(tag, str):
        return DeadLetter("type", "type: expected a string")
    if tag in CONTROL_TYPES:
        return DeadLetter("signature", f"an unsigned control record: {tag}")
    return DeadLetter("type_unknown", "type is not in the vocabulary of this topic")


_LENGTH_REASONS: Final[dict[str, RejectReason]] = {**dict.fromkeys(_IDS, "id"), "slice": "slice"}

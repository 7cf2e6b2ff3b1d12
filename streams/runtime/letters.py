"""What cannot be used: why, in words that name fields and never repeat payload, and its letter."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from streams.core.events import CONTROL_TYPES
from streams.core.units import ID_ALPHABET, is_slice
from streams.errors import DeadLetter, RejectReason
from streams.runtime.ports import Headers, Outgoing, Record
from streams.settings import DEAD_LETTER_SUFFIX

APP_VERSION: Final = version("streams")
MARGIN_BYTES: Final = 32_768
"""What key and headers may add to the largest value; the topics take twice that."""
TRUNCATED_BYTES: Final = 4_096
PARSER_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)
"""The four families that bytes of strangers can raise in msgspec."""

_decode_elements: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw: Final = msgspec.json.Decoder(Raw).decode
_IDS: Final = ("id", "video", "viewer", "creator", "source", "by", "version")
_LENGTH_REASONS: Final[Mapping[str, RejectReason]] = {**dict.fromkeys(_IDS, "id"), "slice": "slice"}


class Refusal(NamedTuple):
    """A record, or one element of its array, that goes to the dead letters."""

    record: Record
    element: int
    value: bytes | None  # the element's own bytes, the record's where it is not an array
    reason: RejectReason
    message: str


class Pieces:
    """The bytes of records' elements; an array is split once, however often it is asked for."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._by_offset: dict[int, Record] = {}  # made when the first piece is asked for
        self._offset = -1
        self._elements: list[bytes] | None = None

    def refusal(self, offset: int, element: int, reason: RejectReason, message: str) -> Refusal:
        """Return the refusal of one element, with its own bytes."""
        if not self._by_offset:
            self._by_offset = {record.offset: record for record in self._records}
        record = self._by_offset[offset]
        if offset != self._offset:
            self._offset = offset
            self._elements = None if record.value is None else split_array(record.value)
        value = record.value if self._elements is None else self._elements[element]
        return Refusal(record, element, value, reason, message)


def dead_letter(refusal: Refusal, group: str, stage: str, limit: int) -> Outgoing:
    """Return the dead letter of a refusal: original bytes, key, timestamp and headers, and why.

    `stage` is the part of the pipeline that refused: decode, fold or control. `limit` is the
    largest value in bytes that is parsed; of a record far above it the letter holds the
    beginning, the size, a checksum and the place in the log.
    """
    record = refusal.record
    value, headers = refusal.value, [(shown(name), text) for name, text in record.headers]
    said: dict[str, str | int] = {
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
    size = len(value or b"") + len(record.key or b"")
    size += sum(len(name) + len(text or b"") for name, text in headers)
    if size > limit + MARGIN_BYTES:
        # No topic takes it whole: it stays in the log, and the letter says where and which.
        said["truncated.bytes"] = size
        said["truncated.sha256"] = sha256(value or b"").hexdigest()
        value, headers = (value or b"")[:TRUNCATED_BYTES], []
    headers += [(f"__streams.errors.{name}", str(text).encode()) for name, text in said.items()]
    headers.append(("x-original-topic", record.topic.encode()))
    key = record.key if len(record.key or b"") <= TRUNCATED_BYTES else None
    topic = record.topic + DEAD_LETTER_SUFFIX
    return Outgoing(topic, value, key, headers, None, record.timestamp)


def classify(error: Exception, value: bytes | Raw | None) -> DeadLetter:
    """Return the dead letter for what a parser raised."""
    if value is None:
        return DeadLetter("tombstone", "the record has no value")
    if isinstance(error, msgspec.ValidationError):
        try:
            _decode_raw(value)  # what is not JSON at all is refused as such
            fields = _fields(value)
        except PARSER_ERRORS as syntax:
            return classify(syntax, value)
        return _classify_field(str(error), fields)
    if isinstance(error, UnicodeDecodeError):
        return DeadLetter("utf8", "a string that is not UTF-8")
    if isinstance(error, RecursionError):
        return DeadLetter("depth", "nested too deeply")
    if not bytes(value).strip(b" \t\r\n"):
        return DeadLetter("empty", "nothing but white space")
    return DeadLetter("json", str(error))


def require_ids(event: object) -> None:
    """Raise `DeadLetter` if an id or the slice of an event leaves its alphabet."""
    for field in _IDS:
        text = getattr(event, field, "")
        if text.encode().translate(None, ID_ALPHABET):
            raise DeadLetter("id", f"{field} has a character outside A-Z a-z 0-9 _ -")
    slice_id = getattr(event, "slice", None)
    if slice_id is not None and not is_slice(slice_id):
        raise DeadLetter("slice", "slice is not surface:group")


def require_names(headers: Headers) -> None:
    """Raise `DeadLetter` if a header's name was not UTF-8."""
    for name, _ in headers:
        if not name.isascii() and shown(name) != name:
            raise DeadLetter("header", "a header's name is not UTF-8")


def shown(name: str) -> str:
    r"""Return a header's name as it can be written: bytes that are not UTF-8 as `\xff`.

    >>> shown("caf\udce9"), shown("café")
    ('caf\\xe9', 'café')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def split_array(value: bytes) -> list[bytes] | None:
    """Return the bytes of each element of a JSON array, None if `value` is no array."""
    try:
        return [bytes(raw) for raw in _decode_elements(value)]
    except PARSER_ERRORS:
        return None


def unknown_fields(value: bytes, kind: type) -> int:
    """Return how many fields of an event its schema lacks; `DeadLetter` if one is not UTF-8."""
    known = {*kind.__struct_fields__, "type"}  # type: ignore[attr-defined]
    try:
        return len(_fields(value).keys() - known)
    except PARSER_ERRORS as error:
        raise classify(error, value) from None


def _fields(value: bytes | Raw) -> dict[str, Raw]:
    return _decode_fields(value) if bytes(value).lstrip()[:1] == b"{" else {}


def _classify_field(text: str, fields: dict[str, Raw]) -> DeadLetter:
    """Return the dead letter for JSON that is no event, from msgspec's one-line message."""
    said, _, path = text.rpartition(" - at ")
    said, path = (said, path) if said else (text, "")
    field = path.strip("`").removeprefix("$").removeprefix(".")
    if said.startswith("Object missing"):
        return DeadLetter("missing", said)
    if not field:
        return DeadLetter("not_object", "neither an object nor an array of objects")
    if field == "type":
        return _classify_tag(fields["type"])
    if said.startswith("Invalid"):  # it repeats what it was given
        return DeadLetter("range", f"{field}: not in its vocabulary")
    if " of length " in said:
        return DeadLetter(_LENGTH_REASONS.get(field, "range"), f"{field}: {said}")
    if ", got " in said:
        return DeadLetter("type", f"{field}: {said}")
    if field == "ts":
        return DeadLetter("ts", "ts is not in milliseconds between 2001 and 2100")
    return DeadLetter("range", f"{field}: outside its documented range")


def _classify_tag(raw: Raw) -> DeadLetter:
    if not bytes(raw).startswith(b'"'):
        return DeadLetter("type", "type: expected a string")
    try:
        tag = msgspec.json.decode(raw)
    except PARSER_ERRORS as error:
        return classify(error, raw)
    if tag in CONTROL_TYPES:
        return DeadLetter("signature", f"an unsigned control record: {tag}")
    return DeadLetter("type_unknown", "type is not in the vocabulary of this topic")

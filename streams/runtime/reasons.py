"""Why bytes of strangers cannot be used, in words that name fields and never repeat payload."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from streams.core.events import CONTROL_TYPES
from streams.core.units import ID_ALPHABET, is_slice
from streams.errors import UNREADABLE, DeadLetter, RejectReason

PARSER_ERRORS: Final = (*UNREADABLE, TypeError)
"""The four families that bytes of strangers can raise in msgspec."""

_decode_elements: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw: Final = msgspec.json.Decoder(Raw).decode
_IDS: Final = ("id", "video", "viewer", "creator", "source", "by", "version")
_LENGTH_REASONS: Final[Mapping[str, RejectReason]] = {**dict.fromkeys(_IDS, "id"), "slice": "slice"}


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
    texts = [getattr(event, field, "") for field in _IDS]
    if "".join(texts).encode().translate(None, ID_ALPHABET):
        bad = next(n for n, text in enumerate(texts) if text.encode().translate(None, ID_ALPHABET))
        raise DeadLetter("id", f"{_IDS[bad]} has a character outside A-Z a-z 0-9 _ -")
    slice_id = getattr(event, "slice", None)
    if slice_id is not None and not is_slice(slice_id):
        raise DeadLetter("slice", "slice is not surface:group")


def split_array(value: bytes) -> list[bytes] | None:
    """Return the bytes of each element of a JSON array, None if `value` is no array."""
    try:
        return [bytes(raw) for raw in _decode_elements(value)]
    except PARSER_ERRORS:
        return None


def unknown_fields(value: bytes, kind: type[msgspec.Struct]) -> int:
    """Return how many fields of an event its schema lacks; `DeadLetter` if one is not UTF-8."""
    known = {*kind.__struct_fields__, "type"}
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

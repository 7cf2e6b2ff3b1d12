"""Lines of events: what each holds, which topic it belongs to, and whether it would be taken."""

from typing import Final, NamedTuple

import msgspec

from streams.core.events import (
    CONTROL_TYPES,
    Ended,
    InteractionRecord,
    Recognition,
    Upload,
)
from streams.core.units import is_slice
from streams.core.words import Review
from streams.errors import UNREADABLE, DeadLetter, RejectReason
from streams.runtime.codec import FUTURE_MS, ControlTopic, decode_interaction, decode_one
from streams.runtime.reasons import split_array
from streams.runtime.signing import encode

PublicEvent = Upload | Ended | Recognition | Review | InteractionRecord
"""What producers may write; control records are the control plane's."""

_TOPICS: Final[dict[str, ControlTopic]] = {
    "upload": "uploads",
    "ended": "uploads",
    "recognition": "recognitions",
    "review": "reviews",
}


def topic_of(kind: type[msgspec.Struct]) -> str:
    """Return the topic, without prefix, of a type of `PublicEvent`.

    >>> topic_of(Upload), topic_of(Review)
    ('uploads', 'reviews')
    """
    return _TOPICS.get(str(kind.__struct_config__.tag), "interactions")


class _Tagged(msgspec.Struct):
    type: str = ""


_decode_tag: Final = msgspec.json.Decoder(_Tagged).decode


class EventRefused(DeadLetter):
    """An event that the pipeline would refuse, and why; nothing of its call was taken."""

    def __init__(self, event: object, reason: RejectReason, message: str) -> None:
        super().__init__(reason, f"{type(event).__name__}: {message}")
        self.event: Final = event


class Taken(NamedTuple):
    """A valid event: its topic's name without prefix, what it says, and its own bytes."""

    topic: str
    event: PublicEvent
    value: bytes


def events_in(line: bytes, limit: int) -> list[bytes]:
    """Return the bytes of each event of a line: of the line itself, or of its array's elements.

    `DeadLetter` for a line above `limit` bytes, and for an array without events.

    >>> events_in(b'[{"type":"like"}, {"type":"view"}]', 100)
    [b'{"type":"like"}', b'{"type":"view"}']
    """
    if len(line) > limit:
        raise DeadLetter("too_large", f"more than {limit} bytes")
    if line.lstrip()[:1] != b"[":
        return [line]
    elements = split_array(line)
    if elements is None:
        return [line]  # the decode will say what is wrong with it
    if not elements:
        raise DeadLetter("not_object", "an array without events")
    return elements


def take_event(value: bytes, now_ms: int, limit: int) -> Taken:
    """Decode one event; `DeadLetter` if the pipeline would refuse it.

    `now_ms` is the timestamp that its record will have, `limit` the largest value in bytes.

    >>> take_event(b'{"type":"view"}', 0, 1_000)
    Traceback (most recent call last):
    ...
    streams.errors.DeadLetter: Object missing required field `id`
    """
    tag = _tag_of(value, limit)
    if tag in CONTROL_TYPES:
        raise DeadLetter("signature", f"{tag} is a control record: only the control plane signs")
    topic = _TOPICS.get(tag)
    event = decode_one(topic, value, limit) if topic else _interaction(value)
    if event.ts > now_ms + FUTURE_MS:
        raise DeadLetter("future", f"ts is more than {FUTURE_MS // 1000} s ahead of its record")
    return Taken(topic or "interactions", event, value)


def check_event(event: PublicEvent, now_ms: int, limit: int) -> Taken:
    """Spell an event and decode it as the pipeline will; `EventRefused` if that would fail.

    Types of fields are hints to Python: here they are checked.
    """
    try:
        value = encode(event)
    except (TypeError, RecursionError) as error:
        raise EventRefused(event, "type", f"cannot be written as JSON: {error}") from None
    except UnicodeEncodeError:
        raise EventRefused(event, "utf8", "a string that is not UTF-8") from None
    try:
        return take_event(value, now_ms, limit)
    except DeadLetter as letter:
        raise EventRefused(event, letter.reason, str(letter)) from None


def _interaction(value: bytes) -> InteractionRecord:
    event = decode_interaction(value)
    if not is_slice(event.slice):
        raise DeadLetter("slice", "slice is not surface:group")
    return event


def _tag_of(value: bytes, limit: int) -> str:
    """Return the event's type, "" where the full decode will say what is wrong with it."""
    if len(value) > limit:
        raise DeadLetter("too_large", f"more than {limit} bytes")
    try:
        return _decode_tag(value).type
    except UNREADABLE:
        return ""

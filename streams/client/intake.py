"""Lines of events: which topic a line belongs to, and whether the pipeline would take it."""

from typing import Final, NamedTuple

import msgspec

from streams.core.events import CONTROL_TYPES, InteractionRecord, Recognition, Review, Upload
from streams.core.units import is_slice
from streams.errors import DeadLetter
from streams.runtime.codec import FUTURE_MS, ControlTopic, decode_interaction, decode_one

PublicEvent = Upload | Recognition | Review | InteractionRecord
"""What producers may write; control records are the control plane's."""

_TOPICS: Final[dict[str, ControlTopic]] = {
    "upload": "uploads",
    "recognition": "recognitions",
    "review": "reviews",
}


class _Tagged(msgspec.Struct):
    type: str = ""


_decode_tag: Final = msgspec.json.Decoder(_Tagged).decode


class Taken(NamedTuple):
    """A valid line: the topic's name without prefix, and the event."""

    topic: str
    event: PublicEvent


def take_line(line: bytes, now_ms: int, limit: int) -> Taken:
    """Decode one line; `DeadLetter` if the pipeline would refuse its event.

    `now_ms` is the timestamp that its record will have, `limit` the largest line in bytes.

    >>> take_line(b'{"type":"view"}', 0, 1_000)
    Traceback (most recent call last):
    ...
    streams.errors.DeadLetter: Object missing required field `id`
    """
    tag = _tag_of(line, limit)
    if tag in CONTROL_TYPES:
        raise DeadLetter("signature", f"{tag} is a control record: only the control plane signs")
    topic = _TOPICS.get(tag)
    event = decode_one(topic, line, limit) if topic else _interaction(line)
    if event.ts > now_ms + FUTURE_MS:
        raise DeadLetter("future", f"ts is more than {FUTURE_MS // 1000} s ahead of its record")
    return Taken(topic or "interactions", event)


def _interaction(line: bytes) -> InteractionRecord:
    event = decode_interaction(line)
    if not is_slice(event.slice):
        raise DeadLetter("slice", "slice is not surface:group")
    return event


def _tag_of(line: bytes, limit: int) -> str:
    """Return the line's type, "" where the full decode will say what is wrong with it."""
    if len(line) > limit:
        raise DeadLetter("too_large", f"more than {limit} bytes")
    try:
        return _decode_tag(line).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""

"""Dead letters, written and read: one letter for a record, with each refusal in it.

A *refusal* is why one element of a record (or the whole of it) cannot be used; a *letter* is the
record as it was received, with its refusals in headers of their own.
"""

from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from typing import Final, NamedTuple

import msgspec

from streams.core.receipts import Refusal
from streams.errors import RejectReason
from streams.runtime.headers import shown
from streams.runtime.ports import Headers, Outgoing, Record
from streams.runtime.reasons import PARSER_ERRORS
from streams.settings import DEAD_LETTER_SUFFIX

APP_VERSION: Final = version("streams")
MARGIN_BYTES: Final = 32_768
"""What key and headers may add to the largest value; the topics take twice that."""
LISTED_BYTES: Final = 24_576
"""The largest list of refusals; what is left of the topics' margin is for the other headers."""
TRUNCATED_BYTES: Final = 4_096
PREFIX: Final = "__streams.errors."
ORIGIN: Final = "x-original-topic"
"""The last header of a letter that holds its record, or the beginning of it."""
_TRUNCATED: Final = f"{PREFIX}truncated.bytes"


class Listed(msgspec.Struct, frozen=True):
    """One refusal, as a letter lists it."""

    element: int  # place in the record's array, 0 for a record of one object
    reason: RejectReason
    message: str


class Letter(NamedTuple):
    """What a letter says of the record that it holds."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # of the record; the letter's own is when it was written
    stage: str  # the part of the pipeline that refused: decode, fold or control
    refusals: tuple[Listed, ...]  # the first ones, if there are more than fit
    refused: int  # how many there are


class HeldRecord(NamedTuple):
    """A record as it was when it was refused."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(tuple[Listed, ...]).decode


def letter_of(
    record: Record, refusals: Sequence[Refusal], stage: str, group: str, limit: int
) -> Outgoing:
    """Return the letter of a record: its own bytes, key and headers, and why it was refused.

    `limit` is the largest value in bytes that is parsed; of a record far above it the letter holds
    the beginning, the size, a checksum and the place in the log.
    """
    value, key = record.value, record.key
    headers = [(shown(name), text) for name, text in record.headers]
    fields: dict[str, str | int] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "stage": stage,
        "reason": refusals[0].reason,
        "message": refusals[0].message,
        "refused": len(refusals),
        "refusals": _listed(refusals),
        "attempts": 1,
        "consumer.group": group,
        "app.version": APP_VERSION,
    }
    size = len(value or b"") + len(key or b"")
    size += sum(len(name) + len(text or b"") for name, text in headers)
    if size > limit + MARGIN_BYTES:
        # No topic takes it whole: it stays in the log, and the letter says where and which.
        fields["truncated.bytes"] = size
        fields["truncated.sha256"] = sha256(value or b"").hexdigest()
        value, headers = (value or b"")[:TRUNCATED_BYTES], []
        key = key if len(key or b"") <= TRUNCATED_BYTES else None
    headers += [(f"{PREFIX}{name}", str(text).encode()) for name, text in fields.items()]
    headers.append((ORIGIN, record.topic.encode()))
    return Outgoing(record.topic + DEAD_LETTER_SUFFIX, value, key, headers)


def by_place(letter: Outgoing) -> Outgoing:
    """Return a letter that holds place and reason only: the record is in the log."""
    headers = [(name, text) for name, text in letter.headers if name.startswith(PREFIX)]
    return Outgoing(letter.topic, None, None, headers)


def read_letter(record: Record) -> Letter | None:
    """Return what a record of a dead-letter topic says, None if it is no letter of ours."""
    fields = {
        name.removeprefix(PREFIX): text
        for name, text in record.headers
        if name.startswith(PREFIX) and text is not None
    }
    try:
        return Letter(
            fields["topic"].decode(),
            int(fields["partition"]),
            int(fields["offset"]),
            int(fields["timestamp"]),
            fields["stage"].decode(),
            _decode(fields["refusals"]),
            int(fields["refused"]),
        )
    except (KeyError, ValueError, *PARSER_ERRORS):
        return None


def record_in(letter: Letter, record: Record) -> HeldRecord | None:
    """Return the record that a letter holds, None if it holds less than all of it."""
    names = [name for name, _ in record.headers]
    ours = len(names) - 1 - names[::-1].index(f"{PREFIX}topic")
    if names[-1] != ORIGIN or _TRUNCATED in names[ours:]:
        return None
    place = (letter.topic, letter.partition, letter.offset, letter.timestamp)
    return HeldRecord(*place, record.key, record.value, tuple(record.headers[:ours]))


def held(record: Record) -> HeldRecord:
    """Return a record of the log as a letter holds it: names of headers can be written."""
    place = (record.topic, record.partition, record.offset, record.timestamp)
    headers = tuple((shown(name), text) for name, text in record.headers)
    return HeldRecord(*place, record.key, record.value, headers)


def _listed(refusals: Sequence[Refusal]) -> str:
    """Return the list of refusals as JSON, as many of the first as fit."""
    parts: list[str] = []
    size = 0
    for refusal in refusals:
        listed = Listed(refusal.element, refusal.reason, refusal.message)
        part = _encode(listed).decode()
        size += len(part.encode()) + 1
        if size >= LISTED_BYTES:
            break
        parts.append(part)
    return f"[{','.join(parts)}]"

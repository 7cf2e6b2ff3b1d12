"""Errors, sorted by what the caller must do: retry, dead-letter, or halt."""

from collections.abc import Sequence
from typing import Final, Literal, get_args

import msgspec

RejectReason = Literal[
    "tombstone",  # the record has no value
    "empty",  # nothing but white space
    "too_large",  # above the size cap, refused before parsing
    "not_object",  # JSON, but neither an object nor an array of objects
    "json",  # not JSON
    "utf8",  # JSON around bytes that are not UTF-8
    "header",  # a header's name is not UTF-8
    "depth",  # nested deeper than the parser follows
    "missing",  # a required field is absent
    "type",  # a field holds another JSON type
    "type_unknown",  # the event type is not in the vocabulary of this topic
    "id",  # an id outside [A-Za-z0-9_-]{1,64}
    "slice",  # not surface:group
    "range",  # a number outside its documented range
    "ts",  # not a time in milliseconds between 2001 and 2100
    "future",  # more than five minutes ahead of the record's own timestamp
    "misrouted",  # the video belongs to another partition
    "slice_limit",  # the video has its maximum of slices outside the policy
    "signature",  # a control record without a valid signature
    "stale",  # a control record older than the last one applied; an event counted elsewhere
    "illegal_move",  # a control record that the life cycle does not allow
]
"""Why a record or an element of an array went to the dead letters. The whole vocabulary."""

REJECT_REASONS: Final[tuple[RejectReason, ...]] = get_args(RejectReason)

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be: wrong, not UTF-8, too deep."""


class StreamsError(Exception):
    """Root of every error that this package raises on purpose."""


class Retry(StreamsError):
    """A dependency failed in a way that may pass: the same call may be made again."""


class Unreachable(Retry):
    """A broker or Redis did not answer; at start this ends the command with exit code 4."""


class Denied(Retry):
    """A broker answers, and does not let this client in, or do this. It may be let tomorrow."""


class DeadLetter(StreamsError):
    """One record or element cannot be used: it belongs in the dead letters.

    `reason` is from the closed vocabulary, the message says what was wrong with which field
    and never repeats the payload.
    """

    def __init__(self, reason: RejectReason, message: str) -> None:
        super().__init__(message)
        self.reason: Final = reason


class Halt(StreamsError):
    """Going on would guess or lose: stop (the partition, or the start) and say what to do.

    `code` is a short name for metrics and alarms; `partition` is None for a halted start.
    """

    def __init__(self, message: str, *, code: str = "config", partition: int | None = None) -> None:
        super().__init__(message)
        self.code: Final = code
        self.partition: Final = partition


class Misconfigured(Halt):
    """What a person wrote in a file, a variable or an option cannot be used: exit code 2.

    Each of `problems` is one line that names the place, the value and what to write; the message
    is the first of them.
    """

    def __init__(self, *problems: str) -> None:
        more = len(problems) - 1
        rest = f" (and {more} more: `streams config check` lists all)" if more else ""
        super().__init__(problems[0] + rest)
        self.problems: Final[Sequence[str]] = problems

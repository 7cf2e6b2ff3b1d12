"""The log of one partition told again for one event: what the fold made of each of its places.

By the rules of the fold, but for this id alone: the generations of duplicates, what its viewer did
with its video, the policy's limit for late events. What stood before the first record that is taken
is not known.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from streams.core.events import (
    Follow,
    Hide,
    InteractionRecord,
    Like,
    Unlike,
)
from streams.core.keys import NOBODY
from streams.core.partition_control import Generation
from streams.core.partitioner import partition_of
from streams.core.window import Window
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.ports import Record
from streams.runtime.reasons import PARSER_ERRORS
from streams.runtime.signing import SIGNATURE
from streams.settings import Settings

EventOutcome = Literal["counted", "late", "duplicate", "refused", "waiting"]
Spot = tuple[int, int, int]
"""Partition, offset, and place in the record's array."""
STATES: Final[Mapping[type, str]] = {
    Like: "the viewer likes the video already",
    Unlike: "no like of the viewer is in force",
    Follow: "the viewer follows already",
    Hide: "the viewer hid the video already",
}
"""Kinds that set a state of viewer and video, and why one of them may count nothing."""


class _Limit(msgspec.Struct, tag_field="type", tag="policy"):
    """What a policy of any release says of late events."""

    seq: int
    late_after_ms: int
    term: int = 0

    @property
    def order(self) -> tuple[int, int]:
        """What says which of two is the later one."""
        return self.term, self.seq


_decode: Final = msgspec.json.Decoder(_Limit | Generation).decode


class Fortune(NamedTuple):
    """What became of an event, and why."""

    outcome: EventOutcome
    why: str | None = None


class Retelling:
    """What became of one id in one partition, by its places, after `take` of the log in order.

    `pairs` are the viewers and videos that the id is about; of `partitions` the log has so many.
    """

    def __init__(
        self,
        event_id: str,
        pairs: Collection[tuple[Any, Any]],
        partitions: int,
        settings: Settings,
    ) -> None:
        self.fortunes: Final[dict[Spot, Fortune]] = {}
        self._id = event_id
        self._pairs = pairs
        self._partitions = partitions
        self._limit = settings.record_bytes
        self._window = Window(settings.generation_records)
        self._first = -1  # offset of the one that its repeats repeat
        self._newest = 0
        self._policy: _Limit | None = None

    def take(self, record: Record, *, refused: bool) -> None:
        """Take the next record; `refused` if a letter tells of it."""
        if any(name == SIGNATURE for name, _ in record.headers):
            if not refused:
                self._take_control(record)
            return
        decoded = decode_log([record], NOBODY, Spelling(self._limit))
        for event, element in zip(decoded.events, decoded.elements, strict=True):
            if isinstance(event, InteractionRecord):
                self._take_event(event, (record.partition, record.offset, element))

    def _take_control(self, record: Record) -> None:
        try:
            said = _decode(record.value or b"")
        except PARSER_ERRORS:
            return  # another control record
        if isinstance(said, Generation):
            if said.records > self._window.generations.records:
                self._window.lengthen(record.offset, said.records)
        elif self._policy is None or said.order > self._policy.order:
            self._policy = said

    def _take_event(self, event: InteractionRecord, spot: Spot) -> None:
        ours = event.id == self._id
        if ours or (type(event) in STATES and (event.viewer, event.video) in self._pairs):
            fortune = self._fortune(event, spot)
            if ours:
                self.fortunes[spot] = fortune
        self._newest = max(self._newest, event.ts)

    def _fortune(self, event: InteractionRecord, spot: Spot) -> Fortune:
        partition, offset, _ = spot
        window = self._window
        if offset >= window.end:
            window.turn(offset)
        if event.id in window.current or event.id in window.previous:
            window.repeats(event, offset)
            return Fortune("duplicate", f"of offset {self._first}")
        if event.id == self._id:
            self._first = offset
        if partition_of(event.video.encode(), self._partitions) != partition:
            window.current.add(event.id)
            return Fortune("refused", "misrouted: its video belongs to another partition")
        if window.repeats(event, offset):
            return Fortune("duplicate", STATES[type(event)])
        if self._policy and event.ts < self._newest - self._policy.late_after_ms:
            return Fortune("late", "counted, though older than the policy's limit")
        return Fortune("counted")

"""A log folded in memory, for tests: flushes into a dict, restarts and evictions where one wants.

`Folding` does what the worker does around the pure fold, without its ports: it brings videos into
memory, folds, keeps what comes out, and "stores" rows as bytes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kit.events import Logged
from kit.keys import META, SPELLING, TRUST
from streams.core.counters import Slice, Video, VideoState, load_video
from streams.core.events import (
    LogRecord,
)
from streams.core.fold import fold
from streams.core.keys import Trust
from streams.core.partition_control import Upgrade
from streams.core.receipts import FirstReceipt, Outcome, Receipt, Refusal, encode
from streams.core.serving import Entry
from streams.core.state import Meta, PartitionState
from streams.core.traffic import Tick
from streams.core.traffic import encode as encode_tick
from streams.core.waiting import Waiting
from streams.core.window import REPLAYED_GENERATIONS
from streams.runtime.codec import Spelling, decode_log

Rows = Mapping[str, Mapping[str, bytes]]


class Placed(NamedTuple):
    """An event and where it stood in the log."""

    event: LogRecord
    offset: int
    element: int = 0


def decoded(
    records: Sequence[Logged], spelling: Spelling = SPELLING, trust: Trust = TRUST
) -> list[Placed]:
    """Return the events of records that decode, in log order."""
    out = decode_log(records, trust, spelling)
    return [Placed(*at) for at in zip(out.events, out.offsets, out.elements, strict=True)]


def placed(events: Sequence[LogRecord], first: int = 0) -> list[Placed]:
    """Return events at offsets `first`, `first` + 1, ..."""
    return [Placed(event, offset) for offset, event in enumerate(events, first)]


@dataclass
class Folding:
    """One partition, folded so far."""

    generation: int = 10_000
    partition: int = 0
    partitions: int = 1
    rows: dict[str, dict[str, bytes]] = field(default_factory=dict)
    first_receipts: list[FirstReceipt] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    waiting: list[tuple[str, Waiting | None]] = field(default_factory=list)
    rejected: list[Refusal] = field(default_factory=list)
    outcomes: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    entries: Mapping[str, Sequence[Entry]] = field(default_factory=dict)  # told at the latest flush
    meta: Meta = META
    offset: int = -1  # of the last record folded

    def __post_init__(self) -> None:
        self.state = self._state()

    def _state(self) -> PartitionState:
        return PartitionState(self.partition, self.partitions, self.generation, self.meta)

    def fold(self, places: Sequence[Placed]) -> "Folding":
        """Fold one batch."""
        events = [place.event for place in places]
        upgrading = not self.state.trust.upgraded and any(isinstance(e, Upgrade) for e in events)
        for video in {*self.state.missing(events), *(self.rows if upgrading else ())}:
            if video not in self.state.videos:
                self.state.load(video, self.rows.get(video, {}))
        offsets = [place.offset for place in places]
        effects = fold(self.state, events, offsets, [place.element for place in places])
        self.offset = offsets[-1] if offsets else self.offset
        self.first_receipts += effects.first_receipts
        self.receipts += effects.receipts
        self.ticks += effects.ticks
        self.waiting += effects.waiting
        self.rejected += effects.rejected
        self.outcomes += effects.outcomes
        return self

    def flush(self) -> "Folding":
        """Store what changed, and tell feeds."""
        changes = self.state.take_changes(self.offset)
        self.entries = changes.entries
        for video, fields in changes.rows.items():
            self.rows.setdefault(video, {}).update(fields)
        self.meta = changes.meta
        self.state.stored(changes.epoch)
        return self

    def evict(self) -> "Folding":
        """Store what changed and forget every video."""
        self.flush().state.evict(0)
        return self

    def restart(self, before: Sequence[Placed]) -> "Folding":
        """Lose the memory and begin again from what is stored; `before` is the log so far."""
        self.state = self._state()
        if before:
            generations = self.state.window.generations
            first = generations.back(before[-1].offset, REPLAYED_GENERATIONS)
            for place in before:
                if place.offset >= first:
                    self.state.remember(place.event, place.offset)
        return self

    def video(self, name: str = "v1") -> VideoState:
        """Return a video as it is stored, or as memory holds it before any flush."""
        return self.state.videos.get(name) or load_video(name, self.rows.get(name, {}))

    def row(self, slice_id: str, video: str = "v1") -> Slice:
        """Return one row."""
        return self.video(video).slices[slice_id]

    def own(self, video: str = "v1") -> Video:
        """Return the video's own row."""
        return self.video(video).row

    def told(self) -> list[tuple[str, str, str]]:
        """Return slice, action and reason of every receipt."""
        return [(said.slice, said.action, said.reason) for said in self.receipts]

    def bytes(self) -> tuple[list[bytes], list[bytes], str, Rows]:
        """Return all that must not depend on anything but the log, as it is sent and stored."""
        receipts = [encode(said) for said in (*self.first_receipts, *self.receipts)]
        return receipts, [encode_tick(tick) for tick in self.ticks], self.meta.digest, self.rows


def folded(events: Sequence[LogRecord], generation: int = 10_000) -> Folding:
    """Return events folded in one batch."""
    return Folding(generation).fold(placed(events))

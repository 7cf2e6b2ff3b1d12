"""Counts the log a second time, as simply as it can be said.

Shares with the fold how bytes become events and what an id, a slice and a partition are; nothing
of how events become counters. Deliberately slow and plain: dictionaries, no rows, no epochs.
"""

from collections import Counter, defaultdict
from collections.abc import Container
from typing import Final

from streams.core.counters import COUNTERS
from streams.core.events import (
    ControlRecord,
    InteractionRecord,
    LogRecord,
    Policy,
    Unlike,
    View,
)
from streams.core.partitioner import partition_of
from streams.core.rule import DEFAULT_WEIGHTS
from streams.core.units import MICROS, SLICES_PER_VIDEO

Counts = dict[tuple[str, str], dict[str, int]]  # (video, slice) -> counter -> value


class Recount:
    """The recount of one partition: give it every event of the log in order."""

    def __init__(self, partition: int, partitions: int, generation_records: int) -> None:
        self.counts: Final[Counts] = {}
        self.partition: Final = partition
        self._partitions = partitions
        self._generation_records = generation_records
        self._ids: defaultdict[int, set[str]] = defaultdict(set)  # generation -> what was met
        self._likes: defaultdict[int, dict[tuple[str, str], list[str]]] = defaultdict(dict)
        self._strays: Counter[str] = Counter()  # slices outside the policy, by video
        self._known: Container[str] = ()  # slices of the policy in force
        self._weights = DEFAULT_WEIGHTS
        self._policy_seq = -1

    def add(self, event: LogRecord, offset: int) -> None:
        """Count one event."""
        if isinstance(event, Policy):
            if event.seq > self._policy_seq:
                self._policy_seq, self._weights = event.seq, event.weights
                self._known = event.slices
            return
        if isinstance(event, ControlRecord):
            return
        generation = offset // self._generation_records
        for past in [g for g in self._ids if g < generation - 1]:
            del self._ids[past]
            self._likes.pop(past, None)
        if self._met(event.id, generation):
            return
        if partition_of(event.video.encode(), self._partitions) != self.partition:
            return
        slice_id = self._counted_in(event, generation)
        if isinstance(event, Unlike) and not self._likes_left(event.video, slice_id):
            return
        if slice_id and self._is_open(event.video, slice_id):
            self._count(event, slice_id)

    def _met(self, key: str, generation: int) -> bool:
        met = key in self._ids[generation] or key in self._ids[generation - 1]
        self._ids[generation].add(key)
        return met

    def _counted_in(self, event: InteractionRecord, generation: int) -> str:
        """Return the slice in which the event counts, "" if it counts nowhere."""
        kind = type(event).__name__.lower()
        if kind in {"follow", "hide"}:
            return (
                "" if self._met(f"{kind} {event.viewer} {event.video}", generation) else event.slice
            )
        if kind not in {"like", "unlike"}:
            return event.slice
        # What this viewer did with this video, in order: the slice of a like, "" for an unlike.
        pair = (event.viewer, event.video)
        history = self._likes[generation - 1].get(pair, []) + self._likes[generation].get(pair, [])
        said = event.slice if kind == "like" else ""
        self._likes[generation].setdefault(pair, []).append(said)
        liked_in = ""
        for earlier in history:
            liked_in = "" if earlier == "" else liked_in or earlier
        if kind == "like":
            return "" if liked_in else event.slice
        return liked_in

    def _likes_left(self, video: str, slice_id: str) -> int:
        return self.counts.get((video, slice_id), {}).get("likes", 0)

    def _is_open(self, video: str, slice_id: str) -> bool:
        if (video, slice_id) in self.counts or slice_id in self._known:
            return True
        self._strays[video] += 1
        return self._strays[video] <= SLICES_PER_VIDEO

    def _count(self, event: InteractionRecord, slice_id: str) -> None:
        counts = self.counts.setdefault((event.video, slice_id), dict.fromkeys(COUNTERS, 0))
        kind = type(event).__name__.lower()
        values = []
        sign = 1
        if isinstance(event, View):
            counts["views"] += 1
            counts["watch_ms"] += event.watch_ms
            watched = min(event.watch_ms, event.duration_ms)
            value = self._weights.watch * watched // event.duration_ms
            if event.watch_ms * 100 >= event.duration_ms * 95:
                counts["completes"] += 1
                value += self._weights.complete
            values.append(value)
        elif isinstance(event, Unlike):
            counts["likes"] -= 1
            sign = -1
            values.append(self._weights.like)
        else:
            counts[f"{kind}s"] += 1
            values.append(getattr(self._weights, kind, 0))
        for value in values:
            counts["value_sum"] += sign * value
            counts["value_sq"] += sign * (value * value // MICROS)

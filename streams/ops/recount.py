"""Counts the log a second time, as simply as it can be said, and compares every counter.

Shares with the fold how bytes become events and what an id, a slice and a partition are; nothing
of how events become counters. Deliberately slow and plain: dictionaries, no rows, no epochs.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from typing import Final
from zlib import crc32

from streams.core.counters import COUNTERS, VIEWERS
from streams.core.events import (
    ControlRecord,
    Impression,
    InteractionRecord,
    Lead,
    Like,
    LogRecord,
    Policy,
    Unlike,
    View,
    order_of,
)
from streams.core.partitioner import partition_of
from streams.core.units import MICROS, SLICES_PER_VIDEO

Counts = dict[tuple[str, str], dict[str, int]]  # (video, slice) -> counter -> value
COUNTED: Final = (*COUNTERS, *VIEWERS)
"""All of a row that is the log's alone, whatever any policy decided."""
FIRSTS: Final = {
    "comment": "commenters",
    "share": "sharers",
    "report": "reporters",
    "order": "buyers",
}


class Recount:
    """The recount of one partition: give it every event of the log in order."""

    def __init__(self, partition: int, partitions: int, generation_records: int) -> None:
        self.counts: Final[Counts] = {}
        self.partition: Final = partition
        self._partitions = partitions
        self._generation_records = generation_records
        self._ids: defaultdict[int, set[str]] = defaultdict(set)  # generation -> what was met
        self._likes: defaultdict[int, dict[tuple[str, str], list[str]]] = defaultdict(dict)
        self._any_like: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
        self._strays: Counter[str] = Counter()  # slices outside the policy, by video
        self._known: Container[str] = ()  # slices of the policy in force
        self._policy_order = (-1, -1)
        self._term = 0

    def add(self, event: LogRecord, offset: int) -> None:
        """Count one event."""
        if isinstance(event, Policy):
            order = order_of(event)
            if event.term >= self._term and order > self._policy_order:
                self._policy_order, self._known = order, event.slices
            return
        if isinstance(event, Lead):
            self._term = max(self._term, event.term)
        if isinstance(event, ControlRecord):
            return
        generation = offset // self._generation_records
        self._forget(generation)
        if isinstance(event, Like):
            self._any_like[generation].add((event.viewer, event.video))
        if self._met(event.id, generation):
            return
        if partition_of(event.video.encode(), self._partitions) != self.partition:
            return
        slice_id = self._counted_in(event, generation)
        first = self._is_first(event, generation)
        if isinstance(event, Unlike) and not self._likes_left(event.video, slice_id):
            return
        if slice_id and self._is_open(event.video, slice_id):
            self._count(event, slice_id, first)

    def _forget(self, generation: int) -> None:
        """Drop what no longer matters: ids of two generations ago, likes of four."""
        for past in [g for g in self._ids if g < generation - 1]:
            del self._ids[past]
        for likes in (self._likes, self._any_like):
            for past in [g for g in likes if g < generation - 3]:
                del likes[past]

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
        pair = (event.viewer, event.video)
        before = self._acts(pair, generation)
        liked = _is_liked(before)
        counted_in = self._like_in_force(pair, generation) if liked else ""
        act = event.slice if kind == "like" else ""
        self._likes[generation].setdefault(pair, []).append(act)
        if kind == "like":
            return "" if liked else event.slice
        return counted_in

    def _is_first(self, event: InteractionRecord, generation: int) -> str:
        """Return the counter of viewers that a comment, share, report or order raises, or ""."""
        kind = type(event).__name__.lower()
        counter = FIRSTS.get(kind, "")
        if counter and self._met(f"{kind} {event.viewer} {event.video}", generation):
            return ""
        return counter

    def _acts(self, pair: tuple[str, str], generation: int) -> list[str]:
        """Return what a viewer did with a video in a generation and the one before it, in order.

        The slice of a like, "" for an unlike; repeated ids are left out.
        """
        return [act for g in (generation - 1, generation) for act in self._likes[g].get(pair, [])]

    def _like_in_force(self, pair: tuple[str, str], generation: int) -> str:
        """Where the latest like counted that no unlike took back, "" if that is not known.

        Act by act from two generations ago on. The first like of those counted too, if there was
        none at all in the generation before, or an unlike stands before it.
        """
        in_force = ""
        oldest = generation - 2
        unknown = pair in self._any_like[oldest - 1]
        before: list[str] = []
        for g in (oldest, generation - 1, generation):
            here: list[str] = []
            for act in self._likes[g].get(pair, []):
                if not act:
                    in_force = ""
                elif not _is_liked(before + here):
                    in_force = "" if unknown and g == oldest and "" not in here else act
                here.append(act)
            before = here
        return in_force

    def _likes_left(self, video: str, slice_id: str) -> int:
        return self.counts.get((video, slice_id), {}).get("likes", 0)

    def _is_open(self, video: str, slice_id: str) -> bool:
        if (video, slice_id) in self.counts or slice_id in self._known:
            return True
        self._strays[video] += 1
        return self._strays[video] <= SLICES_PER_VIDEO

    def _count(self, event: InteractionRecord, slice_id: str, first: str) -> None:
        counts = self.counts.setdefault((event.video, slice_id), dict.fromkeys(COUNTED, 0))
        kind = type(event).__name__.lower()
        if first:
            counts[first] += 1
        if isinstance(event, View):
            counts["views"] += 1
            counts["watch_ms"] += event.watch_ms
            share = min(event.watch_ms, event.duration_ms) * MICROS // event.duration_ms
            counts["ratio_sum"] += share
            counts["ratio_sq"] += share * share // MICROS
            if event.watch_ms * 100 >= event.duration_ms * 95:
                counts["completes"] += 1
        elif isinstance(event, Unlike):
            counts["likes"] -= 1
        else:
            counts[f"{kind}s"] += 1
            _mark(counts, event)


def _mark(counts: dict[str, int], event: InteractionRecord) -> None:
    """Set the bit of a viewer who was shown the video, and of one of them who presses a button."""
    code = crc32(event.viewer.encode())
    seen, pressed = 2 ** (code % 127), 2 ** (code % 53)
    if isinstance(event, Impression):
        counts["viewers"] |= seen
    elif counts["viewers"] & seen:
        counts["likers" if isinstance(event, Like) else "pressers"] |= pressed


def _is_liked(acts: Iterable[str]) -> bool:
    """Tell whether the last of these acts is a like."""
    last = ""
    for act in acts:
        last = act
    return bool(last)

"""Counts the log a second time, as simply as it can be said, and compares every counter.

Shares with the fold how bytes become events and what an id, a slice and a partition are; nothing
of how events become counters. Deliberately slow and plain: dictionaries, no rows, no epochs.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from streams.core.counters import COUNTERS, VIDEO_ROW, Slice, decode_slice
from streams.core.events import (
    ControlRecord,
    InteractionRecord,
    Like,
    LogRecord,
    Policy,
    Unlike,
    View,
)
from streams.core.partitioner import partition_of
from streams.core.rule import DEFAULT_WEIGHTS
from streams.core.units import MICROS, SLICES_PER_VIDEO
from streams.errors import Halt
from streams.runtime.answers import require_all
from streams.runtime.codec import decode_log
from streams.runtime.namespace import corrupt, video_key
from streams.runtime.ports import LogReader, Offsets, Store, TopicIdentity
from streams.settings import Settings

Counts = dict[tuple[str, str], dict[str, int]]  # (video, slice) -> counter -> value
EXAMPLES: Final = 20
QUIET_TRIES: Final = 5


class Difference(Struct, frozen=True):
    """One counter that the store and the log tell differently; None: there is none at all."""

    partition: int
    video: str
    slice: str
    counter: str
    stored: int | None
    recounted: int | None


class Verification(Struct):
    """What was compared and what differed; `examples` holds the first few differences."""

    partitions: int = 0
    records: int = 0
    checked: int = 0
    differences: int = 0
    examples: list[Difference] = []


async def _bounds(reader: LogReader, topic: str, partition: int) -> Offsets:
    return require_all(topic, [partition], await reader.offsets(topic, [partition]))[partition]


async def verify(
    reader: LogReader, store: Store, identity: TopicIdentity, namespace: str, tools: "Verifier"
) -> Verification:
    """Compare every counter of every partition with a recount up to its watermark.

    `Halt` if the log no longer holds what was counted, if nothing was counted of it, or if a
    worker keeps writing.
    """
    result = Verification()
    for partition in range(identity.partitions):
        bounds = await _bounds(reader, identity.topic, partition)
        if await store.meta(partition, namespace) is None:
            _require_empty(partition, bounds)
            continue
        watermark, rows = await _quiet_rows(store, partition)
        _require_whole(partition, bounds, watermark)
        recount = Recount(partition, identity.partitions, tools.settings.generation_records)
        result.records += await _read(reader, identity.topic, recount, watermark, tools)
        result.partitions += 1
        _compare(partition, rows, recount.counts, result)
    return result


class Verifier(Struct, frozen=True):
    """What verification needs beside its ports."""

    settings: Settings
    secret: bytes


class Recount:
    """The recount of one partition: give it every event of the log in order."""

    def __init__(self, partition: int, partitions: int, generation_records: int) -> None:
        self.counts: Final[Counts] = {}
        self._partition = partition
        self._partitions = partitions
        self._generation_records = generation_records
        self._ids: defaultdict[int, set[str]] = defaultdict(set)  # generation -> what was met
        self._likes: defaultdict[int, dict[tuple[str, str], list[str]]] = defaultdict(dict)
        self._any_like: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
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
        self._forget(generation)
        if isinstance(event, Like):
            self._any_like[generation].add((event.viewer, event.video))
        if self._met(event.id, generation):
            return
        if partition_of(event.video.encode(), self._partitions) != self._partition:
            return
        slice_id = self._counted_in(event, generation)
        if isinstance(event, Unlike) and not self._likes_left(event.video, slice_id):
            return
        if slice_id and self._is_open(event.video, slice_id):
            self._count(event, slice_id)

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


def _is_liked(acts: Iterable[str]) -> bool:
    """Tell whether the last of these acts is a like."""
    last = ""
    for act in acts:
        last = act
    return bool(last)


async def _quiet_rows(
    store: Store, partition: int
) -> tuple[int, Mapping[str, Mapping[str, bytes]]]:
    """Return watermark and rows that belong together: nothing was flushed between."""
    for _ in range(QUIET_TRIES):
        before = await store.watermark(partition)
        rows = await store.scan(partition)
        if before is not None and before == await store.watermark(partition):
            return before, rows
    raise Halt(
        f"partition {partition} is being written all the time: stop the workers, or their load",
        code="busy",
        partition=partition,
    )


def _require_empty(partition: int, bounds: Offsets) -> None:
    if bounds.end:
        raise Halt(
            f"partition {partition}: {bounds.end} offsets in the log and no counters: start a "
            "worker; if one was here before, Redis lost its data (`streams counters rebuild`)",
            code="watermark_missing",
            partition=partition,
        )


def _require_whole(partition: int, bounds: Offsets, watermark: int) -> None:
    if bounds.start:
        raise Halt(
            f"partition {partition}: the log begins at {bounds.start}: what came before cannot be "
            "counted again",
            code="data_loss",
            partition=partition,
        )
    if bounds.end <= watermark:
        raise Halt(
            f"partition {partition}: the log ends at {bounds.end}, below the watermark {watermark}",
            code="log_truncated",
            partition=partition,
        )


async def _read(
    reader: LogReader, topic: str, recount: Recount, watermark: int, tools: Verifier
) -> int:
    """Give the recount every event up to the watermark; return the records read."""
    partition = recount._partition  # noqa: SLF001 - one file, one story
    reader.assign({(topic, partition): 0})
    records = 0
    while await reader.position(topic, partition) <= watermark:
        batches = await reader.fetch(1_000, 10_000)
        batch = [r for r in batches.get((topic, partition), ()) if r.offset <= watermark]
        records += len(batch)
        decoded = decode_log(batch, tools.secret, tools.settings.record_bytes)
        for event, offset in zip(decoded.events, decoded.offsets, strict=True):
            recount.add(event, offset)
    return records


def _compare(
    partition: int,
    stored: Mapping[str, Mapping[str, bytes]],
    recounted: Counts,
    result: Verification,
) -> None:
    """Compare both directions: what is stored, and what should be."""
    found: Counts = {}
    for video, fields in stored.items():
        for slice_id, raw in fields.items():
            if slice_id != VIDEO_ROW:
                row = _readable(partition, video, raw)
                found[video, slice_id] = {name: getattr(row, name) for name in COUNTERS}
    for key in _union(found, recounted):
        ours: dict[str, Any] = found.get(key, {})
        theirs: dict[str, Any] = recounted.get(key, {})
        for name in COUNTERS:
            result.checked += 1
            have, want = ours.get(name), theirs.get(name)
            if have != want and (have or want or key not in found):
                result.differences += 1
                if len(result.examples) < EXAMPLES:
                    result.examples.append(Difference(partition, *key, name, have, want))


def _readable(partition: int, video: str, raw: bytes) -> Slice:
    try:
        return decode_slice(raw)
    except ValueError as error:
        raise corrupt(partition, video_key(partition, video), str(error)) from None


def _union(*keyed: Mapping[tuple[str, str], object]) -> Iterable[tuple[str, str]]:
    return sorted(set().union(*keyed))

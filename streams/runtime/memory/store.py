"""The port `Store` in memory: what Redis would hold of each partition."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.core.state import FRESH, Changes, Meta
from streams.errors import Halt, Retry
from streams.runtime.labels import Labelled
from streams.runtime.namespace import other_namespace
from streams.runtime.part_store import PartGuard, PartsChange, StoredPart
from streams.runtime.ports import (
    Conflict,
    FlushResult,
    HaltNote,
    Loaded,
    Stored,
)


@dataclass
class StoredPartition:
    """What a store holds of one partition; `namespace` is None before its first flush."""

    namespace: str | None = None
    watermark: int = -1
    meta: Meta = FRESH
    rows: dict[str, dict[str, bytes]] = field(default_factory=dict)
    pointers: dict[str, int] = field(default_factory=dict)
    departed: dict[str, int] = field(default_factory=dict)  # with the last flush
    parts: dict[int, StoredPart] = field(default_factory=dict)  # full ones of the window


class MemoryStore:
    """The port `Store`; `partitions` is what it holds, open to whoever owns the store."""

    def __init__(self) -> None:
        self.partitions: Final[dict[int, StoredPartition]] = {}
        self._failures: list[tuple[Retry, bool]] = []
        self._halts: Final[dict[int, HaltNote]] = {}

    def fail_next(self, error: Retry, *, reply_lost: bool = False) -> None:
        """Make the next flush raise `error`: before it wrote, or after (`reply_lost`)."""
        self._failures.append((error, reply_lost))

    async def check(self) -> None:
        """Accept: memory never evicts."""

    async def meta(self, partition: int, namespace: str) -> Stored | None:
        """Return watermark and meta of a partition; see the port."""
        stored = self.partitions.get(partition)
        if stored is None or (stored.namespace is None and not stored.rows):
            return None
        if stored.namespace is None:
            message = f"partition {partition} has counters but no watermark: erase it and fold"
            raise Halt(f"{message} its log again", code="watermark_missing", partition=partition)
        _require_namespace(stored.namespace, namespace, partition)
        return Stored(stored.watermark, stored.meta)

    async def watermark(self, partition: int) -> int | None:
        """Return the stored watermark alone, None if there is none."""
        stored = self.partitions.get(partition)
        return None if stored is None or stored.namespace is None else stored.watermark

    async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
        """Return the stored fields of each video and their watermark."""
        stored = self.partitions.get(partition, StoredPartition())
        found = {video: dict(stored.rows.get(video, {})) for video in videos}
        pointers = {video: stored.pointers[video] for video in videos if video in stored.pointers}
        return Loaded(await self.watermark(partition), found, pointers)

    async def flush(
        self, partition: int, namespace: str, expected: int, new: int, changes: Changes
    ) -> FlushResult:
        """Write rows, meta and watermark, all or nothing; see the port."""
        error, reply_lost = self._failures.pop(0) if self._failures else (None, False)
        if error is not None and not reply_lost:
            raise error
        result = self._flush(partition, namespace, expected, new, changes)
        if error is not None:
            raise error
        return result

    async def labelled(self, partition: int) -> Labelled | None:
        """Return what is stored of a partition, whosever counters they are."""
        stored = self.partitions.get(partition, StoredPartition())
        if stored.namespace is None:
            return None
        return Labelled(stored.namespace, Stored(stored.watermark, stored.meta))

    async def relabel(self, partition: int, before: Labelled, after: Labelled) -> bool:
        """Put other namespace and meta in the place of `before`; see the port."""
        assert before.stored.watermark == after.stored.watermark, "rows stay, so does their place"
        found = await self.labelled(partition)
        if found is None or not {_label(found)} & {_label(before), _label(after)}:
            return False
        stored = self.partitions[partition]
        stored.namespace, stored.meta = after.namespace, after.stored.meta
        return True

    async def parts(self, partition: int) -> Sequence[int]:
        """Return the first offsets of the parts that are stored, sorted."""
        return sorted(self.partitions.get(partition, StoredPartition()).parts)

    async def load_part(self, partition: int, start: int) -> StoredPart | None:
        """Return a part, None if it is not stored; see the port."""
        return self.partitions.get(partition, StoredPartition()).parts.get(start)

    async def change_parts(self, partition: int, guard: PartGuard, change: PartsChange) -> bool:
        """Store and drop parts, all or nothing; see the port."""
        stored = self.partitions.get(partition, StoredPartition())
        fresh = stored.namespace is None and guard.watermark < 0
        held = PartGuard(stored.namespace or "", stored.watermark, stored.meta.digest)
        if not fresh and held != guard:
            return False
        stored.parts.update(change.kept)
        for start in {*change.bare} & stored.parts.keys():
            stored.parts[start] = stored.parts[start]._replace(ids=b"")
        for start in change.dropped:
            stored.parts.pop(start, None)
        self.partitions[partition] = stored
        return True

    async def begin(self, partition: int, namespace: str) -> None:
        """Store that nothing of a partition is counted yet; see the port."""
        self.partitions[partition] = StoredPartition(namespace)

    async def restore(
        self,
        partition: int,
        namespace: str,
        stored: Stored,
        rows: Mapping[str, Mapping[str, bytes]],
    ) -> None:
        """Put rows, meta and watermark into an erased partition; see the port."""
        copies = {video: dict(fields) for video, fields in rows.items()}
        self.partitions[partition] = StoredPartition(namespace, *stored, copies)

    async def note_halt(self, partition: int, note: HaltNote | None) -> None:
        """Leave word that a partition halted, or take it back."""
        self._halts.pop(partition, None)
        if note is not None:
            self._halts[partition] = note

    async def halts(self, partitions: Sequence[int]) -> Mapping[int, HaltNote]:
        """Return the halts noted of these partitions."""
        return {one: self._halts[one] for one in partitions if one in self._halts}

    async def scan(
        self, partition: int, wanted: Callable[[str], bool] | None = None
    ) -> Mapping[str, Mapping[str, bytes]]:
        """Return every stored video of a partition with its fields, or every `wanted` one."""
        rows = self.partitions.get(partition, StoredPartition()).rows
        return {v: dict(fields) for v, fields in rows.items() if wanted is None or wanted(v)}

    async def pages(self, partition: int) -> AsyncIterator[Mapping[str, Mapping[str, bytes]]]:
        """Yield the stored videos of a partition with their fields; see `PointingStore`."""
        if rows := await self.scan(partition):
            yield rows

    async def pointers(self, partition: int) -> Mapping[str, int]:
        """Return the pointers of the archived videos of a partition."""
        return dict(self.partitions.get(partition, StoredPartition()).pointers)

    async def erase(self, partition: int) -> int:
        """Delete all counters of a partition; return how many keys that were."""
        stored = self.partitions.pop(partition, StoredPartition())
        self._halts.pop(partition, None)
        ids = sum(bool(part.ids) for part in stored.parts.values())
        kept = (stored.namespace is not None) + bool(stored.parts) + ids
        return len(stored.rows) + len(stored.pointers) + kept

    async def close(self) -> None:
        """Do nothing: what is stored stays."""

    def _flush(
        self, partition: int, namespace: str, expected: int, new: int, changes: Changes
    ) -> FlushResult:
        stored = self.partitions.get(partition, StoredPartition())
        if stored.namespace is not None:
            _require_namespace(stored.namespace, namespace, partition)
        same = stored.meta.digest == changes.meta.digest and stored.departed == changes.departed
        if stored.watermark == new and same:
            return "noop"
        if stored.watermark != expected or new <= stored.watermark:
            return Conflict(stored.watermark)
        for video, fields in changes.rows.items():
            stored.rows.setdefault(video, {}).update(fields)
        for video in changes.departed:
            del stored.rows[video]
        for video in changes.returned:
            stored.pointers.pop(video, None)
        stored.pointers.update(changes.departed)
        stored.departed = dict(changes.departed)
        stored.namespace, stored.watermark, stored.meta = namespace, new, changes.meta
        self.partitions[partition] = stored
        return "ok"


def _label(labelled: Labelled) -> tuple[str, int, str]:
    return labelled.namespace, labelled.stored.watermark, labelled.stored.meta.digest


def _require_namespace(stored: str, namespace: str, partition: int) -> None:
    if stored != namespace:
        raise other_namespace(partition, stored, namespace)

"""A recording being written: records in, frames out, the manifest always true."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from streams.recording.lines import encode_lines, line_prefix
from streams.recording.manifest import (
    RESERVE,
    RESERVE_BYTES,
    Manifest,
    Segment,
    fresh_segment,
    save_manifest,
)
from streams.recording.segments import SegmentFile
from streams.runtime.ports import Clock, Place, Record

FRAME_BYTES: Final = 1 << 19
"""Bytes of lines with which a partition is flushed: a frame is at most one line longer."""
RUN_RECORDS: Final = 1_000  # looked at while spelling up to a frame
PENDING_BYTES: Final = 1 << 23  # of lines in memory, all partitions
FLUSH_S: Final = 1.0
SAVE_S: Final = 5.0
SEGMENT_BYTES: Final = 1 << 26


class _Partition:
    """What one partition holds in memory and the segment that it writes."""

    __slots__ = ("file", "lines", "next", "pending", "prefix", "records", "segment", "size")

    def __init__(self, place: Place, next_offset: int) -> None:
        self.prefix = line_prefix(*place)
        self.segment: Segment | None = None
        self.file: SegmentFile | None = None
        self.next = next_offset
        self.lines: list[bytes] = []
        self.size = 0  # of `lines`
        self.pending: Segment | None = None  # what the lines will add to the segment


class RecordingWriter:
    """Writes one recording; `manifest.segments` names every segment before it holds a byte.

    An `OSError` (disk full) of any method leaves whole frames only; then `finish(False)`.
    """

    def __init__(self, folder: Path, manifest: Manifest, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._partitions: dict[Place, _Partition] = {}
        self._pending = 0
        self.manifest = manifest
        self.size = sum(segment.size for segment in manifest.segments)
        self.records = manifest.records
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESERVE).write_bytes(bytes(RESERVE_BYTES))
        self._open()
        save_manifest(folder, manifest)
        self._flushed = self._saved = clock()

    def positions(self) -> dict[Place, int]:
        """Return the next offset of every partition, records in memory included."""
        return {place: partition.next for place, partition in self._partitions.items()}

    def add(self, place: Place, start: int) -> None:
        """Take up a partition that the manifest got meanwhile."""
        self._partitions[place] = _Partition(place, start)

    def append(self, place: Place, records: Sequence[Record]) -> None:
        """Take records of one partition, in offset order, behind all earlier ones."""
        partition = self._partitions[place]
        at = 0
        while at < len(records):
            at += self._take(partition, place, records[at : at + RUN_RECORDS])
        self.tick()

    def tick(self) -> None:
        """Flush and save what is due by the clock or by memory."""
        now = self._clock()
        if self._pending >= PENDING_BYTES or now - self._flushed >= FLUSH_S:
            self.flush()
        if now - self._saved >= SAVE_S:
            self._save()

    def flush(self) -> None:
        """Write whatever is in memory, a frame a partition."""
        self._flush([partition for partition in self._partitions.values() if partition.lines])
        self._flushed = self._clock()

    def finish(self, *, complete: bool) -> None:
        """Save the manifest of what is on disk and close all files; memory is let go."""
        (self._folder / RESERVE).unlink(missing_ok=True)
        self.manifest.complete = complete
        try:
            self._save()
        finally:
            self.close()

    def close(self) -> None:
        """Close all files as they are; memory is let go. Idempotent."""
        for partition in self._partitions.values():
            if partition.file is not None:
                partition.file.close()

    def _open(self) -> None:
        for topic, described in self.manifest.topics.items():
            for number, span in described.spans.items():
                segments = self.manifest.of(topic, number)
                following = segments[-1].last_offset + 1 if segments else span.start
                self.add((topic, number), following)
                partition = self._partitions[topic, number]
                if segments and segments[-1].size < SEGMENT_BYTES:
                    partition.segment = segments[-1]
                    path = self._folder / segments[-1].path
                    partition.file = SegmentFile(path, segments[-1].size)

    def _take(self, partition: _Partition, place: Place, records: Sequence[Record]) -> int:
        """Take as many records as bring the partition to a frame; return how many."""
        lines = encode_lines(partition.prefix, records, FRAME_BYTES - partition.size)
        sizes = [len(line) for line in lines]
        _note(partition, place, records[: len(lines)], max(sizes))
        size = sum(sizes)
        partition.lines += lines
        partition.size += size
        self._pending += size
        self.records += len(lines)
        if partition.size >= FRAME_BYTES:
            self._flush([partition])
        return len(lines)

    def _flush(self, partitions: Sequence[_Partition]) -> None:
        fresh = [one for one in partitions if one.file is None]
        for partition in fresh:
            added = partition.pending
            assert added is not None
            partition.segment = fresh_segment((added.topic, added.partition), added.first_offset)
            partition.file = SegmentFile(self._folder / partition.segment.path)
            self.manifest.segments.append(partition.segment)
        if fresh:
            self._save()
        for partition in partitions:
            self._write(partition)

    def _write(self, partition: _Partition) -> None:
        segment, file, added = partition.segment, partition.file, partition.pending
        assert segment is not None
        assert file is not None
        assert added is not None
        file.append(b"".join(partition.lines))
        self.size += file.size - segment.size
        segment.merge(added)
        segment.size = file.size
        self._pending -= partition.size
        partition.lines, partition.size, partition.pending = [], 0, None
        if file.size >= SEGMENT_BYTES:
            segment.sha256 = file.sha256
            file.sync()
            file.close()
            partition.file = partition.segment = None

    def _save(self) -> None:
        for partition in self._partitions.values():
            if partition.file is not None and partition.segment is not None:
                partition.file.sync()
                partition.segment.sha256 = partition.file.sha256
        save_manifest(self._folder, self.manifest)
        self._saved = self._clock()


def _note(
    partition: _Partition, place: Place, records: Sequence[Record], longest_line: int
) -> None:
    """Count records that go into memory; nothing changes if their offsets do not rise."""
    added = fresh_segment(place, records[0].offset)
    added.add(records, partition.next, longest_line)
    if partition.pending is None:
        partition.pending = added
    else:
        partition.pending.merge(added)
    partition.next = added.last_offset + 1

"""A recording on disk, read back: partition by partition, or merged by time."""

import heapq
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import orjson

from streams.errors import Halt
from streams.recording.lines import LINE_ERRORS, Recorded, decode_lines
from streams.recording.manifest import Manifest, Segment, load_manifest
from streams.recording.segments import BrokenFrame, read_frames
from streams.runtime.ports import Place


class Damaged(Halt):
    """A recording is not what its manifest says; the message names the file, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="damaged")


class Recording:
    """A recording, opened by its manifest; nothing of its segments has been checked yet.

    Of one that is not complete (its recorder was killed, or is still at work) whole frames behind
    the manifest's word are read too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.manifest: Final[Manifest] = load_manifest(folder)

    def places(self) -> list[Place]:
        """Return the partitions that hold or were to hold records, sorted."""
        topics = self.manifest.topics
        return sorted((topic, number) for topic in topics for number in topics[topic].spans)

    def chunks(self, place: Place, start: int = 0) -> Iterator[list[Recorded]]:
        """Yield the records of a partition from offset `start` on, in offset order, in runs.

        A run is one frame: never the whole partition in memory. Raises `Damaged`.
        """
        segments = self.manifest.of(*place)
        following = 0
        for segment in segments:
            if segment.last_offset < start and segment is not segments[-1]:
                continue
            for chunk in read_segment(self.folder, segment, complete=self.manifest.complete):
                if chunk[0].offset < following:
                    raise Damaged(f"{segment.path}: offset {chunk[0].offset} comes twice")
                following = chunk[-1].offset + 1
                if chunk[0].offset >= start:
                    yield chunk
                elif kept := [record for record in chunk if record.offset >= start]:
                    yield kept

    def merged(self, positions: Mapping[Place, int]) -> Iterator[Recorded]:
        """Yield the records of these partitions, each from its position (next offset) on.

        Merged by (timestamp, topic, partition, offset): a partition's own order is kept, also
        where its timestamps are not in order.
        """
        heads: list[tuple[int, str, int, int, Recorded, Iterator[Recorded]]] = []
        for place, start in positions.items():
            records: Iterator[Recorded] = (
                record for chunk in self.chunks(place, start) for record in chunk
            )
            if (first := next(records, None)) is not None:
                heads.append((first.timestamp, *place, first.offset, first, records))
        heapq.heapify(heads)
        while len(heads) > 1:
            _, topic, partition, _, record, records = heads[0]
            yield record
            if (after := next(records, None)) is None:
                heapq.heappop(heads)
            else:
                entry = (after.timestamp, topic, partition, after.offset, after, records)
                heapq.heapreplace(heads, entry)
        for *_, record, records in heads:
            yield record
            yield from records


def read_segment(folder: Path, segment: Segment, *, complete: bool) -> Iterator[list[Recorded]]:
    """Yield the records of one segment, a frame at a time; raises `Damaged` with the first fault.

    Of a recording that is not complete, a last frame that is cut ends the segment quietly.
    """
    seen, following = 0, segment.first_offset
    topic, number = segment.topic, segment.partition
    try:
        for frame in read_frames(folder / segment.path):
            chunk = _decode_frame(segment, frame.text, seen)
            for record in chunk:
                if record.offset < following or record.partition != number or record.topic != topic:
                    raise _misplaced(segment, record, following)
                following = record.offset + 1
            if not seen and chunk[0].offset != segment.first_offset:
                raise _misplaced(segment, chunk[0], segment.first_offset)
            if complete and frame.end > segment.size:
                raise Damaged(f"{segment.path}: goes on behind the manifest's {segment.size} bytes")
            seen += len(chunk)
            yield chunk
    except BrokenFrame as broken:
        if complete or not broken.cut or broken.position < segment.size:
            raise Damaged(_broken(segment, broken, following)) from None
    except OSError as error:
        raise Damaged(f"{segment.path}: cannot be read: {error.strerror}") from None
    if seen < segment.records or (complete and seen > segment.records):
        raise Damaged(f"{segment.path}: holds {seen} records, manifest.json says {segment.records}")


def _decode_frame(segment: Segment, text: bytes, seen: int) -> list[Recorded]:
    try:
        chunk = decode_lines(text)
    except LINE_ERRORS as error:
        number, why = _first_bad_line(text, error)
        if "unknown field" in why and _names_its_place(text):
            why += ": written by a newer version of streams, read it with that"
        raise Damaged(f"{segment.path}: line {seen + number}: {why}") from None
    if not chunk:
        raise Damaged(f"{segment.path}: an empty frame behind {seen} records")
    return chunk


def _first_bad_line(text: bytes, error: Exception) -> tuple[int, str]:
    for number, line in enumerate(text.splitlines(), 1):
        try:
            decode_lines(line)
        except LINE_ERRORS as found:
            return number, str(found)
    return 1, str(error)


def _names_its_place(text: bytes) -> bool:
    """Tell whether a line is at least of our kind: it names topic, partition and offset."""
    try:
        fields = orjson.loads(text.partition(b"\n")[0])
    except orjson.JSONDecodeError:
        return False
    return isinstance(fields, dict) and {"topic", "partition", "offset"} <= fields.keys()


def _misplaced(segment: Segment, record: Recorded, following: int) -> Damaged:
    if record.partition != segment.partition or record.topic != segment.topic:
        return Damaged(
            f"{segment.path}: holds a record of {record.topic}[{record.partition}]: "
            "another partition's content"
        )
    return Damaged(
        f"{segment.path}: offset {record.offset} where {following} was to come: "
        "another segment's content, or lines out of order"
    )


def _broken(segment: Segment, broken: BrokenFrame, following: int) -> str:
    how = "is cut" if broken.cut else "is damaged"
    upto = f"readable up to offset {following - 1}" if following > segment.first_offset else ""
    return f"{segment.path}: {how} behind byte {broken.position}: {upto or 'nothing is readable'}"

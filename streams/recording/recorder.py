"""From a log into a folder: the loop, its ends, and what happens when the disk is full."""

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from streams.errors import Halt, Retry
from streams.recording.manifest import Span
from streams.recording.planning import at_time
from streams.recording.writer import RecordingWriter
from streams.runtime.ports import LogReader, Place, Record

FETCH_MS: Final = 200
FETCH_RECORDS: Final = 20_000
PATIENCE_S: Final = 60.0
"""A log that fails for longer than this ends the recording, which can be resumed."""
BACKOFF_S: Final = 0.5


class Progress(NamedTuple):
    """How far a recording is; `waiting` says what it waits for."""

    records: int
    size: int  # bytes on disk
    done: int  # offsets passed
    waiting: str = ""


class DiskFull(Halt):
    """The disk is full; what was recorded is whole."""


class Recorder:
    """Reads the spans of a writer's manifest to their ends, or until it is told to stop.

    `until_ms` is a time that had not come when the recording was planned; `now_ms` tells it.
    """

    def __init__(
        self,
        reader: LogReader,
        writer: RecordingWriter,
        *,
        until_ms: int | None = None,
        now_ms: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._until_ms = until_ms
        self._now_ms = now_ms
        self._spans: dict[Place, Span] = {
            (name, number): span
            for name, topic in writer.manifest.topics.items()
            for number, span in topic.spans.items()
        }
        self._open: set[Place] = set()
        self._failing = 0.0

    async def run(
        self, stop: Callable[[], bool], tell: Callable[[Progress], None] = lambda _: None
    ) -> bool:
        """Record; return whether all that was asked for is there.

        Live spans are complete when `stop` says so. On any error whole frames stay and the
        manifest says that more was asked for. `DiskFull` if there is no more room.
        """
        complete = False
        try:
            reached = await self._run(stop, tell)
            self._writer.flush()
            complete = reached  # only now: the last flush may have found no room
        except OSError as error:
            raise self._sorted(error) from error
        finally:
            self._finish(complete=complete)
        return complete

    def total(self) -> int | None:
        """Return how many offsets were asked for, None if some partition is live."""
        ends = [span.end for span in self._spans.values()]
        starts = [span.start for span in self._spans.values()]
        live = any(end is None for end in ends)
        return None if live else sum(end or 0 for end in ends) - sum(starts)

    async def _run(self, stop: Callable[[], bool], tell: Callable[[Progress], None]) -> bool:
        self._assign()
        while self._open and not stop():
            waiting = await self._turn()
            await self._reach_until()
            tell(self._progress(waiting))
        return all(self._spans[place].end is None for place in self._open)

    async def _turn(self) -> str:
        try:
            batches = await self._reader.fetch(FETCH_MS, FETCH_RECORDS)
        except Retry as error:
            self._failing += BACKOFF_S
            if self._failing >= PATIENCE_S:
                raise
            await asyncio.sleep(BACKOFF_S)
            self._writer.tick()
            return str(error)
        self._failing = 0.0
        for place, records in batches.items():
            if place in self._open and (kept := _below(records, self._spans[place].end)):
                self._writer.append(place, kept)
        self._writer.tick()
        await self._retire(batches)
        return ""

    async def _retire(self, batches: Mapping[Place, Sequence[Record]]) -> None:
        """Let partitions go that are at their end; markers of transactions count as read."""
        reached = set()
        following = self._writer.positions()
        for place in self._open:
            end = self._spans[place].end
            if end is None:
                continue
            at = following[place]
            if at < end and place not in batches:
                at = await self._reader.position(*place)
            elif place in batches:
                at = max(at, batches[place][-1].offset + 1)
            if at >= end:
                reached.add(place)
        if reached:
            self._open -= reached
            self._read()

    async def _reach_until(self) -> None:
        """Put an end to live spans once their time has come."""
        if self._until_ms is None or self._now_ms() < self._until_ms:
            return
        for topic in {topic for topic, _ in self._spans}:
            numbers = sorted(number for name, number in self._spans if name == topic)
            ends = await at_time(self._reader, topic, numbers, self._until_ms)
            for number in numbers:
                self._spans[topic, number].end = ends[number]
        self._until_ms = None
        self._assign()

    def _assign(self) -> None:
        following = self._writer.positions()
        self._open = {
            place
            for place, span in self._spans.items()
            if span.end is None or following[place] < span.end
        }
        self._read()

    def _read(self) -> None:
        following = self._writer.positions()
        self._reader.assign({place: following[place] for place in sorted(self._open)})

    def _progress(self, waiting: str) -> Progress:
        following = self._writer.positions()
        done = sum(following[place] - span.start for place, span in self._spans.items())
        return Progress(self._writer.records, self._writer.size, done, waiting)

    def _finish(self, *, complete: bool) -> None:
        try:
            self._writer.finish(complete=complete)
        except OSError as error:
            raise self._sorted(error) from error

    def _sorted(self, error: OSError) -> Halt:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            records = sum(segment.records for segment in self._writer.manifest.segments)
            return DiskFull(
                f"the disk is full: {records} records are whole and readable; make room, then "
                "go on with --resume",
                code="disk_full",
            )
        return Halt(f"cannot write the recording: {error.strerror}")


def _below(records: Sequence[Record], end: int | None) -> Sequence[Record]:
    if end is None or not records or records[-1].offset < end:
        return records
    return [record for record in records if record.offset < end]

"""From a log into a folder: the loop, its ends, and what happens when the disk is full."""

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from streams.errors import Halt, Retry
from streams.recording.following import TopicWatch
from streams.recording.manifest import Span
from streams.recording.writer import RecordingWriter
from streams.runtime.answers import require_all
from streams.runtime.ports import LogReader, Place, Record

FETCH_MS: Final = 200
FETCH_RECORDS: Final = 20_000
PATIENCE_S: Final = 60.0
"""A log that fails for longer than this ends the recording, which can be resumed."""
BACKOFF_S: Final = 0.5
LOOK_MS: Final = 5_000
"""How often topics are looked at: new partitions, or another topic of the same name."""
OVER_RECORDS: Final = 1_000
"""So many records in a row, all too late by more than the slack, end a partition.

One alone may come from a clock that is ahead; the right ones stand between its records.
"""


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

    Of a manifest with `until`, records with a later timestamp are left out; live spans end where
    the log ends when the slack behind that time is over, by `now_ms`. `watch` None: nothing can
    happen to the topics.
    """

    def __init__(
        self,
        reader: LogReader,
        writer: RecordingWriter,
        watch: TopicWatch | None = None,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._watch = watch
        self._now_ms = now_ms
        self._until: Final = writer.manifest.until
        self._spans: dict[Place, Span] = {
            (name, number): span
            for name, topic in writer.manifest.topics.items()
            for number, span in topic.spans.items()
        }
        self._next = dict(writer.positions())  # offsets to read, those left out passed
        self._open: set[Place] = set()
        self._over: dict[Place, int] = {}  # records in a row behind `until` and its slack
        self._failing = 0.0
        self._looked_ms = now_ms()

    async def run(
        self, stop: Callable[[], bool], tell: Callable[[Progress], None] = lambda _: None
    ) -> bool:
        """Record; return whether all that was asked for is there, `missing` partitions apart.

        Live spans without an end by time are complete when `stop` says so. On any error whole
        frames stay and the manifest says that more was asked for. `DiskFull` if there is no more
        room, `Halt` if a topic is not the one that was recorded any more.
        """
        reached = False
        try:
            ended = await self._run(stop, tell)
            self._writer.flush()
            # only now: the last flush may have found no room, and a topic may have changed
            reached = ended and not await self._changes()
        except OSError as error:
            raise self._sorted(error) from error
        finally:
            self._finish(complete=reached and not self.missing)
        return reached

    @property
    def missing(self) -> list[str]:
        """Partitions that no leader answered for when the recording began, by name."""
        topics = self._writer.manifest.topics
        return [f"{name}[{number}]" for name in sorted(topics) for number in topics[name].missing]

    def total(self) -> int | None:
        """Return how many offsets were asked for, None if some partition is live."""
        ends = [span.end for span in self._spans.values()]
        starts = [span.start for span in self._spans.values()]
        live = any(end is None for end in ends)
        return None if live else sum(end or 0 for end in ends) - sum(starts)

    def progress(self, waiting: str = "") -> Progress:
        """Return how far it is."""
        done = sum(self._next[place] - span.start for place, span in self._spans.items())
        return Progress(self._writer.records, self._writer.size, done, waiting)

    async def _run(self, stop: Callable[[], bool], tell: Callable[[Progress], None]) -> bool:
        self._assign()
        while self._open and not stop():
            tell(self.progress(await self._turn()))
        live = all(self._spans[place].end is None for place in self._open)
        return live and (self._until is None or not self._open)

    async def _turn(self) -> str:
        """Take what there is to read; return what is waited for, "" if for nothing."""
        try:
            batches = await self._reader.fetch(FETCH_MS, FETCH_RECORDS)
            self._take(batches)
            await self._retire()
            await self._reach_until()
            await self._follow()
        except Retry as error:
            self._failing += BACKOFF_S
            if self._failing >= PATIENCE_S:
                raise
            await asyncio.sleep(BACKOFF_S)
            self._writer.tick()
            return str(error)
        self._failing = 0.0
        return ""

    def _take(self, batches: Mapping[Place, Sequence[Record]]) -> None:
        for place, records in batches.items():
            if place not in self._open:
                continue
            if kept := self._kept(place, records):
                self._writer.append(place, kept)
            self._next[place] = records[-1].offset + 1
        self._writer.tick()

    def _kept(self, place: Place, records: Sequence[Record]) -> Sequence[Record]:
        """Return those that belong to the recording; may put an end to the partition's span."""
        span, until = self._spans[place], self._until
        if until is not None:
            if self._now_ms() > until.over_ms:  # before that, only clocks that are ahead say so
                self._end_behind(place, records)
            records = [record for record in records if record.timestamp <= until.time_ms]
        return _below(records, span.end)

    def _end_behind(self, place: Place, records: Sequence[Record]) -> None:
        """End a partition at the last of `OVER_RECORDS` in a row that are all too late."""
        assert self._until is not None
        over = self._over.get(place, 0)
        for record in records:
            over = over + 1 if record.timestamp > self._until.over_ms else 0
            if over == OVER_RECORDS:
                self._spans[place].end = record.offset + 1
                break
        self._over[place] = over

    async def _retire(self) -> None:
        """Let partitions go that are at their end; markers of transactions count as read."""
        reached = set()
        for place in self._open:
            end = self._spans[place].end
            if end is None:
                continue
            if self._next[place] < end:
                self._next[place] = max(self._next[place], await self._reader.position(*place))
            if self._next[place] >= end:
                reached.add(place)
        if reached:
            self._open -= reached
            self._read()

    async def _reach_until(self) -> None:
        """Put an end to live spans once their time and the slack behind it are over."""
        live = sorted(place for place in self._open if self._spans[place].end is None)
        if self._until is None or not live or self._now_ms() <= self._until.over_ms:
            return
        for topic in {topic for topic, _ in live}:
            numbers = [number for name, number in live if name == topic]
            answers = await self._reader.offsets(topic, numbers)
            for number, bounds in require_all(topic, numbers, answers).items():
                self._spans[topic, number].end = bounds.end
            self._writer.manifest.topics[topic].follow = False
        self._assign()

    async def _follow(self) -> None:
        """Take up partitions that were added, now and then."""
        now_ms = self._now_ms()
        if now_ms - self._looked_ms >= LOOK_MS:
            self._looked_ms = now_ms
            if await self._changes():
                self._assign()

    async def _changes(self) -> bool:
        """Return whether partitions were added, which belong to the recording then."""
        added = {} if self._watch is None else await self._watch.look()
        for place, span in added.items():
            self._spans[place] = span
            self._writer.add(place, span.start)
            self._next[place] = span.start
        return bool(added)

    def _assign(self) -> None:
        self._open = {
            place
            for place, span in self._spans.items()
            if span.end is None or self._next[place] < span.end
        }
        self._read()

    def _read(self) -> None:
        self._reader.assign({place: self._next[place] for place in sorted(self._open)})

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

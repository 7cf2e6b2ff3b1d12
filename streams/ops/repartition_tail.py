"""Takes the window of duplicates over into a log of another partition count.

What a window remembers follows from the records of the latest generations. They are written again,
generation by generation, each event to the partition where its video lives from now on, and behind
each generation a `repartition` record, so none is empty; the last of them is where the new log's
counters begin. As long as generations are in the new log's beginning, its window remembers what
those of before did. Left out is what no window goes by: control records, what was refused, and
what had come to a partition that is not its video's.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from zlib import crc32

from streams.core.events import InteractionRecord
from streams.core.generations import Generations, read_generations
from streams.core.partitioner import partition_of
from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import Halt
from streams.ops.verify import CountedLog
from streams.runtime.answers import require_all
from streams.runtime.codec import COUNTED, Spelling, decode_log
from streams.runtime.ports import Offsets, Outgoing, Producer, Record, Stored
from streams.runtime.reading import batches_of
from streams.runtime.reasons import split_array

UNACKNOWLEDGED: Final = 1_000
STEPS: Final = 128
"""So many offsets a beginning has at least: its counters are stored in as many steps."""
_home: Final = lru_cache(maxsize=1 << 16)(partition_of)


class LogBeginning(NamedTuple):
    """The beginning of a new partition: where it starts, and how long its generations are.

    The oldest comes first. `checksum` is of all its records in their order.
    """

    start: int
    lengths: tuple[int, ...]
    checksum: int

    @property
    def watermark(self) -> int:
        """The offset of its last record: all up to there is counted."""
        return self.start + sum(self.lengths) - 1

    def generations(self, records: int) -> Generations:
        """Return the generations of this log; the latest one, and those to come, are `records`."""
        spans, at = [(0, self.start)] if self.start else [], self.start
        for length in self.lengths[:-1]:
            spans.append((at, length))
            at += length
        return Generations((*spans, (at, records)))


class Sender:
    """Sends records of which none may be lost, some at a time; `Retry` if one is."""

    def __init__(self, producer: Producer) -> None:
        self._producer: Final = producer
        self._acks: list[Awaitable[object]] = []

    async def send(self, record: Outgoing) -> None:
        """Send a record; it may be durable later only."""
        self._acks.append(await self._producer.send(record))
        if len(self._acks) >= UNACKNOWLEDGED:
            await self.settle()

    async def settle(self) -> None:
        """Return when all that was sent is durable."""
        acks, self._acks = self._acks, []
        await asyncio.gather(*acks)


class _Growing:
    """A new partition's beginning while it is written."""

    def __init__(self, start: int) -> None:
        self.lengths: list[int] = []
        self._start: Final = start
        self._checksum = 0
        self._open = 0

    def note(self, record: Outgoing) -> None:
        self._checksum = _summed(self._checksum, record.key, record.value)
        self._open += 1

    def end_generation(self) -> None:
        self.lengths.append(self._open)
        self._open = 0

    def tail(self) -> LogBeginning:
        return LogBeginning(self._start, tuple(self.lengths), self._checksum)


class TailWriter:
    """Writes the beginnings of the partitions of `new`; `marker` makes the record behind each."""

    def __init__(
        self,
        old: CountedLog,
        new: CountedLog,
        producer: Producer,
        marker: Callable[[int], Outgoing],
    ) -> None:
        self._old: Final = old
        self._new: Final = new
        self._sender: Final = Sender(producer)
        self._marker: Final = marker

    async def write(self, ends: Mapping[int, Stored]) -> dict[int, LogBeginning]:
        """Write what the windows of partitions that were counted up to these ends go by.

        `Retry` if a record was not taken: what was written then is passed over by the next try.
        """
        topic, partitions = self._new.identity.topic, range(self._new.identity.partitions)
        bounds = require_all(topic, partitions, await self._new.reader.offsets(topic, partitions))
        growing = {each: _Growing(bounds[each].end) for each in partitions}
        for age in reversed(range(REPLAYED_GENERATIONS + 1)):
            for partition, stored in ends.items():
                async for record in self._dealt(partition, stored, age):
                    await self._send(growing, record)
            for each in partitions:
                for _ in range(STEPS if age == REPLAYED_GENERATIONS else 1):
                    await self._send(growing, self._marker(each))
                growing[each].end_generation()
            await self._sender.settle()
        return {each: grown.tail() for each, grown in growing.items()}

    async def _send(self, growing: Mapping[int, _Growing], record: Outgoing) -> None:
        assert record.partition is not None
        growing[record.partition].note(record)
        await self._sender.send(record)

    async def _dealt(self, partition: int, stored: Stored, age: int) -> AsyncIterator[Outgoing]:
        """Yield what goes over of one generation of a partition; the current one is of age 0."""
        start, end = generation_bounds(self._old, stored, age)
        start = max(start, (await self._old.bounds(partition)).start)
        counts = (self._old.identity.partitions, self._new.identity.partitions)
        topic, spelling = self._new.identity.topic, self._old.tools.spelling
        span = {self._old.place(partition): Offsets(start, end)}
        async for records in batches_of(self._old.reader, span):
            for record in dealt(records, topic, counts, spelling):
                yield record


def generation_bounds(log: CountedLog, stored: Stored, age: int) -> tuple[int, int]:
    """Return the offsets of a generation, up to what is counted; the current one is of age 0."""
    spans = read_generations(stored.meta.generations, log.tools.generation_records)
    following = stored.watermark + 1
    return spans.back(following, age), spans.back(following, age - 1) if age else following


def dealt(
    records: Sequence[Record], topic: str, counts: tuple[int, int], spelling: Spelling
) -> Iterator[Outgoing]:
    """Yield what is to be written of records of one partition, arrays split; counts before, after.

    Key, timestamp and the bytes of each event stay. A header has whoever meets one behind the
    beginning, from a run that slept, refuse it.
    """
    before, after = counts
    decoded = decode_log(records, None, spelling)
    homes: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    own = records[0].partition if records else -1
    for event, offset, element in zip(
        decoded.events, decoded.offsets, decoded.elements, strict=True
    ):
        if isinstance(event, InteractionRecord):
            video = event.video.encode()
            if _home(video, before) == own:
                homes[offset].append((element, _home(video, after)))
    for record in records:
        for home, value in _split(record, homes.get(record.offset, ())):
            headers = [*record.headers, (COUNTED, b"")]
            yield Outgoing(topic, value, record.key, headers, home, record.timestamp)


async def last_of(log: CountedLog, partition: int, tail: LogBeginning) -> Record:
    """Return the last record of a beginning that was written; `Halt` if others wrote there too."""
    bounds, checksum, count = await log.bounds(partition), 0, 0
    last: Record | None = None
    span = {log.place(partition): Offsets(tail.start, bounds.end)}
    async for records in batches_of(log.reader, span):
        for record in records:
            checksum = _summed(checksum, record.key, record.value)
        count, last = count + len(records), records[-1]
    whole = (count, checksum, bounds.end) == (sum(tail.lengths), tail.checksum, tail.watermark + 1)
    if last is None or not whole:
        raise Halt(
            f"partition {partition} of {log.identity.topic} holds something else than what was "
            "written there: another run goes on, or producers are there already; stop them and "
            "run the same command again",
            code="busy",
            partition=partition,
        )
    return last


def _split(record: Record, homes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Yield partition and value of what a record's events, by place and partition, become."""
    value = record.value or b""
    elements = split_array(value) if value.lstrip()[:1] == b"[" else None
    by_home: defaultdict[int, list[int]] = defaultdict(list)
    for element, home in homes:
        by_home[home].append(element)
    for home, places in by_home.items():
        if elements is None or len(places) == len(elements):
            yield home, value
        else:
            yield home, b"[%b]" % b",".join(elements[place] for place in places)


def _summed(checksum: int, key: bytes | None, value: bytes | None) -> int:
    for part in (key, value):
        checksum = crc32(b"-" if part is None else b"%d:%b" % (len(part), part), checksum)
    return checksum

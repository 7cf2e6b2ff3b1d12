"""Reading a topic as it grows, from where people want it, and sampling it."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from streams.core.partitioner import partition_of
from streams.core.traffic import Tick, decode
from streams.errors import Halt, Retry, Unreachable
from streams.runtime.answers import require_all
from streams.runtime.ports import Cluster, LogReader, Place, Record
from streams.runtime.reasons import PARSER_ERRORS

FETCH_MS: Final = 200
FETCH_RECORDS: Final = 2_000
SILENCE_S: Final = 30


Start = int | Literal["earliest", "latest"]
"""Where to begin: an end of the log as it is now, or a time in milliseconds since 1970."""


class Tail(NamedTuple):
    """Which part of a topic is wanted; with `video`, the partition of that video alone."""

    topic: str
    start: Start
    video: str | None
    follow: bool


class TailSpan(NamedTuple):
    """A piece of a topic: first offset and, as of now, next offset to be written, by partition."""

    topic: str
    start: Mapping[int, int]
    end: Mapping[int, int]


async def partitions_of(cluster: Cluster, topic: str, video: str | None) -> Sequence[int]:
    """Return the partitions of a topic, with `video` its own alone; `Halt` if there is no topic."""
    return partitions_for(video, (await cluster.identity(topic)).partitions)


def partitions_for(video: str | None, count: int) -> Sequence[int]:
    """Return so many partitions, with `video` its own alone."""
    return [partition_of(video.encode(), count)] if video else range(count)


async def require_topic(cluster: Cluster, topic: str) -> int:
    """Return how many partitions a topic has that somebody named.

    `Halt` with what there is if it does not exist.
    """
    existing = await cluster.describe()
    if topic not in existing:
        known = ", ".join(sorted(existing)) or "none"
        raise Halt(
            f"topic {topic} does not exist; there are: {known} (`streams topics apply --yes` "
            "makes those of ours that lack)",
            code="topic_missing",
        )
    return existing[topic]


async def read_tail(
    reader: LogReader, tail: Tail, partitions: Sequence[int]
) -> AsyncGenerator[Record, None]:
    """Yield the records of a tail in these partitions, as of `partitions_of`."""
    span = await locate(reader, tail.topic, partitions, tail.start)
    async for record in read_span(reader, span, follow=tail.follow):
        yield record


async def locate(
    reader: LogReader, topic: str, partitions: Sequence[int], start: Start
) -> TailSpan:
    """Return the span of some partitions of a topic.

    Brokers that cannot search by time (the embedded one) find no record, not even the oldest: of
    those a span from a time on is all that they hold.
    """
    bounds = require_all(topic, partitions, await reader.offsets(topic, partitions))
    ends = {partition: both.end for partition, both in bounds.items()}
    if start == "latest":
        return TailSpan(topic, ends, ends)
    starts = {partition: both.start for partition, both in bounds.items()}
    if start != "earliest" and (found := await _first_at(reader, topic, partitions, start)):
        starts = {p: ends[p] if (at := found[p]) is None else at for p in partitions}
    return TailSpan(topic, starts, ends)


async def _first_at(
    reader: LogReader, topic: str, partitions: Sequence[int], time_ms: int
) -> Mapping[int, int | None]:
    """Return the first offset of each partition at or after a time, {} if that is not searched."""
    found, oldest = [
        require_all(
            topic, partitions, await reader.offsets_at(topic, dict.fromkeys(partitions, at))
        )
        for at in (time_ms, 0)
    ]
    return found if any(first is not None for first in oldest.values()) else {}


async def read_span(reader: LogReader, span: TailSpan, *, follow: bool) -> AsyncIterator[Record]:
    """Yield the records of a span, with `follow` for ever, else up to its end as it was.

    A read that fails for now is tried again; `Unreachable` when, without `follow`, nothing has
    come for `SILENCE_S`. Records come in the order of their partition.
    """
    left = {p for p, end in span.end.items() if follow or span.start[p] < end}
    reader.assign({(span.topic, p): span.start[p] for p in left})
    silent = 0
    while left:
        batches = await _fetch(reader)
        for record in _within(batches, span, follow=follow):
            yield record
        if not follow:
            left -= await _finished(reader, span, left)
            silent = 0 if batches else silent + 1
            if silent * FETCH_MS > SILENCE_S * 1000:
                raise Unreachable(f"{span.topic}: nothing was read for {SILENCE_S} s")


async def read_ticks_in(reader: LogReader, span: TailSpan) -> AsyncIterator[Tick]:
    """Yield the minutes in a span of `traffic`; what no worker wrote is passed over."""
    async for record in read_span(reader, span, follow=False):
        try:
            tick = decode(record.value or b"")
        except PARSER_ERRORS:
            continue
        yield tick


async def sample(records: AsyncIterator[Record], count: int, chance: random.Random) -> list[Record]:
    """Return `count` of the records, each equally likely, in the order they came.

    A reservoir (Vitter 1985, algorithm R): memory for `count` records, whatever comes.
    """
    kept: list[tuple[int, Record]] = []
    seen = 0
    async for record in records:
        if len(kept) < count:
            kept.append((seen, record))
        elif (place := chance.randrange(seen + 1)) < count:
            kept[place] = (seen, record)
        seen += 1
    return [record for _, record in sorted(kept, key=lambda one: one[0])]


async def _fetch(reader: LogReader) -> Mapping[Place, Sequence[Record]]:
    try:
        return await reader.fetch(FETCH_MS, FETCH_RECORDS)
    except Retry:
        await asyncio.sleep(FETCH_MS / 1000)
        return {}


def _within(
    batches: Mapping[Place, Sequence[Record]], span: TailSpan, *, follow: bool
) -> list[Record]:
    return [
        record
        for records in batches.values()
        for record in records
        if follow or record.offset < span.end[record.partition]
    ]


async def _finished(reader: LogReader, span: TailSpan, left: set[int]) -> set[int]:
    """Return the partitions read to their end; the last offset need not be a record's."""
    return {p for p in left if await reader.position(span.topic, p) >= span.end[p]}

"""Reading a topic as it grows, from a place named by people, and sampling it."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from streams.errors import Halt, Retry, Unreachable
from streams.runtime.answers import require_all
from streams.runtime.ports import LogReader, Place, Record

FETCH_MS: Final = 200
FETCH_RECORDS: Final = 2_000
SILENCE_S: Final = 30
_AGO: Final = re.compile(r"\A-(\d{1,9})(ms|s|m|h|d)\Z")
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Span(NamedTuple):
    """A piece of a topic: first offset and, as of now, next offset to be written, by partition."""

    topic: str
    start: Mapping[int, int]
    end: Mapping[int, int]


def parse_start(text: str, now_ms: int) -> int | str:
    """Return `beginning` or `end` as they are, `-1h` or an ISO 8601 time as ms since 1970.

    >>> parse_start("-90s", 1_000_000), parse_start("1970-01-01T00:00:05Z", 0)
    (910000, 5000)
    """
    if text in ("beginning", "end"):
        return text
    if ago := _AGO.match(text):
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Halt(
            f"--from {text}: give beginning, end, a time ago such as -30s, -2h or -1d, "
            "or an ISO 8601 time"
        ) from None
    return int(at.timestamp() * 1000)


async def locate(
    reader: LogReader, topic: str, partitions: Sequence[int], start: int | str
) -> Span:
    """Return the span of some partitions of a topic, `start` as of `parse_start`."""
    bounds = require_all(topic, partitions, await reader.offsets(topic, partitions))
    ends = {partition: both.end for partition, both in bounds.items()}
    if start == "end":
        return Span(topic, ends, ends)
    starts = {partition: both.start for partition, both in bounds.items()}
    if isinstance(start, int):
        found = await reader.offsets_at(topic, dict.fromkeys(partitions, start))
        require_all(topic, partitions, found)
        starts = {p: ends[p] if (at := found[p]) is None else at for p in partitions}
    return Span(topic, starts, ends)


async def read_span(reader: LogReader, span: Span, *, follow: bool) -> AsyncIterator[Record]:
    """Yield the records of a span, with `follow` for ever, else up to its end as it was.

    A read that fails for now is tried again; `Unreachable` when, without `follow`, nothing has
    come for `SILENCE_S`. Records come in the order of their partition.
    """
    left = {p for p, end in span.end.items() if follow or span.start[p] < end}
    reader.assign({(span.topic, p): span.start[p] for p in left})
    silent = 0
    while left:
        found = await _fetch(reader)
        for record in _within(found, span, follow=follow):
            yield record
        if not follow:
            left -= await _finished(reader, span, left)
            silent = 0 if found else silent + 1
            if silent * FETCH_MS > SILENCE_S * 1000:
                raise Unreachable(f"{span.topic}: nothing was read for {SILENCE_S} s")


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


def _within(found: Mapping[Place, Sequence[Record]], span: Span, *, follow: bool) -> list[Record]:
    return [
        record
        for records in found.values()
        for record in records
        if follow or record.offset < span.end[record.partition]
    ]


async def _finished(reader: LogReader, span: Span, left: set[int]) -> set[int]:
    """Return the partitions read to their end; the last offset need not be a record's."""
    return {p for p in left if await reader.position(span.topic, p) >= span.end[p]}

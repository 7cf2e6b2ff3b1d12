"""Stretches of partitions, read from one offset to before another."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from streams.errors import Retry
from streams.runtime.ports import LogReader, Offsets, Place, Record

FETCH_MS: Final = 500
FETCH_RECORDS: Final = 10_000
SILENCE_S: Final = 30


async def batches_of(
    reader: LogReader, spans: Mapping[Place, Offsets]
) -> AsyncIterator[Sequence[Record]]:
    """Yield what partitions hold from `start` to before `end`, some records of one at a time.

    `Retry` if nothing comes for `SILENCE_S`: who is left has lost its leader.
    """
    starts = {place: start for place, (start, end) in spans.items() if start < end}
    reader.assign(starts)
    left, silent_ms = set(starts), 0
    while left := {place for place in left if await reader.position(*place) < spans[place].end}:
        batches = await reader.fetch(FETCH_MS, FETCH_RECORDS)
        silent_ms = 0 if batches else silent_ms + FETCH_MS
        if silent_ms > SILENCE_S * 1000:
            names = ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(left))
            raise Retry(f"{names}: nothing was read for {SILENCE_S} s")
        for place, records in batches.items():
            if within := [one for one in records if one.offset < spans[place].end]:
                yield within
    reader.assign({})  # nothing is read on in the background


async def record_at(reader: LogReader, place: Place, offset: int) -> Record | None:
    """Return the record at an offset, None if nothing stands there."""
    async for records in batches_of(reader, {place: Offsets(offset, offset + 1)}):
        return records[0]
    return None

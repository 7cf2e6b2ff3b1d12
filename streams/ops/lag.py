"""How far consumer groups are behind: in records, and in seconds of the log's own time."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from streams.errors import Retry
from streams.runtime.ports import Clock, LogReader, Offsets, Place

READ_TIMEOUT_S: Final = 20.0


class Lag(NamedTuple):
    """One group's place in one partition.

    `lag_seconds` is the age of the record at the committed offset: how long ago the first event
    was written that the group has not finished. 0 without lag; None if that record cannot be read.
    Below `log_start` records were deleted before the group read them; its lag then counts from
    there on.
    """

    group: str
    topic: str
    partition: int
    committed: int
    log_start: int
    end: int
    lag: int
    lag_seconds: float | None

    @property
    def lost(self) -> int:
        """Records deleted by retention before the group read them."""
        return max(self.log_start - self.committed, 0)

    def as_row(self) -> dict[str, Any]:  # what goes to JSON
        """Return the stable fields of the output."""
        return {**self._asdict(), "lost": self.lost}


async def measure_lag(
    reader: LogReader,
    committed: Mapping[str, Mapping[Place, int]],
    now_ms: int,
    clock: Clock,
) -> list[Lag]:
    """Return the lag of each group and partition that has a committed offset, sorted.

    `committed` maps groups to their positions. Groups with the same position share one read.
    """
    bounds = await _bounds(reader, committed)
    places = {
        (at, max(position, bounds[at].start))
        for positions in committed.values()
        for at, position in positions.items()
        if at in bounds and position < bounds[at].end
    }
    times = await _times(reader, places, clock)
    return [
        _lag(group, at, position, bounds[at], times, now_ms)
        for group, positions in sorted(committed.items())
        for at, position in sorted(positions.items())
        if at in bounds
    ]


def _lag(
    group: str,
    at: Place,
    position: int,
    bounds: Offsets,
    times: Mapping[tuple[Place, int], int],
    now_ms: int,
) -> Lag:
    first = max(position, bounds.start)
    lag = max(bounds.end - first, 0)
    seconds: float | None = 0.0
    if lag:
        time = times.get((at, first))
        seconds = None if time is None else max(now_ms - time, 0) / 1000
    return Lag(group, *at, position, bounds.start, bounds.end, lag, seconds)


async def _bounds(
    reader: LogReader, committed: Mapping[str, Mapping[Place, int]]
) -> dict[Place, Offsets]:
    topics: dict[str, set[int]] = {}
    for positions in committed.values():
        for topic, partition in positions:
            topics.setdefault(topic, set()).add(partition)
    bounds: dict[Place, Offsets] = {}
    for topic, partitions in sorted(topics.items()):
        found = await reader.offsets(topic, sorted(partitions))
        bounds |= {(topic, partition): both for partition, both in found.items()}
    return bounds


async def _times(
    reader: LogReader, places: set[tuple[Place, int]], clock: Clock
) -> dict[tuple[Place, int], int]:
    """Return the timestamp of the first record at or after each place.

    Groups may stand at several places of one partition: one round of reads for each.
    """
    times: dict[tuple[Place, int], int] = {}
    deadline = clock() + READ_TIMEOUT_S
    waiting = set(places)
    while waiting:
        round_of = dict(sorted(waiting, reverse=True))  # the lowest place of each partition
        waiting -= set(round_of.items())
        times |= await _read_round(reader, round_of, clock, deadline)
    reader.assign({})
    return times


async def _read_round(
    reader: LogReader, places: dict[Place, int], clock: Clock, deadline: float
) -> dict[tuple[Place, int], int]:
    """Read the first record of each place; what has come is not asked for again."""
    times: dict[tuple[Place, int], int] = {}
    reader.assign(places)
    while places and clock() < deadline:
        try:
            found = await reader.fetch(500, max(len(places), 100))
        except Retry:
            await asyncio.sleep(0.2)
            continue
        for at, records in found.items():
            if at in places:
                times[at, places.pop(at)] = records[0].timestamp
        if found and places:
            reader.assign(places)
    return times

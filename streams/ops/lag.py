"""How far consumer groups are behind: in records, and in seconds of the log's own time."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from streams.errors import Halt, Retry
from streams.runtime.ports import Clock, Cluster, LogReader, Offsets, Place

READ_TIMEOUT_S: Final = 20.0

Places = Mapping[Place, int | None]
Positions = Mapping[str, Places]
"""Committed positions by group and place; None where the group has committed none."""


class Lag(NamedTuple):
    """One group's place in one partition.

    `lag_seconds` is the age of the record at the committed offset: how long ago the first event
    was written that the group has not finished. 0 without lag; None if that record cannot be read.
    Below `log_start` records were deleted before the group read them; its lag then counts from
    there on, and so does that of a partition without a commit (`committed` None). A partition
    that no leader answers for has neither bounds nor lag.
    """

    group: str
    topic: str
    partition: int
    committed: int | None
    log_start: int | None
    end: int | None
    lag: int | None
    lag_seconds: float | None

    @property
    def lost(self) -> int | None:
        """Records deleted by retention before the group read them."""
        if self.log_start is None:
            return None
        return 0 if self.committed is None else max(self.log_start - self.committed, 0)

    def as_row(self) -> dict[str, Any]:  # what goes to JSON
        """Return the stable fields of the output."""
        return {**self._asdict(), "lost": self.lost}


class LagQuery(NamedTuple):
    """Whose lag is wanted: these groups (None: all), on topics of this prefix or this one alone."""

    groups: Collection[str] | None = None
    prefix: str = ""
    topic: str | None = None

    def takes(self, topic: str) -> bool:
        """Tell whether a topic is wanted."""
        return topic.startswith(self.prefix) and self.topic in (None, topic)


async def positions_of(cluster: Cluster, query: LagQuery) -> Positions:
    """Return where groups are in each partition of the topics that they committed to.

    A partition of such a topic without a commit has None. Groups that do not exist have nothing.
    """
    partitions = {
        topic: count for topic, count in (await cluster.describe()).items() if query.takes(topic)
    }
    known = await cluster.groups()
    wanted = known if query.groups is None else [one for one in known if one in query.groups]
    return {group: _filled(await cluster.committed(group), partitions) for group in wanted}


async def require_groups(cluster: Cluster, groups: Collection[str]) -> None:
    """Raise `Halt` with what there is if one of these groups does not exist."""
    known = await cluster.groups()
    if unknown := sorted(set(groups) - set(known)):
        raise Halt(f"no consumer group {', '.join(unknown)}; there are: {', '.join(known) or '-'}")


def _filled(committed: Mapping[Place, int], partitions: Mapping[str, int]) -> Places:
    topics = sorted({topic for topic, _ in committed if topic in partitions})
    return {
        (topic, partition): committed.get((topic, partition))
        for topic in topics
        for partition in range(partitions[topic])
    }


async def measure_lag(
    reader: LogReader,
    committed: Positions,
    now_ms: int,
    clock: Clock,
) -> list[Lag]:
    """Return the lag of each group and partition, sorted.

    `committed` maps groups to their positions, as of `positions_of`. Groups with the same
    position share one read.
    """
    bounds = await _bounds(reader, committed)
    places = {
        (at, first)
        for positions in committed.values()
        for at, position in positions.items()
        if at in bounds and (first := _first(position, bounds[at])) < bounds[at].end
    }
    times = await _times(reader, places, clock)
    return [
        _lag(group, at, position, bounds.get(at), times, now_ms)
        for group, positions in sorted(committed.items())
        for at, position in sorted(positions.items())
    ]


def _lag(
    group: str,
    at: Place,
    position: int | None,
    bounds: Offsets | None,
    times: Mapping[tuple[Place, int], int],
    now_ms: int,
) -> Lag:
    if bounds is None:
        return Lag(group, *at, position, None, None, None, None)
    first = _first(position, bounds)
    lag = max(bounds.end - first, 0)
    seconds: float | None = 0.0
    if lag:
        time = times.get((at, first))
        seconds = None if time is None else max(now_ms - time, 0) / 1000
    return Lag(group, *at, position, bounds.start, bounds.end, lag, seconds)


def _first(position: int | None, bounds: Offsets) -> int:
    """Return the first offset that is still to be read."""
    return max(position or 0, bounds.start)


async def _bounds(reader: LogReader, committed: Positions) -> dict[Place, Offsets]:
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

"""How far consumer groups are behind: in records, and in seconds of the log's own time.

One look: where groups are, where the logs end, how old the first record is that a group has not
finished. What a series of looks tells is in `lag_status` and `lag_history`.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from streams.errors import Halt, Retry
from streams.ops.groups import GroupPlaces
from streams.ops.lag_status import Sample, Status
from streams.runtime.ports import Cluster, HaltNote, Offsets, Place
from streams.runtime.probing import Ends, LogProbe


class Lag(NamedTuple):
    """One group's place in one partition.

    `lag_seconds` is the age of the record at the committed offset: how long ago the first event
    was written that the group has not finished. 0 without lag; None if that record cannot be read.
    Transaction markers and aborted records at the end are no lag, and neither are the `held`
    records that an open transaction keeps from every reader, its own first one `held_seconds` old.
    Below `log_start` records were deleted before the group read them; its lag then counts from
    there on, and so does that of a partition without a commit (`committed` None). A partition
    that no leader answers for has neither bounds nor lag.
    """

    group: str
    topic: str
    partition: int
    committed: int | None
    owner: str | None
    log_start: int | None = None
    end: int | None = None
    lag: int | None = None
    lag_seconds: float | None = None
    held: int | None = None
    held_seconds: float | None = None
    retention_used_ratio: float | None = None
    change_per_second: float | None = None
    catchup_seconds: float | None = None
    status: Status = "UNKNOWN"
    reason: str | None = None

    @property
    def place(self) -> Place:
        """Its partition."""
        return self.topic, self.partition

    @property
    def named(self) -> str:
        """Its partition, as people read it."""
        return f"{self.topic}[{self.partition}]"

    @property
    def lost(self) -> int | None:
        """Records deleted by retention before the group read them."""
        if self.log_start is None:
            return None
        return 0 if self.committed is None else max(self.log_start - self.committed, 0)

    def sample(self, at_ms: int) -> Sample | None:
        """Return what the evaluator judges, None while no leader answers."""
        if self.lag is None:
            return None
        position = -1 if self.committed is None else self.committed
        return Sample(at_ms, position, self.lag, self.owner is not None)

    def as_row(self) -> dict[str, Any]:  # what goes to JSON
        """Return the stable fields of the output."""
        return {**self._asdict(), "lost": self.lost}

    def as_short_row(self) -> dict[str, Any]:
        """Return what a table shows: the reason goes next to it."""
        shown = ("group", "topic", "partition", "committed", "end", "lag", "lag_seconds", "status")
        more = ("lost", "held", "retention_used_ratio", "owner")
        return {name: _rounded(getattr(self, name)) for name in (*shown, *more)}


def _rounded(value: object) -> object:
    return round(value, 2) if isinstance(value, float) else value


class Look(NamedTuple):
    """What one look at the logs told: their ends, and the times of records by place and offset."""

    ends: Mapping[Place, Ends]
    times: Mapping[tuple[Place, int], int | None]
    held_since: Mapping[Place, int]
    now_ms: int

    def lag_of(self, place: Place, first: int) -> tuple[int, float | None]:
        """Return records and seconds between a position and the end that readers see."""
        key, stable = (place, first), self.ends[place].stable
        if first >= stable or (key in self.times and self.times[key] is None):
            return 0, 0.0
        time = self.times.get(key)
        return stable - first, None if time is None else self._age(time)

    def held_of(self, place: Place) -> tuple[int, float | None]:
        """Return the records behind an open transaction, and the age of its first one."""
        if place not in self.held_since:
            return 0, None
        ends = self.ends[place]
        return ends.end - ends.stable, self._age(self.held_since[place])

    def _age(self, time_ms: int) -> float:
        return max(self.now_ms - time_ms, 0) / 1000


async def measure_lag(probe: LogProbe, groups: Mapping[str, GroupPlaces], now_ms: int) -> list[Lag]:
    """Return the lag of each group and partition, sorted.

    Groups at the same position share one read.
    """
    wanted = {place for one in groups.values() for place in one.positions}
    ends = await probe.ends(wanted)
    firsts = {
        (place, _first(position, ends[place]))
        for one in groups.values()
        for place, position in one.positions.items()
        if place in ends
    }
    times = await _times(probe, ends, firsts)
    look = Look(ends, times, await _held_since(probe, ends), now_ms)
    return [
        _lag(look, group, one, place)
        for group, one in sorted(groups.items())
        for place in sorted(one.positions)
    ]


def _lag(look: Look, group: str, places: GroupPlaces, place: Place) -> Lag:
    row = Lag(group, *place, places.positions[place], places.owner(place))
    if place not in look.ends:
        return row
    ends = look.ends[place]
    lag, seconds = look.lag_of(place, _first(row.committed, ends))
    held, held_seconds = look.held_of(place)
    return row._replace(
        log_start=ends.start,
        end=ends.end,
        lag=lag,
        lag_seconds=seconds,
        held=held,
        held_seconds=held_seconds,
    )


def _first(position: int | None, ends: Ends) -> int:
    """Return the first offset that is still to be read."""
    return max(position or 0, ends.start)


async def _times(
    probe: LogProbe, ends: Mapping[Place, Ends], firsts: Collection[tuple[Place, int]]
) -> dict[tuple[Place, int], int | None]:
    """Return the timestamp of the first record from each place on, None where there is none.

    Groups may stand at several places of one partition: one round of reads for each.
    """
    times: dict[tuple[Place, int], int | None] = {}
    waiting = {(place, first) for place, first in firsts if first < ends[place].stable}
    while waiting:
        in_turn = dict(sorted(waiting, reverse=True))  # the lowest place of each partition
        waiting -= set(in_turn.items())
        spans = {place: Offsets(first, ends[place].stable) for place, first in in_turn.items()}
        read = await probe.first_times(spans)
        times |= {(place, in_turn[place]): time for place, time in read.items()}
    return times


async def _held_since(probe: LogProbe, ends: Mapping[Place, Ends]) -> dict[Place, int]:
    """Return when the open transactions wrote their first records."""
    spans = {place: Offsets(one.stable, one.end) for place, one in ends.items()}
    open_ones = {place: span for place, span in spans.items() if span.start < span.end}
    if not open_ones:
        return {}
    read = await probe.first_times(open_ones, committed=False)
    return {place: time for place, time in read.items() if time is not None}


async def with_retention(cluster: Cluster, rows: Collection[Lag]) -> list[Lag]:
    """Add how much of the time that records are kept has passed; 1 and they are deleted unread.

    A topic without such a time, or whose configuration is not told, has none.
    """
    kept: dict[str, int] = {}
    for topic in {row.topic for row in rows if row.lag_seconds is not None}:
        try:
            kept[topic] = int((await cluster.configs(topic)).get("retention.ms", -1))
        except (Halt, Retry):
            continue
    return [
        row._replace(retention_used_ratio=row.lag_seconds * 1000 / kept[row.topic])
        if row.lag_seconds is not None and kept.get(row.topic, -1) > 0
        else row
        for row in rows
    ]


def with_halts(rows: Collection[Lag], group: str, halts: Mapping[Place, HaltNote]) -> list[Lag]:
    """Add the reasons for which partitions of the own group are halted."""
    return [
        row._replace(status="HALTED", reason=f"{note.code}: {note.text}")
        if row.group == group and (note := halts.get(row.place))
        else row
        for row in rows
    ]

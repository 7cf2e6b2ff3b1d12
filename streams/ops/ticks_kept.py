"""The minutes of traffic that are stored of a partition, compared with those of a recount."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from streams.core.counters import VIDEO_ROW, decode_video
from streams.core.ticks import StoredTraffic
from streams.core.traffic import Tick, kind_of
from streams.core.units import NEVER, surface_of
from streams.ops.recount_traffic import TrafficRecount, summed
from streams.ops.tail import locate, read_ticks_in
from streams.runtime.ports import LogReader


class KeptTicks(NamedTuple):
    """The closed ticks of one partition that the topic holds; those before `first` may be gone."""

    first: int
    ticks: Mapping[int, Tick]


class TickDifference(NamedTuple):
    """One number of one minute that is stored otherwise than it is recounted; 0: there is none."""

    tick: int
    slice: str
    kind: str
    name: str
    stored: int
    recounted: int


async def read_ticks(reader: LogReader, topic: str, partition: int) -> KeptTicks:
    """Return a partition's closed ticks, of those that were written again the latest.

    `StreamsError` if the topic does not answer.
    """
    span = await locate(reader, topic, [partition], "earliest")
    ticks: dict[int, Tick] = {}
    async for tick in read_ticks_in(reader, span):
        if tick.partition == partition:
            ticks[tick.tick] = tick
    return KeptTicks(min(ticks, default=NEVER) if span.start[partition] else 0, ticks)


def compare_ticks(
    kept: KeptTicks, stored: StoredTraffic, recount: TrafficRecount
) -> Iterator[tuple[int, list[TickDifference]]]:
    """Yield how many numbers of each tick were compared, and those that differ.

    The ticks are those that the topic still holds, and the open one. What was written of ticks that
    the stored watermark does not close yet is not looked at.
    """
    first = max(kept.first, min(recount.ticks, default=0))
    closed = {tick: each.sums for tick, each in kept.ticks.items() if first <= tick < stored.tick}
    found = {tick: summed(sums) for tick, sums in {**closed, stored.tick: stored.sums}.items()}
    for tick in sorted(found.keys() | {tick for tick in recount.ticks if tick >= first}):
        have, want = found.get(tick, Counter()), recount.ticks.get(tick, Counter())
        keys = sorted(have.keys() | want.keys())
        yield (
            len(keys),
            [
                TickDifference(tick, *key, have[key], want[key])
                for key in keys
                if have[key] != want[key]
            ],
        )


def compare_grants(
    kept: KeptTicks, stored: StoredTraffic, rows: Mapping[str, Mapping[str, bytes]]
) -> list[TickDifference]:
    """Return the classes whose videos were not granted what all ticks together say.

    On the public surfaces, less what was given back; only of a partition whose ticks are all there.
    """
    told, held = Counter[str](), Counter[str]()
    closed = [sums for tick, each in kept.ticks.items() if tick < stored.tick for sums in each.sums]
    for sums in [*closed, *stored.sums]:
        if surface_of(sums.slice) != "following":
            told[sums.kind] += sums.granted - sums.returned
    for fields in rows.values():
        if VIDEO_ROW in fields:
            row = decode_video(fields[VIDEO_ROW])
            held[kind_of(row.band, row.commercial, row.admitted)] += row.granted
    return [
        TickDifference(stored.tick, "public", kind, "granted", told[kind], held[kind])
        for kind in sorted(told.keys() | held.keys())
        if told[kind] != held[kind]
    ]

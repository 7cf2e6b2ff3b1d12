"""For how long the log has to keep records, so that its counters can always be proved.

Whoever makes the next snapshot goes on from the last one, and if that one is bad from the one
before: so the log must reach back two intervals between snapshots. And whoever counts on from there
needs the ids of the latest generations before it: the window of duplicates.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from streams.core.generations import Generations
from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import StreamsError
from streams.ops.checks import Check, failed
from streams.ops.snapshots import SnapshotFolder
from streams.runtime.ports import Cluster, LogReader, Offsets, TopicIdentity
from streams.runtime.reading import FETCH_MS

HOUR_MS: Final = 3_600_000
INTERVALS: Final = 2
NAME: Final = "snapshots"
_TRIES: Final = 5


class Reach(NamedTuple):
    """How far a log reaches back and how far it has to, in ms; the worst of its partitions.

    `interval_ms` lies between two snapshots, or behind the last one; `window_ms` is what the
    window of duplicates takes by now. `kept_ms` is None where the log keeps all.
    """

    interval_ms: int
    window_ms: int
    kept_ms: int | None

    @property
    def needed_ms(self) -> int:
        """How long the log has to keep records."""
        return INTERVALS * self.interval_ms + self.window_ms

    @property
    def ratio(self) -> float:
        """What is needed as a share of what is kept: above 1 a proof may be lost."""
        return 0.0 if self.kept_ms is None else self.needed_ms / max(self.kept_ms, 1)


class ReachProbe(NamedTuple):
    """Asks a log, its topic's settings and the folder of its snapshots how far it reaches."""

    cluster: Cluster
    reader: LogReader
    folder: SnapshotFolder
    identity: TopicIdentity
    generation_records: int

    async def look(self, now_ms: int) -> Reach:
        """Return how far the log reaches back; `Retry` if brokers do not answer."""
        topic, partitions = self.identity.topic, range(self.identity.partitions)
        configs = await self.cluster.configs(topic)
        kept = int(configs.get("retention.ms", -1))
        bounds = await self.reader.offsets(topic, partitions)
        intervals, windows = [0], [0]
        for partition, both in bounds.items():
            if both.end == both.start:
                continue
            headers = self.folder.headers(partition)[:INTERVALS]
            oldest = await self._time_at(partition, both.start) if not headers else None
            made = [header.made_at for header in headers] or ([] if oldest is None else [oldest])
            is_idle = bool(headers) and headers[0].watermark + 1 >= both.end
            intervals.append(_longest_ms(made if is_idle else [now_ms, *made]))
            windows.append(await self._window_ms(partition, both, now_ms))
        return Reach(max(intervals), max(windows), kept if kept >= 0 else None)

    async def _window_ms(self, partition: int, bounds: Offsets, now_ms: int) -> int:
        """Return the age of the first record whose id whoever begins now has to know."""
        spans = Generations.of(self.generation_records)
        first = max(spans.back(bounds.end, REPLAYED_GENERATIONS), bounds.start)
        time = await self._time_at(partition, first)
        return 0 if time is None else max(now_ms - time, 0)

    async def _time_at(self, partition: int, offset: int) -> int | None:
        """Return the time of the first record from an offset on, None if none comes."""
        place = (self.identity.topic, partition)
        self.reader.assign({place: offset})
        for _ in range(_TRIES):
            for record in (await self.reader.fetch(FETCH_MS, 1)).get(place, ()):
                return record.timestamp
        return None


def check_reach(reach: Reach, *, made: bool) -> Check:
    """Return the line of the report for a log with snapshots; `made` tells whether any was."""
    if not made:
        return Check("warn", NAME, "none was made yet: run `streams counters snapshot`")
    needed = (
        f"{INTERVALS} intervals of {hours(reach.interval_ms)} and the window of duplicates "
        f"({hours(reach.window_ms)}) take {hours(reach.needed_ms)}"
    )
    if reach.kept_ms is None:
        return Check("ok", NAME, f"the log keeps all; {needed}")
    kept = f"the log keeps {hours(reach.kept_ms)}, {needed}"
    if reach.ratio > 1:
        cure = "run `streams counters snapshot` more often, or raise retention_hours"
        return Check("warn", NAME, f"{kept}: {cure}")
    return Check("ok", NAME, kept)


async def check_provable(probe: ReachProbe, now_ms: int) -> Check:
    """Check that the log reaches back far enough."""
    try:
        reach = await probe.look(now_ms)
        partitions: Iterable[int] = range(probe.identity.partitions)
        made = any(probe.folder.headers(partition) for partition in partitions)
    except StreamsError as error:
        return failed(NAME, error)
    return check_reach(reach, made=made)


def check_kept(configs: Mapping[str, str]) -> list[Check]:
    """Return a line if a log of which no snapshots are kept loses its beginning, [] if not."""
    kept = int(configs.get("retention.ms", -1))
    if kept < 0:
        return []
    return [
        Check(
            "warn",
            NAME,
            f"none are kept: behind {hours(kept)} nothing proves the counters, or counts them "
            "again; set `snapshots` and run `streams counters snapshot` now and then",
        )
    ]


def hours(ms: int) -> str:
    """Return a time for people.

    >>> hours(90_000), hours(7 * 86_400_000)
    ('0.025 h', '168 h')
    """
    return f"{ms / HOUR_MS:.3g} h" if ms < HOUR_MS else f"{ms / HOUR_MS:.0f} h"


def _longest_ms(times: Sequence[int]) -> int:
    """Return the longest time between two of these, the latest first."""
    return max((late - early for late, early in pairwise(times)), default=0)

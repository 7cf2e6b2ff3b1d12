"""Compares every counter that is stored with a recount of the log, in both directions.

And every minute of traffic that the topic still holds, with the one that is open. Workers may go
on meanwhile: some videos at a time are read with the watermark that they belong to, and the recount
goes on up to there. Where the log's beginning is gone, it goes on from a snapshot.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from msgspec import Struct

from streams.core.counters import VIDEO_ROW
from streams.core.ticks import StoredTraffic, read_stored
from streams.errors import Halt, Retry
from streams.ops.compared import (
    CounterDifference,
    Verification,
    compare_rows,
    compare_videos,
)
from streams.ops.counting import Counting
from streams.ops.recount import Recount, ResumePoint
from streams.ops.snapshots import Snapshot, SnapshotFolder
from streams.ops.ticks_kept import KeptTicks, compare_grants, compare_ticks, read_ticks
from streams.runtime.answers import require_all
from streams.runtime.codec import Spelling
from streams.runtime.installation import Installation
from streams.runtime.ledger import Skips
from streams.runtime.namespace import corrupt, meta_key
from streams.runtime.opening import mark_of
from streams.runtime.ports import LogReader, Offsets, Place, Store, Stored, TopicIdentity
from streams.runtime.reading import record_at
from streams.settings import Settings

CHUNK_VIDEOS: Final = 500
_UNPROVED: Final = ("busy", "corrupt", "data_loss", "snapshot")
"""Codes of halts that leave one partition without a proof."""


class Verifier(Struct, frozen=True):
    """What verification needs beside its ports.

    `snapshots` is None where none are kept; `only` are the partitions to look at, if not all.
    `ledger` is what is skipped: a reader that passes over it reads the log.
    """

    settings: Settings
    installation: Installation
    spelling: Spelling
    snapshots: SnapshotFolder | None = None
    only: tuple[int, ...] | None = None
    ledger: Skips = Skips()

    @property
    def generation_records(self) -> int:
        """The length of a generation at the beginning of the log."""
        return self.installation.generation_records(self.settings)


class CountedLog(NamedTuple):
    """A log, and the counters that are kept of it."""

    reader: LogReader
    store: Store
    identity: TopicIdentity
    namespace: str
    tools: Verifier

    @property
    def partitions(self) -> Sequence[int]:
        """Those to look at."""
        only = self.tools.only
        return range(self.identity.partitions) if only is None else only

    def place(self, partition: int) -> Place:
        """Return where a partition of the log is."""
        return self.identity.topic, partition

    async def bounds(self, partition: int) -> Offsets:
        """Return where a partition begins and ends; `Retry` if it does not answer."""
        topic = self.identity.topic
        known = await self.reader.offsets(topic, [partition])
        return require_all(topic, [partition], known)[partition]


def require_partition(partition: int, count: int) -> None:
    """Require a partition of the log; `Halt` if it has none of this number."""
    if not 0 <= partition < count:
        raise Halt(f"there is no partition {partition}: the log has 0 to {count - 1}")


class Begun(NamedTuple):
    """A counting at its beginning, and what it goes on from: nothing at the log's beginning."""

    counting: Counting
    snapshot: Snapshot | None

    @property
    def point(self) -> ResumePoint | None:
        """Where it goes on."""
        return None if self.snapshot is None else self.snapshot.point

    @property
    def proved_from(self) -> int:
        """The offset from which on what it says is proved."""
        return 0 if self.snapshot is None else self.snapshot.header.proved_from


async def verify(
    reader: LogReader,
    store: Store,
    identity: TopicIdentity,
    namespace: str,
    tools: Verifier,
    tell: Callable[[int], None] = lambda _records: None,
) -> Verification:
    """Compare every counter of every partition with a recount up to its watermark.

    `tell` hears now and then how many records were read. `Halt` if a log lost its end, or if
    nothing was counted of it; what else keeps a partition from being compared is in the result.
    """
    log = CountedLog(reader, store, identity, namespace, tools)
    result = Verification()

    async def verify_one(partition: int, stored: Stored) -> None:
        begun = await begin(log, partition, stored, result.refused)
        try:
            await compare_stored(log, begun.counting, stored, result, tell)
        finally:
            result.records += begun.counting.records
        if begun.proved_from:
            result.proved_from[partition] = begun.proved_from

    await survey(log, result, verify_one)
    return result


async def survey(
    log: CountedLog, result: Verification, look: Callable[[int, Stored], Awaitable[None]]
) -> None:
    """Look at each partition of which anything is counted; note those that tell nothing."""
    known = await log.reader.offsets(log.identity.topic, log.partitions)
    for partition in log.partitions:
        if partition not in known:
            result.unanswered.append(partition)
            continue
        stored = await log.store.meta(partition, log.namespace)
        if stored is None:
            _require_empty(partition, known[partition])
            continue
        try:
            await look(partition, stored)
        except Retry:
            result.unanswered.append(partition)
        except Halt as halt:
            if halt.code not in _UNPROVED:
                raise
            result.unproved[partition] = str(halt)


async def log_size(
    reader: LogReader, identity: TopicIdentity, only: Sequence[int] | None = None
) -> int:
    """Return how many offsets the log has, all partitions that answer together, or some."""
    partitions = range(identity.partitions) if only is None else only
    bounds = await reader.offsets(identity.topic, partitions)
    return sum(both.end - both.start for both in bounds.values())


async def begin(log: CountedLog, partition: int, stored: Stored, refused: list[str]) -> Begun:
    """Return a counting from the newest good snapshot on, else from the log's beginning.

    Snapshots that are passed over are added to `refused`. `Halt` (`data_loss`) if neither is left.
    """
    bounds = await log.bounds(partition)
    _require_end(partition, bounds, stored.watermark)
    snapshot = await newest_snapshot(log, partition, bounds, stored.watermark, refused)
    reaches = snapshot is not None and snapshot.point.watermark + 1 >= bounds.start
    if snapshot is not None and reaches:
        return Begun(_resumed(log, partition, snapshot.point), snapshot)
    if begins := log.tools.installation.begins(partition, bounds.start):
        raise _beginning_lost(partition, begins, snapshot, kept=log.tools.snapshots is not None)
    return Begun(_from_beginning(log, partition, stored), None)


async def newest_snapshot(
    log: CountedLog, partition: int, bounds: Offsets, upto: int, refused: list[str]
) -> Snapshot | None:
    """Return the newest good snapshot of what a log with these bounds holds up to an offset.

    The log may have lost what follows it. Those that are passed over are added to `refused`.
    """
    folder, base = log.tools.snapshots, log.tools.installation.begins(partition, 0) - 1
    for snapshot in folder.good(partition, upto, refused) if folder else ():
        if snapshot.point.watermark < base:
            return None  # of a repartition that was cut short
        if not await _is_rewritten(log.reader, log.place(partition), bounds, snapshot.point):
            return snapshot
        refused.append(
            f"partition {partition}: the snapshot at {snapshot.point.watermark} is of another log: "
            "the record there is not the one that was counted"
        )
    return None


async def compare_stored(
    log: CountedLog,
    counting: Counting,
    stored: Stored,
    result: Verification,
    tell: Callable[[int], None] = lambda _records: None,
) -> None:
    """Count up to what is stored of a partition and compare, also while it is written on.

    `Retry` if something does not answer, `Halt` (`busy`) if its watermark goes back.
    """
    recount, partition = counting.recount, counting.recount.partition
    before = result.records

    async def count(watermark: int) -> None:
        await counting.upto(log.reader, watermark, lambda records: tell(before + records))

    await count(stored.watermark)
    kept = await _compare_meta(log, stored, recount, result)
    own: dict[str, Mapping[str, bytes]] = {}
    for videos in await _chunks(log.store, recount):
        loaded = await log.store.load(partition, videos)
        if loaded.watermark is None or loaded.watermark < counting.at:
            raise _went_back(partition, counting.at, loaded.watermark)
        await count(loaded.watermark)
        compare_videos(videos, loaded.videos, recount, result)
        if counting.fold is not None:
            compare_rows(videos, loaded.videos, counting.fold.rows(), partition, result)
        for video, fields in loaded.videos.items():
            own[video] = {name: fields[name] for name in fields if name == VIDEO_ROW}
    traffic, is_still = _traffic(partition, stored), counting.at == stored.watermark
    if is_still and not kept.first and traffic.since == recount.begins:
        result.note(partition, compare_grants(kept, traffic, own))
    result.partitions += 1


async def _compare_meta(
    log: CountedLog, stored: Stored, recount: Recount, result: Verification
) -> KeptTicks:
    """Compare what is stored beside the rows, and the minutes of traffic that are kept."""
    partition = recount.partition
    result.checked += 1
    if stored.meta.skips != log.tools.ledger.kept(partition, stored.watermark):
        result.add(CounterDifference(partition, "", "", "meta skips", None, None))
    kept = await read_ticks(log.reader, log.tools.settings.topic("traffic"), partition)
    traffic = _traffic(partition, stored)
    for checked, differing in compare_ticks(kept, traffic, recount.traffic):
        result.ticks += 1
        result.checked += checked
        result.note(partition, differing)
    return kept


async def _chunks(store: Store, recount: Recount) -> Iterable[list[str]]:
    """Return the videos that are stored or counted, some at a time."""
    names = {*recount.slices, *recount.reports.videos}

    def note(name: str) -> bool:
        names.add(name)
        return False

    await store.scan(recount.partition, note)
    rest = iter(sorted(names))
    return iter(lambda: list(islice(rest, CHUNK_VIDEOS)), [])


def _from_beginning(log: CountedLog, partition: int, stored: Stored) -> Counting:
    tools, since = log.tools, _traffic(partition, stored).since
    trust = tools.installation.trust()
    recount = Recount(
        *(partition, log.identity.partitions, tools.generation_records),
        since if since >= 0 else None,
        first=not trust.upgraded,
    )
    return Counting(log.place(partition), recount, trust, tools.spelling)


def _resumed(log: CountedLog, partition: int, point: ResumePoint) -> Counting:
    try:
        recount = Recount.resumed(
            partition, log.identity.partitions, log.tools.generation_records, point
        )
    except ValueError as error:
        raise Halt(
            f"partition {partition}: its snapshot at {point.watermark} cannot be read: {error}",
            code="snapshot",
            partition=partition,
        ) from None
    return Counting.resumed(log.place(partition), recount, point, log.tools.spelling)


async def _is_rewritten(
    reader: LogReader, place: Place, bounds: Offsets, point: ResumePoint
) -> bool:
    """Tell whether the log, where it still has it, holds another record at a snapshot's end."""
    if not bounds.start <= point.watermark < bounds.end or not point.meta.mark:
        return False
    record = await record_at(reader, place, point.watermark)
    return record is None or mark_of(record) != point.meta.mark


def _traffic(partition: int, stored: Stored) -> StoredTraffic:
    try:
        return read_stored(stored.meta.traffic)
    except ValueError as error:
        raise corrupt(partition, meta_key(partition), str(error)) from None


def _require_empty(partition: int, bounds: Offsets) -> None:
    if bounds.end:
        raise Halt(
            f"partition {partition}: {bounds.end} offsets in the log and no counters: start a "
            "worker; if one was here before, Redis lost its data (`streams counters rebuild`)",
            code="watermark_missing",
            partition=partition,
        )


def _require_end(partition: int, bounds: Offsets, watermark: int) -> None:
    if bounds.end <= watermark:
        raise Halt(
            f"partition {partition}: the log ends at {bounds.end}, below the watermark {watermark}",
            code="log_truncated",
            partition=partition,
        )


def _beginning_lost(partition: int, start: int, snapshot: Snapshot | None, *, kept: bool) -> Halt:
    gap = ""
    if snapshot is not None:
        gap = f", and the newest snapshot ends at {snapshot.point.watermark}"
    cure = "set `snapshots` and run `streams counters snapshot` in time"
    if kept:
        cure = "`streams counters snapshot` begins anew"
    return Halt(
        f"partition {partition}: the log begins at {start}{gap}: what came before cannot be "
        f"counted again; {cure}",
        code="data_loss",
        partition=partition,
    )


def _went_back(partition: int, at: int, stored: int | None) -> Halt:
    return Halt(
        f"partition {partition}: its watermark went back from {at} to {stored} while it was "
        "compared: run it again once the workers have caught up",
        code="busy",
        partition=partition,
    )

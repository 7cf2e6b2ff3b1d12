"""Makes snapshots: the log, counted twice on top of the snapshot before, and then compared.

A snapshot is made of the log alone: of a fold that goes on from the last one, where the recount
agrees with it on every counter, minute and id. Only then what is stored is compared with it; what
differs there keeps no snapshot from being made. Where none can be chained, because the log lost
what lies between, the first of a new chain takes what is stored as it stands: it is unproved, and
what is counted behind it can be proved again.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from streams.core.generations import read_generations
from streams.core.keys import read_trust
from streams.core.state import FRESH, Meta, PartitionState
from streams.core.ticks import read_stored
from streams.core.window import REPLAYED_GENERATIONS, FrozenWindow
from streams.errors import Halt
from streams.ops.compared import CounterDifference, Verification, compare_videos
from streams.ops.counting import LogFold
from streams.ops.recount import Recount, ResumePoint
from streams.ops.snapshot_file import Header
from streams.ops.snapshots import SnapshotFolder, Stamp
from streams.ops.ticks_kept import KeptTicks, compare_ticks
from streams.ops.verify import Begun, CountedLog, begin, compare_stored, survey
from streams.runtime.codec import decode_log
from streams.runtime.namespace import corrupt, meta_key
from streams.runtime.ports import Offsets, Stored
from streams.runtime.reading import batches_of
from streams.runtime.signing import Signer

QUIET_TRIES: Final = 5


class MadeSnapshot(NamedTuple):
    """One snapshot that was made; `size` is that of its body in bytes."""

    partition: int
    watermark: int
    proved_from: int
    size: int


class Snapshots(NamedTuple):
    """The snapshots that were made, and how what is stored compares with them."""

    made: list[MadeSnapshot]
    verification: Verification


class Snapshotter:
    """Makes the next snapshot of each partition of a log, signed by whoever makes it."""

    def __init__(
        self, log: CountedLog, folder: SnapshotFolder, signer: Signer, now_ms: Callable[[], int]
    ) -> None:
        self._log: Final = log
        self._folder: Final = folder
        self._signer: Final = signer
        self._now_ms: Final = now_ms

    async def take(self, tell: Callable[[int], None] = lambda _records: None) -> Snapshots:
        """Make the snapshots, each up to the watermark that is stored, and compare.

        `tell` hears now and then how many records were read. `Halt` as of a verification, or if
        one cannot be written.
        """
        taken = Snapshots([], Verification())

        async def take_one(partition: int, stored: Stored) -> None:
            if not read_trust(stored.meta.keys).upgraded:
                raise _unfit(partition, "its counters are of 0.1.0: start its worker")
            try:
                begun = await begin(self._log, partition, stored, taken.verification.refused)
            except Halt as halt:
                if halt.code != "data_loss":
                    raise
                await self._begin_anew(partition, taken, str(halt))
            else:
                await self._go_on(begun, stored, taken, tell)

        await survey(self._log, taken.verification, take_one)
        return taken

    async def _go_on(
        self, begun: Begun, stored: Stored, taken: Snapshots, tell: Callable[[int], None]
    ) -> None:
        """Count up to what is stored, keep that, and compare."""
        counting, result = begun.counting, taken.verification
        partition = counting.recount.partition
        counting.fold = fold = self._fold(partition, begun.point)
        before = result.records
        try:
            await counting.upto(
                self._log.reader, stored.watermark, lambda records: tell(before + records)
            )
            point = fold.point(counting.at, counting.recount.begins)
            _require_agreement(counting.recount, point, result)
            if begun.snapshot is None or point.watermark > begun.snapshot.point.watermark:
                header = self._folder.keep(
                    partition, point, begun.snapshot, fold.changed, self._stamp(begun.proved_from)
                )
                taken.made.append(_made(header))
            _compare_meta(partition, stored.meta, point.meta, result)
            await compare_stored(self._log, counting, stored, result, tell)
        finally:
            result.records = before + counting.records
        if begun.proved_from:
            result.proved_from[partition] = begun.proved_from

    async def keep_stored(self, partition: int) -> MadeSnapshot:
        """Keep what is stored, as it stands: nothing proves it, and all behind it can be proved."""
        stored, rows = await self._quiet(partition)
        window = await self._window(partition, stored)
        point = ResumePoint(stored.watermark, stored.meta, rows, window)
        partitions, records = self._log.identity.partitions, self._log.tools.generation_records
        try:
            Recount.resumed(partition, partitions, records, point)
        except ValueError as error:
            raise corrupt(partition, meta_key(partition), str(error)) from None
        proved_from = stored.watermark + 1
        return _made(self._folder.keep(partition, point, None, (), self._stamp(proved_from)))

    async def _begin_anew(self, partition: int, taken: Snapshots, why: str) -> None:
        made = await self.keep_stored(partition)
        taken.made.append(made)
        taken.verification.proved_from[partition] = made.proved_from
        taken.verification.unproved[partition] = (
            f"{why.partition(';')[0]}; a new chain begins with what Redis holds, unproved: what is "
            f"counted from offset {made.proved_from} on can be proved"
        )

    def _fold(self, partition: int, point: ResumePoint | None) -> LogFold:
        """Return the fold behind a point, or at the beginning of a whole log."""
        tools, partitions = self._log.tools, self._log.identity.partitions
        meta = tools.installation.meta(FRESH) if point is None else point.meta
        records = tools.generation_records
        state = PartitionState(partition, partitions, records, meta, telling=False)
        if point is not None:
            state.window.thaw(point.window)
        return LogFold(state, meta, {} if point is None else point.rows, tools.ledger)

    def _stamp(self, proved_from: int) -> Stamp:
        return Stamp(self._signer, self._now_ms(), proved_from)

    async def _quiet(self, partition: int) -> tuple[Stored, dict[str, dict[str, bytes]]]:
        """Return what is stored of a partition, all of it at one watermark."""
        store = self._log.store
        for _ in range(QUIET_TRIES):
            before = await store.meta(partition, self._log.namespace)
            rows = await store.scan(partition)
            if before is not None and before.watermark == await store.watermark(partition):
                return before, {video: dict(fields) for video, fields in rows.items()}
        raise Halt(
            f"partition {partition} is being written all the time, and its first snapshot takes "
            "what Redis holds at one moment: stop its worker for that long",
            code="busy",
            partition=partition,
        )

    async def _window(self, partition: int, stored: Stored) -> FrozenWindow:
        """Return what the log says of the ids of the latest generations up to the watermark."""
        spans = read_generations(stored.meta.generations, self._log.tools.generation_records)
        first = spans.back(stored.watermark + 1, REPLAYED_GENERATIONS)
        bounds = await self._log.bounds(partition)
        if bounds.start > first:
            raise _unfit(
                partition,
                f"the log begins at {bounds.start}, and its ids are needed from {first} on: its "
                "retention is shorter than the window of duplicates",
            )
        records, partitions = self._log.tools.generation_records, self._log.identity.partitions
        state = PartitionState(partition, partitions, records, stored.meta, telling=False)
        span = {self._log.place(partition): Offsets(first, stored.watermark + 1)}
        async for batch in batches_of(self._log.reader, span):
            decoded = decode_log(batch, None, self._log.tools.spelling)
            for event, offset in zip(decoded.events, decoded.offsets, strict=True):
                state.remember(event, offset)
        return state.window.frozen()


def _require_agreement(recount: Recount, point: ResumePoint, result: Verification) -> None:
    """Raise `Halt` unless recount and fold agree on all that the log says."""
    check, partition = Verification(), recount.partition
    compare_videos({*recount.slices, *point.rows}, point.rows, recount, check)
    traffic = read_stored(point.meta.traffic)
    for _, differing in compare_ticks(KeptTicks(traffic.tick, {}), traffic, recount.traffic):
        check.note(partition, differing)
    if not recount.agrees(point.window):
        check.add(CounterDifference(partition, "", "", "window", None, None))
    if check.differences:
        for example in check.examples:
            result.add(example)
        raise _unfit(
            partition,
            f"the fold and the recount of the same log differ in {check.differences} numbers: this "
            "is a fault of the program, please report it",
        )


def _compare_meta(partition: int, stored: Meta, folded: Meta, result: Verification) -> None:
    """Compare what is stored beside the rows; the digest is of all of them."""
    for name in Meta._fields:
        if name == "skips" or (name == "mark" and not stored.mark):
            continue  # compared already; older code left none
        result.checked += 1
        if getattr(stored, name) != getattr(folded, name):
            result.add(CounterDifference(partition, "", "", f"meta {name}", None, None))


def _made(header: Header) -> MadeSnapshot:
    return MadeSnapshot(header.origin.partition, header.watermark, header.proved_from, header.size)


def _unfit(partition: int, why: str) -> Halt:
    return Halt(f"partition {partition}: no snapshot: {why}", code="snapshot", partition=partition)

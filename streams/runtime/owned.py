"""One partition while a worker owns it: fold records, flush what came of them.

The order of a flush: receipts and dead letters are acknowledged, then full parts of the window are
stored, then rows, meta and watermark go to the store in one guarded call, then the position is
committed for lag tools. What the flush takes is taken at once, so reading and folding go on while
it is under way.
"""

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from streams.core.receipts import FirstReceipt, Receipt, Refusal
from streams.core.receipts import encode as encode_receipt
from streams.core.serving import Entry
from streams.core.state import Changes
from streams.core.traffic import encode as encode_tick
from streams.core.units import surface_of
from streams.errors import Retry, StreamsError
from streams.runtime.archive import unread
from streams.runtime.archiving import Archiver
from streams.runtime.codec import Decoded, Spelling, decode_log
from streams.runtime.folding import Rows, cuts, fold_run, prepare
from streams.runtime.opening import Opened, Parked, is_of, mark_of, rewritten
from streams.runtime.ports import Conflict, Outgoing, Record
from streams.runtime.refused import Intake, Refused
from streams.runtime.surroundings import Surroundings
from streams.runtime.waiting import waiting_record
from streams.runtime.window_parts import PartKeeper

CHUNK_RECORDS: Final = 1_000
CHUNK_BYTES: Final = 256 << 10
CHUNK_SIGNED: Final = 50
"""Records at once where they are signed: one costs as much as many events."""
TELL_MOST: Final = 10_000
"""Entries that are made at once, about: others want their turn."""
BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
log: Final = logging.getLogger("streams.worker")


class Lost(StreamsError):
    """The partition's memory is worthless: somebody else moved the watermark."""

    def __init__(self, stored: int) -> None:
        super().__init__(f"the stored watermark is {stored}")
        self.stored: Final = stored


class Owned:
    """State, watermark and flush of one owned partition.

    It is read from the offset `begins` on. `watermark` is the last offset stored, `folded` the last
    one folded, `backlog` what was read and not folded yet: while there is any, no more should be
    read. `remembered` is the last offset below the watermark whose ids were taken, `trouble` what
    it waits for, "" for nothing. After
    `release` nothing is folded any more and a flush that still waits for retries gives up. `whole`
    says that the state knows the ids of all records up to the watermark already.
    """

    def __init__(self, opened: Opened, namespace: str, around: Surroundings) -> None:
        state, stored = opened.state, opened.stored
        watermark = stored.watermark
        self.state: Final = state
        self.ledger: Final = opened.ledger
        self.partition: Final = state.partition
        self.watermark = watermark
        self.folded = watermark
        self.begins: Final = opened.position
        self.remembered = -1
        self.trouble = ""
        self.backlog: Final[list[Record]] = []  # read, not folded
        self.flushing: asyncio.Task[None] | None = None
        self.flushed_at = 0.0
        self._told_at = float("-inf")
        self._followed = state.outlook  # whose prices feeds were told of last
        self.released = False
        self._unfinished = False
        self._flushing_to = watermark
        self._flushed_outlook = state.outlook  # as it was there
        self._opened_at: Final = -1 if opened.whole else watermark
        self._busy = False  # `work` is under way
        self._spoilt = False  # the state holds videos that were not loaded
        self._namespace: Final = namespace
        self._store: Final = around.store
        self._producer: Final = around.producer
        self._metrics: Final = around.metrics
        self._settings: Final = around.settings
        self._indexing: Final = around.indexing
        secret = None if around.secret is None else around.secret.reveal
        self._spelling: Final = Spelling(around.settings.record_bytes, secret)
        self._topic: Final = around.settings.topic("interactions")
        self._outbox: list[Outgoing] = []
        self._parts: Final = PartKeeper(around.store, state, namespace, opened.kept)
        self._digest = stored.meta.digest  # at the watermark
        self._mark: Final = stored.meta.mark
        self._last: Record | None = None  # folded
        self._unproved = watermark >= 0  # whether the log still holds what was counted
        self._intake: Final = Intake(state.partition, around.settings, around.metrics)
        self._clock: Final = around.clock
        archiving = around.archiving
        self._archiver: Final = None if archiving is None else Archiver(archiving, state)
        self._again_at = float("-inf")  # nothing is folded before: the store did not answer
        self._failures = 0  # of the store in a row

    @property
    def resting(self) -> bool:
        """Whether it is paused, or reads a few records at a time, because too many are bad."""
        return self._intake.resting

    @property
    def waiting(self) -> bool:
        """Whether the store does not answer what it needs to go on folding."""
        return self._failures > 0

    @property
    def unstored(self) -> bool:
        """Whether something is folded that is not stored yet."""
        return self.folded > self.watermark

    @property
    def position(self) -> int:
        """The next offset to be read."""
        return (self.backlog[-1].offset if self.backlog else self.folded) + 1

    def following(self) -> int | None:
        """Return where to read on, if what comes next is skipped."""
        following = self.ledger.following(self.partition, self.position)
        if following == self.position:
            return None
        log.warning(
            "partition %d: offsets %d to %d cannot be read, and are skipped as the ledger says",
            *(self.partition, self.position, following - 1),
        )
        return following

    def parked(self) -> Parked | None:
        """Return what is good for its next owner if nobody has it in between, None if nothing is.

        Only what is stored to the last record, with the ids of all of them.
        """
        has_ids = self.folded > self._opened_at or self.remembered >= self._opened_at
        settled = self.folded == self.watermark >= 0 and not self._unfinished
        whole = has_ids and not (self._spoilt or self._busy)
        return Parked(self.state, self.watermark) if settled and whole else None

    def add(self, records: Sequence[Record]) -> None:
        """Take records that were read, in log order; `work` folds them."""
        first = self.backlog[-1].offset if self.backlog else self.folded
        assert records[0].offset > first or records[0].offset <= self.watermark, "offsets rise"
        self.backlog.extend(records)

    def ready(self) -> bool:
        """Tell whether there is something to fold and nothing against it."""
        now = self._clock()
        return bool(self.backlog) and now >= self._again_at and self._intake.ready(now)

    async def work(self) -> None:
        """Fold the backlog, flushing whenever enough rows changed; what is left is for later.

        Raises `Halt` and what a flush raises. A store that does not answer is asked again from the
        same record.
        """
        self._busy = True
        try:
            while self.ready() and not self.released:
                await self._work_some()
                await asyncio.sleep(0)  # buffered records must not starve flushes and heartbeats
        finally:
            self._busy = False

    def flush_soon(self, *, due: bool) -> None:
        """Start a flush unless one is under way: of many rows at once, of any when `due`."""
        if self.flushing is not None and self.flushing.done():
            self._reap()
        if self._archiver is not None and not self.released:
            self._archiver.turn()
        full = len(self.state.changed) >= self._settings.flush_rows
        if self._unfinished:
            return
        now = self._clock()
        telling = self._is_telling()
        if self.flushing is None and self.unstored and (full or due):
            self.flushed_at = now
            # Taken at once: what is folded from here on is the next flush's.
            outbox, self._outbox = self._outbox, []
            self._flushing_to, self._flushed_outlook = self.folded, self.state.outlook
            self._unfinished = True  # until it is done: without these rows no later one is whole
            changes = self.state.take_changes(self.folded if telling else None, TELL_MOST)
            if self._last is not None:
                kept = self.ledger.kept(self.partition, self.folded)
                meta = changes.meta._replace(mark=mark_of(self._last), skips=kept)
                changes = changes._replace(meta=meta)
            flush = self._flush(self.folded, outbox, changes, telling=telling)
            self.flushing = asyncio.create_task(flush, name=f"flush-{self.partition}")
        elif telling:
            self._tell_rest()

    def _is_telling(self) -> bool:
        """Tell whether feeds are to be told by now, and the index is not too far behind."""
        index, our = self._indexing, self.partition
        return index is not None and index.asks(our, self._told_at) and index.has_room(our)

    def tell_early(self) -> None:
        """Have feeds told with the next flush, or from the rows if the index is too far behind.

        Not that while a flush is under way: what it brings to the rows may come too late.
        """
        if self._indexing is not None and self._indexing.has_room(self.partition):
            self._told_at = float("-inf")
        elif self._indexing is not None and not self._unfinished:
            self.state.forget_untold()
            self._indexing.fill_one(self.partition, self.watermark)

    async def settle(self) -> None:
        """Flush until everything folded is stored, and have feeds told of it."""
        while True:
            if self.flushing is not None:
                await asyncio.wait([self.flushing])
                self._reap()
            if self.folded <= self.watermark or self._unfinished:
                self._tell_rest()
                return
            self.flush_soon(due=True)

    async def audit(self) -> None:
        """Raise `Lost` if the stored watermark is not ours, nothing being under way."""
        if self.flushing is not None or self.watermark < 0:
            return
        expected = self.watermark
        stored = await self._store.watermark(self.partition)
        if self.flushing is None and expected == self.watermark and stored != expected:
            raise Lost(-1 if stored is None else stored)

    def release(self) -> None:
        """Fold nothing any more."""
        self.released = True
        if self._archiver is not None:
            self._archiver.release()

    def forget_archived(self) -> None:
        """Forget where archived videos are that are not in memory; only while nothing is folded."""
        if self.state.archived and not self._unfinished:
            self.state.forget_archived()

    async def _work_some(self) -> None:
        try:
            await self._fold_some()
        except Retry as error:
            if not self.released:
                self._wait(error)
        else:
            self._answered()

    async def _fold_some(self) -> None:
        """Fold a chunk of the backlog, or take its ids if the watermark covers it."""
        length = min(chunk_length(self.backlog[0]), self._intake.most)
        chunk = self.backlog[:length]
        if chunk[0].offset <= self.watermark:
            chunk = [record for record in chunk if record.offset <= self.watermark]
            await self._parts.keep(self.watermark, self._digest)
            self._remember(chunk)
        else:
            if self._unproved:
                self._prove(None)
            await self._take(chunk)
        del self.backlog[: len(chunk)]

    def _wait(self, error: Retry) -> None:
        """Ask again later; said once, until it answers."""
        self._metrics.read_retries.inc()
        self.trouble = str(error)
        if not self._failures:
            log.warning("partition %d waits: %s", self.partition, error)
        self._again_at = self._clock() + BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1

    def _answered(self) -> None:
        if self._failures:
            log.warning("partition %d goes on: the store answers again", self.partition)
            self._failures = 0
            self.trouble = ""

    def _remember(self, covered: Sequence[Record]) -> None:
        """Take the ids of records that the watermark covers."""
        if self._unproved and covered[-1].offset == self.watermark:
            self._prove(covered[-1])
        decoded = decode_log(covered, None, self._spelling)  # who could sign then is not known
        for event, offset in zip(decoded.events, decoded.offsets, strict=True):
            self.state.remember(event, offset)
        self.remembered = covered[-1].offset
        self._metrics.replayed.inc(len(covered))

    def _prove(self, record: Record | None) -> None:
        """Compare what stands at the watermark with what was counted there; None: nothing does.

        Raises `Halt` before anything is folded on top of another log's counters.
        """
        self._unproved = False
        checks = self._metrics.watermark_checks
        if record is None or not is_of(self._mark, self.watermark):
            checks.labels("not_comparable").inc()
        elif mark_of(record) == self._mark:
            checks.labels("same").inc()
        else:
            checks.labels("differs").inc()
            raise rewritten(self.partition, self._mark, record)

    async def _take(self, chunk: Sequence[Record]) -> None:
        """Fold records that were not folded before."""
        decoded = await prepare(self.state, chunk, self._spelling, self)
        self._metrics.unknown_fields.labels(self._topic).inc(decoded.unknown_fields)
        if decoded.refusals:
            invalid = self._metrics.events.labels(self._topic, "unknown", "invalid")
            invalid.inc(len(decoded.refusals))
        refused = Refused(decoded)
        start = 0
        for end in cuts(decoded, self._settings.flush_rows):
            if self.released:
                return
            refused.add(self._fold(decoded, start, end))
            start = end
            upto = chunk[-1].offset if end == len(decoded.events) else decoded.offsets[end - 1]
            self._outbox.extend(self._intake.letters(chunk, refused, upto))
            self.folded = upto
            self._last = chunk[bisect_left(chunk, upto, key=attrgetter("offset"))]
            await self._make_room()
        self._intake.judge(self._clock(), len(chunk), refused)

    async def load(self, videos: Sequence[str]) -> Rows:
        """Return stored rows, `Lost` if another watermark holds them; nothing once released."""
        ours = {self.watermark, self._flushing_to}
        loaded = await self._store.load(self.partition, videos)
        if self.released:
            self._spoilt = True
            return {}
        stored = -1 if loaded.watermark is None else loaded.watermark
        if stored not in ours | {self.watermark}:
            raise Lost(stored)
        self._metrics.loaded.inc(len(videos))
        if loaded.pointers:
            raise unread(self.partition, len(loaded.pointers))
        self._metrics.archive_reads.inc(len(loaded.archived))
        self.state.archived.update(loaded.archived)
        return loaded.videos

    async def scan(self) -> Rows:
        """Return every stored row; nothing once released.

        Those that a flush is just writing are in memory too, which is what counts.
        """
        stored = await self._store.scan(self.partition)
        self._spoilt = self._spoilt or self.released
        return {} if self.released else stored

    def _fold(self, decoded: Decoded, start: int, end: int) -> Sequence[Refusal]:
        """Fold a run of events, put what it sends into the outbox, and return its refusals."""
        effects = fold_run(self.state, decoded, start, end)
        topic = self._settings.topic("decisions")
        receipts: list[Receipt | FirstReceipt] = [*effects.first_receipts, *effects.receipts]
        for receipt in receipts:
            key = receipt.video.encode()
            self._outbox.append(Outgoing(topic, encode_receipt(receipt), key))
            where = surface_of(receipt.slice) if receipt.slice else "all"
            self._metrics.decisions.labels(where, receipt.action).inc()
        traffic = self._settings.topic("traffic")
        for tick in effects.ticks:
            value = encode_tick(tick)
            self._outbox.append(
                Outgoing(traffic, value, b"%d" % self.partition, (), self.partition)
            )
        for video, waiting in effects.waiting:
            entry = waiting_record(self._settings, self.partition, "reports", video, waiting)
            self._outbox.append(entry)
        for (kind, outcome), count in effects.outcomes.items():
            self._metrics.events.labels(self._topic, kind, outcome).inc(count)
        return effects.rejected

    async def _make_room(self) -> None:
        """Start a flush at the bound of rows; wait for the one under way if it is reached again."""
        while len(self.state.changed) >= self._settings.flush_rows and not self.released:
            if self.flushing is not None and not self.flushing.done():
                await asyncio.wait([self.flushing])
            self.flush_soon(due=False)
            if self.flushing is None:
                return

    async def _flush(
        self, upto: int, outbox: Sequence[Outgoing], changes: Changes, *, telling: bool
    ) -> None:
        """Store what was folded up to an offset; `Lost`, or `Halt` if it can't ever be stored."""
        with self._metrics.flushes.time():
            await self._until_done(self._acknowledge, outbox)
            await self._until_done(self._parts.keep, self.watermark, self._digest)
            if self._archiver is not None and not self.released:
                changes = await self._archiver.leaving(self.watermark, upto, changes)
            await self._until_done(self._store_changes, upto, changes)
        self._metrics.flush_rows.inc(sum(map(len, changes.rows.values())))
        self._unfinished = False
        assert self.watermark < upto <= self.folded, "watermark <= folded"
        self.watermark, self._digest = upto, changes.meta.digest
        self.state.stored(changes.epoch)
        if changes.departed or changes.returned:
            self._moved(upto, changes)
        if telling:
            self._tell(upto, changes.entries, whole=not changes.untold)

    def _moved(self, upto: int, changes: Changes) -> None:
        """Have feeds told of what left, with the rest, and the records go of what returned."""
        self._metrics.archived.inc(len(changes.departed))
        self._metrics.returned.inc(len(changes.returned))
        if self._archiver is None:
            return
        if self._indexing is not None:
            self._archiver.note(changes.departed, upto)
        self._outbox.extend(self._archiver.tombstones(changes.returned))

    def _tell_rest(self) -> None:
        """Have feeds told of what was stored since they were told, if all that is folded is.

        A policy that nothing followed on is something to tell too.
        """
        waits = self._archiver is not None and self._archiver.untold
        is_told = not (waits or self.state.untold) and self.state.outlook is self._followed
        if self.folded == self.watermark and not is_told:
            told = self.state.take_entries(self.watermark, TELL_MOST)
            self._tell(self.watermark, told, whole=not self.state.untold)

    def _tell(self, upto: int, entries: Mapping[str, Sequence[Entry]], *, whole: bool) -> None:
        """Have feeds told of what is stored up to an offset: of all that is, or of some of it."""
        if self._indexing is not None:
            if whole:
                self._told_at = self._clock()
            if self._archiver is not None:
                entries = self._archiver.told(entries)
            self._indexing.take(self.partition, upto, entries, whole=whole)
            # Of what is stored: a filling reads that, whatever was folded since.
            self._followed = self._flushed_outlook
            self._indexing.follow(self.partition, self._followed)

    async def _acknowledge(self, outbox: Sequence[Outgoing]) -> None:
        """Write receipts and dead letters; return when all in-sync replicas have them."""
        acks = [await self._producer.send(outgoing) for outgoing in outbox]
        for ack in acks:
            await _written(ack)

    async def _store_changes(self, upto: int, changes: Changes) -> None:
        result = await self._store.flush(
            self.partition, self._namespace, self.watermark, upto, changes
        )
        if isinstance(result, Conflict):
            raise Lost(result.watermark)

    async def _until_done(self, step: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Do one step of a flush, again and again while it may pass."""
        for attempt in range(1 << 30):
            try:
                await step(*arguments)
            except Retry as error:
                if self.released:
                    raise
                self._metrics.flush_retries.inc()
                self.trouble = str(error)
                pause = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
                if attempt % 10 == 0:
                    log.warning("partition %d waits: %s", self.partition, error)
                await asyncio.sleep(pause)
            else:
                self.trouble = ""
                return

    def _reap(self) -> None:
        """Forget a finished flush; raise what it raised, in no local: both hold each other then."""
        try:
            if self.flushing is not None:
                self.flushing.result()
        finally:
            self.flushing = None


async def _written(ack: Awaitable[object]) -> None:
    """Wait for an acknowledgement; a client that gave a record up may cancel its own."""
    try:
        await ack
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Retry("the producer gave a record up") from None


def chunk_length(first: Record) -> int:
    """Return how many records to fold at once, if all are as large as the first.

    A chunk of arrays or admissions has fewer: flushes, heartbeats and the index want their turn.
    """
    most = CHUNK_SIGNED if first.headers else CHUNK_RECORDS
    return max(min(CHUNK_BYTES // max(len(first.value or b""), 1), most), 1)

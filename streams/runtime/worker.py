"""The feedback worker: the one loop that owns the order of side effects.

Read records, decode, fold, have the receipts acknowledged, store rows and watermark in one guarded
call, commit for lag tools. The read position of a partition is always the stored watermark + 1,
never the group's committed offset. Where going on would guess or lose, the partition halts and
says what to do.

Each partition is for itself: it is opened, and it folds what was read of it, in a task of its own,
and as long as it has something left to fold no more is read of it. What one partition's broker or
Redis shard does not answer, the others do not wait for.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from streams.core.events import Policy
from streams.core.units import surface_of
from streams.errors import Halt, Retry, StreamsError
from streams.runtime.answers import require_all
from streams.runtime.collector import Heap
from streams.runtime.ending import end
from streams.runtime.gaps import gaps_of, storing
from streams.runtime.halts import Halts
from streams.runtime.namespace import namespace_of
from streams.runtime.opening import ANSWER_S, Opened, Opening, Parked, emptied
from streams.runtime.owned import BACKOFF_S, Lost, Owned
from streams.runtime.ports import LogConsumer, Record
from streams.runtime.surroundings import Surroundings
from streams.runtime.watchdog import Watchdog, watch_loop

FETCH_MS: Final = 100
FETCH_BUSY_MS: Final = 5
"""While a partition folds by itself, or stores: both want the next turn soon after."""
WORK_S: Final = 0.05
"""The loop waits so long for partitions to fold what was read, before it goes on without them."""
CHECK_S: Final = 10.0
COMMIT_S: Final = 0.5
HANDOVER_S: Final = 3.0
GRACE_S: Final = 1.0
_OF_ALL: Final = ("namespace", "redis_refuses")
"""Codes of halts that one partition finds and that all of them have."""
log: Final = logging.getLogger("streams.worker")


class Worker:
    """Folds the partitions that the group gives it, until `stop` is called."""

    def __init__(self, consumer: LogConsumer, around: Surroundings) -> None:
        self._halts: Final = Halts(around.store, around.metrics)
        self.halted: Final = self._halts.reasons
        self._consumer: Final = consumer
        self._around: Final = around
        self._store: Final = around.store
        self._settings: Final = around.settings
        self._metrics: Final = around.metrics
        self._clock: Final = around.clock
        self._indexing: Final = around.indexing
        self._owned: dict[int, Owned] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}  # assigned, not yet read from
        # let go a moment ago, good if they come back untouched
        self._parked: dict[int, Parked] = {}
        self._working: dict[Owned, asyncio.Task[None]] = {}
        self._aside: list[asyncio.Task[None]] = []  # beside the loop: audits, halts
        self._held: set[int] = set()  # not read until what was read is folded
        self._opener: Opening | None = None
        self._heap: Final = Heap()
        self._committed: dict[int, int] = {}
        self._committing: asyncio.Task[None] | None = None
        self._auditing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        stuck_s = around.settings.stuck_after_ms / 1000
        self.watchdog: Final = Watchdog(consumer, stuck_s, self._assigned, self.halted)
        self._namespace = ""
        self._metrics.expect_topic(self._settings.topic("interactions"))
        self._audited_at = self._checked_at = self._committed_at = around.clock()

    async def start(self) -> None:
        """Connect and refuse to start where counters could not be trusted.

        `Unreachable` or `Halt` with one line that says what to do.
        """
        try:
            await self._start()
        except StreamsError:
            await self._consumer.stop()
            raise

    async def run(self) -> None:
        """Read and fold until `stop`; then flush everything, commit and leave the group.

        `Halt` (`stuck`) if a partition stands still for too long.
        """
        guarding = asyncio.create_task(self.watchdog.run(), name="watchdog")
        bound_s = self._settings.session_timeout_ms / 2000
        watching = asyncio.create_task(watch_loop(self._metrics, self._clock, bound_s))
        working = asyncio.create_task(self._work(), name="work")
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        if self._indexing is not None:
            self._indexing.start()
        try:
            await asyncio.wait([working, stopping, guarding], return_when=asyncio.FIRST_COMPLETED)
            # A turn that waits for a store or brokers that do not answer is not waited for.
            await asyncio.wait([working], timeout=GRACE_S)
            await end(working)
            with suppress(asyncio.CancelledError):
                working.result()
        finally:
            await end(guarding, watching, stopping, working)
            await self._close()
        with suppress(asyncio.CancelledError):
            guarding.result()

    def stop(self) -> None:
        """Ask `run` to end; it flushes and leaves the group first. Idempotent."""
        self._stopping.set()

    def positions(self) -> dict[int, int]:
        """Return the next offset to fold of every owned partition."""
        return {partition: owned.folded + 1 for partition, owned in self._owned.items()}

    def watermarks(self) -> dict[int, int]:
        """Return the stored watermark of every owned partition."""
        return {partition: owned.watermark for partition, owned in self._owned.items()}

    async def lag(self) -> int:
        """Return how many offsets of the owned partitions are not stored yet."""
        return sum(max(end - 1 - mark, 0) for end, mark in (await self.backlog()).values())

    async def backlog(self) -> dict[int, tuple[int, int]]:
        """Return of every owned partition where its log ends, and up to where that is stored."""
        owned, topic = sorted(self._owned), self._settings.topic("interactions")
        bounds = require_all(topic, owned, await self._consumer.offsets(owned))
        marks = self.watermarks()
        return {p: (bounds[p].end, max(marks[p], bounds[p].start - 1)) for p in marks}

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        """Take partitions over; the loop opens them, because a listener must not wait."""
        self._metrics.rebalances.inc()
        log.info("assigned: partitions %s", list(partitions))
        self._let_go([*self._owned, *self._opening])
        self._halts.clear()
        self._held.clear()
        self._parked = {p: one for p, one in self._parked.items() if p in partitions}
        for partition in partitions:
            self._open_soon(partition)

    async def on_revoked(self, partitions: Sequence[int]) -> None:
        """Flush and let go; what cannot be flushed in time the next owner folds again."""
        leaving = self._let_go(partitions)
        settled = [asyncio.create_task(self._settle(owned)) for owned in leaving]
        if not settled:
            return
        done, late = await asyncio.wait(settled, timeout=HANDOVER_S)
        for task in done:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                log.warning("handed over with records to fold again: %s", error)
        for task in late:
            task.cancel()
        kept = {owned.partition: owned.parked() for owned in leaving}
        self._parked.update((partition, one) for partition, one in kept.items() if one)
        with suppress(TimeoutError):
            positions = {owned.partition: owned.watermark + 1 for owned in leaving}
            async with asyncio.timeout(GRACE_S):
                await self._commit(positions)

    def _assigned(self) -> Mapping[int, Owned | None]:
        return {**dict.fromkeys(self._opening), **self._owned}

    async def _start(self) -> None:
        await self._store.check()
        identity = await self._consumer.identity()
        self._namespace = namespace_of(identity, self._around.installation.id)
        await self._require_own(identity.partitions)
        self._opener = Opening(self._consumer, self._around, self._namespace, identity.partitions)
        await self._consumer.start(self)

    async def _require_own(self, partitions: int) -> None:
        """Refuse to start beside another namespace's counters; the rest is each partition's own."""
        metas = [
            asyncio.create_task(self._store.meta(partition, self._namespace))
            for partition in range(partitions)
        ]
        answered, silent = await asyncio.wait(metas, timeout=ANSWER_S)
        await end(*silent)
        for error in [task.exception() for task in answered]:
            if isinstance(error, Halt) and error.code in _OF_ALL:
                raise error

    async def _work(self) -> None:
        while not self._stopping.is_set():
            await self._turn()

    async def _turn(self) -> None:
        """Take one turn of the loop: read, fold, flush, audit."""
        before = dict(self._owned)
        batches = await self._read()
        for partition, records in batches.items():
            if (owned := self._owned.get(partition)) is None:
                continue
            if owned is not before.get(partition):
                # Opened since it was asked for: what came may be of elsewhere in the log.
                self._consumer.seek({partition: owned.begins})
                continue
            owned.add(records)
            if (following := owned.following()) is not None:
                self._consumer.seek({partition: following})
        await self._fold()
        self._flush(behind=sum(map(len, batches.values())) >= self._settings.fetch_records)
        self._commit_soon()
        self._audit_soon()
        self._reap()

    async def _read(self) -> Mapping[int, Sequence[Record]]:
        busy = self._working or storing(self._owned.values())
        timeout_ms = FETCH_BUSY_MS if busy else FETCH_MS
        try:
            return await self._consumer.fetch(timeout_ms, self._settings.fetch_records)
        except Retry as error:
            self._metrics.read_retries.inc()
            log.warning("reading waits: %s", error)
            await self._pause(BACKOFF_S[3])
        except Halt as halt:
            if halt.partition is None:
                raise
            if (owned := self._owned.get(halt.partition)) is not None:
                self._give_up(owned, halt)
            else:
                self._halt(halt.partition, halt)
        return {}

    async def _fold(self) -> None:
        """Let partitions fold what was read; whoever takes long goes on beside the loop."""
        begun = []
        for owned in list(self._owned.values()):
            if owned not in self._working:
                self._evict(owned)
                if owned.ready():
                    self._working[owned] = asyncio.create_task(self._fold_one(owned))
                    begun.append(self._working[owned])
        if begun:
            await asyncio.wait(begun, timeout=WORK_S)
        for owned in [one for one, task in self._working.items() if task.done()]:
            self._working.pop(owned).result()
        self._hold()

    async def _fold_one(self, owned: Owned) -> None:
        """Fold one partition; its failure is not another's."""
        try:
            await owned.work()
        except (Lost, Halt) as error:
            self._give_up(owned, error)

    def _flush(self, *, behind: bool) -> None:
        """Have partitions store what is folded, each as soon as it may."""
        owned = list(self._owned.values())
        gaps = gaps_of(owned, self._settings.flush_interval_ms / 1000, behind=behind)
        for one in owned:
            try:
                one.flush_soon(due=gaps.over(one, self._clock()))
            except (Lost, Halt) as error:
                self._give_up(one, error)

    def _hold(self) -> None:
        """Read nothing more of partitions that have something left to fold."""
        busy = {partition for partition, one in self._owned.items() if one.backlog}
        if busy != self._held:
            self._consumer.pause(sorted(busy - self._held))
            freed = (self._held - busy) & self._owned.keys()
            self._consumer.resume(sorted(freed))
            self._held = busy
        owned = self._owned.values()
        self._metrics.paused.set(sum(one.resting for one in owned))
        self._metrics.waiting.set(len(self._opening) + sum(one.waiting for one in owned))

    def _give_up(self, owned: Owned, error: Lost | Halt) -> None:
        """Fold nothing more of a partition that is lost or cannot go on."""
        if isinstance(error, Lost):
            self._reopen(owned, error)
        else:
            owned.release()
            self._aside.append(asyncio.create_task(self._settle_halted(owned)))
            self._halt(owned.partition, error)

    async def _settle(self, owned: Owned) -> None:
        """Store what is folded, once nothing is folded any more."""
        if (work := self._working.get(owned)) is not None:
            await asyncio.wait([work])
        await owned.settle()

    async def _settle_halted(self, owned: Owned) -> None:
        """Store what was folded before the halt, if the store still takes it."""
        with suppress(StreamsError, TimeoutError):
            async with asyncio.timeout(HANDOVER_S):
                await owned.settle()

    def _reap(self) -> None:
        """Forget what was done beside the loop; what it raised ends the worker."""
        for task in [task for task in self._aside if task.done()]:
            self._aside.remove(task)
            if not task.cancelled():
                task.result()

    def _reopen(self, owned: Owned, lost: Lost) -> None:
        """Drop a partition's memory and read its watermark again."""
        if self._owned.get(owned.partition) is not owned:
            return
        self._metrics.conflicts.inc()
        if lost.stored < 0 <= owned.watermark:
            self._halt(owned.partition, emptied(owned.partition, owned.watermark + 1))
            return
        self._metrics.rolled_back.inc(max(owned.watermark - lost.stored, 0))
        log.error(
            "partition %d: the stored watermark is %d where %d was expected; folding again from it",
            owned.partition,
            lost.stored,
            owned.watermark,
        )
        self._let_go([owned.partition])
        self._open_soon(owned.partition)

    def _let_go(self, partitions: Sequence[int]) -> list[Owned]:
        """Open and fold nothing more of partitions; return those that were open."""
        leaving = [self._owned.pop(p) for p in partitions if p in self._owned]
        if leaving:
            self._heap.give_back_soon()
        for owned in leaving:
            owned.release()
            if self._indexing is not None:
                self._indexing.release(owned.partition)
        for partition in partitions:
            if (opening := self._opening.pop(partition, None)) is not None:
                opening.cancel()
        return leaving

    def _open_soon(self, partition: int) -> None:
        task = asyncio.create_task(self._open(partition), name=f"open-{partition}")
        self._opening[partition] = task
        self._aside.append(task)

    async def _open(self, partition: int) -> None:
        """Open a partition as soon as its broker and its store tell what is needed."""
        assert self._opener is not None
        try:
            opened: Opened | Halt = await self._opener.open(
                partition, self._parked.pop(partition, None)
            )
        except Halt as halt:
            opened = halt
        # Else it was let go: a cancellation may be lost, as by `asyncio.wait_for` of Python 3.11.
        if self._opening.get(partition) is asyncio.current_task():
            del self._opening[partition]
            self._halt(partition, opened) if isinstance(opened, Halt) else self._own(opened)

    def _own(self, opened: Opened) -> None:
        """Read a partition from its position on; nothing is awaited between the two."""
        partition = opened.state.partition
        self._expect(partition, opened.state.policy)
        self._owned[partition] = Owned(opened, self._namespace, self._around)
        if self._indexing is not None:
            watermark = opened.stored.watermark
            self._indexing.open(partition, opened.state.partitions, watermark)
            self._indexing.follow(partition, opened.state.outlook)
        self._held.discard(partition)
        self._consumer.resume([partition])
        self._consumer.seek({partition: opened.position})
        self._halts.note(partition, None)

    def _expect(self, partition: int, policy: Policy | None) -> None:
        self._metrics.expect_partition(self._settings.topic("interactions"), partition)
        if policy is not None:
            self._metrics.expect_surfaces({surface_of(one) for one in policy.slices})

    def _halt(self, partition: int, halt: Halt) -> None:
        """Stop one partition and say so; the others go on."""
        owned = self._owned.get(partition)
        self._let_go([partition])
        self._consumer.pause([partition])
        self._halts.put(partition, halt, None if owned is None else owned.position)

    def _evict(self, owned: Owned) -> None:
        """Keep at most its share of the configured number of videos of a partition in memory.

        Those that feeds were not told of yet stay, half of them at most.
        """
        owned.forget_archived()
        share = max(self._settings.videos_in_memory // len(self._owned), 1)
        if len(owned.state.videos) > share + share // 8:
            if owned.state.untold > share // 2:
                owned.tell_early()
            self._metrics.evicted.inc(owned.state.evict(share))

    def _audit_soon(self) -> None:
        """Audit in the background, one round at a time."""
        if self._auditing is None or self._auditing.done():
            now = self._clock()
            audit = now - self._audited_at >= self._settings.audit_interval_ms / 1000
            check = now - self._checked_at >= CHECK_S
            if audit:
                self._audited_at = now
            if check:
                self._checked_at = now
            if audit or check:
                self._auditing = asyncio.create_task(self._audit(audit=audit, check=check))
                self._aside.append(self._auditing)

    async def _audit(self, *, audit: bool, check: bool) -> None:
        """Read idle partitions' watermarks again, and ask whether Redis may evict by now."""
        if audit:
            await asyncio.gather(*(self._audit_one(owned) for owned in self._owned.values()))
        if check:
            await self._check()

    async def _audit_one(self, owned: Owned) -> None:
        try:
            await owned.audit()
        except (Lost, Halt) as error:
            if self._owned.get(owned.partition) is owned:
                self._give_up(owned, error)
        except Retry as error:
            log.debug("auditing partition %d waits: %s", owned.partition, error)

    async def _check(self) -> None:
        """Ask again what the start asked: Redis must not evict, the topic must be the same."""
        assert self._opener is not None
        try:
            await self._store.check()
        except StreamsError as error:
            self._metrics.store_alarms.inc()
            log.error("Redis: %s", error)  # noqa: TRY400 - the line says all there is
        try:
            await self._opener.require_same_topic()
        except Halt as halt:
            for partition in list(self._owned):
                self._halt(partition, halt)
        except Retry as error:
            log.warning("checking the topic waits: %s", error)
        await self._look_for_skips()

    async def _look_for_skips(self) -> None:
        """Open partitions again that halted at a place which a person has had skipped since."""
        if not self._halts.unreadable:
            return
        try:
            ledger = await self._around.read_ledger()
        except StreamsError as error:
            log.warning("reading the ledger waits: %s", error)
            return
        for partition in self._halts.passed(ledger):
            self._halts.lift(partition)
            self._open_soon(partition)

    def _commit_soon(self) -> None:
        """Commit stored positions in the background; lag tools read them, nobody else."""
        now = self._clock()
        if now - self._committed_at < COMMIT_S:
            return
        if self._committing is not None and not self._committing.done():
            return
        self._committed_at = now
        moved = {
            partition: owned.watermark + 1
            for partition, owned in self._owned.items()
            if owned.watermark >= 0 and self._committed.get(partition) != owned.watermark + 1
        }
        if moved:
            self._committing = asyncio.create_task(self._commit(moved), name="commit")

    async def _commit(self, positions: Mapping[int, int]) -> None:
        positions = {partition: at for partition, at in positions.items() if at > 0}
        try:
            if positions:
                await self._consumer.commit(positions)
        except Retry as error:
            self._metrics.commit_failures.inc()
            log.debug("committing failed: %s", error)
        else:
            self._committed.update(positions)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _close(self) -> None:
        if self._committing is not None:
            await asyncio.wait([self._committing], timeout=GRACE_S)
        await self.on_revoked([*self._owned, *self._opening])
        left = [*self._aside, *self._working.values()]
        if self._halts.noting is not None:
            await asyncio.wait([self._halts.noting], timeout=GRACE_S)
            left.append(self._halts.noting)
        if self._opener is not None:
            self._opener.stop()
        await end(*left)
        if self._indexing is not None:
            await self._indexing.stop()
        await self._consumer.stop()

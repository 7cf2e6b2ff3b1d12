"""The feedback worker: the one loop that owns the order of side effects.

Read records, decode, fold, have the receipts acknowledged, store rows and watermark in one guarded
call, commit for lag tools. The read position of a partition is always the stored watermark + 1,
never the group's committed offset. Where going on would guess or lose, the partition halts and
says what to do; the others go on.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from streams.errors import Halt, Retry, StreamsError
from streams.runtime.namespace import namespace_of, other_namespace
from streams.runtime.opening import emptied, start_of, state_of
from streams.runtime.owned import BACKOFF_S, Lost, Owned, Surroundings
from streams.runtime.ports import NOTHING_STORED, LogConsumer, Offsets, Record

FETCH_MS: Final = 100
CHECK_S: Final = 10.0
COMMIT_S: Final = 0.5
LOOP_S: Final = 0.5
HANDOVER_S: Final = 3.0
GRACE_S: Final = 1.0
_OF_ALL: Final = ("namespace", "redis_refuses")
"""Codes of halts that one partition finds and that all of them have."""
log: Final = logging.getLogger("streams.worker")


class Worker:
    """Folds the partitions that the group gives it, until `stop` is called."""

    def __init__(self, consumer: LogConsumer, around: Surroundings) -> None:
        self.halted: Final[dict[int, Halt]] = {}
        self._consumer: Final = consumer
        self._around: Final = around
        self._store: Final = around.store
        self._settings: Final = around.settings
        self._metrics: Final = around.metrics
        self._clock: Final = around.clock
        self._owned: dict[int, Owned] = {}
        self._opening: set[int] = set()  # assigned, not yet read from
        self._committed: dict[int, int] = {}
        self._committing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._partitions = 0  # of the log, once started
        self._namespace = ""
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
        """Read and fold until `stop`; then flush everything, commit and leave the group."""
        watching = asyncio.create_task(self._watch_loop(), name="loop-lag")
        working = asyncio.create_task(self._work(), name="work")
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            # A turn that waits for a store or brokers that do not answer is not waited for.
            await asyncio.wait([working], timeout=GRACE_S)
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
        finally:
            watching.cancel()
            stopping.cancel()
            working.cancel()
            await self._close()

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
        bounds = await self._consumer.offsets(sorted(self._owned))
        marks = self.watermarks()
        return sum(max(bounds[p].end - 1 - max(marks[p], bounds[p].start - 1), 0) for p in marks)

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        """Take partitions over; the loop opens them, because a listener must not wait."""
        self._metrics.rebalances.inc()
        log.info("assigned: partitions %s", list(partitions))
        self._owned.clear()
        self._clear_halts(self.halted)
        self._opening = set(partitions)

    async def on_revoked(self, partitions: Sequence[int]) -> None:
        """Flush and let go; what cannot be flushed in time the next owner folds again."""
        leaving = [self._owned.pop(p) for p in partitions if p in self._owned]
        self._opening.difference_update(partitions)
        for owned in leaving:
            owned.release()
        settled = [asyncio.create_task(owned.settle(self._clock())) for owned in leaving]
        if not settled:
            return
        done, late = await asyncio.wait(settled, timeout=HANDOVER_S)
        for task in done:
            if (error := task.exception()) is not None:
                log.warning("handed over with records to fold again: %s", error)
        for task in late:
            task.cancel()
        with suppress(TimeoutError):
            positions = {owned.partition: owned.watermark + 1 for owned in leaving}
            await asyncio.wait_for(self._commit(positions), GRACE_S)

    async def _start(self) -> None:
        await self._store.check()
        identity = await self._consumer.identity()
        self._namespace = namespace_of(identity, self._settings, self._around.secret)
        self._partitions = identity.partitions
        await self._require_own()
        await self._consumer.start(self)

    async def _require_own(self) -> None:
        """Refuse to start beside another namespace's counters; the rest is each partition's own."""
        asked = [self._store.meta(p, self._namespace) for p in range(self._partitions)]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, Halt) and answer.code in _OF_ALL:
                raise answer

    async def _work(self) -> None:
        while not self._stopping.is_set():
            await self._turn()

    async def _turn(self) -> None:
        """Take one turn of the loop: open, read, fold, flush, audit."""
        if self._opening:
            await self._open()
        try:
            batches = await self._consumer.fetch(FETCH_MS, self._settings.fetch_records)
        except Retry as error:
            self._metrics.read_retries.inc()
            log.warning("reading waits: %s", error)
            await self._pause(BACKOFF_S[3])
            batches = {}
        except Halt as halt:
            if halt.partition is None:
                raise
            if (owned := self._owned.get(halt.partition)) is not None:
                await self._settle_halted(owned)
            self._halt(halt.partition, halt)
            batches = {}
        await self._fold(batches)
        for owned in list(self._owned.values()):
            due = self._clock() - owned.flushed_at >= self._settings.flush_interval_ms / 1000
            await self._guard(owned, due=due)
        self._commit_soon()
        self._evict()
        await self._audit()

    async def _fold(self, batches: Mapping[int, Sequence[Record]]) -> None:
        for partition, records in batches.items():
            owned = self._owned.get(partition)
            if owned is not None:
                await self._guard(owned, records)

    async def _guard(
        self, owned: Owned, records: Sequence[Record] = (), *, due: bool = False
    ) -> None:
        """Fold or flush one partition; its failure is not another's."""
        try:
            if records:
                await self._take(owned, records)
            else:
                owned.flush_soon(self._clock(), due=due)
        except Lost as lost:
            self._reopen(owned, lost)
        except Halt as halt:
            await self._settle_halted(owned)
            self._halt(owned.partition, halt)

    async def _take(self, owned: Owned, records: Sequence[Record]) -> None:
        """Fold records; a store that fails to load them is asked again from the same record."""
        while records and not owned.released:
            try:
                await owned.take(records, self._clock())
            except Retry as error:
                self._metrics.read_retries.inc()
                log.warning("partition %d waits: %s", owned.partition, error)
                await self._pause(BACKOFF_S[3])
                records = [record for record in records if record.offset > owned.folded]
                if self._stopping.is_set():
                    return
            else:
                return

    async def _settle_halted(self, owned: Owned) -> None:
        """Store what was folded before the halt, if the store still takes it."""
        owned.release()
        with suppress(StreamsError, TimeoutError):
            await asyncio.wait_for(owned.settle(self._clock()), HANDOVER_S)

    def _reopen(self, owned: Owned, lost: Lost) -> None:
        """Drop a partition's memory and read its watermark again."""
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
        owned.release()
        if self._owned.get(owned.partition) is owned:
            del self._owned[owned.partition]
            self._opening.add(owned.partition)

    async def _open(self) -> None:
        """Read the watermarks of new partitions, then seek all without awaiting in between."""
        opening = sorted(self._opening)
        try:
            await self._require_same_topic()
            metas = {p: await self._store.meta(p, self._namespace) for p in opening}
            bounds = await self._consumer.offsets(opening)
            for partition in opening:
                if metas[partition] is None:
                    await self._require_fresh(partition)
        except Retry as error:
            log.warning("opening partitions waits: %s", error)
            await self._pause(BACKOFF_S[3])
            return
        except Halt as halt:
            for partition in opening if halt.partition is None else [halt.partition]:
                self._halt(partition, halt)
            return
        positions: dict[int, int] = {}
        for partition in sorted(self._opening & set(opening)):
            try:
                stored = metas[partition] or NOTHING_STORED
                positions[partition] = self._position(
                    partition, stored.watermark, bounds[partition]
                )
                generation = self._settings.generation_records
                state = state_of(partition, self._partitions, generation, stored.meta)
                self._owned[partition] = Owned(state, stored, self._namespace, self._around)
            except Halt as halt:
                self._halt(partition, halt)
        self._opening.difference_update(opening)
        self._consumer.seek(positions)

    async def _require_fresh(self, partition: int) -> None:
        """Tell an empty store from an emptied one: the group remembers that it was here."""
        committed = await self._consumer.committed(partition)
        if committed:
            raise emptied(partition, committed)

    def _position(self, partition: int, watermark: int, bounds: Offsets) -> int:
        """Return where to start reading, and say so if ids are missing there."""
        start = start_of(partition, watermark, bounds, self._settings.generation_records)
        if start.lost:
            self._metrics.short_windows.inc()
            log.warning(
                "partition %d: the ids of offsets %d to %d are no longer in the log: a repeat of "
                "theirs counts again",
                partition,
                start.lost[0],
                start.lost[-1],
            )
        return start.position

    def _halt(self, partition: int, halt: Halt) -> None:
        """Stop one partition and say so; the others go on."""
        self.halted[partition] = halt
        if (owned := self._owned.pop(partition, None)) is not None:
            owned.release()
        self._opening.discard(partition)
        self._consumer.pause([partition])
        self._metrics.halted.set(len(self.halted))
        log.error("HALTED partition %d (%s): %s", partition, halt.code, halt)

    def _clear_halts(self, partitions: Mapping[int, Halt]) -> None:
        for partition in list(partitions):
            del self.halted[partition]
        self._metrics.halted.set(0)

    def _evict(self) -> None:
        """Keep at most the configured number of videos in memory, over all partitions."""
        if not self._owned:
            return
        share = max(self._settings.videos_in_memory // len(self._owned), 1)
        for owned in self._owned.values():
            if len(owned.state.videos) > share + share // 8:
                self._metrics.evicted.inc(owned.state.evict(share))

    async def _audit(self) -> None:
        """Read idle partitions' watermarks again, and ask whether Redis may evict by now."""
        now = self._clock()
        if now - self._audited_at >= self._settings.audit_interval_ms / 1000:
            self._audited_at = now
            for owned in list(self._owned.values()):
                try:
                    await owned.audit()
                except Lost as lost:
                    self._reopen(owned, lost)
                except Halt as halt:
                    self._halt(owned.partition, halt)
                except Retry as error:
                    log.warning("auditing waits: %s", error)
                    break
        if now - self._checked_at >= CHECK_S:
            self._checked_at = now
            await self._check()

    async def _check(self) -> None:
        """Ask again what the start asked: Redis must not evict, the topic must be the same."""
        try:
            await self._store.check()
        except StreamsError as error:
            self._metrics.store_alarms.inc()
            log.error("Redis: %s", error)  # noqa: TRY400 - the line says all there is
        try:
            await self._require_same_topic()
        except Halt as halt:
            for partition in list(self._owned):
                self._halt(partition, halt)
        except Retry as error:
            log.warning("checking the topic waits: %s", error)

    async def _require_same_topic(self) -> None:
        identity = await self._consumer.identity()
        namespace = namespace_of(identity, self._settings, self._around.secret)
        if namespace != self._namespace:  # made again, or made larger
            raise other_namespace(None, self._namespace, namespace)

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

    async def _watch_loop(self) -> None:
        """Measure how late the event loop runs: heartbeats are as late."""
        bound = self._settings.session_timeout_ms / 2000
        while True:
            asked = self._clock()
            await asyncio.sleep(LOOP_S)
            late = self._clock() - asked - LOOP_S
            self._metrics.loop_lag.set(max(late, 0))
            if late > bound:
                log.warning("the event loop stood still for %.1f s: near the session timeout", late)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _close(self) -> None:
        if self._committing is not None:
            await asyncio.wait([self._committing], timeout=GRACE_S)
        await self.on_revoked(sorted(self._owned))
        await self._consumer.stop()

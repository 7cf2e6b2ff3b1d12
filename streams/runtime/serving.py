"""Brings what workers fold to the serving index: a view of the rows, right again by itself.

What a guarded flush stored is taken, the latest entry of a (slice, video) alone, and sent once a
second, one call a slice for all partitions of the worker. Every call notes how far each partition
has told the slice, so what an index lost shows at once: a position that went back. Such a slice is
filled again from the rows (`refilling`), and so is all of a partition when it is opened and, in a
slow sweep, every few hours.

Counting never waits for the index: one that does not answer falls behind, and catches up.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from streams.core.events import Policy, order_of
from streams.core.outlook import Outlook
from streams.core.serving import Entry
from streams.errors import Retry
from streams.runtime.ending import end
from streams.runtime.leases import Applied, Footing, PolicyOrder, ServingIndex, prices_of
from streams.runtime.metrics import Metrics
from streams.runtime.ports import Clock
from streams.runtime.refilling import Cause, Refilling, RowsOf

EVERY_S: Final = 1.0
ASK_S: Final = 0.4
"""So long before a turn the last partition is asked what it has to tell: two of its flushes begin
in that time, or one that is slow. The others are asked before it, one after the other and once
each: together they would keep the worker from counting for as long as all of them take."""
LATE_S: Final = 1.5
"""Who told nothing, or not all, for so long is asked at any time."""
AT_ONCE: Final = 16
"""Slices of a worker on their way at once."""
BACKOFF_S: Final = (0.0, 1.0, 2.0, 5.0)
ROOM: Final = 50_000
"""As long as so many entries of a partition wait, no more should be made."""
WAITING_MOST: Final = 200_000
"""More entries are not kept for an index that does not answer: it is filled from the rows."""
SWEEP_S: Final = 6 * 3600.0
LEAVE_S: Final = 2.0
log: Final = logging.getLogger("streams.index")


@dataclass(slots=True)
class _Partition:
    """An owned partition: how far it is stored, and what has to be filled again of it.

    `opened` is how far it was stored when it was opened.
    `fresh` is one that nothing was counted of when it was opened: it has nothing to be filled from,
    and all that comes is told. Of a slice that is `frozen` by the policy that it is counted by,
    nothing is told, and what is owed there is owed elsewhere: with another such policy all is
    filled again, each partition when it is counted by that.
    `place` is where it stands among the worker's partitions when these are asked, 1 the last.
    """

    offset: int
    opened: int
    fresh: bool
    swept_at: float
    cause: Cause | None  # why all of it has to be filled; None: only what is lost
    place: float = 1.0
    lost: set[str] = field(default_factory=set)
    filling: asyncio.Task[None] | None = None
    sweeping: bool = False
    held: bool = False  # whether the index was found to be ahead, and all is not filled since
    frozen: frozenset[str] | None = None  # None: by no policy yet
    forgot: int = -1  # rows tell of what was stored up to there: nobody else will


@dataclass(slots=True)
class _Line:
    """What is on its way to one slice: what is `waiting`, and what is in the call under way.

    `told` is how far this worker has told it of each partition, `ahead` how far others have where
    that is further, `marks` what a filling has told of: pairs last told of before are to go.
    """

    waiting: defaultdict[int, dict[str, Entry]] = field(default_factory=lambda: defaultdict(dict))
    sent: Mapping[int, Mapping[str, Entry]] = field(default_factory=dict)
    since: float | None = None  # the oldest that waits, and the oldest on its way
    flying: float | None = None
    told: dict[int, int] = field(default_factory=dict)
    ahead: dict[int, int] = field(default_factory=dict)
    marks: dict[int, int] = field(default_factory=dict)
    priced: PolicyOrder | None = None
    sending: asyncio.Task[None] | None = None
    pruning: asyncio.Task[None] | None = None
    failures: int = 0
    again_at: float = float("-inf")

    def add(self, partition: int, entries: Sequence[Entry], now: float) -> None:
        """Have entries wait; a later one takes an earlier one's place."""
        if entries and self.since is None:
            self.since = now
        self.waiting[partition].update((entry.video, entry) for entry in entries)

    def take(self, ready: set[int]) -> dict[int, dict[str, Entry]]:
        """Return the entries of these partitions; they wait no more."""
        taken = {p: self.waiting.pop(p) for p in sorted(ready & self.waiting.keys())}
        if not self.waiting:
            self.since = None
        return taken

    def put_back(self, taken: Mapping[int, dict[str, Entry]], since: float | None) -> None:
        """Have entries wait that were taken, but for those that later ones came of."""
        for partition, entries in taken.items():
            self.waiting[partition] = entries | self.waiting.get(partition, {})
        self.since = self.since if since is None else since

    def length(self, partition: int) -> int:
        """Return how many entries of a partition wait or are on their way."""
        return sum(len(entries.get(partition, ())) for entries in (self.waiting, self.sent))


class Indexing:
    """What one worker tells the serving index of its partitions.

    Everything but `stop` and `settle` returns at once. `rows_of` yields what the rows have to tell;
    without it nothing is filled again.
    """

    def __init__(
        self,
        index: ServingIndex,
        metrics: Metrics,
        rows_of: RowsOf | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._index: Final = index
        self._metrics: Final = metrics
        self._clock: Final = clock
        self._refilling = (
            None if rows_of is None else Refilling(index, metrics, rows_of, self._begin, clock)
        )
        self._owned: Final[dict[int, _Partition]] = {}
        self._lines: Final[defaultdict[str, _Line]] = defaultdict(_Line)
        self._prices: Mapping[str, Mapping[str, int]] = {}
        self._fresh_share = 0
        self._frozen: frozenset[str] = frozenset()
        self._order: PolicyOrder | None = None
        self._partitions = 0
        self._behind: Final[set[str]] = set()  # slices whose last call failed
        self._turns: Final = asyncio.Semaphore(AT_ONCE)
        self._running: asyncio.Task[None] | None = None
        self._turned_at = float("-inf")

    def open(self, partition: int, partitions: int, watermark: int) -> None:
        """Tell of a partition from its stored watermark on; the log has so many partitions."""
        self.release(partition)
        self._partitions = partitions
        fresh = watermark < 0
        cause: Cause | None = None if fresh else "opened"
        self._owned[partition] = _Partition(watermark, watermark, fresh, self._clock(), cause)
        self._line_up()
        for line in self._lines.values():
            line.priced = None  # an index may have lost prices together with the counters

    def release(self, partition: int) -> None:
        """Fill a partition no more; what was taken of it is sent all the same."""
        owned = self._owned.pop(partition, None)
        if owned is not None and owned.filling is not None:
            owned.filling.cancel()
            owned.filling = None  # they would hold each other until the collector comes
        self._line_up()
        for line in self._lines.values():
            line.told.pop(partition, None)
            line.ahead.pop(partition, None)

    def asks(self, partition: int, told_at: float) -> bool:
        """Tell whether a partition should tell by now that told all there was at a time."""
        now, owned = self._clock(), self._owned.get(partition)
        asked_at = self._turned_at + (EVERY_S - ASK_S) * (owned.place if owned else 1.0)
        return now - told_at >= LATE_S or told_at < asked_at <= now

    def has_room(self, partition: int) -> bool:
        """Tell whether more should be told of a partition by now: what waits for long is told late.

        Of one that the index is ahead of always: what waits of it waits for what comes.
        """
        owned = self._owned.get(partition)
        if owned is None or self._is_ahead(partition, owned):
            return True
        return sum(line.length(partition) for line in self._lines.values()) < ROOM

    def take(
        self,
        partition: int,
        offset: int,
        entries: Mapping[str, Sequence[Entry]],
        *,
        whole: bool = True,
    ) -> None:
        """Take what a flush up to an offset stored, by slice: all of it, or some of it first."""
        if whole and (owned := self._owned.get(partition)) is not None:
            owned.offset = offset
        now = self._clock()
        for slice_id, some in entries.items():
            self._lines[slice_id].add(partition, some, now)

    def price(
        self, order: PolicyOrder, prices: Mapping[str, Mapping[str, int]], fresh_share: int = 0
    ) -> None:
        """Have a policy's prices in force, by slice and class, unless a later one's are."""
        if self._order is None or order > self._order:
            self._order, self._prices, self._fresh_share = order, prices, fresh_share
            for slice_id in prices:
                self._lines[slice_id].priced = None

    def follow(self, partition: int, outlook: Outlook | None) -> None:
        """Have the prices of a partition's policy in force, unless a later one's are.

        None is no policy yet.
        """
        if outlook is None:
            return
        order, frozen = order_of(outlook.policy), _frozen_by(outlook.policy)
        if (owned := self._owned.get(partition)) is not None:
            if owned.frozen not in {None, frozen}:
                owned.cause = owned.cause or "opened"
            owned.frozen = frozen
        if self._order is None or order > self._order:
            self._frozen = frozen
            self.price(order, prices_of(outlook), outlook.policy.fresh_share)

    def fill(self) -> None:
        """Fill everything again from the rows."""
        for partition in self._owned:
            self.fill_one(partition)

    def fill_one(self, partition: int, forgot: int = -1) -> None:
        """Fill all of a partition again from its rows, which alone tell of it up to an offset."""
        if (owned := self._owned.get(partition)) is not None:
            owned.cause, owned.forgot = "lost", max(owned.forgot, forgot)

    def start(self) -> None:
        """Take a turn every second, until `stop`."""
        self._running = asyncio.create_task(self._run(), name="indexing")

    async def stop(self) -> None:
        """Send what still waits, if the index answers within seconds; fill nothing any more."""
        if self._running is not None:
            await end(self._running)
        for partition in list(self._owned):
            self.release(partition)
        for line in self._lines.values():
            line.again_at = float("-inf")
        self.turn()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self.settle()
        await end(*self._tasks())

    def turn(self) -> None:
        """Begin whatever is due: fillings, calls, prunings."""
        now = self._turned_at = self._clock()
        self._bound()
        for partition, owned in self._owned.items():
            self._fill_soon(partition, owned, now)
        for slice_id, line in self._lines.items():
            if now < line.again_at:
                continue
            if line.sending is None or line.sending.done():
                line.sending = asyncio.create_task(self._send(slice_id, line))
            if line.marks and (line.pruning is None or line.pruning.done()):
                line.pruning = asyncio.create_task(self._prune(slice_id, line))
        self._show(now)

    async def settle(self) -> None:
        """Return when everything begun is done."""
        while tasks := self._tasks():
            await asyncio.wait(tasks)

    def _line_up(self) -> None:
        for place, partition in enumerate(sorted(self._owned), start=1):
            self._owned[partition].place = place / len(self._owned)

    def _tasks(self) -> list[asyncio.Task[None]]:
        tasks = [owned.filling for owned in self._owned.values()]
        tasks += [task for line in self._lines.values() for task in (line.sending, line.pruning)]
        return [task for task in tasks if task is not None and not task.done()]

    async def _run(self) -> None:
        while True:
            self.turn()
            await asyncio.sleep(EVERY_S)

    def _show(self, now: float) -> None:
        waits = [w for line in self._lines.values() for w in (line.since, line.flying) if w]
        self._metrics.index_age.set(now - min(waits, default=now))
        left = [one for one in self._owned.values() if _is_left(one)]
        self._metrics.index_refill_left.set(len(left) if self._refilling else 0)

    def _bound(self) -> None:
        """Keep no more entries than there is room for: the rows have them."""
        waiting = sum(len(some) for line in self._lines.values() for some in line.waiting.values())
        if waiting > WAITING_MOST:
            log.warning("%d entries wait for the serving index: it will be filled again", waiting)
            for line in self._lines.values():
                line.waiting.clear()
                line.since = None
            self.fill()

    # ------------------------------------------------------------------ calls

    async def _send(self, slice_id: str, line: _Line) -> None:
        """Send what waits for a slice, and how far each partition has told it."""
        async with self._turns:
            line.flying = line.since
            positions = {p: owned.offset for p, owned in self._owned.items() if owned.offset >= 0}
            held = {p for p, ahead in line.ahead.items() if positions.get(p, -1) < ahead}
            line.sent = taken = line.take(line.waiting.keys() - held)
            entries = [entry for some in taken.values() for entry in some.values()]
            try:
                await self._price(slice_id, line)
                applied = await self._index.apply(slice_id, positions, entries)
                await self._compare(slice_id, line, positions, applied)
            except Exception as error:  # noqa: BLE001 - whatever it is, counting goes on
                line.put_back(taken, line.flying)
                self._fall_behind(slice_id, line, error)
            else:
                self._metrics.index_entries.inc(applied.written)
                self._catch_up(slice_id, line)
            finally:
                line.sent, line.flying = {}, None

    async def _price(self, slice_id: str, line: _Line) -> None:
        if self._order is not None and slice_id in self._prices and line.priced != self._order:
            order, prices = self._order, self._prices[slice_id]
            footing = Footing(self._fresh_share, slice_id in self._frozen)
            await self._index.set_prices(slice_id, order, prices, footing)
            line.priced = order

    async def _compare(
        self, slice_id: str, line: _Line, positions: Mapping[int, int], applied: Applied
    ) -> None:
        """Compare how far the slice was told before with how far it should have been."""
        for partition, offset in positions.items():
            owned, before = self._owned.get(partition), applied.before.get(partition, -1)
            if owned is None:
                continue
            if before >= 0 and owned.fresh and partition not in line.told:
                await self._clear(slice_id, line)
                return
            if before > (offset if partition in line.told else owned.opened):
                self._hold(partition, owned, line, before)
            elif before < line.told.get(partition, -1):
                owned.lost.add(slice_id)
                line.priced = None
            line.told[partition] = offset

    async def _clear(self, slice_id: str, line: _Line) -> None:
        """Forget what other counters told: a partition that is counted anew told nothing yet."""
        log.warning("%s: the serving index holds what other counters told: cleared", slice_id)
        await self._index.clear(slice_id)
        line.priced = None
        for owned in self._owned.values():
            owned.lost.add(slice_id)

    def _hold(self, partition: int, owned: _Partition, line: _Line, ahead: int) -> None:
        """Send nothing of a partition that was told further, until it is as far: by another owner.

        Or by this one, before its counters fell back: they come to the same there. But who left
        Redis then may have stayed now, so it is filled again once it is as far.
        """
        line.ahead[partition] = ahead
        if not owned.held:
            owned.held = True
            log.warning("partition %d: the index was told up to offset %d", partition, ahead)

    def _is_ahead(self, partition: int, owned: _Partition) -> bool:
        """Tell whether a slice was told further of a partition than that is stored."""
        return any(line.ahead.get(partition, -1) > owned.offset for line in self._lines.values())

    def _fall_behind(self, slice_id: str, line: _Line, error: Exception) -> None:
        line.again_at = self._clock() + BACKOFF_S[min(line.failures, len(BACKOFF_S) - 1)]
        line.failures += 1
        if not self._behind:
            log.warning("the serving index falls behind, %s first: %s", slice_id, error)
        self._behind.add(slice_id)

    def _catch_up(self, slice_id: str, line: _Line) -> None:
        line.failures = 0
        if slice_id in self._behind:
            self._behind.discard(slice_id)
            if not self._behind:
                log.warning("the serving index has caught up")

    # ------------------------------------------------------------------ fillings

    def _fill_soon(self, partition: int, owned: _Partition, now: float) -> None:
        """Begin to fill what has to be; what is lost meanwhile is filled after that."""
        if self._refilling is None:
            return
        if owned.filling is not None and owned.filling.done():
            owned.filling = None
        if owned.held and not self._is_ahead(partition, owned):
            owned.held, owned.cause = False, owned.cause or "opened"
        idle = owned.filling is None
        if idle and owned.cause is None and not owned.lost and now - owned.swept_at >= SWEEP_S:
            owned.cause = "sweep"
        if owned.cause is None and not owned.lost:
            return
        if owned.filling is not None:
            if not owned.sweeping:
                return
            owned.filling.cancel()
        one = idle and owned.cause is None and len(owned.lost) == 1
        slice_id = next(iter(owned.lost)) if one else None
        cause: Cause = owned.cause or "lost"
        if cause == "lost":
            log.warning("partition %d: the serving index lost %s", partition, slice_id or "much")
        owned.cause, owned.sweeping, owned.swept_at = None, cause == "sweep", now
        owned.lost.clear()
        owned.filling = asyncio.create_task(self._fill(partition, owned, slice_id, cause))

    async def _fill(
        self, partition: int, owned: _Partition, slice_id: str | None, cause: Cause
    ) -> None:
        assert self._refilling is not None
        mark = max(owned.offset, owned.forgot)
        try:
            filled = await self._refilling.fill(partition, slice_id, cause)
        except Exception:
            log.exception("partition %d: the serving index cannot be filled", partition)
            return
        if filled.offset is not None:  # rows may have fallen back: then they tell no more than that
            mark = min(mark, filled.offset)
        for name in {slice_id} if slice_id else {*filled.slices, *self._lines}:
            self._lines[name].marks[partition] = mark
        log.info("partition %d: the serving index is filled again", partition)

    async def _begin(self, partition: int, slice_id: str) -> None:
        """Have a slice know how far a partition is stored, before a filling tells it anything."""
        line, owned = self._lines[slice_id], self._owned.get(partition)
        if owned is None or owned.offset < 0 or partition in line.told:
            return
        if line.sending is None or line.sending.done():
            line.sending = asyncio.create_task(self._send(slice_id, line))
        await asyncio.wait([line.sending])
        if partition not in line.told:
            raise Retry(f"{slice_id} does not answer")

    async def _prune(self, slice_id: str, line: _Line) -> None:
        """Remove what the rows did not tell of."""
        assert self._refilling is not None
        marks, line.marks = line.marks, {}
        try:
            async with self._turns:
                await self._refilling.prune(slice_id, marks, self._partitions)
        except Exception as error:  # noqa: BLE001 - whatever it is, counting goes on
            line.marks = marks | line.marks
            self._fall_behind(slice_id, line, error)


def _frozen_by(policy: Policy) -> frozenset[str]:
    """Return the slices that a policy freezes."""
    return frozenset(name for name, spec in policy.slices.items() if spec.is_shut)


def _is_left(owned: _Partition) -> bool:
    """Tell whether a partition has to be filled, the sweep aside."""
    filling = owned.filling is not None and not owned.filling.done() and not owned.sweeping
    return filling or bool(owned.lost) or owned.cause not in {None, "sweep"}

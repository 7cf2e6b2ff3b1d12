"""One partition while a worker owns it: fold records, flush what came of them.

The order of a flush: receipts and dead letters are acknowledged, then rows, meta and watermark go
to the store in one guarded call, then the position is committed for lag tools. What the flush
takes is taken at once, so reading and folding go on while it is under way.
"""

import asyncio
import logging
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from streams.core.receipts import Refusal
from streams.core.receipts import encode as encode_receipt
from streams.core.state import Changes, PartitionState
from streams.core.units import surface_of
from streams.errors import Halt, Retry, StreamsError
from streams.runtime.bad_input import BadInput
from streams.runtime.codec import Decoded
from streams.runtime.folding import Rows, Spelling, fold_run, prepare
from streams.runtime.letters import letter_of
from streams.runtime.metrics import Metrics
from streams.runtime.opening import is_of, mark_of, rewritten
from streams.runtime.ports import Clock, Conflict, Outgoing, Producer, Record, Store, Stored
from streams.settings import Secret, Settings

CHUNK_RECORDS: Final = 1_000
CHUNK_BYTES: Final = 256 << 10
BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
log: Final = logging.getLogger("streams.worker")


class Lost(StreamsError):
    """The partition's memory is worthless: somebody else moved the watermark."""

    def __init__(self, stored: int) -> None:
        super().__init__(f"the stored watermark is {stored}")
        self.stored: Final = stored


@dataclass(frozen=True)
class Surroundings:
    """What a worker and each of its partitions work with.

    `clock` paces flushes and audits; no decision depends on it.
    """

    producer: Producer
    store: Store
    settings: Settings
    secret: Secret
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = time.monotonic


class Owned:
    """State, watermark and flush of one owned partition.

    `watermark` is the last offset stored, `folded` the last one folded. After `release` nothing
    is folded any more and a flush that still waits for retries gives up.
    """

    def __init__(
        self, state: PartitionState, stored: Stored, namespace: str, around: Surroundings
    ) -> None:
        watermark = stored.watermark
        self.state: Final = state
        self.partition: Final = state.partition
        self.watermark = watermark
        self.folded = watermark
        self.flushing: asyncio.Task[None] | None = None
        self.flushed_at = 0.0
        self.released = False
        self._unfinished = False
        self._flushing_to = watermark
        self._namespace: Final = namespace
        self._store: Final = around.store
        self._producer: Final = around.producer
        self._metrics: Final = around.metrics
        self._settings: Final = around.settings
        self._spelling: Final = Spelling(around.secret.reveal, around.settings.record_bytes)
        self._topic: Final = around.settings.topic("interactions")
        self._outbox: list[Outgoing] = []
        self._mark: Final = stored.meta.mark
        self._last: Record | None = None  # folded
        self._unproved = watermark >= 0  # whether the log still holds what was counted
        self._bad_input = BadInput()

    async def take(self, records: Sequence[Record], now: float) -> None:
        """Fold records in log order, flushing whenever enough rows changed.

        Raises `Halt` when too much of the input is bad, and what `flush` raises.
        """
        at = 0
        while at < len(records):
            chunk = records[at : at + _chunk_length(records[at])]
            at += len(chunk)
            if chunk[0].offset <= self.watermark:
                chunk = self._remember(chunk)
            if chunk:
                if self._unproved:
                    self._prove(None)
                await self._take_chunk(chunk, now)
            await asyncio.sleep(0)  # buffered records must not starve flushes and heartbeats
            if self.released:
                return

    def flush_soon(self, now: float, *, due: bool) -> None:
        """Start a flush unless one is under way: of many rows at once, of any when `due`."""
        if self.flushing is not None and self.flushing.done():
            self._reap()
        full = len(self.state.changed) >= self._settings.flush_rows
        if self._unfinished:
            return
        if self.flushing is None and self.folded > self.watermark and (full or due):
            self.flushed_at = now
            # Taken at once: what is folded from here on is the next flush's.
            outbox, self._outbox = self._outbox, []
            self._flushing_to = self.folded
            self._unfinished = True  # until it is done: without these rows no later one is whole
            changes = self.state.take_changes()
            if self._last is not None:
                changes = changes._replace(meta=changes.meta._replace(mark=mark_of(self._last)))
            flush = self._flush(self.folded, outbox, changes)
            self.flushing = asyncio.create_task(flush, name=f"flush-{self.partition}")

    async def settle(self, now: float) -> None:
        """Flush until everything folded is stored."""
        while True:
            if self.flushing is not None:
                await asyncio.wait([self.flushing])
                self._reap()
            if self.folded <= self.watermark or self._unfinished:
                return
            self.flush_soon(now, due=True)

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

    def _remember(self, chunk: Sequence[Record]) -> Sequence[Record]:
        """Take the ids of records that the watermark covers; return the others."""
        covered = [record for record in chunk if record.offset <= self.watermark]
        if self._unproved and covered[-1].offset == self.watermark:
            self._prove(covered[-1])
        decoded = self._spelling.decode(covered)
        for event, offset in zip(decoded.events, decoded.offsets, strict=True):
            self.state.remember(event, offset)
        self._metrics.replayed.inc(len(covered))
        return chunk[len(covered) :]

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

    async def _take_chunk(self, chunk: Sequence[Record], now: float) -> None:
        decoded = await prepare(self.state, chunk, self._spelling, self._load)
        self._metrics.unknown_fields.labels(self._topic).inc(decoded.unknown_fields)
        if decoded.refusals:
            invalid = self._metrics.events.labels(self._topic, "unknown", "invalid")
            invalid.inc(len(decoded.refusals))
        refused = _Refused(decoded)
        start = 0
        for end in _cuts(decoded, self._settings.flush_rows):
            if self.released:
                return
            refused.add(self._fold(decoded, start, end))
            start = end
            upto = chunk[-1].offset if end == len(decoded.events) else decoded.offsets[end - 1]
            self._write_letters(chunk, refused, upto)
            self.folded = upto
            self._last = chunk[bisect_left(chunk, upto, key=attrgetter("offset"))]
            await self._make_room(now)
        events = len(decoded.events) + len(decoded.refusals)
        self._judge_input(now, events, refused.elements)

    async def _load(self, videos: Sequence[str]) -> Rows:
        """Return stored rows, `Lost` if another watermark holds them; nothing once released."""
        ours = {self.watermark, self._flushing_to}
        loaded = await self._store.load(self.partition, videos)
        if self.released:
            return {}
        stored = -1 if loaded.watermark is None else loaded.watermark
        if stored not in ours | {self.watermark}:
            raise Lost(stored)
        self._metrics.loaded.inc(len(videos))
        return loaded.videos

    def _fold(self, decoded: Decoded, start: int, end: int) -> Sequence[Refusal]:
        """Fold a run of events, put its receipts into the outbox, and return its refusals."""
        effects = fold_run(self.state, decoded, start, end)
        topic = self._settings.topic("decisions")
        for receipt in effects.receipts:
            key = receipt.video.encode()
            self._outbox.append(Outgoing(topic, encode_receipt(receipt), key))
            self._metrics.decisions.labels(surface_of(receipt.slice), receipt.action).inc()
        for (kind, outcome), count in effects.outcomes.items():
            self._metrics.events.labels(self._topic, kind, outcome).inc(count)
        return effects.rejected

    def _write_letters(self, chunk: Sequence[Record], refused: "_Refused", upto: int) -> None:
        """Put a letter into the outbox for each refused record up to an offset."""
        for record, refusals, stage in refused.take(chunk, upto):
            group, limit = self._settings.group, self._settings.record_bytes
            self._outbox.append(letter_of(record, refusals, stage, group, limit))
            for reason, count in Counter(refusal.reason for refusal in refusals).items():
                self._metrics.dead_letters.labels(self._topic, reason).inc(count)

    async def _make_room(self, now: float) -> None:
        """Start a flush at the bound of rows; wait for the one under way if it is reached again."""
        if len(self.state.changed) < self._settings.flush_rows:
            return
        if self.flushing is not None:
            await asyncio.wait([self.flushing])
        self.flush_soon(now, due=False)

    async def _flush(self, upto: int, outbox: Sequence[Outgoing], changes: Changes) -> None:
        """Store what was folded up to an offset; `Lost`, or `Halt` if it can't ever be stored."""
        with self._metrics.flushes.time():
            await self._until_done(self._acknowledge, outbox)
            await self._until_done(self._store_changes, upto, changes)
        self._metrics.flush_rows.inc(sum(map(len, changes.rows.values())))
        self._unfinished = False
        self.watermark = upto
        self.state.stored(changes.epoch)

    async def _acknowledge(self, outbox: Sequence[Outgoing]) -> None:
        """Write receipts and dead letters; return when all in-sync replicas have them."""
        acks = [await self._producer.send(outgoing) for outgoing in outbox]
        for ack in acks:
            await ack

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
                pause = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
                if attempt % 10 == 0:
                    log.warning("partition %d waits: %s", self.partition, error)
                await asyncio.sleep(pause)
            else:
                return

    def _reap(self) -> None:
        """Forget a finished flush; raise what it raised."""
        done, self.flushing = self.flushing, None
        if done is not None and (error := done.exception()) is not None:
            raise error

    def _judge_input(self, now: float, events: int, bad: int) -> None:
        judged = self._bad_input.note(now, events, bad)
        if judged == "alarm":
            self._metrics.bad_input.labels(self._topic, str(self.partition)).inc()
            log.warning(
                "partition %d: more than 1 %% of this minute's events are bad; see %s.dlq",
                self.partition,
                self._topic,
            )
        elif judged == "pause":
            raise Halt(
                f"partition {self.partition}: more than 20 % of a minute's events are bad; "
                f"mend their producer (see {self._topic}.dlq), then start the worker again",
                code="too_many_bad",
                partition=self.partition,
            )


def _chunk_length(first: Record) -> int:
    """Return how many records to fold at once, if all are as large as the first.

    Between chunks flushes and heartbeats get their turn, so a chunk of arrays has fewer records.
    """
    return max(min(CHUNK_BYTES // max(len(first.value or b""), 1), CHUNK_RECORDS), 1)


def _cuts(decoded: Decoded, most: int) -> list[int]:
    """Return where runs of about `most` events end, only where a record does; the end is last."""
    offsets = decoded.offsets
    cuts: list[int] = []
    size = 0
    if len(offsets) > most:
        for at in range(1, len(offsets)):
            size += 1
            if size >= most and offsets[at] != offsets[at - 1]:
                cuts.append(at)
                size = 0
    return [*cuts, len(offsets)]


class _Refused:
    """What was refused of a chunk and has no letter yet, by offset."""

    def __init__(self, decoded: Decoded) -> None:
        self.elements = 0
        self._stages: dict[int, str] = {}
        self._by_offset: defaultdict[int, list[Refusal]] = defaultdict(list)
        self.add(decoded.refusals, "decode")

    def add(self, refusals: Sequence[Refusal], stage: str = "fold") -> None:
        """Take refusals of one stage; a letter names the first one that refused."""
        self.elements += len(refusals)
        for refusal in refusals:
            self._by_offset[refusal.offset].append(refusal)
            self._stages.setdefault(refusal.offset, stage)

    def take(
        self, chunk: Sequence[Record], upto: int
    ) -> Iterator[tuple[Record, list[Refusal], str]]:
        """Yield the refused records up to an offset with all their refusals and the stage."""
        if not self._by_offset:
            return
        for record in chunk:
            if record.offset <= upto and (refusals := self._by_offset.pop(record.offset, None)):
                refusals.sort(key=attrgetter("element"))
                yield record, refusals, self._stages[record.offset]

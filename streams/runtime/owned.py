"""One partition while a worker owns it: fold records, flush what came of them.

The order of a flush: receipts and dead letters are acknowledged, then rows, meta and watermark go
to the store in one guarded call, then the position is committed for lag tools. What the flush
takes is taken at once, so reading and folding go on while it is under way.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from streams.core.fold import fold
from streams.core.receipts import encode as encode_receipt
from streams.core.state import Changes, PartitionState
from streams.core.units import surface_of
from streams.errors import Halt, Retry, StreamsError
from streams.runtime.bad_input import BadInput
from streams.runtime.codec import Decoded, decode_log
from streams.runtime.letters import Pieces, Refusal, dead_letter
from streams.runtime.metrics import Metrics
from streams.runtime.ports import Clock, Conflict, Outgoing, Producer, Record, Store
from streams.settings import Secret, Settings

CHUNK_RECORDS: Final = 1_000
CHUNK_BYTES: Final = 256 << 10
LOAD_VIDEOS: Final = 500
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
        self, state: PartitionState, watermark: int, namespace: str, around: Surroundings
    ) -> None:
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
        self._secret: Final = around.secret.reveal
        self._metrics: Final = around.metrics
        self._settings: Final = around.settings
        self._topic: Final = around.settings.topic("interactions")
        self._outbox: list[Outgoing] = []
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
            flush = self._flush(self.folded, outbox, self.state.take_changes())
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
        decoded = decode_log(covered, self._secret, self._settings.record_bytes)
        for event, offset in zip(decoded.events, decoded.offsets, strict=True):
            self.state.remember(event, offset)
        self._metrics.replayed.inc(len(covered))
        return chunk[len(covered) :]

    async def _take_chunk(self, chunk: Sequence[Record], now: float) -> None:
        decoded = decode_log(chunk, self._secret, self._settings.record_bytes)
        missing = self.state.missing(decoded.events)
        if missing and not await self._load(missing):
            return
        self._refuse(decoded.refusals, "decode")
        bad = len(decoded.refusals)
        self._metrics.unknown_fields.labels(self._topic).inc(decoded.unknown_fields)
        pieces = Pieces(chunk)
        start = 0
        for end in _cuts(decoded, self._settings.flush_rows):
            bad += self._fold(decoded, start, end, pieces)
            self.folded = decoded.offsets[end - 1]
            await self._make_room(now)
            if self.released:
                return
            start = end
        bad += self._fold(decoded, start, len(decoded.events), pieces)
        self.folded = chunk[-1].offset
        await self._make_room(now)
        self._judge_input(now, len(decoded.events) + len(decoded.refusals), bad)

    async def _load(self, videos: Sequence[str]) -> bool:
        """Bring videos into memory; False once released, `Lost` if another watermark holds them."""
        ours = {self.watermark, self._flushing_to}
        for at in range(0, len(videos), LOAD_VIDEOS):
            some = videos[at : at + LOAD_VIDEOS]
            loaded = await self._store.load(self.partition, some)
            if self.released:
                return False
            stored = -1 if loaded.watermark is None else loaded.watermark
            if stored not in ours | {self.watermark}:
                raise Lost(stored)
            for video in some:
                self.state.load(video, loaded.videos.get(video, {}))
        self._metrics.loaded.inc(len(videos))
        return True

    def _fold(self, decoded: Decoded, start: int, end: int, pieces: Pieces) -> int:
        """Fold a run of events and put what comes of it into the outbox; return the rejected."""
        offsets, elements = decoded.offsets, decoded.elements
        effects = (
            fold(self.state, decoded.events, offsets, elements)
            if end - start == len(offsets)
            else fold(
                self.state, decoded.events[start:end], offsets[start:end], elements[start:end]
            )
        )
        topic = self._settings.topic("decisions")
        for receipt in effects.receipts:
            key = receipt.video.encode()
            self._outbox.append(Outgoing(topic, encode_receipt(receipt), key))
            self._metrics.decisions.labels(surface_of(receipt.slice), receipt.action).inc()
        for (kind, outcome), count in effects.outcomes.items():
            self._metrics.events.labels(self._topic, kind, outcome).inc(count)
        if effects.rejected:
            self._refuse([pieces.refusal(*rejection) for rejection in effects.rejected], "fold")
        return len(effects.rejected)

    def _refuse(self, refusals: Sequence[Refusal], stage: str) -> None:
        for refusal in refusals:
            group, limit = self._settings.group, self._settings.record_bytes
            self._outbox.append(dead_letter(refusal, group, stage, limit))
            self._metrics.dead_letters.labels(self._topic, refusal.reason).inc()
            if stage == "decode":
                self._metrics.events.labels(self._topic, "unknown", "invalid").inc()

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
    """Return where to cut events into runs of about `most`, only where a record ends."""
    offsets = decoded.offsets
    cuts: list[int] = []
    size = 0
    if len(offsets) <= most:
        return cuts
    for at in range(1, len(offsets)):
        size += 1
        if size >= most and offsets[at] != offsets[at - 1]:
            cuts.append(at)
            size = 0
    return cuts

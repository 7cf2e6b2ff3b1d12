"""From a folder into a log: merged by time, paced, a batch at a time, resumable without a gap.

A batch goes out, all of it is durable, the checkpoint says so, then the next goes out. So a crash
costs no record, and what it left of one batch in the target is found there again (`ledger`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streams.errors import Retry
from streams.recording.ledger import Ledger
from streams.recording.lines import Recorded
from streams.recording.pacing import Pacer
from streams.recording.reader import Recording
from streams.recording.routing import Options, Router, Target
from streams.runtime.ports import BatchSink, Clock, Outgoing, Place

QUANTUM_S: Final = 0.001
"""Records due within this time go out together."""
NAP_S: Final = 0.2
"""Longest sleep before looking whether to stop."""
STOP_RECORDS: Final = 4_096
"""How many records are read before looking whether to stop."""
SEND_TRIES: Final = 10
RETRY_S: Final = 1.0


class ReplayProgress(NamedTuple):
    """How far a replay is."""

    sent: int  # records, durable
    read: int  # records of the recording, selected or not
    timestamp: int | None  # original time of the last record read


@dataclass(frozen=True)
class Time:
    """The passing of time, given so that nobody has to wait for it."""

    clock: Clock
    sleep: Callable[[float], Awaitable[None]]
    now_ms: Callable[[], int]


class Replayer:
    """Replays a recording into a sink, from the positions of the ledger's checkpoint on.

    The ledger is brought up to date after every batch.
    """

    def __init__(
        self,
        recording: Recording,
        sink: BatchSink,
        target: Target,
        options: Options,
        time: Time,
        ledger: Ledger,
    ) -> None:
        self._recording = recording
        self._sink = sink
        self._target = target
        self._options = options
        self._time = time
        self._ledger = ledger
        self._router = Router(target, options)
        self._batch: list[Recorded] = []
        self._positions = ledger.checkpoint.places()
        self._flying: asyncio.Task[None] | None = None
        self._read = 0
        self._last: int | None = None

    async def run(
        self, stop: Callable[[], bool], tell: Callable[[ReplayProgress], None] = lambda _: None
    ) -> bool:
        """Replay; return False if `stop` ended it early. What was sent is durable on return.

        `Halt` if the target does not hold what an earlier part of this replay sent there.
        """
        topics = self._target.topics.values()
        counts = {topic: self._target.counts[topic] for topic in topics}
        await self._ledger.open(counts, self._options.batch)
        try:
            whole = await self._run(stop, tell)
        finally:
            await self._land()
        if whole:
            self._ledger.close()
        return whole

    async def _run(self, stop: Callable[[], bool], tell: Callable[[ReplayProgress], None]) -> bool:
        options, pacer, limit = self._options, Pacer(self._options.pace), self._options.limit
        everything = not options.selection
        paced = options.pace.speed is not None or options.pace.rate is not None
        start = self._time.clock()
        left = limit - self._ledger.checkpoint.sent if limit is not None else -1
        size = 0  # of the batch's values
        for record in self._recording.merged(self._positions):
            if left == 0:
                break
            self._read += 1
            if self._read % STOP_RECORDS == 0 and stop():
                return False
            if everything or options.selection.takes(record):
                if paced:
                    due = start + pacer.due(record.timestamp)
                    if due - self._time.clock() > QUANTUM_S:
                        await self._send(tell)
                        size = 0
                        if not await self._wait(due, stop):
                            return False
                self._batch.append(record)
                left -= 1
                size += len(record.value or b"")
                if len(self._batch) >= options.batch or size >= options.batch_bytes:
                    await self._send(tell)
                    size = 0
                    if stop():
                        return False
            self._positions[record.topic, record.partition] = record.offset + 1
            self._last = record.timestamp
        await self._send(tell)
        return True

    async def _wait(self, due: float, stop: Callable[[], bool]) -> bool:
        """Sleep until something is due; return False if told to stop meanwhile."""
        while not stop():
            left = due - self._time.clock()
            if left <= QUANTUM_S:
                return True
            await self._time.sleep(min(left, NAP_S))
        return False

    async def _send(self, tell: Callable[[ReplayProgress], None]) -> None:
        """Send the batch once the one before is durable; it flies while the next is read."""
        await self._land()
        batch, self._batch = self._batch, []
        if batch:
            self._flying = asyncio.create_task(self._fly(batch, dict(self._positions), tell))
            await asyncio.sleep(0)

    async def _land(self) -> None:
        flying, self._flying = self._flying, None
        if flying is not None:
            await flying

    async def _fly(
        self,
        batch: Sequence[Recorded],
        positions: dict[Place, int],
        tell: Callable[[ReplayProgress], None],
    ) -> None:
        last = batch[-1]
        positions[last.topic, last.partition] = last.offset + 1
        checkpoint = self._ledger.checkpoint
        if self._options.timestamps == "shift" and checkpoint.shift_ms is None:
            checkpoint.shift_ms = self._time.now_ms() - batch[0].timestamp
            self._ledger.save()  # a resume must spell what arrived as it was sent
        outgoing = self._router.route(batch, checkpoint, self._time.now_ms())
        await self._write(outgoing)
        self._ledger.landed(len(batch), positions, outgoing)
        tell(ReplayProgress(checkpoint.sent, self._read, self._last))

    async def _write(self, outgoing: Mapping[Place, list[Outgoing]]) -> None:
        """Write a batch to all its partitions, where it is not there already.

        A partition that fails is written again, from behind what arrived in spite of that.
        """
        failed = await self._attempt(self._ledger.unsent(outgoing))
        for _ in range(SEND_TRIES - 1):
            if not failed:
                return
            await self._time.sleep(RETRY_S)
            try:
                left = await self._ledger.look_again(outgoing, failed)
            except Retry as unknown:
                failed = dict.fromkeys(failed, unknown)  # nothing goes out before that is known
            else:
                failed = await self._attempt(left)
        for error in failed.values():
            raise error

    async def _attempt(self, outgoing: Mapping[Place, list[Outgoing]]) -> dict[Place, Retry]:
        acks = {p: await self._sink.send_batch(*p, records) for p, records in outgoing.items()}
        failed: dict[Place, Retry] = {}
        for place, ack in acks.items():
            try:
                await ack
            except Retry as error:
                failed[place] = error
        return failed

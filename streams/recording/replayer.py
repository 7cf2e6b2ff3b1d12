"""From a folder into a log: merged by time, paced, a batch at a time, resumable without a gap.

A batch goes out, all of it is durable, the checkpoint says so, then the next goes out. So a crash
costs no record, and repeats one batch at most.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

from streams.core.partitioner import partition_of
from streams.errors import Halt, Retry
from streams.recording.checkpoint import Checkpoint, save_checkpoint
from streams.recording.lines import Recorded
from streams.recording.pacing import Pace, Pacer
from streams.recording.reader import Recording
from streams.recording.selection import Selection
from streams.runtime.ports import BatchSink, Clock, Headers, Outgoing, Place
from streams.runtime.signing import SIGNATURE

BATCH_RECORDS: Final = 5_000
QUANTUM_S: Final = 0.001
"""Records due within this time go out together."""
NAP_S: Final = 0.2
"""Longest sleep before looking whether to stop."""
STOP_RECORDS: Final = 4_096
"""How many records are read before looking whether to stop."""
SEND_TRIES: Final = 10
RETRY_S: Final = 1.0

TRACE: Final = (
    "x-original-topic",
    "x-original-partition",
    "x-original-offset",
    "x-original-timestamp",
    "x-replay-run-id",
)
"""Headers behind a replayed record's own ones, in this order."""

Timestamps = Literal["keep", "shift", "now"]
Partitions = Literal["keep", "rekey"]


@dataclass(frozen=True)
class Target:
    """Where records go.

    `topics` maps recorded topics to target topics, `counts` those to their partition counts,
    `recorded` recorded topics to theirs.
    """

    topics: Mapping[str, str]
    counts: Mapping[str, int]
    recorded: Mapping[str, int]


@dataclass(frozen=True)
class Options:
    """How to replay. `trace` adds the headers `TRACE`."""

    pace: Pace = field(default_factory=Pace)
    selection: Selection = field(default_factory=Selection)
    partitions: Partitions = "keep"
    timestamps: Timestamps = "keep"
    limit: int | None = None
    trace: bool = False
    batch: int = BATCH_RECORDS


class Progress(NamedTuple):
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
    """Replays a recording into a sink, from `checkpoint`'s positions on.

    The checkpoint is brought up to date after every batch, in `file` too if there is one.
    """

    def __init__(
        self,
        recording: Recording,
        sink: BatchSink,
        target: Target,
        options: Options,
        time: Time,
        checkpoint: Checkpoint,
    ) -> None:
        self.checkpoint: Final = checkpoint
        self._recording = recording
        self._sink = sink
        self._options = options
        self._time = time
        self._router = Router(target, options)
        self._batch: list[Recorded] = []
        self._positions = checkpoint.places()
        self._flying: asyncio.Task[None] | None = None
        self._read = 0
        self._last: int | None = None

    async def run(
        self,
        file: Path | None,
        stop: Callable[[], bool],
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> bool:
        """Replay; return False if `stop` ended it early. What was sent is durable on return."""
        try:
            whole = await self._run(file, stop, tell)
        finally:
            await self._land()
        return whole

    async def _run(
        self, file: Path | None, stop: Callable[[], bool], tell: Callable[[Progress], None]
    ) -> bool:
        options, pacer, limit = self._options, Pacer(self._options.pace), self._options.limit
        everything = not options.selection
        paced = options.pace.speed is not None or options.pace.rate is not None
        start = self._time.clock()
        left = limit - self.checkpoint.sent if limit is not None else -1
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
                        await self._send(file, tell)
                        if not await self._wait(due, stop):
                            return False
                self._batch.append(record)
                left -= 1
                if len(self._batch) >= options.batch:
                    await self._send(file, tell)
                    if stop():
                        return False
            self._positions[record.topic, record.partition] = record.offset + 1
            self._last = record.timestamp
        await self._send(file, tell)
        return True

    async def _wait(self, due: float, stop: Callable[[], bool]) -> bool:
        """Sleep until something is due; return False if told to stop meanwhile."""
        while not stop():
            left = due - self._time.clock()
            if left <= QUANTUM_S:
                return True
            await self._time.sleep(min(left, NAP_S))
        return False

    async def _send(self, file: Path | None, tell: Callable[[Progress], None]) -> None:
        """Send the batch once the one before is durable; it flies while the next is read."""
        await self._land()
        batch, self._batch = self._batch, []
        if batch:
            self._flying = asyncio.create_task(self._fly(batch, dict(self._positions), file, tell))
            await asyncio.sleep(0)

    async def _land(self) -> None:
        flying, self._flying = self._flying, None
        if flying is not None:
            await flying

    async def _fly(
        self,
        batch: Sequence[Recorded],
        positions: dict[Place, int],
        file: Path | None,
        tell: Callable[[Progress], None],
    ) -> None:
        last = batch[-1]
        positions[last.topic, last.partition] = last.offset + 1
        checkpoint = self.checkpoint
        if self._options.timestamps == "shift" and checkpoint.shift_ms is None:
            checkpoint.shift_ms = self._time.now_ms() - batch[0].timestamp
        outgoing = self._router.route(batch, checkpoint, self._time.now_ms())
        await self._write(outgoing)
        for (topic, number), offset in positions.items():
            checkpoint.positions.setdefault(topic, {})[number] = offset
        checkpoint.sent += len(batch)
        if file is not None:
            save_checkpoint(file, checkpoint)
        tell(Progress(checkpoint.sent, self._read, self._last))

    async def _write(self, outgoing: Mapping[Place, list[Outgoing]]) -> None:
        """Write a batch to all its partitions; a partition that fails is written again."""
        left = dict(outgoing)
        for attempt in range(SEND_TRIES):
            acks = {p: await self._sink.send_batch(*p, records) for p, records in left.items()}
            failed: dict[Place, Retry] = {}
            for place, ack in acks.items():
                try:
                    await ack
                except Retry as error:
                    failed[place] = error
            if not failed:
                return
            left = {place: left[place] for place in failed}
            if attempt == SEND_TRIES - 1:
                raise next(iter(failed.values()))
            await self._time.sleep(RETRY_S)


class Router:
    """Says where a recorded record goes and with which timestamp and headers."""

    def __init__(self, target: Target, options: Options) -> None:
        self._target = target
        self._options = options
        self._known: dict[tuple[bytes, int], int] = {}  # partitions of keys
        self._traces: dict[Place, tuple[tuple[str, bytes], tuple[str, bytes]]] = {}

    def route(
        self, batch: Iterable[Recorded], checkpoint: Checkpoint, now_ms: int
    ) -> dict[Place, list[Outgoing]]:
        """Return what to write, by target partition, each in the order of `batch`."""
        out: defaultdict[Place, list[Outgoing]] = defaultdict(list)
        run_id = (TRACE[4], checkpoint.run_id.encode())
        kind, shift = self._options.timestamps, checkpoint.shift_ms or 0
        trace, rekey = self._options.trace, self._options.partitions == "rekey"
        topics = self._target.topics
        for record in batch:
            topic = topics[record.topic]
            timestamp = now_ms if kind == "now" else record.timestamp + shift
            headers = self._traced(record, run_id) if trace else record.headers
            numbers = self._rekey(record, topic) if rekey else (record.partition,)
            for number in numbers:
                outgoing = Outgoing(topic, record.value, record.key, headers, number, timestamp)
                out[topic, number].append(outgoing)
        return out

    def _traced(self, record: Recorded, run_id: tuple[str, bytes]) -> Headers:
        """Return a record's headers with `TRACE` behind them."""
        place = (record.topic, record.partition)
        source = self._traces.get(place)
        if source is None:
            source = ((TRACE[0], place[0].encode()), (TRACE[1], b"%d" % place[1]))
            self._traces[place] = source
        offset = (TRACE[2], b"%d" % record.offset)
        return [*record.headers, *source, offset, (TRACE[3], b"%d" % record.timestamp), run_id]

    def _rekey(self, record: Recorded, topic: str) -> Sequence[int]:
        """Return the partitions of a record by its key.

        A signed record without a key is one partition's copy of a broadcast (a policy): every
        target partition gets one copy. Any other record without a key keeps its partition, as
        far as there are as many.
        """
        count = self._target.counts[topic]
        if record.key is not None:
            known = self._known.get((record.key, count))
            if known is None:
                if len(self._known) >= 1 << 18:
                    self._known.clear()
                known = self._known[record.key, count] = partition_of(record.key, count)
            return (known,)
        if any(name == SIGNATURE for name, _ in record.headers):
            return range(record.partition, count, self._target.recorded[record.topic])
        return (record.partition % count,)


def own_headers(headers: Headers) -> Headers:
    """Return the headers that a record had before it was replayed: without `TRACE` at the end.

    >>> own_headers([("a", b"1"), *((name, b"") for name in TRACE)])
    [('a', b'1')]
    """
    while tuple(name for name, _ in headers[-len(TRACE) :]) == TRACE:
        headers = headers[: -len(TRACE)]
    return headers


def require_target(target: Target, partitions: Partitions) -> None:
    """Raise `Halt` unless every recorded partition has a place in the target."""
    for name, topic in target.topics.items():
        count = target.counts.get(topic)
        wanted = target.recorded[name]
        if count is None:
            raise Halt(
                f"the target has no topic {topic}: create it with {wanted} partitions",
                code="topic_missing",
            )
        if partitions == "keep" and count < wanted:
            raise Halt(
                f"topic {topic} has {count} partitions, the recording of {name} has {wanted}: "
                "use --partitions rekey, or a topic with as many"
            )

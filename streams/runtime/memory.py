"""The ports in memory: the same contracts without Kafka and Redis, for replays and tests.

Everything here belongs to one event loop. `MemoryLog` stands for the brokers, `MemoryStore` for
Redis: consumers and producers of one log see the same topics, and outlive each other in it.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.core.partitioner import partition_of
from streams.core.receipts import Receipt
from streams.core.state import FRESH, Changes, Meta
from streams.errors import Halt, Retry
from streams.runtime.namespace import other_namespace
from streams.runtime.ports import (
    AssignmentListener,
    Candidate,
    Conflict,
    FlushResult,
    Headers,
    Loaded,
    Offsets,
    Outgoing,
    Record,
    TopicIdentity,
)


@dataclass
class StoredPartition:
    """What a store holds of one partition; `namespace` is None before its first flush."""

    namespace: str | None = None
    watermark: int = -1
    meta: Meta = FRESH
    rows: dict[str, dict[str, bytes]] = field(default_factory=dict)


class MemoryStore:
    """The port `Store`; `partitions` is what it holds, open to whoever owns the store."""

    def __init__(self) -> None:
        self.partitions: Final[dict[int, StoredPartition]] = {}
        self._failures: list[tuple[Retry, bool]] = []

    def fail_next(self, error: Retry, *, reply_lost: bool = False) -> None:
        """Make the next flush raise `error`: before it wrote, or after (`reply_lost`)."""
        self._failures.append((error, reply_lost))

    async def check(self) -> None:
        """Accept: memory never evicts."""

    async def meta(self, partition: int, namespace: str) -> tuple[int, Meta] | None:
        """Return watermark and meta of a partition; see the port."""
        stored = self.partitions.get(partition)
        if stored is None or (stored.namespace is None and not stored.rows):
            return None
        if stored.namespace is None:
            message = f"partition {partition} has counters but no watermark: erase it and fold"
            raise Halt(f"{message} its log again", code="watermark_missing", partition=partition)
        _require_namespace(stored.namespace, namespace, partition)
        return stored.watermark, stored.meta

    async def watermark(self, partition: int) -> int | None:
        """Return the stored watermark alone, None if there is none."""
        stored = self.partitions.get(partition)
        return None if stored is None or stored.namespace is None else stored.watermark

    async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
        """Return the stored fields of each video and their watermark."""
        rows = self.partitions.get(partition, StoredPartition()).rows
        found = {video: dict(rows.get(video, {})) for video in videos}
        return Loaded(await self.watermark(partition), found)

    async def flush(
        self, partition: int, namespace: str, expected: int, new: int, changes: Changes
    ) -> FlushResult:
        """Write rows, meta and watermark, all or nothing; see the port."""
        error, reply_lost = self._failures.pop(0) if self._failures else (None, False)
        if error is not None and not reply_lost:
            raise error
        result = self._flush(partition, namespace, expected, new, changes)
        if error is not None:
            raise error
        return result

    async def scan(self, partition: int) -> Mapping[str, Mapping[str, bytes]]:
        """Return every stored video of a partition with its fields."""
        rows = self.partitions.get(partition, StoredPartition()).rows
        return {video: dict(fields) for video, fields in rows.items()}

    async def erase(self, partition: int) -> int:
        """Delete whatever is stored of a partition; return how many keys that were."""
        stored = self.partitions.pop(partition, StoredPartition())
        return len(stored.rows) + (stored.namespace is not None)

    async def close(self) -> None:
        """Do nothing: what is stored stays."""

    def _flush(
        self, partition: int, namespace: str, expected: int, new: int, changes: Changes
    ) -> FlushResult:
        stored = self.partitions.get(partition, StoredPartition())
        if stored.namespace is not None:
            _require_namespace(stored.namespace, namespace, partition)
        if stored.watermark == new and stored.meta.digest == changes.meta.digest:
            return "noop"
        if stored.watermark != expected or new <= stored.watermark:
            return Conflict(stored.watermark)
        for video, fields in changes.rows.items():
            stored.rows.setdefault(video, {}).update(fields)
        stored.namespace, stored.watermark, stored.meta = namespace, new, changes.meta
        self.partitions[partition] = stored
        return "ok"


@dataclass(frozen=True, slots=True)
class _Grant:
    """Latest decision applied for one (video, slice); `index` is None after a stop."""

    n: int
    allowance: int
    index: int | None


class MemoryServingIndex:
    """The port `ServingIndex`."""

    def __init__(self) -> None:
        self._slices: Final[dict[str, dict[str, _Grant]]] = {}

    async def apply(self, receipts: Sequence[Receipt]) -> int:
        """Apply receipts in order; return how many were new."""
        new = 0
        for receipt in receipts:
            grants = self._slices.setdefault(receipt.slice, {})
            last = grants.get(receipt.video)
            if last is None or receipt.n > last.n:
                stop = receipt.action == "stop"
                index = None if stop else receipt.index
                grants[receipt.video] = _Grant(receipt.n, receipt.allowance, index)
                new += 1
        return new

    async def top(self, slice_id: str, count: int) -> Sequence[Candidate]:
        """Return the `count` best candidates of a slice; equal ranks by id, backwards."""
        ranked = [
            Candidate(video, grant.index, grant.allowance)
            for video, grant in self._slices.get(slice_id, {}).items()
            if grant.index is not None
        ]
        ranked.sort(key=lambda candidate: (candidate.index, candidate.video), reverse=True)
        return ranked[: max(count, 0)]


class MemoryDossiers:
    """The port `Dossiers`."""

    def __init__(self) -> None:
        self._documents: Final[dict[str, bytes]] = {}

    async def get(self, video: str) -> bytes | None:
        """Return a video's document, None if there is none."""
        return self._documents.get(video)

    async def put(self, video: str, document: bytes) -> None:
        """Keep a video's document."""
        self._documents[video] = document


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """One record of a `MemoryLog`; see the port `Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class _PartitionLog:
    """Records of one partition by rising offset; offsets may have gaps, as in Kafka."""

    __slots__ = ("end", "offsets", "records", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self.offsets: list[int] = []
        self.records: list[Record] = []

    def append(self, record: Record) -> None:
        self.offsets.append(record.offset)
        self.records.append(record)
        self.end = record.offset + 1

    def read(self, position: int, count: int) -> Sequence[Record]:
        first = bisect_left(self.offsets, position)
        return self.records[first : first + count]

    def forget(self, start: int) -> None:
        gone = bisect_left(self.offsets, start)
        del self.offsets[:gone], self.records[:gone]
        self.start, self.end = start, max(self.end, start)


class _Group:
    """A consumer group: its members in order of joining, and the positions it committed."""

    def __init__(self) -> None:
        self.members: list[MemoryConsumer] = []
        self.positions: dict[int, int] = {}
        self.lock = asyncio.Lock()

    async def rebalance(self, count: int, *, joined: "MemoryConsumer | None" = None) -> None:
        """Take all partitions away and deal `count` out again, in runs as even as possible."""
        async with self.lock:
            for member in self.members:
                await member.revoke()
            if joined is not None:
                self.members.append(joined)
            share, more = divmod(count, max(len(self.members), 1))
            first = 0
            for place, member in enumerate(self.members):
                size = share + (place < more)
                await member.assign(range(first, first + size))
                first += size


class MemoryLog:
    """Topics with partitions, and the groups that read them: what brokers hold.

    `now_ms` gives the timestamp of records that bring none.
    """

    def __init__(
        self,
        *,
        cluster_id: str = "memory",
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.cluster_id: Final = cluster_id
        self._now_ms: Final = now_ms
        self._topics: Final[dict[str, list[_PartitionLog]]] = {}
        self._made: Final[dict[str, int]] = {}  # times a topic of this name was created
        self._groups: Final[dict[tuple[str, str], _Group]] = {}
        self.waiting: Final[set[asyncio.Event]] = set()  # set when something was appended

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic; one of the same name is gone with its records, and so is its id."""
        self._topics[topic] = [_PartitionLog() for _ in range(partitions)]
        self._made[topic] = self._made.get(topic, 0) + 1

    def append(self, outgoing: Outgoing) -> MemoryRecord:
        """Write a record at the end of its partition and return it.

        Without a partition it goes where Kafka's Java partitioner sends its key, without a key
        to partition 0. `Retry` if there is no such topic or partition.
        """
        logs = self._topics.get(outgoing.topic, [])
        partition = outgoing.partition
        if partition is None:
            partition = partition_of(outgoing.key, len(logs)) if outgoing.key and logs else 0
        if not 0 <= partition < len(logs):
            raise Retry(f"there is no partition {partition} of a topic {outgoing.topic}")
        timestamp = self._now_ms() if outgoing.timestamp is None else outgoing.timestamp
        record = MemoryRecord(
            topic=outgoing.topic,
            partition=partition,
            offset=logs[partition].end,
            timestamp=timestamp,
            key=outgoing.key,
            value=outgoing.value,
            headers=tuple(outgoing.headers),
        )
        self.restore([record])
        return record

    def restore(self, records: Iterable[Record]) -> None:
        """Put records in as they are, at their own offsets, which rise within a partition.

        The first record of a new partition makes its offset the start of that log.
        """
        for record in records:
            log = self._logs(record.topic)[record.partition]
            if log.end == 0:
                log.forget(record.offset)
            if record.offset < log.end:
                message = f"offset {record.offset} of {record.topic}/{record.partition}"
                raise Halt(f"{message} is not above the last one, {log.end - 1}", code="data_loss")
            log.append(record)
        for event in self.waiting:
            event.set()

    def forget(self, topic: str, partition: int, start: int) -> None:
        """Let retention delete what lies before `start`."""
        self._logs(topic)[partition].forget(start)

    def records(self, topic: str, partition: int) -> Sequence[Record]:
        """Return what is in a partition."""
        return tuple(self._logs(topic)[partition].records)

    def read(self, topic: str, partition: int, position: int, count: int) -> Sequence[Record]:
        """Return up to `count` records from `position` on; `Halt` if it is outside the log."""
        log = self._logs(topic)[partition]
        if not log.start <= position <= log.end:
            raise Halt(
                f"partition {partition} of {topic} is needed from offset {position}, "
                f"the log holds {log.start} to {log.end - 1}",
                code="data_loss",
                partition=partition,
            )
        return log.read(position, count)

    def offsets(self, topic: str, partition: int) -> Offsets:
        """Return the bounds of a partition's log."""
        log = self._logs(topic)[partition]
        return Offsets(log.start, log.end)

    def identity(self, topic: str) -> TopicIdentity:
        """Return which topic this is; `Halt` if it does not exist."""
        partitions = len(self._logs(topic))
        return TopicIdentity(self.cluster_id, f"{topic}-{self._made[topic]}", topic, partitions)

    def group(self, name: str, topic: str) -> _Group:
        """Return a consumer group of a topic, a new one at its first member."""
        return self._groups.setdefault((name, topic), _Group())

    def _logs(self, topic: str) -> list[_PartitionLog]:
        if topic not in self._topics:
            raise Halt(f"topic {topic} does not exist: create it first", code="topic_missing")
        return self._topics[topic]


class MemoryConsumer:
    """The port `LogConsumer`: a member of `group` reading `topic` of a `MemoryLog`.

    A member that joins or leaves rebalances the group within its own `start` or `stop`. When a
    listener raises, the hand-over goes on and the next `fetch` raises it.
    """

    def __init__(self, log: MemoryLog, topic: str, group: str) -> None:
        self._log: Final = log
        self._topic: Final = topic
        self._group: Final = log.group(group, topic)
        self._listener: AssignmentListener | None = None
        self._assigned: tuple[int, ...] = ()
        self._positions: Final[dict[int, int]] = {}
        self._paused: Final[set[int]] = set()
        self._failure: Exception | None = None  # of the listener
        self._turn = 0  # which partition is read first, so that none starves
        self._wake: Final = asyncio.Event()

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group; `Halt` if the topic does not exist."""
        count = self._log.identity(self._topic).partitions
        self._listener = listener
        self._log.waiting.add(self._wake)
        await self._group.rebalance(count, joined=self)

    async def stop(self) -> None:
        """Leave the group without a call of the listener. Idempotent."""
        self._log.waiting.discard(self._wake)
        if self in self._group.members:
            self._group.members.remove(self)
            self._drop()
            await self._group.rebalance(self._log.identity(self._topic).partitions)

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[int, Sequence[Record]]:
        """Return the next records by partition; see the port."""
        deadline = time.monotonic() + timeout_ms / 1000
        await asyncio.sleep(0)  # a loop that only fetches lets the others run
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        while not (found := self._take(max_records)):
            self._wake.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._wake.wait()
            except TimeoutError:
                return {}
        return found

    def seek(self, positions: Mapping[int, int]) -> None:
        """Set the next offset to read of assigned partitions; others are left out."""
        self._positions.update((p, at) for p, at in positions.items() if p in self._assigned)
        self._wake.set()

    def pause(self, partitions: Sequence[int]) -> None:
        """Stop yielding these partitions until `resume`."""
        self._paused.update(partitions)

    def resume(self, partitions: Sequence[int]) -> None:
        """Yield these partitions again."""
        self._paused.difference_update(partitions)
        self._wake.set()

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Commit positions to the group."""
        self._group.positions.update(positions)

    async def committed(self, partition: int) -> int | None:
        """Return the group's committed position, None if it never committed one."""
        return self._group.positions.get(partition)

    async def offsets(self, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of partitions' logs."""
        return {partition: self._log.offsets(self._topic, partition) for partition in partitions}

    async def identity(self) -> TopicIdentity:
        """Return which topic this is; `Halt` if it does not exist."""
        return self._log.identity(self._topic)

    async def revoke(self) -> None:
        """Let all partitions go; called by the group."""
        if self._assigned and self._listener is not None:
            await self._tell(self._listener.on_revoked)
        self._drop()

    async def assign(self, partitions: Sequence[int]) -> None:
        """Take partitions over; called by the group."""
        self._assigned = tuple(partitions)
        if self._listener is not None:
            await self._tell(self._listener.on_assigned)

    async def _tell(self, call: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        try:
            await call(self._assigned)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next fetch raises it
            self._failure = error

    def _drop(self) -> None:
        self._assigned = ()
        self._positions.clear()
        self._paused.clear()

    def _take(self, max_records: int) -> dict[int, Sequence[Record]]:
        ready = [p for p in self._assigned if p in self._positions and p not in self._paused]
        self._turn += 1
        turn = self._turn % max(len(ready), 1)
        found: dict[int, Sequence[Record]] = {}
        for partition in (*ready[turn:], *ready[:turn]):
            position = self._positions[partition]
            records = self._log.read(self._topic, partition, position, max_records)
            if records:
                found[partition] = records
                max_records -= len(records)
            if max_records <= 0:
                break
        # only now: a partition that halts must not cost the others what was read of them
        self._positions.update((p, records[-1].offset + 1) for p, records in found.items())
        return found


class MemoryProducer:
    """The port `Producer`, writing to a `MemoryLog`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log: Final = log
        self._failures: Final[list[Retry]] = []

    def fail_next(self, error: Retry) -> None:
        """Lose the next record: what `send` returns raises `error`."""
        self._failures.append(error)

    async def start(self) -> None:
        """Connect to nothing."""

    async def stop(self) -> None:
        """Do nothing: every record was written when it was sent."""

    async def send(self, record: Outgoing) -> Awaitable[None]:
        """Write a record; see the port."""
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            if self._failures:
                raise self._failures.pop(0)
            self._log.append(record)
        except Retry as error:
            acknowledged.set_exception(error)
        else:
            acknowledged.set_result(None)
        return acknowledged


def _require_namespace(stored: str, namespace: str, partition: int) -> None:
    if stored != namespace:
        raise other_namespace(partition, stored, namespace)

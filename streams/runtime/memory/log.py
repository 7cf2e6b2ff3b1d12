"""Topics, partitions and groups in memory: what brokers hold.

Consumers, producers and readers of one log see the same topics, and outlive each other in it.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from streams.core.partitioner import partition_of
from streams.errors import Halt, Retry
from streams.runtime.headers import shown
from streams.runtime.ports import (
    GroupMember,
    Headers,
    Offsets,
    Outgoing,
    Place,
    Record,
    TopicIdentity,
)


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

    def cut(self, end: int) -> None:
        kept = bisect_left(self.offsets, end)
        del self.offsets[kept:], self.records[kept:]
        self.end = min(self.end, end)

    def forget(self, start: int) -> None:
        gone = bisect_left(self.offsets, start)
        del self.offsets[:gone], self.records[:gone]
        self.start, self.end = start, max(self.end, start)


class Member(Protocol):
    """A consumer, as its group sees it."""

    async def revoke(self) -> None:
        """Let all partitions go."""

    async def assign(self, partitions: Sequence[int]) -> None:
        """Take partitions over."""

    def owned(self) -> Sequence[int]:
        """Return the partitions that it has."""


class _Group:
    """A consumer group: its members in order of joining, and the positions it committed."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.positions: dict[int, int] = {}
        self.lock = asyncio.Lock()

    async def rebalance(self, count: int, *, joined: Member | None = None) -> None:
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
        self._configs: Final[dict[str, dict[str, str]]] = {}
        self._groups: Final[dict[tuple[str, str], _Group]] = {}
        self.leaderless: Final[set[Place]] = set()  # partitions that answer nobody
        self.damaged: Final[dict[Place, tuple[int, int]]] = {}  # offsets that nobody can read
        self.transactions: Final[dict[Place, int]] = {}  # first offset of an open one
        self.waiting: Final[dict[asyncio.Event, None]] = {}  # in order; set at each append

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic; one of the same name is gone with its records, and so is its id."""
        self._topics[topic] = [_PartitionLog() for _ in range(partitions)]
        self._made[topic] = self._made.get(topic, 0) + 1
        self._configs[topic] = {}

    def grow(self, topic: str, partitions: int) -> None:
        """Add partitions to a topic, up to so many; it stays the same topic."""
        logs = self._logs(topic)
        logs += [_PartitionLog() for _ in range(partitions - len(logs))]

    def delete(self, topic: str) -> None:
        """Delete a topic with its records; `Halt` if it does not exist."""
        self._logs(topic)
        del self._topics[topic]

    def topics(self) -> dict[str, int]:
        """Return every topic with its partition count."""
        return {topic: len(logs) for topic, logs in self._topics.items()}

    def configs(self, topic: str) -> dict[str, str]:
        """Return a topic's configuration, open to change; `Halt` if it does not exist."""
        self._logs(topic)
        return self._configs[topic]

    def append(self, outgoing: Outgoing) -> MemoryRecord:
        """Write a record at the end of its partition and return it.

        Without a partition it goes where Kafka's Java partitioner sends its key, without a key
        to partition 0. `Retry` if there is no such topic or partition, or if none leads it.
        """
        if any(shown(name) != name for name, _ in outgoing.headers):
            raise Halt("a header's name that is not UTF-8", code="header")
        logs = self._topics.get(outgoing.topic, [])
        partition = outgoing.partition
        if partition is None:
            partition = partition_of(outgoing.key, len(logs)) if outgoing.key and logs else 0
        if not 0 <= partition < len(logs):
            raise Retry(f"there is no partition {partition} of a topic {outgoing.topic}")
        if (outgoing.topic, partition) in self.leaderless:
            raise Retry(f"partition {partition} of {outgoing.topic} has no leader")
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

    def mark(self, topic: str, partition: int) -> None:
        """Write a transaction's marker: an offset that holds no record for readers."""
        self._logs(topic)[partition].end += 1

    def cut(self, topic: str, partition: int, end: int) -> None:
        """Lose the records from `end` on, as an unclean leader election does."""
        self._logs(topic)[partition].cut(end)

    def records(self, topic: str, partition: int) -> Sequence[Record]:
        """Return what is in a partition."""
        return tuple(self._logs(topic)[partition].records)

    def read(self, topic: str, partition: int, position: int, count: int) -> Sequence[Record]:
        """Return up to `count` records from `position` on; `Halt` if it is outside the log."""
        if (topic, partition) in self.leaderless:
            return ()
        log = self._logs(topic)[partition]
        if not log.start <= position <= log.end:
            raise Halt(
                f"partition {partition} of {topic} is needed from offset {position}, "
                f"the log holds {log.start} to {log.end - 1}",
                code="data_loss",
                partition=partition,
            )
        first, following = self.damaged.get((topic, partition), (log.end, log.end))
        records = log.read(position, count)
        if position < first:
            records = [record for record in records if record.offset < first]
        if (not records and position <= first < log.end) or first <= position < following:
            raise Halt(
                f"{topic}[{partition}]: the record batch at offset {position} fails its checksum",
                code="corrupt",
                partition=partition,
            )
        return records

    def offsets(self, topic: str, partition: int) -> Offsets:
        """Return the bounds of a partition's log."""
        log = self._logs(topic)[partition]
        return Offsets(log.start, log.end)

    def answering(self, topic: str, partitions: Iterable[int]) -> list[int]:
        """Return those of the partitions that exist and have a leader."""
        existing = range(len(self._topics.get(topic, ())))
        return [p for p in partitions if p in existing and (topic, p) not in self.leaderless]

    def identity(self, topic: str) -> TopicIdentity:
        """Return which topic this is; `Halt` if it does not exist."""
        partitions = len(self._logs(topic))
        return TopicIdentity(self.cluster_id, f"{topic}-{self._made[topic]}", topic, partitions)

    def group(self, name: str, topic: str) -> _Group:
        """Return a consumer group of a topic, a new one at its first member."""
        return self._groups.setdefault((name, topic), _Group())

    def groups(self) -> list[str]:
        """Return the ids of all consumer groups, sorted."""
        return sorted({name for name, _ in self._groups})

    def committed(self, group: str) -> dict[Place, int]:
        """Return the positions that a group committed."""
        return {
            (topic, partition): position
            for (name, topic), one in self._groups.items()
            if name == group
            for partition, position in one.positions.items()
        }

    def members(self, group: str) -> list[GroupMember]:
        """Return a group's members and what each has."""
        return [
            GroupMember("memory", "localhost", frozenset((topic, one) for one in member.owned()))
            for (name, topic), its in self._groups.items()
            if name == group
            for member in its.members
        ]

    def forget_group(self, group: str) -> None:
        """Delete a group; `Halt` if it has members or does not exist."""
        places = [place for place in self._groups if place[0] == group]
        if not places:
            raise Halt(f"there is no consumer group {group}", code="kafka")
        if any(self._groups[place].members for place in places):
            raise Halt(f"consumer group {group} has members", code="kafka")
        for place in places:
            del self._groups[place]

    def _logs(self, topic: str) -> list[_PartitionLog]:
        if topic not in self._topics:
            raise Halt(f"topic {topic} does not exist: create it first", code="topic_missing")
        return self._topics[topic]

"""The log's consumer: a member of a consumer group that reads only from positions it was given.

aiokafka's fetcher runs on while the assignment listener awaits: a `getmany` of that moment raises
`NoOffsetForPartitionError`, or returns records from the committed offset. So nothing is asked of a
partition before its position was sought, and whatever comes before that position is dropped.

A client that lost one of its tasks is replaced by a new one, which joins the group as another
member: what it is assigned is sought anew, so nothing is read twice or left out.
"""

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    ConsumerStoppedError,
    CorruptRecordException,
    IllegalStateError,
    InvalidSessionTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from streams.errors import Halt, Retry
from streams.runtime.kafka import unpacking
from streams.runtime.kafka.asking import log_bounds
from streams.runtime.kafka.background import begin, end, lost_task, successor
from streams.runtime.kafka.causes import reaching
from streams.runtime.kafka.cluster import KafkaCluster
from streams.runtime.kafka.connection import address_of, aiokafka_options
from streams.runtime.kafka.errors import CORRUPT_TRIES, partition_in, retryable, unreadable
from streams.runtime.kafka.membership import sticky_assignor, watch_name
from streams.runtime.kafka.silence import cut_silent
from streams.runtime.ports import AssignmentListener, Offsets, Record, TopicIdentity
from streams.security import KafkaAddress

COORDINATOR_S: Final = 5.0
"""Longest time that a group's coordinator is waited for; aiokafka would wait for ever."""

unpacking.install()


class KafkaConsumer:
    """Port `LogConsumer` on a real (or embedded) Kafka.

    A member with an `instance` keeps its partitions while it is away for less than the session
    timeout: it says no goodbye, and comes back under the same name.
    """

    def __init__(
        self,
        brokers: KafkaAddress | str,
        topic: str,
        group: str,
        session_timeout_ms: int,
        client_id: str = "streams-worker",
        *,
        instance: str = "",
    ) -> None:
        self._address = address_of(brokers)
        self._topic = topic
        self._instance = instance
        self._session_s = session_timeout_ms / 1000
        self._admin = KafkaCluster(self._address, client_id)
        self._new_client = partial(
            AIOKafkaConsumer,
            **aiokafka_options(self._address),
            client_id=client_id,
            group_id=group,
            group_instance_id=instance or None,
            partition_assignment_strategy=(sticky_assignor(),),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=max(session_timeout_ms // 10, 100),
            rebalance_timeout_ms=max(session_timeout_ms, 30_000),
            max_partition_fetch_bytes=4 << 20,
            fetch_max_wait_ms=100,
            value_deserializer=unpacking.as_sent,
        )
        self._client = self._new_client()
        self._stopped = False
        self._rebalance = _Rebalance(self)
        self._next: dict[int, int] = {}  # positions that were sought; None else is read
        self._paused: set[int] = set()
        self._listener: AssignmentListener | None = None
        self._failure: Exception | None = None  # of a listener; aiokafka would swallow it
        self._corrupt: dict[int, int] = {}

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group; `Unreachable` if no broker answers."""
        self._listener = listener
        async with reaching("joining the group", self._address):
            await begin(self._client)
        self._subscribe()

    async def stop(self) -> None:
        """Leave the group, within a few seconds. Idempotent."""
        self._stopped = True
        await end(self._client)
        self._next.clear()

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[int, Sequence[Record]]:
        """Return the next records by partition, {} after `timeout_ms` without any."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        await self._require_client()
        ready = [
            TopicPartition(self._topic, partition)
            for partition in self._next
            if partition not in self._paused
        ]
        try:
            with retryable("reading", self._address):
                if not ready:
                    # What failed in the group waits here to be taken; until then nothing goes on.
                    if not self._stopped:  # a stop ends what keeps the place in the group
                        self._client._coordinator.check_errors()  # noqa: SLF001 - as `getmany`
                    # Who asks for nothing within five minutes is taken out of the group.
                    with self._client._subscription.fetch_context():  # noqa: SLF001 - as `getmany`
                        await asyncio.sleep(timeout_ms / 1000)
                    return {}
                batches = await self._client.getmany(
                    *ready, timeout_ms=timeout_ms, max_records=max_records
                )
        except Retry as error:
            self._rewind()
            if isinstance(error.__cause__, NoOffsetForPartitionError):
                return {}  # asked before its position was sought, answered after
            self._sort_out(error.__cause__)
            raise
        except Exception:
            await self._require_client()  # it raises what a lost task had failed with
            raise
        return self._advance(batches)

    def seek(self, positions: Mapping[int, int]) -> None:
        """Set the next offset to read of partitions, if still assigned; does not await."""
        assigned = self._rebalance.assigned
        for partition, position in positions.items():
            if (at := TopicPartition(self._topic, partition)) in assigned:
                self._client.seek(at, position)
                self._next[partition] = position

    def pause(self, partitions: Sequence[int]) -> None:
        """Stop yielding these partitions until `resume`."""
        assigned = self._rebalance.assigned
        for partition in partitions:
            self._paused.add(partition)
            if (at := TopicPartition(self._topic, partition)) in assigned:
                self._client.pause(at)

    def resume(self, partitions: Sequence[int]) -> None:
        """Yield these partitions again."""
        assigned = self._rebalance.assigned
        for partition in partitions:
            self._paused.discard(partition)
            if (at := TopicPartition(self._topic, partition)) in assigned:
                self._client.resume(at)

    async def position(self, partition: int) -> int | None:
        """Return the next offset that will be read of a partition, None if none was sought."""
        if partition not in self._next:
            return None
        with suppress(IllegalStateError):  # it was let go meanwhile
            at = TopicPartition(self._topic, partition)
            position: int = await self._client.position(at)
            return position
        return None

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Commit positions to the group; `Retry` if that fails."""
        at = {TopicPartition(self._topic, p): offset for p, offset in positions.items()}
        if not at.keys() <= self._rebalance.assigned:
            raise Retry(f"committing: not all of {sorted(positions)} are assigned")
        with retryable("committing", self._address):
            async with asyncio.timeout(COORDINATOR_S):
                await self._client.commit(at)

    async def committed(self, partition: int) -> int | None:
        """Return the group's committed position, None if it never committed one."""
        place = TopicPartition(self._topic, partition)
        with retryable("reading the committed offset", self._address):
            async with asyncio.timeout(COORDINATOR_S):
                at: int | None = await self._client.committed(place)
        return at

    async def offsets(self, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of the partitions that answer."""
        at = [TopicPartition(self._topic, partition) for partition in partitions]
        bounds = await log_bounds(self._client, at)
        return {one.partition: both for one, both in bounds.items()}

    async def identity(self) -> TopicIdentity:
        """Return which topic this is; `Halt` if it does not exist."""
        return await self._admin.identity(self._topic)

    async def _require_client(self) -> None:
        """Raise `Retry` if the client lost a task, with a new one in its place if one connects."""
        if self._stopped or (lost := lost_task(self._client)) is None:
            return
        if self._rebalance.assigned:
            await self._rebalance.on_partitions_revoked(self._rebalance.assigned)
        self._rebalance = _Rebalance(self)  # what the group still tells the old one, nobody hears
        self._client = await successor(self._client, self._new_client, self._address)
        if self._stopped:
            await end(self._client)
        else:
            self._subscribe()
        raise Retry(f"Kafka at {self._address}: a new client joins the group: of the last, {lost}")

    def _subscribe(self) -> None:
        cut_silent(self._client._client)  # noqa: SLF001 - there is no public way
        self._client.subscribe([self._topic], listener=self._rebalance)
        if self._instance:
            watch_name(self._client, self._session_s, self._tell_taken)

    def _tell_taken(self) -> None:
        self._failure = Halt(
            f"another worker of this group goes by the same name, {self._instance}: give each an "
            "--instance of its own",
            code="fenced",
        )

    def _rewind(self) -> None:
        """Read again what a failed `getmany` had taken of other partitions and lost."""
        self.seek(dict(self._next))

    def _advance(
        self, batches: Mapping[TopicPartition, Sequence[Any]]
    ) -> Mapping[int, Sequence[Record]]:
        """Note the new positions; drop what lies before a position or has none (any more)."""
        out: dict[int, Sequence[Record]] = {}
        for at, records in batches.items():
            position = self._next.get(at.partition)
            if position is None:
                continue
            if records[0].offset < position:
                records = [record for record in records if record.offset >= position]  # noqa: PLW2901
            if records:
                out[at.partition] = records
                self._next[at.partition] = records[-1].offset + 1
        return out

    def _sort_out(self, cause: BaseException | None) -> None:
        """Raise what is no passing failure of a read; return for one that is."""
        if isinstance(cause, ConsumerStoppedError):
            raise Halt("the Kafka consumer was stopped", code="stopped") from cause
        if isinstance(cause, InvalidSessionTimeoutError):
            raise Halt("the brokers refuse this session_timeout_ms", code="group") from cause
        if isinstance(cause, OffsetOutOfRangeError):
            for at, offset in cause.args[0].items():
                raise Halt(
                    f"{at.topic}[{at.partition}]: offset {offset} is no longer in the log",
                    code="data_loss",
                    partition=at.partition,
                ) from cause
        if isinstance(cause, CorruptRecordException):
            partition = partition_in(str(cause))
            self._corrupt[partition] = self._corrupt.get(partition, 0) + 1
            if self._corrupt[partition] >= CORRUPT_TRIES:
                raise unreadable(self._topic, partition, self._next.get(partition)) from cause


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types for it
    """Passes rebalances on; a failing listener fails the next fetch instead of being logged.

    What is told to that of a client which was replaced is passed on no more.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self.assigned: AbstractSet[TopicPartition] = frozenset()
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: AbstractSet[TopicPartition]) -> None:
        """Flush what is about to be another's, then read nothing of it any more."""
        if self._replaced:
            return
        await self._pass("on_revoked", revoked)
        self.assigned -= revoked
        for at in revoked:
            self._consumer._next.pop(at.partition, None)  # noqa: SLF001 - its other half

    async def on_partitions_assigned(self, assigned: AbstractSet[TopicPartition]) -> None:
        """Let the listener seek."""
        if self._replaced:
            return
        self.assigned = frozenset(assigned)
        self._consumer._next.clear()  # noqa: SLF001 - its other half
        self._consumer._paused.clear()  # noqa: SLF001
        await self._pass("on_assigned", assigned)

    @property
    def _replaced(self) -> bool:
        return self._consumer._rebalance is not self  # noqa: SLF001

    async def _pass(self, method: str, at: AbstractSet[TopicPartition]) -> None:
        try:
            await getattr(self._consumer._listener, method)(  # noqa: SLF001
                sorted(one.partition for one in at)
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the next fetch raises it
            self._consumer._failure = error  # noqa: SLF001

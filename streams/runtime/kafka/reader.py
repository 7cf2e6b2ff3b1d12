"""Reads any topics from any offsets, outside every consumer group; for tools."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from streams.errors import Halt, Retry
from streams.runtime.kafka import unpacking
from streams.runtime.kafka.asking import first_offsets, log_bounds
from streams.runtime.kafka.errors import retryable, within_stop
from streams.runtime.ports import Offsets, Place, Record

unpacking.install()


class KafkaReader:
    """A bare reader: assign positions, fetch, look up bounds and times."""

    def __init__(self, brokers: str, client_id: str = "streams-reader") -> None:
        self._brokers = brokers
        self._client = AIOKafkaConsumer(
            bootstrap_servers=brokers,
            client_id=client_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=4 << 20,
            fetch_max_wait_ms=100,
        )

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers."""
        with retryable("connecting", self._brokers):
            await self._client.start()

    async def stop(self) -> None:
        """Disconnect, within a few seconds. Idempotent."""
        await within_stop(self._client.stop())

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of the partitions that answer."""
        at = [TopicPartition(topic, partition) for partition in partitions]
        bounds = await log_bounds(self._client, at)
        return {one.partition: both for one, both in bounds.items()}

    async def offsets_at(self, topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        """Return the first offset at or after a time in ms of each partition that answers."""
        at = {TopicPartition(topic, partition): time for partition, time in times.items()}
        firsts = await first_offsets(self._client, at)
        return {one.partition: first for one, first in firsts.items()}

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        at = [TopicPartition(*one) for one in positions]
        self._client.assign(at)
        for one, position in zip(at, positions.values(), strict=True):
            self._client.seek(one, position)

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Return the next records by topic and partition, {} after `timeout_ms` without any.

        `Retry` if the brokers fail for now, `Halt` (`data_loss`) if a position left the log.
        """
        try:
            with retryable("reading", self._brokers):
                batches: Mapping[TopicPartition, Any] = await self._client.getmany(
                    timeout_ms=timeout_ms, max_records=max_records
                )
        except Retry as error:
            if isinstance(error.__cause__, OffsetOutOfRangeError):
                lost = ", ".join(f"{at.topic}[{at.partition}]" for at in error.__cause__.args[0])
                raise Halt(f"{lost}: the position is not in the log", code="data_loss") from error
            raise
        return {(at.topic, at.partition): records for at, records in batches.items()}

    async def position(self, topic: str, partition: int) -> int:
        """Return the next offset that will be read of an assigned partition."""
        with retryable("asking for a position", self._brokers):
            at: int = await self._client.position(TopicPartition(topic, partition))
        return at

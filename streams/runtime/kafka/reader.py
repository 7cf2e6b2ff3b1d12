"""Reads any topics from any offsets, outside every consumer group; for tools.

A client that lost one of its tasks is replaced by a new one before the next question or fetch, at
the positions behind what was handed out.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, OffsetOutOfRangeError

from streams.errors import Halt, Retry
from streams.runtime.kafka import unpacking
from streams.runtime.kafka.asking import first_offsets, log_bounds
from streams.runtime.kafka.background import begin, end, lost_task, successor
from streams.runtime.kafka.causes import reaching
from streams.runtime.kafka.connection import address_of, aiokafka_options
from streams.runtime.kafka.errors import (
    CORRUPT_TRIES,
    no_right,
    partition_in,
    retryable,
    unreadable,
)
from streams.runtime.kafka.silence import cut_silent
from streams.runtime.ports import Offsets, Place, Record
from streams.security import KafkaAddress

unpacking.install()


class KafkaReader:
    """A bare reader: assign positions, fetch, look up bounds and times."""

    def __init__(self, brokers: KafkaAddress | str, client_id: str = "streams-reader") -> None:
        self._address = address_of(brokers)
        self._new_client = partial(
            AIOKafkaConsumer,
            **aiokafka_options(self._address),
            client_id=client_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=4 << 20,
            fetch_max_wait_ms=100,
            value_deserializer=unpacking.as_sent,
        )
        self._client = self._new_client()
        self._stopped = False
        self._replacing = asyncio.Lock()
        self._next: dict[Place, int] = {}  # behind what was handed out

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers."""
        async with reaching("connecting", self._address):
            await begin(self._client)
        cut_silent(self._client._client)  # noqa: SLF001 - there is no public way

    async def stop(self) -> None:
        """Disconnect, within a few seconds. Idempotent."""
        self._stopped = True
        await end(self._client)

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of the partitions that answer; `Denied` if none is for us to see."""
        at = [TopicPartition(topic, partition) for partition in partitions]
        with suppress(Retry):
            bounds = await log_bounds(await self._sound_client(), at)
            if bounds:
                return {one.partition: both for one, both in bounds.items()}
        self._require_rights(topic)
        return {}

    async def offsets_at(self, topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        """Return the first offset at or after a time in ms of each partition that answers."""
        at = {TopicPartition(topic, partition): time for partition, time in times.items()}
        with suppress(Retry):
            firsts = await first_offsets(await self._sound_client(), at)
            return {one.partition: first for one, first in firsts.items()}
        return {}

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        self._next = dict(positions)
        self._client.assign([TopicPartition(*one) for one in positions])
        self._seek()

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Return the next records by topic and partition, {} after `timeout_ms` without any.

        `Retry` if the brokers fail for now, `Denied` if this is not for us to read, `Halt` if a
        position left the log (`data_loss`) or a batch is damaged each time that it is read
        (`corrupt`).
        """
        damage: BaseException | None = None
        for _ in range(CORRUPT_TRIES):
            try:
                return await self._fetch(timeout_ms, max_records)
            except Retry as error:
                damage = error.__cause__
                if not isinstance(damage, CorruptRecordException):
                    raise
        raise self._unreadable(str(damage)) from damage

    async def _fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        client = await self._sound_client()
        try:
            with retryable("reading", self._address):
                batches: Mapping[TopicPartition, Any] = await client.getmany(
                    timeout_ms=timeout_ms, max_records=max_records
                )
        except Retry as error:
            self._seek()  # a failed `getmany` loses what it had taken of other partitions
            if isinstance(error.__cause__, OffsetOutOfRangeError):
                lost = ", ".join(f"{at.topic}[{at.partition}]" for at in error.__cause__.args[0])
                raise Halt(f"{lost}: the position is not in the log", code="data_loss") from error
            raise
        if not batches:
            self._require_rights(*{topic for topic, _ in self._next})
        out = {(at.topic, at.partition): records for at, records in batches.items()}
        self._next |= {at: out[at][-1].offset + 1 for at in out.keys() & self._next.keys()}
        return out

    def _unreadable(self, message: str) -> Halt:
        """Return the halt of the place that aiokafka names."""
        partition = partition_in(message)
        named = [topic for topic, p in self._next if p == partition and f"'{topic}'" in message]
        topic = named[0] if named else "a topic"
        return unreadable(topic, partition, self._next.get((topic, partition)))

    async def position(self, topic: str, partition: int) -> int:
        """Return the next offset that will be read of an assigned partition."""
        client = await self._sound_client()
        with retryable("asking for a position", self._address):
            at: int = await client.position(TopicPartition(topic, partition))
        return at

    def _require_rights(self, *topics: str) -> None:
        """Raise `Denied` for a topic that is not ours to see: of it the client finds nothing."""
        unseen = self._client._client.cluster.unauthorized_topics  # noqa: SLF001 - no public way
        if denied := unseen.intersection(topics):
            raise no_right(f"reading ({', '.join(sorted(denied))})", self._address)

    async def _sound_client(self) -> AIOKafkaConsumer:
        """Return a client that runs; `Retry` if the last one does not, and no new one connects."""
        async with self._replacing:
            if not self._stopped and lost_task(self._client) is not None:
                fresh = await successor(self._client, self._new_client, self._address)
                cut_silent(fresh._client)  # noqa: SLF001 - there is no public way
                self._client = fresh
                if self._stopped:
                    await end(fresh)
                else:
                    self.assign(self._next)
        return self._client

    def _seek(self) -> None:
        for place, position in self._next.items():
            self._client.seek(TopicPartition(*place), position)

"""Writes records to Kafka, idempotently, and says when they are durable.

An idempotent aiokafka client that lost a batch has a gap in its sequence numbers: the broker
refuses whatever comes behind it, for good. So a client with a failed acknowledgement is replaced
by a new one, which begins a sequence of its own. Before that the old one may finish what it can,
and what it could not write fails: nothing of it is written after what follows. So is a client that
lost one of its own tasks (see `background`): it would keep whatever it is given, for ever.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, KafkaError

from streams.errors import Retry
from streams.runtime.kafka.background import begin, disconnect, error_of
from streams.runtime.kafka.causes import reaching
from streams.runtime.kafka.connection import address_of, aiokafka_options
from streams.runtime.kafka.errors import FORBIDDEN, RECONNECT_S, no_right, retryable, within_stop
from streams.runtime.kafka.silence import cut_silent
from streams.runtime.ports import Outgoing
from streams.security import KafkaAddress

Ack = asyncio.Future[int | None]
REQUEST_TIMEOUT_MS: Final = 30_000
"""Longest time that a broker is waited for. Unless another one is given, also the patience: the
longest time that a batch waits for a leader before it is lost and its client replaced."""


class KafkaProducer:
    """Port `Producer`; partitions by murmur2 of the key, as Kafka's Java client does."""

    def __init__(
        self,
        brokers: KafkaAddress | str,
        client_id: str = "streams-producer",
        *,
        linger_ms: int = 5,
        patience_ms: int = REQUEST_TIMEOUT_MS,
    ) -> None:
        self._address = address_of(brokers)
        self._new_client = partial(_Client, self._address, client_id, linger_ms, patience_ms)
        self._client = self._new_client()
        self._replacing = asyncio.Lock()
        self._stopped = False

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers."""
        async with reaching("connecting the producer", self._address):
            await self._client.start()

    async def stop(self) -> None:
        """Send what is queued and disconnect, within a few seconds. Idempotent."""
        self._stopped = True
        await self._client.stop()

    async def describe(self) -> Mapping[str, int]:
        """Return every topic that this client may see with its partition count."""
        with retryable("asking for topics", self._address):
            return await self._client.describe()

    async def renew(self) -> bool:
        """Replace the client if it is spent; tell whether that was needed."""
        before = self._client
        return await self._sound_client() is not before

    async def send(self, record: Outgoing) -> Awaitable[int | None]:
        """Queue a record; the result completes when all in-sync replicas have it; see the port."""
        client = await self._sound_client()
        with retryable(f"writing to {record.topic}", self._address):
            return client.acknowledged(await client.send(record), record.topic)

    async def send_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing]
    ) -> Awaitable[None]:
        """Queue many records of one partition at once: a fifth of the cost of as many `send`s."""
        client = await self._sound_client()
        acks: list[Awaitable[object]] = []
        with retryable(f"writing to {topic}", self._address):
            batch = client.create_batch()
            for record in records:
                if not _append(batch, record):
                    sent = await client.send_batch(batch, topic, partition)
                    acks.append(client.acknowledged(sent, topic))
                    batch = client.create_batch()
                    if not _append(batch, record):
                        acks.append(client.acknowledged(await client.send(record), topic))
            if batch.record_count():
                sent = await client.send_batch(batch, topic, partition)
                acks.append(client.acknowledged(sent, topic))
        return _all(acks)

    async def _sound_client(self) -> "_Client":
        """Return a client whose sequence numbers have no gap, and whose tasks run."""
        if self._stopped or not self._client.spent:
            return self._client
        async with self._replacing:
            if self._client.spent:
                await self._client.stop()
                fresh = self._new_client()
                try:
                    async with reaching("connecting the producer again", self._address):
                        await asyncio.wait_for(fresh.start(), RECONNECT_S)
                except BaseException:
                    await fresh.stop()
                    raise
                self._client = fresh
                if self._stopped:
                    await fresh.stop()
        return self._client


class _Client:
    """One aiokafka producer, with its one sequence of numbers for each partition."""

    def __init__(
        self, address: KafkaAddress, client_id: str, linger_ms: int, patience_ms: int
    ) -> None:
        self.spent = False
        self._address = address
        self._pending: set[Ack] = set()
        self._client = AIOKafkaProducer(
            **aiokafka_options(address),
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            linger_ms=linger_ms,
            max_batch_size=256 << 10,
            max_request_size=4 << 20,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        # A batch is tried with the same numbers for so long, so it is written once. There is no
        # public way: of its own aiokafka waits as long for a broker as for a leader.
        self._client._message_accumulator._batch_ttl = patience_ms / 1000  # noqa: SLF001
        self.create_batch = self._client.create_batch

    async def start(self) -> None:
        await begin(self._client)
        cut_silent(self._client.client)
        metadata = self._client.client._sync_task  # noqa: SLF001 - nobody else says when it ends
        metadata.add_done_callback(self._task_ended)
        metadata.add_done_callback(self._let_go)
        self._client._sender.sender_task.add_done_callback(self._task_ended)  # noqa: SLF001

    def _task_ended(self, task: "asyncio.Task[object]") -> None:
        """Fail what waits for metadata or for the sender: neither comes any more."""
        self.spent = True
        self.fail_pending(f"its client stopped sending: {error_of(task)!r}")

    def _let_go(self, task: "asyncio.Task[object]") -> None:
        """Fail whoever sends to a topic of which nothing is known yet, and would wait for ever."""
        waiting = self._client.client._md_update_fut  # noqa: SLF001 - what all of them wait for
        if waiting is not None and not waiting.done():
            waiting.set_exception(KafkaError(f"no metadata any more: {error_of(task)!r}"))
            waiting.exception()  # as in `_fail`

    async def stop(self) -> None:
        """Send what can be sent within a few seconds; all else is lost, and never written."""
        await within_stop(self._client.stop())
        # A stop that ran out of time leaves the sender and its batches behind.
        await disconnect(self._client.client)
        await within_stop(self._client._sender.close())  # noqa: SLF001 - there is no public way
        self.fail_pending("its client was closed before the record was written")

    async def describe(self) -> Mapping[str, int]:
        topics = await self._client.client.fetch_all_metadata()  # makes no topic, as asking by name
        return {name: len(topics.partitions_for_topic(name)) for name in topics.topics()}

    def fail_pending(self, why: str) -> None:
        """Fail what was not acknowledged: nothing will be."""
        for ack in self._pending:
            _fail(ack, Retry(why))

    async def send(self, record: Outgoing) -> "asyncio.Future[object]":
        sent: asyncio.Future[object] = await self._client.send(
            record.topic,
            value=record.value,
            key=record.key,
            partition=record.partition,
            timestamp_ms=record.timestamp,
            headers=list(record.headers),
        )
        return sent

    async def send_batch(
        self, batch: object, topic: str, partition: int
    ) -> "asyncio.Future[object]":
        sent: asyncio.Future[object] = await self._client.send_batch(
            batch, topic, partition=partition
        )
        return sent

    def _why(self, topic: str, error: BaseException | None) -> Retry:
        if isinstance(error, FORBIDDEN):
            return no_right(f"writing to {topic}", self._address)
        why = "cancelled" if error is None else f"{type(error).__name__}: {error}"
        if isinstance(error, InvalidTimestampError):
            why = "its time is too far off the broker's: set the clock of this host"
        return Retry(f"{topic}: the record was not written: {why}")

    def acknowledged(self, sent: "asyncio.Future[object]", topic: str) -> Ack:
        """Return a future of our own errors: an acknowledgement, or `Retry`."""
        ack: Ack = sent.get_loop().create_future()
        self._pending.add(ack)

        def pass_on(done: asyncio.Future[object]) -> None:
            self._pending.discard(ack)
            error = None if done.cancelled() else done.exception()
            if done.cancelled() or error is not None:
                self.spent = True
                _fail(ack, self._why(topic, error))
            elif not ack.done():
                ack.set_result(getattr(done.result(), "offset", None))

        sent.add_done_callback(pass_on)
        return ack


def _append(batch: Any, record: Outgoing) -> bool:  # aiokafka's builder has no public name
    added = batch.append(
        key=record.key,
        value=record.value,
        timestamp=record.timestamp,
        headers=list(record.headers),
    )
    return added is not None


def _fail(ack: Ack, why: Retry) -> None:
    if not ack.done():
        ack.set_exception(why)
        ack.exception()  # whoever awaits it still gets it; nobody is warned of it


async def _all(acks: Iterable[Awaitable[object]]) -> None:
    for ack in acks:
        await ack

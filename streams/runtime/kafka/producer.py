"""Writes records to Kafka, idempotently, and says when they are durable."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence

from aiokafka import AIOKafkaProducer

from streams.errors import Retry
from streams.runtime.kafka.errors import retryable, within_stop
from streams.runtime.ports import Outgoing

Ack = asyncio.Future[None]


class KafkaProducer:
    """Port `Producer`; partitions by murmur2 of the key, as Kafka's Java client does."""

    def __init__(self, brokers: str, *, linger_ms: int = 5) -> None:
        self._brokers = brokers
        self._client = AIOKafkaProducer(
            bootstrap_servers=brokers,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            linger_ms=linger_ms,
            max_batch_size=256 << 10,
            max_request_size=4 << 20,
        )

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers."""
        with retryable("connecting the producer", self._brokers):
            await self._client.start()

    async def stop(self) -> None:
        """Send what is queued and disconnect, within a few seconds. Idempotent."""
        await within_stop(self._client.stop())

    async def send(self, record: Outgoing) -> Awaitable[None]:
        """Queue a record; the result completes when all in-sync replicas have it."""
        with retryable(f"writing to {record.topic}", self._brokers):
            sent = await self._client.send(
                record.topic,
                value=record.value,
                key=record.key,
                partition=record.partition,
                timestamp_ms=record.timestamp,
                headers=list(record.headers),
            )
        return _acknowledged(sent, record.topic)

    async def send_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing]
    ) -> Awaitable[None]:
        """Queue many records of one partition at once: a fifth of the cost of as many `send`s."""
        acks: list[Awaitable[None]] = []
        with retryable(f"writing to {topic}", self._brokers):
            batch = self._client.create_batch()
            for record in records:
                if not _append(batch, record):
                    sent = await self._client.send_batch(batch, topic, partition=partition)
                    acks.append(_acknowledged(sent, topic))
                    batch = self._client.create_batch()
                    if not _append(batch, record):
                        acks.append(await self.send(record))
            if batch.record_count():
                sent = await self._client.send_batch(batch, topic, partition=partition)
                acks.append(_acknowledged(sent, topic))
        return _all(acks)


def _append(batch: object, record: Outgoing) -> bool:
    added = batch.append(  # type: ignore[attr-defined] # aiokafka's builder has no public name
        key=record.key,
        value=record.value,
        timestamp=record.timestamp,
        headers=list(record.headers),
    )
    return added is not None


def _acknowledged(sent: asyncio.Future[object], topic: str) -> Ack:
    """Return a future of our own errors: an acknowledgement, or `Retry`."""
    ack: Ack = sent.get_loop().create_future()

    def pass_on(done: asyncio.Future[object]) -> None:
        if ack.done():
            return
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or error is not None:
            kind = "cancelled" if error is None else f"{type(error).__name__}: {error}"
            ack.set_exception(Retry(f"{topic}: the record was not written: {kind}"))
            ack.exception()  # whoever awaits it still gets it; nobody is warned of it
        else:
            ack.set_result(None)

    sent.add_done_callback(pass_on)
    return ack


async def _all(acks: Iterable[Awaitable[None]]) -> None:
    for ack in acks:
        await ack

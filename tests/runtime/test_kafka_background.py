"""Clients that lose one of their own tasks, on a real broker: they go on, and nobody is told lies.

Each task is ended as it ends outside: a request of it raises what is no error of Kafka's.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest
from confluent_kafka.admin import AdminClient
from kit.patience import PATIENCE_S, until
from kit.servers import create_topic

from streams.embedded import EmbeddedBroker
from streams.errors import Halt, Retry, Unreachable
from streams.runtime.ending import end
from streams.runtime.kafka import (
    KafkaCluster,
    KafkaConsumer,
    KafkaProbe,
    KafkaProducer,
    KafkaReader,
)
from streams.runtime.kafka.background import lost_task
from streams.runtime.kafka.errors import retryable
from streams.runtime.ports import Offsets, Outgoing

PATIENCE_MS: Final = round(PATIENCE_S * 1_000)
SESSION_MS: Final = 3_000
CLOSED: Final = "unable to perform operation on <TCPTransport closed=True>; the handler is closed"


async def closed(*_: object) -> None:
    raise RuntimeError(CLOSED)


def lose_metadata(client: Any) -> None:
    client._client._metadata_update = closed
    client._client.force_metadata_update()


def lose_fetching(client: Any) -> None:
    client._fetcher._proc_fetch_request = closed


def lose_group(client: Any) -> None:
    client._coordinator.ensure_active_group = closed
    client._coordinator.request_rejoin()


def lose_heartbeat(client: Any) -> None:
    client._coordinator._do_heartbeat = closed


def lose_committed(client: Any) -> None:
    client._coordinator._maybe_refresh_commit_offsets = closed
    client._subscription.subscription.assignment.commit_refresh_needed.set()


LOSSES: Mapping[str, Callable[[Any], None]] = {
    "metadata": lose_metadata,
    "fetching": lose_fetching,
    "group": lose_group,
    "heartbeat": lose_heartbeat,
    "committed offsets": lose_committed,
}


OF_THE_GROUP: Final = ("group", "heartbeat")
"""Tasks without which a group loses patience with its member, a session later."""


async def lose(client: Any, loss: str) -> None:
    """Return when the client has lost a task."""
    LOSSES[loss](client)
    await until(lambda: lost_task(client) is not None)
    assert "RuntimeError" in str(lost_task(client))


class Member:
    """Reads a topic of two partitions as the worker does: from behind what it has, and patiently.

    `refused` says what its fetches raised.
    """

    def __init__(self, brokers: str, topic: str) -> None:
        self.values: dict[int, list[bytes | None]] = {0: [], 1: []}
        self.refused: list[Retry] = []
        self.owned: set[int] = set()
        self.revoked: list[Sequence[int]] = []
        self.failure: Exception | None = None
        self.consumer = KafkaConsumer(brokers, topic, topic, SESSION_MS)

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        self.owned |= set(partitions)
        self.consumer.seek({p: len(self.values[p]) for p in partitions})

    async def on_revoked(self, partitions: Sequence[int]) -> None:
        self.owned -= set(partitions)
        self.revoked.append(partitions)
        if self.failure is not None:
            raise self.failure

    async def turn(self) -> None:
        try:
            batches = await self.consumer.fetch(100, 3)
        except Retry as error:
            self.refused.append(error)
            await asyncio.sleep(0.05)
        else:
            for partition, records in batches.items():
                self.values[partition] += [record.value for record in records]

    async def reads(self, count: int) -> None:
        """Return when it has so many records of each partition."""
        async with asyncio.timeout(PATIENCE_S):
            while min(len(values) for values in self.values.values()) < count:
                await self.turn()

    async def reads_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.turn()


@pytest.fixture
def topic(brokers: str, unique: str) -> str:
    create_topic(brokers, unique, 2)
    return unique


@pytest.fixture
async def producer(brokers: str) -> AsyncIterator[KafkaProducer]:
    made = KafkaProducer(brokers)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def reader(brokers: str) -> AsyncIterator[KafkaReader]:
    made = KafkaReader(brokers)
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def joined(brokers: str, topic: str) -> AsyncIterator[Member]:
    member = Member(brokers, topic)
    await member.consumer.start(member)
    yield member
    await member.consumer.stop()


def values(numbers: range) -> list[bytes]:
    return [b"%d" % number for number in numbers]


async def write(producer: KafkaProducer, topic: str, numbers: range) -> None:
    """Write these numbers into both partitions."""
    acks = [
        await producer.send(Outgoing(topic, value, partition=partition))
        for value in values(numbers)
        for partition in (0, 1)
    ]
    for ack in acks:
        await ack


def members(brokers: str, group: str) -> int:
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    described = admin.describe_consumer_groups([group], request_timeout=PATIENCE_S)[group].result()
    return len(described.members)


@pytest.mark.real
@pytest.mark.parametrize("loss", LOSSES)
async def test_a_member_that_lost_a_task_stays_in_its_group_and_reads_on_exactly_once(
    brokers: str, topic: str, producer: KafkaProducer, loss: str
) -> None:
    await write(producer, topic, range(10))
    async with joined(brokers, topic) as member:
        await member.reads(4)
        await lose(member.consumer._client, loss)
        await write(producer, topic, range(10, 20))
        await member.reads(20)
        if loss in OF_THE_GROUP:
            await member.reads_for(SESSION_MS / 1_000 * 2)
        await write(producer, topic, range(20, 30))
        await member.reads(30)
        assert lost_task(member.consumer._client) is None
        assert await asyncio.to_thread(members, brokers, topic) == 1
        assert member.values == {0: values(range(30)), 1: values(range(30))}
        assert [taken for taken in member.revoked if taken] == [[0, 1]]
        assert any("a new client joins" in str(error) for error in member.refused)


@pytest.mark.real
async def test_it_is_tried_again_while_no_broker_answers(
    brokers: str, topic: str, producer: KafkaProducer
) -> None:
    await write(producer, topic, range(5))
    async with joined(brokers, topic) as member:
        await member.reads(5)
        new = member.consumer._new_client
        member.consumer._new_client = partial(new, bootstrap_servers="127.0.0.1:1")
        await lose(member.consumer._client, "heartbeat")
        for _ in range(3):
            with pytest.raises(Unreachable):
                await member.consumer.fetch(100, 3)
            member.consumer.seek({0: 0})
            with pytest.raises(Retry):
                await member.consumer.commit({0: 1})
        assert [taken for taken in member.revoked if taken] == [[0, 1]]
        member.consumer._new_client = new
        await write(producer, topic, range(5, 10))
        await member.reads(10)
        assert member.values == {0: values(range(10)), 1: values(range(10))}


@pytest.mark.real
async def test_what_the_listener_raises_when_the_client_is_replaced_the_next_fetch_raises(
    brokers: str, topic: str, producer: KafkaProducer
) -> None:
    await write(producer, topic, range(5))
    async with joined(brokers, topic) as member:
        await member.reads(5)
        member.failure = Halt("not flushed")
        await lose(member.consumer._client, "fetching")
        with pytest.raises(Retry):
            await member.consumer.fetch(100, 3)
        with pytest.raises(Halt, match="not flushed"):
            await member.consumer.fetch(100, 3)


@pytest.mark.real
async def test_a_member_that_was_stopped_is_not_replaced(brokers: str, topic: str) -> None:
    async with joined(brokers, topic) as member:
        client = member.consumer._client
        await member.consumer.stop()
        await member.turn()
        assert member.consumer._client is client


@pytest.mark.real
@pytest.mark.parametrize("loss", ["metadata", "fetching"])
async def test_a_reader_that_lost_a_task_reads_on_exactly_once(
    topic: str, producer: KafkaProducer, reader: KafkaReader, loss: str
) -> None:
    found: dict[int, list[bytes | None]] = {0: [], 1: []}

    async def reads(count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while min(len(values) for values in found.values()) < count:
                for (_, partition), records in (await reader.fetch(100, 3)).items():
                    found[partition] += [record.value for record in records]

    await write(producer, topic, range(10))
    reader.assign({(topic, 0): 0, (topic, 1): 0})
    await reads(4)
    await lose(reader._client, loss)
    await write(producer, topic, range(10, 20))
    assert await reader.offsets(topic, [0, 1]) == {0: Offsets(0, 20), 1: Offsets(0, 20)}
    await reads(20)
    assert lost_task(reader._client) is None
    assert found == {0: values(range(20)), 1: values(range(20))}
    assert await reader.position(topic, 0) == 20


@pytest.mark.real
async def test_a_reader_asks_and_reads_again_once_a_broker_answers(
    topic: str, producer: KafkaProducer, reader: KafkaReader
) -> None:
    await write(producer, topic, range(3))
    reader.assign({(topic, 0): 1})
    new = reader._new_client
    reader._new_client = partial(new, bootstrap_servers="127.0.0.1:1")
    await lose(reader._client, "metadata")
    assert await reader.offsets(topic, [0]) == {}
    with pytest.raises(Unreachable):
        await reader.fetch(100, 3)
    reader._new_client = new
    assert await reader.offsets(topic, [0]) == {0: Offsets(0, 3)}
    (records,) = (await reader.fetch(PATIENCE_MS, 3)).values()
    assert [record.value for record in records] == values(range(1, 3))


@pytest.mark.real
async def test_what_a_failed_fetch_of_a_reader_had_taken_comes_again(
    topic: str, producer: KafkaProducer, reader: KafkaReader
) -> None:
    await write(producer, topic, range(3))
    reader.assign({(topic, 0): 1})
    fetcher: Any = reader._client._fetcher
    taking = fetcher.fetched_records

    async def torn(*arguments: Any, **options: Any) -> None:
        assert await taking(*arguments, **options)
        fetcher.fetched_records = taking
        raise RuntimeError(CLOSED)

    fetcher.fetched_records = torn
    with pytest.raises(Retry, match="handler is closed"):
        await reader.fetch(PATIENCE_MS, 3)
    (records,) = (await reader.fetch(PATIENCE_MS, 3)).values()
    assert [record.value for record in records] == values(range(1, 3))


@pytest.mark.real
async def test_a_producer_whose_sender_ended_writes_through_a_new_client(
    topic: str, producer: KafkaProducer, reader: KafkaReader
) -> None:
    await write(producer, topic, range(1))
    client: Any = producer._client._client
    client._sender._maybe_wait_for_pid = closed
    client._message_accumulator._wakeup(client._message_accumulator.waiter())
    await until(client._sender.sender_task.done)
    await write(producer, topic, range(1, 3))
    reader.assign({(topic, 0): 0})
    (records,) = (await reader.fetch(PATIENCE_MS, 9)).values()
    assert [record.value for record in records] == values(range(3))


@pytest.mark.real
async def test_a_record_that_waits_for_a_leader_of_which_nobody_will_tell_fails(
    topic: str, producer: KafkaProducer
) -> None:
    await write(producer, topic, range(1))
    client: Any = producer._client._client
    client.client.cluster.leader_for_partition = lambda _: None
    waiting = await producer.send(Outgoing(topic, b"1", partition=0))
    client.client._metadata_update = closed
    with pytest.raises(Retry, match="handler is closed"):
        await asyncio.wait_for(waiting, PATIENCE_S)
    await write(producer, topic, range(1, 2))
    assert producer._client._client is not client


@pytest.mark.real
async def test_who_sends_to_a_topic_of_which_nobody_will_tell_is_let_go(
    topic: str, producer: KafkaProducer
) -> None:
    client: Any = producer._client._client
    client.client._metadata_update = closed
    with pytest.raises(Retry, match="handler is closed"):
        await asyncio.wait_for(producer.send(Outgoing(topic, b"0", partition=0)), PATIENCE_S)
    await write(producer, topic, range(1))


@pytest.mark.parametrize("error", [RuntimeError(CLOSED), OSError(9, "bad descriptor")])
def test_what_a_transport_raises_that_broke_a_moment_ago_may_be_tried_again(
    error: Exception,
) -> None:
    with pytest.raises(Retry, match="reading: "), retryable("reading", "127.0.0.1:1"):
        raise error


async def used(client: Any) -> None:
    try:
        await client.start()
    finally:
        await client.stop()


STARTS: Mapping[str, Callable[[str], Coroutine[Any, Any, object]]] = {
    "reader": lambda brokers: used(KafkaReader(brokers)),
    "producer": lambda brokers: used(KafkaProducer(brokers)),
    "probe": lambda brokers: used(KafkaProbe(brokers)),
    "cluster": lambda brokers: KafkaCluster(brokers).committed("group"),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
async def test_a_start_that_is_cancelled_leaves_no_connection_open(
    monkeypatch: pytest.MonkeyPatch, start: Callable[[str], Coroutine[Any, Any, object]]
) -> None:
    send, asking = AIOKafkaConnection.send, asyncio.Queue[AIOKafkaConnection]()

    def send_but_hear_of_no_topics(
        connection: AIOKafkaConnection, request: Any, **more: Any
    ) -> Any:
        if not isinstance(request, MetadataRequest):
            return send(connection, request, **more)
        asking.put_nowait(connection)
        return asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaConnection, "send", send_but_hear_of_no_topics)
    with EmbeddedBroker({"t": 1}) as broker:
        starting = asyncio.create_task(start(broker.bootstrap))
        asked = await asking.get()
        await end(starting)
        is_open = asked.connected()
        asked.close()
        assert not is_open

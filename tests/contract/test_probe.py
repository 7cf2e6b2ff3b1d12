"""The contract of `LogProbe`, for memory and for a real Kafka."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from kit.patience import PATIENCE_S
from kit.servers import create_topic

from streams.runtime.kafka import KafkaProbe
from streams.runtime.memory import MemoryLog, MemoryProbe
from streams.runtime.ports import Offsets, Outgoing
from streams.runtime.probing import Ends, LogProbe

START_MS = 1_700_000_000_000
Write = Callable[[str, int, int], Awaitable[None]]
"""Writes so many records a second apart to a partition, the first one at START_MS."""


class Bench(NamedTuple):
    probe: LogProbe
    topic: str
    write: Write


class Memory:
    def __init__(self) -> None:
        self.log = MemoryLog()

    async def write(self, topic: str, partition: int, count: int) -> None:
        for number in range(count):
            time = START_MS + 1_000 * number
            self.log.append(Outgoing(topic, b"x", partition=partition, timestamp=time))


@asynccontextmanager
async def writing(brokers: str, transaction: str | None = None) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=brokers, transactional_id=transaction)
    await producer.start()
    yield producer
    await producer.stop()


async def send(producer: AIOKafkaProducer, topic: str, partition: int, count: int) -> None:
    for number in range(count):
        time = START_MS + 1_000 * number
        await producer.send_and_wait(topic, b"x", partition=partition, timestamp_ms=time)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.real)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    topic = f"probe-{uuid.uuid4().hex[:12]}"
    if request.param == "memory":
        memory = Memory()
        memory.log.create(topic, 3)
        yield Bench(MemoryProbe(memory.log), topic, memory.write)
        return
    brokers = request.getfixturevalue("brokers")
    create_topic(brokers, topic, 3)
    probe = KafkaProbe(brokers)
    await probe.start()
    async with writing(brokers) as producer:
        yield Bench(probe, topic, lambda *wanted: send(producer, *wanted))
    await probe.stop()


async def test_the_ends_of_a_log_are_those_of_its_records(bench: Bench) -> None:
    await bench.write(bench.topic, 1, 5)
    places = [(bench.topic, partition) for partition in (0, 1)]
    ends = await bench.probe.ends(places)
    assert ends == {places[0]: Ends(0, 0, 0), places[1]: Ends(0, 5, 5)}


async def test_what_does_not_exist_is_left_out(bench: Bench) -> None:
    ends = await bench.probe.ends([(bench.topic, 0), (f"{bench.topic}-none", 0)])
    assert ends == {(bench.topic, 0): Ends(0, 0, 0)}


async def test_the_first_record_of_each_span_tells_its_time(bench: Bench) -> None:
    for partition in range(3):
        await bench.write(bench.topic, partition, 5)
    spans = {(bench.topic, partition): Offsets(partition, 5) for partition in range(3)}
    times = await bench.probe.first_times(spans)
    assert times == {place: START_MS + 1_000 * span.start for place, span in spans.items()}


async def test_it_looks_again_at_the_same_place(bench: Bench) -> None:
    await bench.write(bench.topic, 0, 5)
    for first in (3, 1, 1):
        times = await bench.probe.first_times({(bench.topic, 0): Offsets(first, 5)})
        assert times == {(bench.topic, 0): START_MS + 1_000 * first}


async def test_of_no_span_nothing_is_read(bench: Bench) -> None:
    assert await bench.probe.first_times({}) == {}


@pytest.mark.real
@pytest.mark.parametrize("committed", [True, False])
async def test_the_marker_of_a_transaction_is_no_record(
    brokers: str, unique: str, *, committed: bool
) -> None:
    create_topic(brokers, unique, 1)
    place = (unique, 0)
    async with writing(brokers, unique) as producer:
        await producer.begin_transaction()
        await send(producer, unique, 0, 3)
        await (producer.commit_transaction() if committed else producer.abort_transaction())
    probe = KafkaProbe(brokers)
    await probe.start()
    while await probe.ends([place]) != {place: Ends(0, 4, 4)}:
        pass  # the coordinator writes the marker after it answered
    assert await probe.first_times({place: Offsets(3, 4)}) == {place: None}
    whole = await probe.first_times({place: Offsets(0, 4)})
    assert whole == {place: START_MS if committed else None}
    await probe.stop()


@pytest.mark.real
async def test_an_open_transaction_shows_where_readers_wait_and_since_when(
    brokers: str, unique: str
) -> None:
    create_topic(brokers, unique, 1)
    place = (unique, 0)
    probe = KafkaProbe(brokers)
    await probe.start()
    async with writing(brokers) as plain, writing(brokers, unique) as producer:
        await send(plain, unique, 0, 2)
        await producer.begin_transaction()
        await send(producer, unique, 0, 1)
        await send(plain, unique, 0, 4)
        assert await probe.ends([place]) == {place: Ends(0, 2, 7)}
        held = await probe.first_times({place: Offsets(2, 7)}, committed=False)
        assert held == {place: START_MS}
        await producer.commit_transaction()
    async with asyncio.timeout(PATIENCE_S):  # the coordinator writes the marker by and by
        while await probe.ends([place]) != {place: Ends(0, 8, 8)}:
            pass
    await probe.stop()


@pytest.mark.real
async def test_a_probe_whose_client_lost_a_task_goes_on_with_another_one(
    brokers: str, unique: str
) -> None:
    create_topic(brokers, unique, 1)
    probe = KafkaProbe(brokers)
    await probe.start()
    for client in probe._clients.values():
        client._client._sync_task.cancel()
        await asyncio.wait([client._client._sync_task])
    assert await probe.ends([(unique, 0)]) == {(unique, 0): Ends(0, 0, 0)}
    await probe.stop()

"""The contract of `LogReader`, for memory and for a real Kafka."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from kit.patience import PATIENCE_S
from kit.servers import create_topic

from streams.errors import Halt
from streams.runtime.kafka import KafkaProducer, KafkaReader
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.memory.reader import MemoryReader
from streams.runtime.ports import LogReader, Offsets, Outgoing, Place, Producer, Record

START_MS = 1_700_000_000_000


class World(Protocol):
    """Brokers to judge the drivers on: topics can be made and cut, as an operator does."""

    def reader(self) -> LogReader: ...

    def producer(self) -> Producer: ...

    def create(self, topic: str, partitions: int) -> None: ...

    def cut(self, topic: str, partition: int, before: int) -> None: ...


class Memory:
    def __init__(self) -> None:
        self.log = MemoryLog()

    def reader(self) -> LogReader:
        return MemoryReader(self.log)

    def producer(self) -> Producer:
        return MemoryProducer(self.log)

    def create(self, topic: str, partitions: int) -> None:
        self.log.create(topic, partitions)

    def cut(self, topic: str, partition: int, before: int) -> None:
        self.log.forget(topic, partition, before)


class Kafka:
    def __init__(self, brokers: str) -> None:
        self.brokers = brokers

    def reader(self) -> LogReader:
        return KafkaReader(self.brokers)

    def producer(self) -> Producer:
        return KafkaProducer(self.brokers)

    def create(self, topic: str, partitions: int) -> None:
        create_topic(self.brokers, topic, partitions)

    def cut(self, topic: str, partition: int, before: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})
        place = TopicPartition(topic, partition, before)
        admin.delete_records([place])[place].result(PATIENCE_S)


class Bench(NamedTuple):
    """Two topics of its own for a test, of two partitions each, and a started reader."""

    world: World
    topic: str
    other: str
    producer: Producer
    reader: LogReader


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.real)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    world: World = Memory()
    if request.param == "kafka":
        world = Kafka(request.getfixturevalue("brokers"))
    name = f"reader-{uuid.uuid4().hex[:12]}"
    world.create(name, 2)
    world.create(f"{name}-other", 2)
    producer, reader = world.producer(), world.reader()
    await producer.start()
    await reader.start()
    yield Bench(world, name, f"{name}-other", producer, reader)
    await reader.stop()
    await producer.stop()


async def write(bench: Bench, topic: str, partition: int, *values: bytes) -> None:
    """Write records a second apart, the first one at START_MS."""
    acks = [
        await bench.producer.send(
            Outgoing(topic, value, partition=partition, timestamp=START_MS + 1_000 * number)
        )
        for number, value in enumerate(values)
    ]
    for ack in acks:
        await ack


async def read(reader: LogReader, count: int) -> dict[Place, list[Record]]:
    """Fetch until `count` records came, by place in the order they came."""
    found: dict[Place, list[Record]] = {}
    deadline = time.monotonic() + PATIENCE_S
    while sum(map(len, found.values())) < count:
        assert time.monotonic() < deadline, f"only {found}"
        for place, records in (await reader.fetch(200, 1_000)).items():
            found.setdefault(place, []).extend(records)
    return found


def contents(found: Mapping[Place, Sequence[Record]]) -> dict[Place, list[bytes | None]]:
    return {place: [record.value for record in records] for place, records in found.items()}


async def test_a_record_comes_back_as_it_was_written(bench: Bench) -> None:
    headers = [("a", b"1"), ("b", b"\xff\x00"), ("a", b"2"), ("c", b"")]
    sent = Outgoing(bench.topic, b"\x00value", b"k\xff", headers, 1, START_MS)
    await (await bench.producer.send(sent))
    bench.reader.assign({(bench.topic, 1): 0})
    ((record,),) = (await read(bench.reader, 1)).values()
    assert (record.topic, record.partition, record.offset) == (bench.topic, 1, 0)
    assert (record.key, record.value, record.timestamp) == (b"k\xff", b"\x00value", START_MS)
    assert [tuple(header) for header in record.headers] == headers


async def test_it_reads_several_topics_each_from_its_position(bench: Bench) -> None:
    await write(bench, bench.topic, 0, b"a", b"b", b"c")
    await write(bench, bench.other, 1, b"d", b"e")
    bench.reader.assign({(bench.topic, 0): 1, (bench.other, 1): 0})
    assert contents(await read(bench.reader, 4)) == {
        (bench.topic, 0): [b"b", b"c"],
        (bench.other, 1): [b"d", b"e"],
    }


async def test_what_is_not_assigned_any_more_is_not_read(bench: Bench) -> None:
    await write(bench, bench.topic, 0, b"a", b"b")
    await write(bench, bench.topic, 1, b"c")
    bench.reader.assign({(bench.topic, 0): 0})
    await read(bench.reader, 2)
    bench.reader.assign({(bench.topic, 1): 0})
    await write(bench, bench.topic, 0, b"d")
    assert contents(await read(bench.reader, 1)) == {(bench.topic, 1): [b"c"]}
    assert not await bench.reader.fetch(300, 100)


async def test_assigning_an_earlier_position_reads_again(bench: Bench) -> None:
    await write(bench, bench.topic, 0, b"a", b"b")
    for _ in range(2):
        bench.reader.assign({(bench.topic, 0): 0})
        assert contents(await read(bench.reader, 2)) == {(bench.topic, 0): [b"a", b"b"]}


async def test_the_position_is_behind_the_last_record_that_came(bench: Bench) -> None:
    await write(bench, bench.topic, 0, b"a", b"b")
    bench.reader.assign({(bench.topic, 0): 1, (bench.topic, 1): 0})
    assert await bench.reader.position(bench.topic, 0) == 1
    await read(bench.reader, 1)
    assert await bench.reader.position(bench.topic, 0) == 2
    assert await bench.reader.position(bench.topic, 1) == 0


async def test_an_empty_fetch_ends_in_time(bench: Bench) -> None:
    bench.reader.assign({(bench.topic, 0): 0})
    async with asyncio.timeout(PATIENCE_S):
        assert await bench.reader.fetch(100, 10) == {}


async def test_a_position_that_left_the_log_halts(bench: Bench) -> None:
    await write(bench, bench.topic, 0, b"a", b"b", b"c")
    bench.world.cut(bench.topic, 0, 2)
    bench.reader.assign({(bench.topic, 0): 1})
    with pytest.raises(Halt) as halted:
        await read(bench.reader, 1)
    assert halted.value.code == "data_loss"


async def test_bounds_are_the_first_and_the_next_offset(bench: Bench) -> None:
    await write(bench, bench.topic, 0, b"a", b"b", b"c")
    bench.world.cut(bench.topic, 0, 2)
    bounds = await bench.reader.offsets(bench.topic, [0, 1])
    assert bounds == {0: Offsets(2, 3), 1: Offsets(0, 0)}
    assert await bench.reader.offsets(bench.topic, []) == {}


async def test_a_time_is_found_as_the_first_record_at_or_after_it(bench: Bench) -> None:
    await write(bench, bench.topic, 0, b"a", b"b", b"c")
    for time_ms, offset in (
        (0, 0),
        (START_MS + 1, 1),
        (START_MS + 2_000, 2),
        (START_MS + 1e6, None),
    ):
        found = await bench.reader.offsets_at(bench.topic, {0: int(time_ms), 1: int(time_ms)})
        assert found == {0: offset, 1: None}
    assert await bench.reader.offsets_at(bench.topic, {}) == {}


async def test_a_partition_that_does_not_exist_costs_the_others_nothing(bench: Bench) -> None:
    await write(bench, bench.topic, 0, b"a")
    assert await bench.reader.offsets(bench.topic, [0, 7]) == {0: Offsets(0, 1)}
    assert await bench.reader.offsets_at(bench.topic, {0: 0, 7: 0}) == {0: 0}


async def test_stopping_twice_is_once(bench: Bench) -> None:
    for _ in range(2):
        await bench.reader.stop()

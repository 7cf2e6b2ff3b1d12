"""The contracts of `LogConsumer` and `Producer`, for memory and for a real Kafka."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from kit.patience import PATIENCE_S
from kit.servers import create_topic

from streams.core.partitioner import partition_of
from streams.errors import Halt
from streams.runtime.kafka import KafkaConsumer, KafkaProducer
from streams.runtime.memory.consumer import MemoryConsumer
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.ports import LastingProducer, LogConsumer, Offsets, Outgoing, Record


class World(Protocol):
    """Brokers to judge the drivers on: topics can be made and cut, as an operator does."""

    def consumer(self, topic: str, group: str) -> LogConsumer: ...

    def producer(self) -> LastingProducer: ...

    def create(self, topic: str, partitions: int) -> None: ...

    def cut(self, topic: str, partition: int, before: int) -> None: ...


class Memory:
    def __init__(self) -> None:
        self.log = MemoryLog()

    def consumer(self, topic: str, group: str) -> LogConsumer:
        return MemoryConsumer(self.log, topic, group)

    def producer(self) -> LastingProducer:
        return MemoryProducer(self.log)

    def create(self, topic: str, partitions: int) -> None:
        self.log.create(topic, partitions)

    def cut(self, topic: str, partition: int, before: int) -> None:
        self.log.forget(topic, partition, before)


class Kafka:
    def __init__(self, brokers: str) -> None:
        self.brokers = brokers

    def consumer(self, topic: str, group: str) -> LogConsumer:
        return KafkaConsumer(self.brokers, topic, group, session_timeout_ms=6_000)

    def producer(self) -> LastingProducer:
        return KafkaProducer(self.brokers)

    def create(self, topic: str, partitions: int) -> None:
        create_topic(self.brokers, topic, partitions)

    def cut(self, topic: str, partition: int, before: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})
        place = TopicPartition(topic, partition, before)
        admin.delete_records([place])[place].result(PATIENCE_S)


class Bench(NamedTuple):
    """A topic of its own for a test, and everything started on it is stopped after the test."""

    world: World
    topic: str
    producer: LastingProducer
    join: Callable[["Listener"], Awaitable[LogConsumer]]  # another member of one group
    outsider: Callable[[str], LogConsumer]  # of a topic, not started


class Listener:
    """Seeks what it is assigned to the given positions (0 without one), and remembers."""

    def __init__(self, positions: Mapping[int, int] | None = None, *, seeks: bool = True) -> None:
        self.positions = dict(positions or {})
        self.seeks = seeks
        self.consumer: LogConsumer | None = None
        self.owned: set[int] = set()
        self.lost: list[int] = []
        self.assignments = 0

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        assert self.consumer is not None
        self.owned = set(partitions)
        self.assignments += 1
        if self.seeks:
            self.consumer.seek({p: self.positions.get(p, 0) for p in partitions})

    async def on_revoked(self, partitions: Sequence[int]) -> None:
        self.owned -= set(partitions)
        self.lost += partitions


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.real)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    world: World = Memory()
    if request.param == "kafka":
        world = Kafka(request.getfixturevalue("brokers"))
    name = f"log-{uuid.uuid4().hex[:12]}"
    world.create(name, 2)
    producer = world.producer()
    await producer.start()
    made: list[LogConsumer] = []

    def outsider(topic: str) -> LogConsumer:
        made.append(world.consumer(topic, name))
        return made[-1]

    async def join(listener: Listener) -> LogConsumer:
        listener.consumer = consumer = outsider(name)
        await consumer.start(listener)
        return consumer

    yield Bench(world, name, producer, join, outsider)
    for consumer in made:
        await consumer.stop()
    await producer.stop()


async def write(bench: Bench, partition: int, *values: bytes) -> None:
    acks = [
        await bench.producer.send(Outgoing(bench.topic, value, partition=partition))
        for value in values
    ]
    for ack in acks:
        await ack


async def read(consumer: LogConsumer, count: int) -> dict[int, list[Record]]:
    """Fetch until `count` records came, by partition in the order they came."""
    found: dict[int, list[Record]] = {}
    deadline = time.monotonic() + PATIENCE_S
    while sum(map(len, found.values())) < count:
        assert time.monotonic() < deadline, f"only {found}"
        for partition, records in (await consumer.fetch(200, 1_000)).items():
            found.setdefault(partition, []).extend(records)
    return found


async def nothing_comes(consumer: LogConsumer) -> bool:
    return not await consumer.fetch(300, 100)


async def owns(listener: Listener, consumer: LogConsumer, partitions: set[int]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while listener.owned != partitions:
        assert time.monotonic() < deadline, f"owns {listener.owned}, not {partitions}"
        await consumer.fetch(50, 1)


def contents(found: Mapping[int, Sequence[Record]]) -> dict[int, list[bytes | None]]:
    return {partition: [record.value for record in found[partition]] for partition in sorted(found)}


async def test_a_record_comes_back_as_it_was_written(bench: Bench) -> None:
    headers = [("a", b"1"), ("b", b"\xff\x00"), ("a", b"2"), ("c", b"")]
    sent = Outgoing(bench.topic, b"\x00value", b"k\xff", headers, 1, 1_700_000_000_123)
    await (await bench.producer.send(sent))
    consumer = await bench.join(Listener())
    ((record,),) = (await read(consumer, 1)).values()
    assert (record.topic, record.partition, record.offset) == (bench.topic, 1, 0)
    assert (record.key, record.value, record.timestamp) == (b"k\xff", b"\x00value", sent.timestamp)
    assert [tuple(header) for header in record.headers] == headers


async def test_a_producer_knows_the_topics_and_makes_none(bench: Bench) -> None:
    for _ in range(2):
        topics = await bench.producer.describe()
        assert topics[bench.topic] == 2
        assert f"{bench.topic}-missing" not in topics


async def test_a_producer_that_lost_nothing_needs_no_renewal(bench: Bench) -> None:
    await write(bench, 0, b"1")
    assert not await bench.producer.renew()
    await write(bench, 0, b"2")
    consumer = await bench.join(Listener())
    assert contents(await read(consumer, 2)) == {0: [b"1", b"2"]}


async def test_a_tombstone_and_an_empty_value_are_told_apart(bench: Bench) -> None:
    for value in (None, b""):
        await (await bench.producer.send(Outgoing(bench.topic, value, b"", partition=0)))
    consumer = await bench.join(Listener())
    first, second = (await read(consumer, 2))[0]
    assert (first.value, second.value, first.key) == (None, b"", b"")


async def test_a_record_without_a_timestamp_gets_the_present_one(bench: Bench) -> None:
    before = time.time_ns() // 1_000_000
    await write(bench, 0, b"now")
    consumer = await bench.join(Listener())
    (record,) = (await read(consumer, 1))[0]
    assert before - 1_000 <= record.timestamp <= time.time_ns() // 1_000_000 + 1_000


async def test_keys_go_where_the_java_partitioner_sends_them(bench: Bench) -> None:
    keys = [f"v{number}".encode() for number in range(40)]
    for key in keys:
        await (await bench.producer.send(Outgoing(bench.topic, b"x", key)))
    consumer = await bench.join(Listener())
    for partition, records in (await read(consumer, len(keys))).items():
        assert {partition_of(record.key or b"", 2) for record in records} == {partition}


async def test_records_of_a_partition_keep_the_order_of_the_sends(bench: Bench) -> None:
    values = [b"%d" % number for number in range(500)]
    await write(bench, 0, *values)
    consumer = await bench.join(Listener())
    records = (await read(consumer, 500))[0]
    assert [record.value for record in records] == values
    assert [record.offset for record in records] == list(range(500))


async def test_a_fetch_keeps_to_its_number_of_records(bench: Bench) -> None:
    await write(bench, 0, *[b"a"] * 5)
    await write(bench, 1, *[b"b"] * 5)
    consumer = await bench.join(Listener())
    got = 0
    deadline = time.monotonic() + PATIENCE_S
    while got < 10:
        assert time.monotonic() < deadline
        count = sum(map(len, (await consumer.fetch(200, 3)).values()))
        assert count <= 3
        got += count
    assert got == 10


async def test_no_partition_starves_while_another_is_full(bench: Bench) -> None:
    await write(bench, 0, *[b"a"] * 50)
    await write(bench, 1, b"b")
    consumer = await bench.join(Listener())
    met: set[int] = set()
    deadline = time.monotonic() + PATIENCE_S
    while met != {0, 1}:
        assert time.monotonic() < deadline
        met |= (await consumer.fetch(200, 5)).keys()


async def test_nothing_is_read_before_a_position_is_sought(bench: Bench) -> None:
    await write(bench, 0, b"a", b"b", b"c")
    listener = Listener(seeks=False)
    consumer = await bench.join(listener)
    await owns(listener, consumer, {0, 1})
    assert await nothing_comes(consumer)
    consumer.seek({0: 1})
    assert contents(await read(consumer, 2)) == {0: [b"b", b"c"]}


async def test_reading_starts_at_the_position_and_never_at_the_commit(bench: Bench) -> None:
    await write(bench, 0, b"a", b"b", b"c")
    first = await bench.join(Listener())
    await read(first, 3)
    await first.commit({0: 3})
    assert await first.committed(0) == 3
    assert await first.committed(1) is None
    await first.stop()
    second = await bench.join(Listener({0: 1}))
    assert contents(await read(second, 2)) == {0: [b"b", b"c"]}


async def test_seeking_back_reads_again(bench: Bench) -> None:
    await write(bench, 0, b"a", b"b")
    consumer = await bench.join(Listener())
    await read(consumer, 2)
    consumer.seek({0: 0})
    assert contents(await read(consumer, 2)) == {0: [b"a", b"b"]}


async def test_a_position_is_known_once_it_is_sought_and_passes_what_was_read(bench: Bench) -> None:
    await write(bench, 0, b"a", b"b")
    listener = Listener({0: 1}, seeks=False)
    consumer = await bench.join(listener)
    await owns(listener, consumer, {0, 1})
    assert await consumer.position(0) is None
    consumer.seek({0: 1})
    assert await consumer.position(0) == 1
    await read(consumer, 1)
    assert await consumer.position(0) == 2
    assert await consumer.position(7) is None


@pytest.mark.real
async def test_a_position_passes_the_marker_of_a_transaction(brokers: str, unique: str) -> None:
    create_topic(brokers, unique, 1)
    producer = AIOKafkaProducer(bootstrap_servers=brokers, transactional_id=unique)
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(unique, b"x", partition=0)
    await producer.stop()
    consumer = KafkaConsumer(brokers, unique, unique, session_timeout_ms=6_000)
    listener = Listener()
    listener.consumer = consumer
    await consumer.start(listener)
    found: Mapping[int, Sequence[Record]] = {}
    async with asyncio.timeout(PATIENCE_S):
        while await consumer.position(0) != 2:
            found = await consumer.fetch(200, 10) or found
    assert contents(found) == {0: [b"x"]}
    assert await consumer.offsets([0]) == {0: Offsets(0, 2)}
    await consumer.stop()


async def test_an_empty_fetch_ends_in_time_and_a_new_record_ends_it_early(bench: Bench) -> None:
    listener = Listener()
    consumer = await bench.join(listener)
    await owns(listener, consumer, {0, 1})
    async with asyncio.timeout(PATIENCE_S):
        assert await consumer.fetch(100, 10) == {}
    waiting = asyncio.ensure_future(read(consumer, 1))
    await write(bench, 1, b"late")
    assert contents(await waiting) == {1: [b"late"]}


async def test_a_paused_partition_waits_for_its_resume(bench: Bench) -> None:
    listener = Listener()
    consumer = await bench.join(listener)
    await owns(listener, consumer, {0, 1})
    consumer.pause([0])
    await write(bench, 0, b"a")
    await write(bench, 1, b"b")
    assert contents(await read(consumer, 1)) == {1: [b"b"]}
    assert await nothing_comes(consumer)
    consumer.resume([0])
    assert contents(await read(consumer, 1)) == {0: [b"a"]}


async def test_bounds_of_the_log_are_its_first_and_its_next_offset(bench: Bench) -> None:
    await write(bench, 0, b"a", b"b", b"c")
    consumer = await bench.join(Listener())
    assert await consumer.offsets([0, 1]) == {0: Offsets(0, 3), 1: Offsets(0, 0)}
    bench.world.cut(bench.topic, 0, 2)
    assert await consumer.offsets([0]) == {0: Offsets(2, 3)}
    assert await consumer.offsets([]) == {}


@pytest.mark.parametrize("position", [1, 9], ids=["deleted", "not yet written"])
async def test_a_position_outside_the_log_halts_its_partition_and_only_that(
    bench: Bench, position: int
) -> None:
    await write(bench, 0, b"a", b"b", b"c")
    await write(bench, 1, b"d", b"e")
    bench.world.cut(bench.topic, 0, 2)
    consumer = await bench.join(Listener({0: position}))
    found: list[bytes | None] = []
    halted = await first_halt(consumer, found)
    assert (halted.code, halted.partition) == ("data_loss", 0)
    consumer.pause([0])
    while len(found) < 2:
        found += contents(await read(consumer, 1))[1]
    assert found == [b"d", b"e"]


async def first_halt(consumer: LogConsumer, found: list[bytes | None]) -> Halt:
    """Fetch until a halt, keeping what other partitions bring before it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            for records in (await consumer.fetch(200, 100)).values():
                found += [record.value for record in records]
        except Halt as halt:
            return halt
    pytest.fail("no halt came")


async def test_a_topic_is_told_from_a_later_one_of_its_name(bench: Bench) -> None:
    consumer = await bench.join(Listener())
    identity = await consumer.identity()
    assert (identity.topic, identity.partitions) == (bench.topic, 2)
    assert identity.cluster_id
    assert identity.topic_id
    assert await bench.outsider(bench.topic).identity() == identity
    other = f"{bench.topic}-other"
    bench.world.create(other, 3)
    another = await bench.outsider(other).identity()
    assert (another.cluster_id, another.partitions) == (identity.cluster_id, 3)
    assert another.topic_id != identity.topic_id


async def test_a_header_name_that_is_not_text_is_refused(bench: Bench) -> None:
    with pytest.raises(Halt) as halted:
        await bench.producer.send(Outgoing(bench.topic, b"", b"k", [("\udcff", b"")]))
    assert halted.value.code == "header"


async def test_a_topic_that_does_not_exist_halts(bench: Bench) -> None:
    with pytest.raises(Halt):
        await bench.outsider(f"{bench.topic}-missing").identity()


async def test_a_second_member_takes_over_half_and_gives_it_back(bench: Bench) -> None:
    one, two = Listener(), Listener()
    first = await bench.join(one)
    await owns(one, first, {0, 1})
    joining = asyncio.ensure_future(bench.join(two))
    second = await turns(first, joining)
    await shared(first, second, one, two)
    assert sorted(one.lost) == [0, 1]
    await second.stop()
    await owns(one, first, {0, 1})
    await write(bench, 0, b"a")
    await write(bench, 1, b"b")
    assert contents(await read(first, 2)) == {0: [b"a"], 1: [b"b"]}


async def turns(first: LogConsumer, joining: "asyncio.Future[LogConsumer]") -> LogConsumer:
    """Let the first member fetch while the second one joins."""
    while not joining.done():
        await first.fetch(50, 1)
    return joining.result()


async def shared(first: LogConsumer, second: LogConsumer, one: Listener, two: Listener) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not (len(one.owned) == len(two.owned) == 1 and one.owned | two.owned == {0, 1}):
        assert time.monotonic() < deadline, f"{one.owned} and {two.owned}"
        await asyncio.gather(first.fetch(50, 1), second.fetch(50, 1))


async def test_what_the_listener_raises_the_next_fetch_raises(bench: Bench) -> None:
    class Failing(Listener):
        async def on_assigned(self, partitions: Sequence[int]) -> None:
            await super().on_assigned(partitions)
            if self.assignments == 1:
                raise Halt("no watermark", code="watermark_missing")

    consumer = await bench.join(Failing())
    halted = await first_halt(consumer, [])
    assert halted.code == "watermark_missing"


async def test_stopping_twice_is_once(bench: Bench) -> None:
    consumer = await bench.join(Listener())
    for _ in range(2):
        await consumer.stop()
        await bench.producer.stop()


@pytest.mark.real
async def test_a_member_that_its_group_refuses_halts(brokers: str, unique: str) -> None:
    create_topic(brokers, unique)
    consumer = KafkaConsumer(brokers, unique, unique, session_timeout_ms=10**9)
    await consumer.start(Listener())
    halted = await first_halt(consumer, [])
    await consumer.stop()
    assert (halted.code, halted.partition) == ("group", None)
    assert "session_timeout_ms" in str(halted)


@pytest.mark.real
async def test_brokers_know_a_member_by_the_name_it_gives(brokers: str, unique: str) -> None:
    create_topic(brokers, unique)
    consumer = KafkaConsumer(brokers, unique, unique, 6_000, "ours-worker-host1")
    listener = Listener()
    listener.consumer = consumer
    await consumer.start(listener)
    await owns(listener, consumer, {0})
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    described = admin.describe_consumer_groups([unique], request_timeout=PATIENCE_S)[
        unique
    ].result()
    await consumer.stop()
    assert [one.client_id for one in described.members] == ["ours-worker-host1"]

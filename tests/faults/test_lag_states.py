"""What a consumer may do on a real broker, and the status and seconds that its lag then has."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from kit.events import NOW
from kit.patience import PATIENCE_S
from kit.rig import Rig
from kit.servers import create_topic

from streams.core.events import View
from streams.ops.groups import LagQuery
from streams.ops.lag import Lag
from streams.ops.lag_collector import LagCollector, LagReport, LagSources
from streams.ops.lag_status import WINDOW
from streams.runtime.kafka import KafkaCluster, KafkaProbe
from streams.runtime.redis import RedisStore
from streams.runtime.signing import encode

pytestmark = pytest.mark.real

LOOK_S = 0.2


class Plain:
    """A group of any other program: it commits what it is told to."""

    def __init__(self, brokers: str, topic: str) -> None:
        self.group = f"{topic}-plain"
        self._topic = topic
        self._client = Consumer({"bootstrap.servers": brokers, "group.id": self.group})

    def commit(self, position: int) -> None:
        at = [TopicPartition(self._topic, 0, position)]
        self._client.commit(offsets=at, asynchronous=False)

    def close(self) -> None:
        self._client.close()


class Looks:
    """A collector on real servers, and the record times that it should tell."""

    def __init__(self, collector: LagCollector, producer: AIOKafkaProducer, topic: str) -> None:
        self._collector = collector
        self._producer = producer
        self._topic = topic
        self._written = 0
        self.at_s = 0.0  # when it last looked: what comes after takes as long as it takes

    async def write(self, count: int = 1, *, ago_s: float = 0) -> float:
        """Write events that are so old; return the time of the first one."""
        time_s = time.time() - ago_s
        for _ in range(count):
            self._written += 1
            view = View(f"e{self._written}", "v1", "u1", "discover:food", NOW, 1, 9)
            at = {"key": b"v1", "timestamp_ms": int(time_s * 1000)}
            await self._producer.send_and_wait(self._topic, encode(view), **at)
        return time_s

    async def look(self) -> Lag:
        return row_of(await self._report())

    async def window(self) -> Lag:
        """Look until a whole window is of now."""
        for _ in range(WINDOW - 1):
            await self.look()
            await asyncio.sleep(LOOK_S)
        return await self.look()

    async def until(self, status: str, lag: int) -> Lag:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            report = await self._report()
            for row in report.rows:  # none before the group's first member
                if (row.status, row.lag) == (status, lag):
                    return row
            assert time.monotonic() < deadline, report
            await asyncio.sleep(LOOK_S)

    async def _report(self) -> LagReport:
        self.at_s = time.time()
        return await self._collector.look(int(self.at_s * 1000))

    def is_old(self, row: Lag, since_s: float) -> bool:
        """Tell whether the seconds are those of the truth, within one."""
        return row.lag_seconds is not None and abs(row.lag_seconds - (self.at_s - since_s)) < 1


def row_of(report: LagReport) -> Lag:
    assert report.gaps == []
    [row] = report.rows
    return row


@asynccontextmanager
async def looks(rig: Rig, topic: str, group: str) -> AsyncIterator[Looks]:
    probe, store = KafkaProbe(rig.brokers), RedisStore(rig.redis_url)
    producer = AIOKafkaProducer(bootstrap_servers=rig.brokers)
    await probe.start()
    await producer.start()
    own = f"{rig.prefix}workers", rig.log
    sources = LagSources(KafkaCluster(rig.brokers), probe, store, *own)
    yield Looks(LagCollector(sources, LagQuery((group,), topic=topic)), producer, topic)
    await producer.stop()
    await probe.stop()
    await store.close()


@pytest.fixture
def rig(brokers: str, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, 1, session_timeout_ms=12_000)
    made.create_topics()
    yield made
    made.stop()


@pytest.fixture
async def own(rig: Rig) -> AsyncIterator[Looks]:
    """Looks at the workers' own group."""
    async with looks(rig, rig.log, f"{rig.prefix}workers") as made:
        yield made


@pytest.fixture
def plain(brokers: str, unique: str) -> Iterator[Plain]:
    create_topic(brokers, unique, 1)
    made = Plain(brokers, unique)
    yield made
    made.close()


@pytest.fixture
async def other(rig: Rig, plain: Plain, unique: str) -> AsyncIterator[Looks]:
    """Looks at the group `plain`."""
    plain.commit(0)
    async with looks(rig, unique, plain.group) as made:
        yield made


async def test_a_worker_runs_then_stops(rig: Rig, own: Looks) -> None:
    worker = rig.worker()
    await own.write(5)
    row = await own.until("OK", 0)
    assert (row.lag_seconds, row.catchup_seconds, row.committed) == (0.0, 0.0, 5)
    assert row.owner is not None
    assert await worker.terminate() == 0
    first = await own.write(3, ago_s=20)
    row = await own.window()
    assert (row.status, row.lag, row.owner) == ("STOP", 3, None)
    assert own.is_old(row, first)


async def test_a_frozen_worker_stalls_and_is_stopped_once_its_session_is_over(
    rig: Rig, own: Looks
) -> None:
    worker = rig.worker()
    await own.write(5)
    await own.until("OK", 0)
    worker.send(signal.SIGSTOP)
    first = await own.write(2)
    row = await own.window()
    assert (row.status, row.lag) == ("STALL", 2)
    assert own.is_old(row, first)
    row = await own.until("STOP", 2)
    assert own.is_old(row, first)
    worker.send(signal.SIGCONT)
    await own.until("OK", 0)


async def test_a_partition_whose_records_are_gone_is_halted_with_its_reason(
    rig: Rig, own: Looks
) -> None:
    worker = rig.worker()
    await own.write(5)
    await own.until("OK", 0)
    assert await worker.terminate() == 0
    first = await own.write(6, ago_s=30)
    admin = AdminClient({"bootstrap.servers": rig.brokers})
    place = TopicPartition(rig.log, 0, 8)
    admin.delete_records([place])[place].result(30)
    await rig.worker().says("HALTED")
    row = await own.until("HALTED", 3)
    assert row.reason is not None
    assert row.reason.startswith("data_loss: ")
    assert (row.lost, own.is_old(row, first)) == (3, True)
    done = rig.run("lag", "status", "--output", "json")
    [told, *_] = json.loads(done.stdout)
    assert (done.returncode, told["status"]) == (3, "HALTED")
    assert "data_loss" in told["reason"]


async def test_a_group_that_was_rewound(other: Looks, plain: Plain) -> None:
    first = await other.write(1, ago_s=50)
    await other.write(9, ago_s=5)
    plain.commit(8)
    await other.window()
    plain.commit(0)
    row = await other.look()
    assert (row.status, row.lag) == ("REWIND", 10)
    assert other.is_old(row, first)


async def test_a_group_that_is_slow(other: Looks, plain: Plain) -> None:
    await other.write(20, ago_s=40)
    row = None
    for position in range(1, WINDOW + 1):
        await other.write(2)
        plain.commit(position)
        row = await other.look()
    assert row is not None
    assert (row.status, row.lag, row.catchup_seconds) == ("WARN", 30, None)
    assert row.change_per_second is not None
    assert row.change_per_second > 0


async def test_a_quiet_topic(other: Looks, plain: Plain) -> None:
    await other.write(3, ago_s=3_600)
    plain.commit(3)
    row = await other.window()
    assert (row.status, row.lag, row.lag_seconds) == ("OK", 0, 0.0)
    first = await other.write(1)
    row = await other.look()
    assert (row.status, row.lag) == ("OK", 1)
    assert other.is_old(row, first)


async def test_an_open_transaction(rig: Rig, other: Looks, plain: Plain, unique: str) -> None:
    await other.write(3)
    plain.commit(3)
    producer = AIOKafkaProducer(bootstrap_servers=rig.brokers, transactional_id=unique)
    await producer.start()
    await producer.begin_transaction()
    begun = time.time()
    await producer.send_and_wait(unique, b"x", timestamp_ms=int(begun * 1000))
    await other.write(4)
    row = await other.look()
    assert (row.status, row.lag, row.lag_seconds, row.held) == ("OK", 0, 0.0, 5)
    assert row.held_seconds is not None
    assert abs(row.held_seconds - (other.at_s - begun)) < 1
    await producer.abort_transaction()
    await producer.stop()
    row = await other.until("OK", 6)  # offsets: four records, one aborted, one marker
    assert row.held == 0
    plain.commit(8)
    row = await other.look()
    assert (row.end, row.lag, row.lag_seconds) == (9, 0, 0.0)  # the marker is none

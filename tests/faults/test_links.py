"""Workers behind a bad network to Redis, and to Kafka: late, slow, without answers, cut."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from kit.link import Link
from kit.loads import PARTITIONS, load, moved, whole_log
from kit.rig import Feed, Rig
from kit.servers import KafkaServer, lasting_ports

pytestmark = pytest.mark.real


@contextmanager
def to_redis(url: str) -> Iterator[tuple[Link, str]]:
    """Give a link before a Redis, and the address behind it."""
    at = urlsplit(url)
    with Link(at.port or 6379) as link:
        yield link, at._replace(netloc=f"127.0.0.1:{link.port}").geturl()


async def worsen(rig: Rig, link: Link, silence_s: float) -> None:
    """Make a link late, then silent, then cut it again and again; each time all go on."""
    link.delay_s = 0.1
    await moved(rig)
    with link.swallowing():
        await asyncio.sleep(silence_s)
    await moved(rig)
    link.delay_s = 0.0
    for _ in range(5):
        link.cut()
        await moved(rig)


async def test_a_bad_network_to_redis_costs_no_counter(
    brokers: str, fresh_redis_url: str, unique: str
) -> None:
    rig = Rig(brokers, fresh_redis_url, unique, PARTITIONS)
    rig.create_topics()
    try:
        with to_redis(rig.redis_url) as (link, behind):
            worker = rig.worker(redis=behind)
            await worker.says("assigned: partitions")
            async with Feed(rig) as feed, load(feed, whole_log(41, 6_000), per_s=300) as running:
                await moved(rig)
                await worsen(rig, link, silence_s=2)  # flushes of that time are made, unheard
                await running.end()
                await rig.caught_up()
                assert await worker.terminate() == 0
        rig.assert_exact()
        await rig.assert_every_decision_once()
    finally:
        rig.stop()


# ---------------------------------------------------------------- Kafka behind a link


class Linked:
    """A Kafka with a second address, which is a link's: tests use the first, workers that one."""

    def __init__(self) -> None:
        own, self.port, hidden, controller = lasting_ports(4)
        plain, far = f"PLAINTEXT://127.0.0.1:{own}", f"FAR://127.0.0.1:{hidden}"
        told = f"FAR://127.0.0.1:{self.port}"
        self.hidden = hidden
        self.near = f"127.0.0.1:{own}"
        self.server = KafkaServer(
            {
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listeners": f"{plain},{far},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"{plain},{told}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,FAR:PLAINTEXT,"
                "CONTROLLER:PLAINTEXT",
            }
        )
        self.server.bootstrap = self.near


@pytest.fixture(scope="module")
def linked() -> Iterator[Linked]:
    made = Linked()
    try:
        made.server.start()
        yield made
    finally:
        made.server.remove()


@pytest.fixture
async def rig(linked: Linked, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    made = Rig(linked.near, fresh_redis_url, unique, PARTITIONS)
    made.create_topics()
    yield made
    made.stop()


@pytest.mark.slow
async def test_a_bad_network_to_kafka_costs_no_counter(linked: Linked, rig: Rig) -> None:
    with Link(linked.hidden, linked.port) as link:
        workers = [rig.worker(brokers=f"127.0.0.1:{link.port}") for _ in range(2)]
        for worker in workers:
            await worker.says("assigned: partitions")
        async with Feed(rig) as feed, load(feed, whole_log(42, 24_000)) as running:
            await moved(rig)
            await worsen(rig, link, silence_s=8)  # longer than a session
            await running.end()
            await rig.caught_up()
            assert [await worker.terminate() for worker in workers] == [0, 0]
    rig.assert_exact()
    await rig.assert_every_decision_once()


@pytest.mark.slow
async def test_a_thin_link_to_kafka_is_slow_and_neither_wrong_nor_unquiet(
    linked: Linked, rig: Rig
) -> None:
    with Link(linked.hidden, linked.port) as link:
        async with Feed(rig) as feed:
            link.delay_s, link.bytes_per_s = 0.05, 3_000_000 / 8
            worker = rig.worker(brokers=f"127.0.0.1:{link.port}", session_timeout_ms=6_000)
            await worker.says("assigned: partitions")
            async with load(feed, whole_log(43, 18_000)) as running:
                await asyncio.sleep(30)
                await running.end()
                await rig.caught_up()
            assert await worker.terminate() == 0
    assigned = re.findall(r"assigned: partitions \[\d", worker.said())
    assert len(assigned) <= 2, worker.said()
    rig.assert_exact()
    await rig.assert_every_decision_once()

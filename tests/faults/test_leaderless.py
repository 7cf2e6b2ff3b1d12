"""Three nodes of Kafka, one of them away: what has no leader costs its own answer only."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from kit.command import CONFIG, Where, streams
from kit.events import NOW
from kit.keys import announce
from kit.patience import PATIENCE_S
from kit.servers import KafkaCluster as Nodes
from kit.servers import KafkaServer, create_topic, kafka_cluster, kafka_server

from streams.core.events import View
from streams.errors import Retry, Unreachable
from streams.runtime.kafka import KafkaCluster, KafkaProducer, KafkaReader, producer
from streams.runtime.ports import Offsets, Outgoing
from streams.runtime.signing import encode
from streams.settings import TOPICS, load_settings

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.alone]

ALONE = {"min.insync.replicas": "1"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with kafka_cluster() as cluster:
        yield cluster


@pytest.fixture
def whole(nodes: Nodes) -> Nodes:
    """The nodes, all of them running, whatever a test before did to them."""
    nodes.start()
    return nodes


@pytest.fixture
def topic(whole: Nodes, unique: str) -> str:
    """A topic whose partitions 0 and 1 live on node 2 and node 3 alone."""
    create_topic(whole.bootstrap, unique, config=ALONE, copies=[[2], [3]])
    return unique


@asynccontextmanager
async def producing(nodes: Nodes) -> AsyncIterator[KafkaProducer]:
    made = KafkaProducer(nodes.bootstrap)
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def reading(nodes: Nodes) -> AsyncIterator[KafkaReader]:
    made = KafkaReader(nodes.bootstrap)
    await made.start()
    yield made
    await made.stop()


async def write(to: KafkaProducer, topic: str, partition: int, values: Sequence[bytes]) -> None:
    acks = [await to.send(Outgoing(topic, value, partition=partition)) for value in values]
    for ack in acks:
        await ack


async def write_until_done(
    to: KafkaProducer, topic: str, partition: int, values: Sequence[bytes]
) -> None:
    """Write as the worker does: all of it again, until all is acknowledged."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await write(to, topic, partition, values)
            except Retry:
                await asyncio.sleep(0.2)


async def written(nodes: Nodes, topic: str, partition: int) -> list[bytes]:
    """Return the values of a partition, each where it first came."""
    found: list[bytes] = []
    async with reading(nodes) as reader:
        end = (await reader.offsets(topic, [partition]))[partition].end
        reader.assign({(topic, partition): 0})
        while await reader.position(topic, partition) < end:
            for records in (await reader.fetch(200, 1_000)).values():
                found += [one.value or b"" for one in records]
    return list(dict.fromkeys(found))


async def no_leader(nodes: Nodes, topic: str, partition: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while nodes.leaders(topic)[partition] is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_a_producer_writes_again_once_a_lost_partition_has_a_leader(
    whole: Nodes, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "REQUEST_TIMEOUT_MS", 3_000)
    async with producing(whole) as made:
        await write(made, topic, 0, [b"a"])
        whole.nodes[2].kill()
        await no_leader(whole, topic, 0)
        for _ in range(2):
            with pytest.raises(Retry):
                await write(made, topic, 0, [b"b", b"c", b"d"])
            await write(made, topic, 1, [b"other"])
        await asyncio.to_thread(whole.nodes[2].start)
        await write_until_done(made, topic, 0, [b"b", b"c", b"d"])
        await write(made, topic, 0, [b"e"])
    assert await written(whole, topic, 0) == [b"a", b"b", b"c", b"d", b"e"]
    assert await written(whole, topic, 1) == [b"other"]


async def test_a_partition_without_a_leader_costs_its_own_bounds_only(
    whole: Nodes, topic: str
) -> None:
    async with producing(whole) as made:
        await write(made, topic, 1, [b"a", b"b"])
    async with reading(whole) as reader:
        assert await reader.offsets(topic, [0, 1]) == {0: Offsets(0, 0), 1: Offsets(0, 2)}
        whole.nodes[2].kill()
        for _ in range(2):
            started = time.monotonic()
            assert await reader.offsets(topic, [0, 1]) == {1: Offsets(0, 2)}
            assert await reader.offsets_at(topic, {0: 0, 1: 0}) == {1: 0}
            assert time.monotonic() - started < 12


@contextmanager
def killed(node: KafkaServer) -> Iterator[None]:
    node.kill()
    yield
    node.start()


@pytest.mark.parametrize("away", [killed, KafkaServer.paused], ids=["killed", "frozen"])
async def test_a_cluster_answers_in_time_whichever_broker_it_remembers(
    whole: Nodes, topic: str, away: Callable[[KafkaServer], AbstractContextManager[None]]
) -> None:
    cluster = KafkaCluster(whole.bootstrap)
    identity = await cluster.identity(topic)
    for node in whole.nodes.values():
        with away(node):
            started = time.monotonic()
            assert await cluster.identity(topic) == identity
            assert await cluster.describe() == {topic: 2} | await cluster.describe()
            assert time.monotonic() - started < 8


async def test_a_cluster_that_is_not_there_is_told_from_a_silent_broker(unique: str) -> None:
    with kafka_server() as alone, alone.paused():
        started = time.monotonic()
        with pytest.raises(Unreachable, match="--brokers"):
            await KafkaCluster(alone.bootstrap).identity(unique)
        assert time.monotonic() - started < 8


@pytest.mark.timeout(600)
def test_tools_do_what_can_be_done_and_name_the_rest(
    whole: Nodes, unique: str, redis_url: str, tmp_path: Path
) -> None:
    where: Where = {"brokers": whole.bootstrap, "topic_prefix": f"{unique}.", "partitions": 2}
    where |= {"redis": redis_url, "replication": 1}
    for name in TOPICS:
        copies = [[1], [2]] if name == "interactions" else [[1], [3]]
        create_topic(whole.bootstrap, f"{unique}.{name}", config=ALONE, copies=copies)
    create_topic(whole.bootstrap, f"{unique}.waiting", config=ALONE, copies=[[1], [3]])
    create_topic(whole.bootstrap, f"{unique}.policies", config=ALONE, copies=[[1]])
    create_topic(whole.bootstrap, f"{unique}.dossiers", config=ALONE, copies=[[1], [3]])
    announce(whole.bootstrap, load_settings(CONFIG, {"topic_prefix": f"{unique}."}, {}))
    log = f"{unique}.interactions"
    member = Consumer({"bootstrap.servers": whole.bootstrap, "group.id": unique})
    member.commit(offsets=[TopicPartition(log, p, 0) for p in range(2)], asynchronous=False)
    member.close()
    lines = [encode(View(f"e{n}", f"v{n}", "u1", "discover:food", NOW, 1, 9)) for n in range(40)]
    (tmp_path / "events.ndjson").write_bytes(b"\n".join(lines))
    whole.nodes[2].kill()

    lag = streams("lag", "list", "--group", unique, "--output", "json", **where)
    rows = {row["partition"]: row for row in json.loads(lag.stdout)}
    assert (lag.returncode, rows[0]["lag"], rows[1]["lag"]) == (3, 0, None)
    assert f"no leader answers for {log}[1]" in lag.stderr
    assert (rows[0]["status"], rows[1]["status"]) == ("OK", "UNKNOWN")

    status = streams("lag", "status", "--group", unique, "--output", "json", **where)
    [group] = json.loads(status.stdout)
    assert (status.returncode, group["partitions"], group["lag"]) == (3, 2, 0)
    assert f"no leader answers for {log}[1]" in status.stderr

    asked = ("record", tmp_path / "r", "--topic", "interactions", "--to", "now")
    recorded = streams(*asked, **where)
    assert (recorded.returncode, f"without {log}[1]" in recorded.stderr) == (3, True)

    verified = streams("counters", "verify", "--output", "json", **where)
    assert (verified.returncode, json.loads(verified.stdout)["unanswered"]) == (3, [1])

    published = streams("publish", str(tmp_path / "events.ndjson"), **where)
    assert published.returncode == 3
    assert "go on with --from-line" in published.stderr

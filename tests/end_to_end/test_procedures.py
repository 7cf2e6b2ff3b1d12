"""Procedures that operators follow, each as its page tells it, on real servers."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaProducer
from kit.events import Logged, synthetic_log
from kit.keys import SPELLING
from kit.patience import PATIENCE_S
from kit.redises import RedisNode, redis_node
from kit.repartitions import log_of, timeless, videos_in, world_of
from kit.rig import Feed, Rig
from kit.servers import kafka_server
from kit.twins import counted as counted_by_twin

from streams.ops.repartition_tail import dealt

pytestmark = pytest.mark.real

LOG = synthetic_log(seed=5, videos=6, events=800)
HALF = 200
FIRST, REST = slice(0, 900), slice(900, None)
APPENDING = ("--appendonly", "yes")


@pytest.fixture
def node() -> Iterator[RedisNode]:
    """A Redis that keeps an append-only file, as ours are told to be."""
    with redis_node(*APPENDING) as made:
        yield made


async def counted(rig: Rig) -> None:
    """Count the log to its end by one worker."""
    worker = rig.worker()
    await rig.caught_up()
    assert await worker.terminate() == 0


def backed_up(node: RedisNode) -> bytes:
    """Take a backup of a running Redis, as an operator does."""
    file = node.folder / "backup.rdb"
    command = ["redis-cli", "-p", str(node.port), "--rdb", str(file)]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    return file.read_bytes()


def restore(node: RedisNode, backup: bytes) -> None:
    """Start Redis on a backup after everything that it had is lost."""
    node.kill()
    for kept in node.folder.iterdir():
        shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
    (node.folder / "dump.rdb").write_bytes(backup)
    node.settings = [*node.settings[: -len(APPENDING)], "--appendonly", "no"]
    node.start()
    with node.admin() as client:
        client.config_set("appendonly", "yes")


async def test_a_backup_of_redis_is_restored_and_the_log_is_counted_on_from_it(
    node: RedisNode, brokers: str, unique: str
) -> None:
    rig = Rig(brokers, f"redis://127.0.0.1:{node.port}/0", unique, partitions=1)
    rig.create_topics()
    try:
        worker = rig.worker()
        async with Feed(rig) as feed:
            await feed.send(LOG[:HALF])
            await rig.caught_up()
            then, backup = rig.watermarks(), backed_up(node)
            await feed.send(LOG[HALF:])
            await rig.caught_up()
        assert await worker.terminate() == 0
        restore(node, backup)
        assert rig.watermarks() == then
        await counted(rig)
        assert rig.watermarks() != then
        rig.assert_exact()
        await rig.assert_every_decision_once()
        with node.admin() as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
    finally:
        rig.stop()


async def mirror(there: Rig, here: Rig) -> None:
    """Write every topic of one cluster to another one: the same records at the same offsets."""
    producer = AIOKafkaProducer(bootstrap_servers=here.brokers, acks="all")
    await producer.start()
    try:
        for topic in (there.log, there.decisions, f"{there.prefix}traffic"):
            acks = [
                await producer.send(
                    topic,
                    value=one.value,
                    key=one.key,
                    partition=one.partition,
                    timestamp_ms=one.timestamp,
                    headers=list(one.headers),
                )
                for one in await there.read(topic)
            ]
            await asyncio.gather(*acks)
    finally:
        await producer.stop()


@pytest.mark.slow
async def test_an_installation_moves_to_another_cluster_and_counts_on_there(
    brokers: str, fresh_redis_url: str, unique: str
) -> None:
    there = Rig(brokers, fresh_redis_url, unique, partitions=1)
    there.create_topics()
    with kafka_server() as other:
        here = Rig(other.bootstrap, fresh_redis_url, unique, partitions=1)
        here.create_topics()
        try:
            async with Feed(there) as feed:
                await feed.send(LOG[:HALF])
            await counted(there)
            await mirror(there, here)
            done = here.run("counters", "move", "--yes")
            assert (done.returncode, "1 partitions moved" in done.stderr) == (0, True), done.stderr
            async with Feed(here) as feed:
                await feed.send(LOG[HALF:])
            await counted(here)
            here.assert_exact()
            await here.assert_every_decision_once()
        finally:
            there.stop()
            here.stop()


def to_other_partitions(records: Sequence[Logged], before: int, after: int) -> list[Logged]:
    """Return feedback as producers of another partition count write it."""
    return [
        one._replace(partition=each.partition or 0, value=each.value)
        for one in records
        for each in dealt([one], one.topic, (before, after), SPELLING)
    ]


@pytest.mark.slow
async def test_an_installation_goes_on_with_another_partition_count(
    brokers: str, fresh_redis_url: str, unique: str, tmp_path: Path
) -> None:
    logs = [log_of(partition, 2, 3_000) for partition in range(2)]
    before, behind = ([one for log in logs for one in log[part]] for part in (FIRST, REST))
    again = [one for one in before if not one.headers][-300:]
    there = Rig(brokers, fresh_redis_url, unique, partitions=2, snapshots=tmp_path)
    there.create_topics()
    with redis_node() as node:
        url = f"redis://127.0.0.1:{node.port}/0"
        here = Rig(brokers, url, f"{unique}.wide", partitions=4, snapshots=tmp_path)
        where = ("--partitions", "4", "--to-prefix", here.prefix, "--to-redis", url)
        try:
            async with Feed(there) as feed:
                await feed.send(before)
            await counted(there)
            done = there.run("counters", "repartition", *where, "--yes")
            assert done.returncode == 0, done.stderr
            assert "2 partitions become 4" in done.stderr
            assert rows_of(url) == rows_of(fresh_redis_url)
            async with Feed(here) as feed:
                await feed.send(to_other_partitions([*again, *behind], 2, 4))
            await counted(here)
            here.assert_exact()
            assert timeless(rows_of(url)) == timeless(await counted_in_memory(logs))
            async with Feed(there) as feed:
                await feed.send(before[-1:])
            late = there.run("counters", "repartition", *where)
            assert (late.returncode, "1 offsets of the old log" in late.stderr) == (3, True)
        finally:
            there.stop()
            here.stop()


async def counted_in_memory(logs: Sequence[Sequence[Logged]]) -> dict[str, dict[str, bytes]]:
    """Return the rows of a log that never went anywhere."""
    world = world_of(len(logs))
    for log in logs:
        world.put([one for one in log if not one.headers or one in log[FIRST]])
    return videos_in(await counted_by_twin(world))


def rows_of(url: str) -> dict[str, dict[str, bytes]]:
    """Return the stored rows of every video, whatever its partition."""
    with redis.Redis.from_url(url) as client:
        keys = [key.decode() for key in client.scan_iter("s:{*}:v:*", count=1_000)]
        rows = {key.rpartition(":")[2]: client.hgetall(key) for key in keys}
    return {
        video: {name.decode(): raw for name, raw in fields.items()}
        for video, fields in rows.items()
    }

"""Another Redis than was written to: a replica that was behind, an old file, a torn one.

Workers go on by what stands there: a watermark that fell back is folded from again.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from kit.clusters import all_moved
from kit.link import Link
from kit.loads import PARTITIONS, load, moved, whole_log
from kit.redises import RedisNode, redis_node, until
from kit.rig import Feed, Rig

pytestmark = pytest.mark.real

DURABLE = ("--appendonly", "yes")


@pytest.fixture
def redises() -> Iterator[list[RedisNode]]:
    """A master and two replicas of it."""
    with ExitStack() as stack:
        master = stack.enter_context(redis_node())
        following = ("--replicaof", f"127.0.0.1 {master.port}", "--repl-diskless-sync-delay", "0")
        replicas = [stack.enter_context(redis_node(*following)) for _ in range(2)]
        until(
            lambda: all(one.info("replication", "master_link_status") == "up" for one in replicas),
            "a replica never followed",
        )
        yield [master, *replicas]


@asynccontextmanager
async def counting(brokers: str, prefix: str, link: Link, seed: int) -> AsyncIterator[Rig]:
    """Run a worker behind a link under load; at the end all is counted, and exactly."""
    rig = Rig(brokers, f"redis://127.0.0.1:{link.port}/0", prefix, PARTITIONS)
    rig.create_topics()
    try:
        worker = rig.worker()
        await worker.says("assigned: partitions")
        async with Feed(rig) as feed, load(feed, whole_log(seed, 6_000), per_s=300) as running:
            await all_moved(rig)
            yield rig
            await running.end()
            await rig.caught_up()
            assert await worker.terminate() == 0, worker.said()[-2_000:]
        rig.assert_exact()
        await rig.assert_every_decision_once()
    finally:
        rig.stop()


def promote(node: RedisNode) -> None:
    """Make a replica a master: from now on it hears nothing of the one that it followed."""
    with node.admin() as client:
        client.replicaof("NO", "ONE")


async def test_two_promotions_of_replicas_that_were_behind_cost_no_counter(
    brokers: str, unique: str, redises: list[RedisNode]
) -> None:
    """The second heir is further behind, and takes over before the first one had a flush."""
    master, first, second = redises
    with Link(master.port) as link:
        async with counting(brokers, unique, link, seed=51) as rig:
            promote(second)
            behind = Rig(brokers, f"redis://127.0.0.1:{second.port}/0", unique, PARTITIONS)
            await moved(rig)
            promote(first)
            await moved(rig)
            lost = rig.watermarks()
            master.kill()
            link.server = first.port
            link.cut()
            fallen = behind.watermarks()
            assert sum(fallen.values()) < sum(lost.values())
            link.server = second.port
            link.cut()
            await rig.workers[0].says("folding again from it")


@pytest.mark.slow
async def test_an_append_only_file_that_is_torn_is_folded_on_from_its_last_whole_flush(
    brokers: str, unique: str
) -> None:
    with redis_node(*DURABLE) as node, Link(node.port) as link:
        async with counting(brokers, unique, link, seed=52) as rig:
            [log] = node.folder.glob("appendonlydir/*.incr.aof")
            await all_moved(rig)
            early = log.stat().st_size
            await all_moved(rig)
            node.kill()
            log.write_bytes(log.read_bytes()[: (early + log.stat().st_size) // 2])
            node.start()
            await rig.workers[0].says("folding again from it")


@pytest.mark.slow
async def test_a_dump_of_some_time_ago_is_folded_on_from(
    brokers: str, unique: str, tmp_path: Path
) -> None:
    with redis_node() as node, Link(node.port) as link:
        async with counting(brokers, unique, link, seed=53) as rig:
            with node.admin() as client:
                client.save()
            shutil.copy(node.folder / "dump.rdb", tmp_path)
            await moved(rig)
            await asyncio.to_thread(node.kill)
            shutil.copy(tmp_path / "dump.rdb", node.folder)
            await asyncio.to_thread(node.start)
            await rig.workers[0].says("folding again from it")

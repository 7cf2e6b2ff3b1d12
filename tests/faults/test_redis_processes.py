"""Worker processes on a Redis Cluster and a real broker: masters die under load, one by one."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest
from kit.events import synthetic_log
from kit.loads import trickle
from kit.redises import RedisNodes, until
from kit.rig import Feed, Rig

from streams.runtime.namespace import meta_key

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

PARTITIONS = 6


@pytest.fixture
def nodes(redis_nodes: RedisNodes) -> RedisNodes:
    redis_nodes.start()
    redis_nodes.empty()
    return redis_nodes


async def test_masters_die_under_two_workers_and_every_counter_is_exact(
    brokers: str, nodes: RedisNodes, unique: str
) -> None:
    rig = Rig(brokers, nodes.url, unique, PARTITIONS)
    rig.create_topics()
    workers = [rig.worker(), rig.worker()]
    logs = [synthetic_log(61 + p, 200, 12_000, p, PARTITIONS) for p in range(PARTITIONS)]
    over = asyncio.Event()
    async with Feed(rig) as feed:
        feeding = [asyncio.create_task(trickle(feed, log, over, per_s=150)) for log in logs]
        await rig.until(lambda: len(rig.watermarks()) == PARTITIONS, rig.logs)
        for lap in range(4):
            dead = nodes.master_of(meta_key(lap))
            others = {p for p in range(PARTITIONS) if nodes.master_of(meta_key(p)) is not dead}
            dead.kill()
            before = watermarks(nodes, others)
            await rig.until(lambda: went_on(nodes, before), rig.logs)  # noqa: B023
            await asyncio.to_thread(until, lambda: heir(nodes, lap) is not dead, "no heir")  # noqa: B023
            await asyncio.to_thread(dead.start)
            await asyncio.to_thread(until, nodes.whole, "never whole again")
        over.set()
        await asyncio.gather(*feeding)
    await rig.caught_up()
    assert not [worker.pid for worker in workers if "HALTED" in worker.said()], rig.logs()
    rig.assert_exact()
    await rig.assert_every_decision_once()
    assert [await worker.terminate() for worker in workers] == [0, 0], rig.logs()


def went_on(nodes: RedisNodes, before: Mapping[int, int]) -> bool:
    """Tell whether these partitions were counted on since."""
    after = watermarks(nodes, before)
    return all(after[p] > mark for p, mark in before.items())


def heir(nodes: RedisNodes, partition: int) -> object:
    return nodes.master_of(meta_key(partition))


def watermarks(nodes: RedisNodes, partitions: Iterable[int]) -> dict[int, int]:
    """Return the watermarks of partitions, each from its own node."""
    marks = {}
    for partition in partitions:
        with nodes.master_of(meta_key(partition)).admin() as client:
            marks[partition] = int(client.hget(meta_key(partition), "watermark") or -1)
    return marks

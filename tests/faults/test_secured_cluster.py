"""Everything as companies run it: three secured brokers and a Redis Cluster, whose nodes die.

`STREAMS_TEST_KILLS` says how many minutes, with a kill in each.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest
from kit.clusters import Pace, Pauses, all_moved, lasting_load, make_topics, say
from kit.loads import PARTITIONS
from kit.redises import RedisNodes, redis_cluster, until
from kit.rig import CONFIG, Rig
from kit.secured import SecuredKafka, secured_cluster
from kit.servers import KafkaCluster

from streams.ops.rights import Role, rights_of
from streams.runtime.namespace import meta_key
from streams.settings import load_settings

KILLS: Final = int(os.environ.get("STREAMS_TEST_KILLS", "10"))
EVERY_S: Final = 60.0
AWAY_S: Final = 15.0
PACE: Final = Pace(per_s=500, events=KILLS * 60 * 500 * 2, videos=200)
"""What the demo writes: 2,000 a second in all. Of the events, arrays make fewer records."""
USER: Final = "worker"
ROLES: Final[tuple[Role, ...]] = ("worker", "control")
pytestmark = [
    *(pytest.mark.real, pytest.mark.slow, pytest.mark.alone),
    pytest.mark.timeout(KILLS * 60 + 900),
]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[tuple[SecuredKafka, KafkaCluster]]:
    with secured_cluster(tmp_path, (USER,)) as made:
        yield made


@pytest.fixture
def redises() -> Iterator[RedisNodes]:
    with redis_cluster() as nodes:
        yield nodes


async def test_a_kill_a_minute_leaves_every_counter_exact(
    kafka: tuple[SecuredKafka, KafkaCluster], redises: RedisNodes, unique: str
) -> None:
    secured, brokers = kafka
    rig = Rig(secured.open, redises.url, unique, PARTITIONS)
    make_topics(rig)
    named = {"topic_prefix": rig.prefix, "group": f"{rig.prefix}workers", "partitions": PARTITIONS}
    for role in ROLES:
        secured.allow(USER, rights_of(role, load_settings(CONFIG, named, {})))
    workers = [rig.worker(only=None, **secured.settings(USER)) for _ in range(2)]
    random = Random(1)
    try:
        async with lasting_load(rig, PACE):
            for worker in workers:
                await worker.says("running; Ctrl-C ends", patience_s=120)
            pauses = Pauses(rig)
            await all_moved(rig)
            for kill in range(KILLS):
                pauses.begin()
                what = await (a_broker_dies if kill % 2 else a_master_dies)(
                    brokers, redises, random
                )
                await all_moved(rig)
                say(f"{what}: partitions stood still for {pauses.longest()} s")
            pauses.stop()
        say(f"written: {sum((await rig.ends(rig.log)).values())} records")
        await rig.caught_up(patience_s=300)
        assert all(worker.alive for worker in workers), rig.logs()
        assert not [worker.pid for worker in workers if "HALTED" in worker.said()], rig.logs()
        rig.assert_exact(patience_s=300)
        await rig.assert_every_decision_once()
    finally:
        rig.stop()


async def a_broker_dies(brokers: KafkaCluster, redises: RedisNodes, random: Random) -> str:
    node = random.choice(list(brokers.nodes.values()))
    node.kill()
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(node.start)
    await asyncio.sleep(EVERY_S - AWAY_S)
    return f"broker {node.number} was dead for {AWAY_S:.0f} s"


async def a_master_dies(brokers: KafkaCluster, redises: RedisNodes, random: Random) -> str:
    key = meta_key(random.randrange(PARTITIONS))
    dead = redises.master_of(key)
    dead.kill()
    await asyncio.to_thread(until, lambda: redises.master_of(key) is not dead, "no heir")
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(dead.start)
    await asyncio.to_thread(until, redises.whole, "the cluster never came together again")
    await asyncio.sleep(EVERY_S - AWAY_S)
    return f"the master of {key} was dead for {AWAY_S:.0f} s"

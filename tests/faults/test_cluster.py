"""Three nodes, two workers, both halves, under load: nodes die, and everything is counted once."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

import pytest
from kit.clusters import Pauses, all_moved, lasting_load, make_topics, say
from kit.loads import PARTITIONS
from kit.rig import Rig
from kit.servers import KafkaCluster as Nodes
from kit.servers import KafkaServer, kafka_cluster

pytestmark = [
    *(pytest.mark.real, pytest.mark.slow, pytest.mark.alone),
    pytest.mark.timeout(1_800),
]

OPEN_WITHIN_S: Final = 30.0
"""Longest time that a partition with a leader may stand still after a node's death."""
OPEN_BESIDE_S: Final = 15.0
"""The same beside a node that is frozen: the brokers find others to lead within seconds."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with kafka_cluster() as cluster:
        yield cluster


@pytest.fixture
def rig(nodes: Nodes, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    nodes.start()
    made = Rig(nodes.bootstrap, fresh_redis_url, unique, PARTITIONS)
    yield made
    made.stop()


async def coordinator(nodes: Nodes, group: str) -> KafkaServer:
    """Return the node that coordinates a group as soon as one does."""
    async with asyncio.timeout(60):
        while (node := await asyncio.to_thread(nodes.coordinator, group)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return node


class Play:
    """Two workers under load on the nodes, and what is done to these."""

    def __init__(self, nodes: Nodes, rig: Rig, pauses: Pauses) -> None:
        self._nodes = nodes
        self._rig = rig
        self._pauses = pauses

    async def without(self, node: KafkaServer, seconds: float, what: str) -> None:
        """Kill a node and start it again; those with a leader go on in time."""
        self._pauses.begin()
        node.kill()
        await asyncio.sleep(seconds)
        longest = self._pauses.longest()
        led = {p for p, one in self._nodes.leaders(self._rig.log).items() if one is not None}
        led &= {p for p, one in self._nodes.leaders(self._rig.decisions).items() if one is not None}
        say(f"{what}: node {node.number} away {seconds:.0f} s, led {sorted(led)}: {longest}")
        assert all(longest[p] < OPEN_WITHIN_S for p in led), longest
        await asyncio.to_thread(node.start)
        await all_moved(self._rig)
        say(f"{what}: back, with all partitions: {self._pauses.longest()}")

    async def restarted(self, node: KafkaServer) -> None:
        """Stop and start a node in good order."""
        self._pauses.begin()
        await asyncio.to_thread(node.stop)
        await asyncio.to_thread(node.start)
        await all_moved(self._rig)
        say(f"restart of node {node.number}: {self._pauses.longest()}")


ALONE: Mapping[str, tuple[set[str], float]] = {
    "three copies": (set(), 15.0),
    "log and decisions have one copy": ({"interactions", "decisions"}, 60.0),
}


@pytest.mark.parametrize("kind", ALONE)
async def test_nodes_die_and_every_counter_is_exact(nodes: Nodes, rig: Rig, kind: str) -> None:
    alone, away_s = ALONE[kind]
    make_topics(rig, alone)
    group = f"{rig.prefix}workers"
    workers = [rig.worker(only=None), rig.worker(only=None)]
    pauses = Pauses(rig)
    play = Play(nodes, rig, pauses)
    async with lasting_load(rig):
        await all_moved(rig)
        for kill in range(4):
            leader = nodes.leader(rig.log, kill % PARTITIONS)
            assert leader is not None
            await play.without(leader, away_s, f"leader of {kill % PARTITIONS}")
        for _ in range(2):
            await play.without(await coordinator(nodes, group), 15.0, "coordinator")
        for node in nodes.nodes.values():
            await play.restarted(node)
    pauses.stop()
    await rig.caught_up(patience_s=180)
    assert all(worker.alive for worker in workers), rig.logs()
    assert not [worker.pid for worker in workers if "HALTED" in worker.said()], rig.logs()
    rig.assert_exact()
    await rig.assert_every_decision_once()
    assert [await worker.terminate() for worker in workers] == [0, 0], rig.logs()


async def test_a_node_that_freezes_for_a_minute_costs_no_counter(nodes: Nodes, rig: Rig) -> None:
    make_topics(rig)
    workers = [rig.worker(only=None), rig.worker(only=None)]
    pauses = Pauses(rig)
    async with lasting_load(rig):
        await all_moved(rig)
        frozen = nodes.leader(rig.log, 0)
        assert frozen is not None
        pauses.begin()
        with frozen.paused():
            await asyncio.sleep(60)
            longest = pauses.longest()
        say(f"node {frozen.number} frozen for 60 s: {longest}")
        assert max(longest.values()) < OPEN_BESIDE_S, longest
        await all_moved(rig)
    pauses.stop()
    await rig.caught_up(patience_s=180)
    assert not [worker.pid for worker in workers if "HALTED" in worker.said()], rig.logs()
    rig.assert_exact()
    await rig.assert_every_decision_once()

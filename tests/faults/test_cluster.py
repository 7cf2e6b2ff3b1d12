"""Three nodes, two workers, both halves, under load: nodes die, and everything is counted once."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest
from kit.events import Logged, synthetic_log
from kit.keys import announce
from kit.rig import TABLE, TABLES, TOPICS, Rig
from kit.servers import KafkaCluster as Nodes
from kit.servers import KafkaServer, create_topic, create_topics, kafka_cluster

from streams.errors import Retry
from streams.runtime.kafka import KafkaProducer
from streams.runtime.ports import Outgoing

pytestmark = [
    *(pytest.mark.real, pytest.mark.slow, pytest.mark.alone),
    pytest.mark.timeout(1_800),
]

PARTITIONS: Final = 4
HOMES: Final = [[1], [2], [3], [2]]
"""The node of each partition of a topic that has one copy: without it nobody leads them."""
EVENTS_PER_S: Final = 60.0
OPEN_WITHIN_S: Final = 30.0
"""Longest time that a partition with a leader may stand still after a node's death."""


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


def make_topics(rig: Rig, alone: set[str]) -> None:
    """Create the topics of a rig with three copies, two of them in sync; `alone` has one."""
    usual = {"max.message.bytes": "1114112", "retention.ms": "-1"}
    names = {f"{name}{end}" for name in TOPICS for end in ("", ".dlq")}
    create_topics(rig.brokers, {rig.prefix + n: usual for n in names - alone}, PARTITIONS)
    for name in alone:
        create_topic(rig.brokers, rig.prefix + name, config=usual, copies=HOMES)
    create_topics(rig.brokers, {f"{rig.prefix}waiting": TABLE}, PARTITIONS)
    create_topics(rig.brokers, {f"{rig.prefix}{name}": TABLE for name in TABLES}, 1)
    create_topics(rig.brokers, {f"{rig.prefix}dossiers": TABLE}, PARTITIONS)
    announce(rig.brokers, rig.settings)


@asynccontextmanager
async def load(rig: Rig) -> AsyncIterator[None]:
    """Write events to every partition that takes them; what is lost in between comes again."""
    stop = asyncio.Event()
    producer = KafkaProducer(rig.brokers)
    await producer.start()
    writing = [asyncio.create_task(_write(producer, rig.log, p, stop)) for p in range(PARTITIONS)]
    yield
    stop.set()
    await asyncio.gather(*writing)
    await producer.stop()


async def _write(producer: KafkaProducer, topic: str, partition: int, stop: asyncio.Event) -> None:
    records = synthetic_log(31 + partition, 12, 40_000, partition, PARTITIONS, led=True)
    size = 20
    for at in range(0, len(records), size):
        while not await _written(producer, topic, records[at : at + size]):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        if stop.is_set():
            return
        await asyncio.sleep(size / EVENTS_PER_S)


async def _written(producer: KafkaProducer, topic: str, records: list[Logged]) -> bool:
    outgoing = [
        Outgoing(topic, one.value, one.key, tuple(one.headers), one.partition, one.timestamp)
        for one in records
    ]
    with suppress(Retry):
        for ack in [await producer.send(one) for one in outgoing]:
            await ack
        return True
    return False


class Pauses:
    """How long each partition's watermark stood still, at most, since `begin`."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._moved: dict[int, tuple[int, float]] = {}
        self._longest: dict[int, float] = {}
        self._task = asyncio.create_task(self._watch())

    def begin(self) -> None:
        now = time.monotonic()
        self._moved = {p: (at, now) for p, (at, _) in self._moved.items()}
        self._longest = dict.fromkeys(self._moved, 0.0)

    def longest(self) -> dict[int, float]:
        return {p: round(seconds, 1) for p, seconds in sorted(self._longest.items())}

    def stop(self) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            marks = await asyncio.to_thread(self._rig.watermarks)
            now = time.monotonic()
            for partition, mark in marks.items():
                before, since = self._moved.get(partition, (-1, now))
                self._longest[partition] = max(self._longest.get(partition, 0.0), now - since)
                if mark != before:
                    self._moved[partition] = (mark, now)
            await asyncio.sleep(0.2)


async def all_moved(rig: Rig) -> None:
    """Return when every partition's watermark has risen."""
    before = await asyncio.to_thread(rig.watermarks)

    def risen() -> bool:
        marks = rig.watermarks()
        return all(marks.get(p, -1) > before.get(p, -1) for p in range(PARTITIONS))

    await rig.until(risen, rig.logs, 120)


async def coordinator(nodes: Nodes, group: str) -> KafkaServer:
    """Return the node that coordinates a group as soon as one does."""
    async with asyncio.timeout(60):
        while (node := await asyncio.to_thread(nodes.coordinator, group)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return node


def say(line: str) -> None:
    """Print a line of the report; pytest shows it with `-s`."""
    sys.stderr.write(f"{line}\n")


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
    async with load(rig):
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
    assert [await worker.terminate(patience_s=20) for worker in workers] == [0, 0], rig.logs()

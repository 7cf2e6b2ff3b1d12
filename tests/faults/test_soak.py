"""Everything at once: three brokers, a Redis with a replica, workers, control planes, faults.

`STREAMS_TEST_SOAK_MINUTES` says how long, `STREAMS_TEST_SOAK_SEED` which faults, and
`STREAMS_TEST_SOAK_PER_S` how many events a second each partition takes (60). Faults of all kinds
come in one order after the other, one every half minute.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import Final

import pytest
from kit.clusters import PACE, all_moved, lasting_load, lasting_uploads, make_topics, say
from kit.link import Link
from kit.loads import PARTITIONS
from kit.redises import RedisNode, redis_node, until
from kit.resources import Held
from kit.rig import SESSION_MS, Rig, WorkerProcess
from kit.servers import KafkaCluster, kafka_cluster
from kit.views import view_differences

MINUTES: Final = float(os.environ.get("STREAMS_TEST_SOAK_MINUTES", "5"))
SEED: Final = int(os.environ.get("STREAMS_TEST_SOAK_SEED", "1"))
PER_S: Final = float(os.environ.get("STREAMS_TEST_SOAK_PER_S", str(PACE.per_s)))
EVERY_S: Final = 30.0
"""So often something happens."""
CAUGHT_UP_S: Final = 60.0
LAG_S: Final = 5.0
WARM_MINUTES: Final = 10.0
"""In less a process still fills its caches and pools."""
MORE_MEMORY_MB: Final = 10
MORE_DESCRIPTORS: Final = 10
pytestmark = [
    *(pytest.mark.real, pytest.mark.slow, pytest.mark.alone),
    pytest.mark.timeout(MINUTES * 60 + 900),
]


@pytest.fixture
def nodes() -> Iterator[KafkaCluster]:
    with kafka_cluster() as cluster:
        yield cluster


class Redises:
    """A master and its replica behind one address; they change places when the master dies."""

    def __init__(self, nodes: Sequence[RedisNode], link: Link) -> None:
        self.master, self._replica = nodes
        self._link = link
        self._follow()

    @property
    def url(self) -> str:
        """The address of whoever is master."""
        return f"redis://127.0.0.1:{self._link.port}/0"

    def fail_over(self) -> None:
        """Have the replica take over, as far as it has come; the dead one comes back as its own."""
        dead = self.master
        with self._replica.admin() as client:
            client.replicaof("NO", "ONE")
        dead.kill()
        self.master, self._replica = self._replica, dead
        self._link.server = self.master.port
        self._link.cut()
        dead.start()
        self._follow()

    def _follow(self) -> None:
        with self._replica.admin() as client:
            client.replicaof("127.0.0.1", self.master.port)
        up = ("replication", "master_link_status")
        until(lambda: self._replica.info(*up) == "up", "the replica never followed")


@pytest.fixture
def redises() -> Iterator[Redises]:
    with redis_node() as one, redis_node() as other, Link(one.port) as link:
        yield Redises([one, other], link)


class Soak:
    """The town, and each thing that may happen to it; what happened is undone at the end of each.

    Two workers count, two control planes admit, and one of these leads.
    """

    def __init__(self, rig: Rig, nodes: KafkaCluster, redises: Redises, random: Random) -> None:
        self.halves: dict[str, list[WorkerProcess]] = {
            half: [rig.worker(only=half) for _ in range(2)] for half in ("feedback", "control")
        }
        self._rig = rig
        self._nodes = nodes
        self._redises = redises
        self._random = random
        self._coming: list[Callable[[], Awaitable[None]]] = []

    @property
    def processes(self) -> list[WorkerProcess]:
        """Return all that are to run."""
        return [each for half in self.halves.values() for each in half]

    @property
    def lasting(self) -> list[WorkerProcess]:
        """Return those that live from the beginning to the end: others die in their place."""
        return [half[1] for half in self.halves.values()]

    async def happen(self) -> str:
        """Let something happen; return what. Nothing happens again before all else has."""
        if not self._coming:
            self._coming = [
                *(self.a_broker_dies, self.a_broker_freezes),
                *(self.the_master_of_redis_dies, self.redis_freezes),
                *(self.a_worker_dies, self.a_worker_freezes),
                *(self.a_control_plane_dies, self.a_control_plane_freezes),
            ]
            self._random.shuffle(self._coming)
        kind = self._coming.pop()
        await kind()
        return kind.__name__

    async def a_broker_dies(self) -> None:
        node = self._random.choice(list(self._nodes.nodes.values()))
        node.kill()
        await asyncio.sleep(8)
        await asyncio.to_thread(node.start)

    async def a_broker_freezes(self) -> None:
        await self._frozen(self._random.choice(list(self._nodes.nodes.values())).paused())

    async def the_master_of_redis_dies(self) -> None:
        await asyncio.to_thread(self._redises.fail_over)

    async def redis_freezes(self) -> None:
        await self._frozen(self._redises.master.paused())

    async def a_worker_dies(self) -> None:
        self._dies("feedback")

    async def a_worker_freezes(self) -> None:
        await self._freezes("feedback")

    async def a_control_plane_dies(self) -> None:
        self._dies("control")

    async def a_control_plane_freezes(self) -> None:
        await self._freezes("control")

    def _dies(self, half: str) -> None:
        self.halves[half][0].kill()
        self.halves[half][0] = self._rig.worker(only=half)

    async def _freezes(self, half: str) -> None:
        """For longer than its session."""
        process = self._random.choice(self.halves[half])
        process.send(signal.SIGSTOP)
        await asyncio.sleep(SESSION_MS / 1_000 + 2)
        process.send(signal.SIGCONT)

    async def _frozen(self, frozen: AbstractContextManager[None]) -> None:
        with frozen:
            await asyncio.sleep(8)


async def lag_s(rig: Rig) -> float:
    """Return for how many seconds of load the slowest partition is behind."""
    ends = await rig.ends(rig.log)
    marks = await asyncio.to_thread(rig.watermarks)
    return max((end - 1 - marks.get(p, -1)) / PER_S for p, end in ends.items())


async def caught_up_after(rig: Rig) -> float:
    """Return the seconds until no partition is behind any more, while load goes on."""
    started = time.monotonic()
    while await lag_s(rig) > LAG_S:
        assert time.monotonic() - started < CAUGHT_UP_S, rig.logs()
        await asyncio.sleep(0.5)
    return time.monotonic() - started


async def views_are_right(rig: Rig) -> None:
    """Return when dossiers, copies, what waits and the index are what they have to be."""
    deadline = time.monotonic() + CAUGHT_UP_S
    while wrong := await view_differences(rig):
        assert time.monotonic() < deadline, (len(wrong), wrong[::9], rig.logs())
        await asyncio.sleep(1)


def held_by(workers: Iterable[WorkerProcess]) -> dict[int, Held]:
    return {worker.pid: Held.by(worker.pid) for worker in workers if worker.alive}


def assert_flat(before: Mapping[int, Held], after: Mapping[int, Held]) -> None:
    """Fail if a process holds more than before."""
    for pid in before:
        assert after[pid].memory_mb <= before[pid].memory_mb + MORE_MEMORY_MB, (before, after)
        assert after[pid].descriptors <= before[pid].descriptors + MORE_DESCRIPTORS, (before, after)


async def live(rig: Rig, soak: Soak) -> None:
    """Let one thing after the other happen until the time is over."""
    begun = time.monotonic()
    end, early = begun + MINUTES * 60, dict[int, Held]()
    while (now := time.monotonic()) < end:
        what = await soak.happen()
        took = await caught_up_after(rig)
        say(f"{now - begun:.0f} s: {what}: caught up {took:.1f} s later; {held_by(soak.processes)}")
        if not early and time.monotonic() > begun + MINUTES * 20:  # a third is over
            early = held_by(soak.lasting)
        await asyncio.sleep(max(0.0, min(end, now + EVERY_S) - time.monotonic()))
    if MINUTES >= WARM_MINUTES:
        assert_flat(early, held_by(soak.lasting))


async def test_random_faults_for_minutes_leave_every_counter_exact(
    nodes: KafkaCluster, redises: Redises, unique: str
) -> None:
    rig = Rig(nodes.bootstrap, redises.url, unique, PARTITIONS)
    make_topics(rig)
    soak = Soak(rig, nodes, redises, Random(SEED))
    try:
        async with lasting_load(rig, PACE._replace(per_s=PER_S)), lasting_uploads(rig):
            await all_moved(rig)
            await live(rig, soak)
        await rig.caught_up(patience_s=CAUGHT_UP_S)
        halted = [one.pid for one in soak.processes if "HALTED" in one.said()]
        assert not halted, rig.logs()
        await views_are_right(rig)
        rig.assert_exact(patience_s=CAUGHT_UP_S + MINUTES * 60)
        await rig.assert_every_decision_once()
        ended = [await each.terminate(patience_s=20) for each in soak.processes]
        assert ended == [0] * len(ended), rig.logs()
    finally:
        rig.stop()

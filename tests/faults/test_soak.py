"""Everything at once: three brokers, a Redis with a replica, workers, control planes, faults.

`STREAMS_TEST_SOAK_MINUTES` says how long, `STREAMS_TEST_SOAK_SEED` which faults, and
`STREAMS_TEST_SOAK_PER_S` how many events a second each partition takes, in place of 30 % of what
the same processes are measured to count at the beginning. Faults of all kinds come in one order
after the other, one every half minute, whether or not the last one is caught up. Beside that load
there is a little of everything that may stand in a log, and uploads with their verdicts.
"""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import Final, NamedTuple

import pytest
from kit.clusters import all_moved, lasting_load, lasting_uploads, make_topics, say
from kit.link import Link
from kit.loads import PARTITIONS
from kit.redises import RedisNode, redis_node, until
from kit.rig import SESSION_MS, Rig, WorkerProcess
from kit.servers import KafkaCluster, kafka_cluster
from kit.soaking import Crowd, Holdings, Lag
from kit.views import view_differences

MINUTES: Final = float(os.environ.get("STREAMS_TEST_SOAK_MINUTES", "5"))
SEED: Final = int(os.environ.get("STREAMS_TEST_SOAK_SEED", "1"))
PER_S: Final = float(os.environ.get("STREAMS_TEST_SOAK_PER_S", "0"))
SHARE: Final = 0.3
MEASURED_S: Final = 40.0
HALVES: Final = ("feedback", "control")
RECOUNTED_PER_S: Final = 3_000
"""At least, on a machine that has much else to do."""
EVERY_S: Final = 30.0
"""So often something happens."""
ROUND_S: Final = 8 * EVERY_S
"""Until something of each kind has happened."""
SETTINGS: Final = {"videos_in_memory": 400, "generation_records": 20_000}
"""Fewer videos than there are: uploads go on, and a worker remembers what it can. And windows that
are small beside the process: of all partitions' at once, as after each fault, memory stays with
Python, and would hide what leaks.
"""
CAUGHT_UP_S: Final = 60.0
LAG_S: Final = 5.0
WARM_MINUTES: Final = 10.0
"""In less a process still fills its caches and pools."""
MORE_MEMORY_MB: Final = 10
MORE_DESCRIPTORS: Final = 10
pytestmark = [
    *(pytest.mark.real, pytest.mark.slow, pytest.mark.alone),
    pytest.mark.timeout(MINUTES * 180 + 900),
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
        self.rig = rig
        self.halves: dict[str, list[WorkerProcess]] = {}
        self._nodes = nodes
        self._redises = redises
        self._random = random
        self._coming: list[Callable[[], Awaitable[None]]] = []
        self._freezing = {half: itertools.cycle((1, 0)) for half in HALVES}

    @property
    def processes(self) -> list[WorkerProcess]:
        """Return all that are to run."""
        return [each for half in self.halves.values() for each in half]

    @property
    def lasting(self) -> list[WorkerProcess]:
        """Return those that live from the beginning to the end: others die in their place."""
        return [half[1] for half in self.halves.values()]

    def begin(self, half: str) -> None:
        """Start two processes of a half."""
        self.halves[half] = [self.rig.worker(only=half) for _ in range(2)]

    async def end(self, half: str) -> None:
        """Have the processes of a half end by themselves."""
        ended = [await each.terminate(patience_s=20) for each in self.halves[half]]
        assert ended == [0] * len(ended), self.rig.logs()

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
        dead = self.halves[half][0]
        assert "HALTED" not in dead.said(), dead.said()
        dead.kill()
        self.halves[half][0] = self.rig.worker(only=half)

    async def _freezes(self, half: str) -> None:
        """For longer than its session; first the one that lives to the end."""
        process = self.halves[half][next(self._freezing[half])]
        process.send(signal.SIGSTOP)
        await asyncio.sleep(SESSION_MS / 1_000 + 2)
        process.send(signal.SIGCONT)

    async def _frozen(self, frozen: AbstractContextManager[None]) -> None:
        with frozen:
            await asyncio.sleep(8)


async def views_are_right(rig: Rig) -> None:
    """Return when dossiers, copies, what waits and the index are what they have to be."""
    deadline = time.monotonic() + CAUGHT_UP_S
    while wrong := await view_differences(rig):
        assert time.monotonic() < deadline, (len(wrong), wrong[::9], rig.logs())
        await asyncio.sleep(1)


async def in_force(soak: Soak) -> None:
    """Return when the crowd's videos can be admitted under a policy."""
    text = f"is in force in {PARTITIONS} partitions"
    planes = soak.halves["control"]
    await soak.rig.until(lambda: any(text in one.said() for one in planes), soak.rig.logs, 120)


class Lived(NamedTuple):
    """What came of a soak under load: events that came, and what was seen meanwhile."""

    events: int
    lag_s: float
    """At most, in the half minute that begins a minute after the last fault."""
    holdings: Holdings


async def live(soak: Soak) -> Lived:
    """Let everything happen while events come."""
    rig, lag = soak.rig, Lag(soak.rig.watermarks)
    async with lag.watched(), Crowd(rig, lag).admitted() as crowd:
        per_s = PER_S * PARTITIONS or SHARE * await fastest(crowd)
        say(f"{per_s:,.0f} events/s come")
        async with crowd.coming(per_s), lasting_load(rig), lasting_uploads(rig):
            await all_moved(rig)
            lasting = [each.pid for each in soak.lasting]
            async with Holdings(lasting).watched() as holdings:
                lag_s = await suffer(soak, lag)
        for minute in range(int(MINUTES)):
            say(f"minute {minute + 1}: {holdings.between(minute * 60, minute * 60 + 60)}")
        return Lived(crowd.written, lag_s, holdings)


async def fastest(crowd: Crowd) -> float:
    per_s = await crowd.fastest(MEASURED_S)
    say(f"{per_s:,.0f} events/s are counted of as many as come")
    return per_s


async def suffer(soak: Soak, lag: Lag) -> float:
    """Let one thing after the other happen until the time is over; return what lag is left."""
    begun = last_fault = time.monotonic()
    while (now := time.monotonic()) < begun + MINUTES * 60:
        what = await soak.happen()
        over_s = time.monotonic() - now
        await asyncio.sleep(max(0.0, now + EVERY_S - time.monotonic()))
        at_most, last = lag.peak_s(now), lag.last_above(LAG_S, now)
        load = f"{os.getloadavg()[0]:.0f} tasks"
        say(
            f"{now - begun:.0f} s: {what} for {over_s:.0f} s: behind by {at_most:.1f} s at most, "
            f"by more than {LAG_S:.0f} s until {last:.0f} s after it began; {load} on the cores"
        )
        ended = [one.said()[-3_000:] for one in soak.processes if not one.alive]
        assert not ended, ended
        last_fault = now
    await asyncio.sleep(max(0.0, last_fault + CAUGHT_UP_S - time.monotonic()))
    calm = time.monotonic()
    await asyncio.sleep(EVERY_S)
    median_s, longest_s = lag.median_s(begun), lag.longest_above(LAG_S, begun)
    say(
        f"lag: {median_s:.1f} s in the median, {lag.peak_s(begun):.1f} s at most, above {LAG_S:.0f}"
        f" s for {longest_s:.0f} s at a time; {lag.peak_s(calm):.1f} s at most in the end"
    )
    return lag.peak_s(calm)


def assert_flat(holdings: Holdings) -> None:
    """Fail if one that lived all the time holds more than in the round before a third was over.

    Each of them had each fault by then.
    """
    third, end = MINUTES * 20, MINUTES * 60
    before, after = holdings.between(third - ROUND_S, third), holdings.between(end - ROUND_S, end)
    if MINUTES < WARM_MINUTES:
        return
    for pid, early in before.items():
        now = after[pid]
        assert now.memory_mb <= early.memory_mb + MORE_MEMORY_MB, (before, after)
        assert now.descriptors <= early.descriptors + MORE_DESCRIPTORS, (before, after)
        assert now.sockets <= early.sockets + MORE_DESCRIPTORS, (before, after)


async def test_random_faults_for_minutes_leave_every_counter_exact(
    nodes: KafkaCluster, redises: Redises, unique: str
) -> None:
    rig = Rig(nodes.bootstrap, redises.url, unique, PARTITIONS, **SETTINGS)
    make_topics(rig)
    soak = Soak(rig, nodes, redises, Random(SEED))
    try:
        for half in HALVES:
            soak.begin(half)
        await in_force(soak)
        lived = await live(soak)
        await rig.caught_up(patience_s=CAUGHT_UP_S)
        halted = [one.pid for one in soak.processes if "HALTED" in one.said()]
        assert not halted, rig.logs()
        await views_are_right(rig)
        found = rig.verified(CAUGHT_UP_S + lived.events / RECOUNTED_PER_S)
        say(f"{lived.events:,} events: {found['differences']} of {found['checked']:,} differ")
        assert not found["differences"], found["examples"]
        await rig.assert_every_decision_once()
        for half in HALVES:
            await soak.end(half)
        assert_flat(lived.holdings)
        assert lived.lag_s <= LAG_S
    finally:
        rig.stop()

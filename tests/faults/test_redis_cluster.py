"""A worker whose Redis nodes die, freeze and hand slots over under load: nothing is miscounted.

The log is in memory, the cluster and the sentinels are real.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import cache
from typing import NamedTuple

import pytest
from kit.events import Logged, synthetic_log
from kit.redises import RedisNode, RedisNodes, migrate, until, watched_redis
from kit.twins import LOG, Life, World

from streams.ops.verify import Verifier, verify
from streams.runtime.codec import Spelling
from streams.runtime.dependencies import REDIS
from streams.runtime.memory import MemoryReader
from streams.runtime.namespace import meta_key
from streams.runtime.redis import RedisStore

pytestmark = [pytest.mark.real, pytest.mark.timeout(1_200)]

PARTITIONS = 6
LONG_S = 60.0
"""Longer than anything takes but a call to a node that says nothing."""


@pytest.fixture
def nodes(redis_nodes: RedisNodes) -> Iterator[RedisNodes]:
    redis_nodes.empty()
    yield redis_nodes
    redis_nodes.start()
    until(redis_nodes.whole, "the cluster never came together again")
    REDIS.parts_away.clear()


class Scale(NamedTuple):
    """How large a log is: videos and events of each partition, and so many counters at least."""

    videos: int
    events: int
    counters: int


SMALL = Scale(30, 1_200, 10_000)
LARGE = Scale(6_000, 68_000, 2_000_000)


@cache
def log_of(scale: Scale, partition: int) -> Sequence[Logged]:
    return synthetic_log(41 + partition, scale.videos, scale.events, partition, PARTITIONS)


class Counting:
    """One worker that counts a log which grows."""

    def __init__(self, url: str, scale: Scale, timeout_s: float) -> None:
        self._scale = scale
        self.world = World(PARTITIONS)
        self.store = RedisStore(url, timeout_s=timeout_s)
        self.life = Life(self.world, store=self.store, clock=time.monotonic)
        self._written = 0

    def grow(self, records: int = 20) -> None:
        """Write the next records of every partition."""
        for partition in range(PARTITIONS):
            log = log_of(self._scale, partition)
            self.world.put(log[self._written : self._written + records])
        self._written += records

    async def grow_until(self, holds: asyncio.Event) -> None:
        """Write at a steady pace until the event, then all that is left."""
        while not holds.is_set():
            self.grow()
            await asyncio.sleep(0.02)
        self.grow(1 << 30)

    def behind(self) -> set[int]:
        """Return the partitions that are not counted to their end."""
        marks = self.life.worker.watermarks()
        return {p for p in range(PARTITIONS) if marks.get(p, -1) < self.world.end(p)}

    async def caught_up(self, without: frozenset[int] = frozenset()) -> None:
        async with asyncio.timeout(600):
            while self.behind() - without:
                assert not self.life.worker.halted, self.life.worker.halted
                await asyncio.sleep(0.01)

    async def assert_exact(self) -> None:
        world = self.world
        verifier = Verifier(world.settings, world.installation, Spelling(1 << 20, world.secret))
        identity = world.log.identity(LOG)
        reader = MemoryReader(world.log)
        found = await verify(reader, self.store, identity, world.namespace, verifier)
        assert not found.differences, found.examples
        assert found.partitions == PARTITIONS
        assert found.checked >= self._scale.counters


@asynccontextmanager
async def counting(url: str, scale: Scale = SMALL, timeout_s: float = 5) -> AsyncIterator[Counting]:
    made = Counting(url, scale, timeout_s)
    await made.life.start()
    yield made
    await made.life.stop()
    await made.store.close()


def on(nodes: RedisNodes, node: RedisNode) -> frozenset[int]:
    """Return the partitions of a node."""
    return frozenset(p for p in range(PARTITIONS) if nodes.master_of(meta_key(p)) is node)


async def test_a_master_that_dies_under_load_costs_no_counter(nodes: RedisNodes) -> None:
    async with counting(nodes.url) as counted:
        over = asyncio.Event()
        growing = asyncio.create_task(counted.grow_until(over))
        await asyncio.sleep(0.3)
        dead = nodes.master_of(meta_key(0))
        dead.kill()
        await asyncio.to_thread(until, lambda: nodes.master_of(meta_key(0)) is not dead, "no heir")
        over.set()
        await growing
        await counted.caught_up()
        await counted.assert_exact()


@pytest.mark.parametrize("scale", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)])
async def test_a_slot_that_moves_under_load_costs_no_counter(
    nodes: RedisNodes, scale: Scale
) -> None:
    async with counting(nodes.url, scale) as counted:
        counted.grow(scale.events // 2)
        await counted.caught_up()
        over = asyncio.Event()
        growing = asyncio.create_task(counted.grow_until(over))
        here = nodes.master_of(meta_key(0))
        there = next(node for node in nodes.masters() if node is not here)
        moved = await asyncio.to_thread(migrate, nodes, meta_key(0), there)
        over.set()
        await growing
        await counted.caught_up()
        assert moved > scale.videos // 2
        assert nodes.master_of(meta_key(0)) is there
        await counted.assert_exact()


async def test_partitions_of_a_shard_that_is_away_wait_and_the_others_go_on(
    nodes: RedisNodes,
) -> None:
    async with counting(nodes.url, timeout_s=LONG_S) as counted:
        counted.grow()
        await counted.caught_up()
        silent = nodes.master_of(meta_key(0))
        waiting = on(nodes, silent)
        assert 0 < len(waiting) < PARTITIONS
        with ExitStack() as frozen:
            for node in nodes.shard_of(silent):
                frozen.enter_context(node.paused())
            for _ in range(3):
                counted.grow()
                async with asyncio.timeout(LONG_S / 2):
                    await counted.caught_up(without=waiting)
            assert counted.behind() == waiting
        counted.grow(1 << 30)
        await counted.caught_up()
        await counted.assert_exact()


@pytest.mark.slow
async def test_masters_that_die_again_and_again_cost_no_counter(nodes: RedisNodes) -> None:
    async with counting(nodes.url, Scale(300, 20_000, 200_000)) as counted:
        over = asyncio.Event()
        growing = asyncio.create_task(counted.grow_until(over))
        for lap in range(8):
            dead = nodes.master_of(meta_key(lap % PARTITIONS))
            dead.kill()
            await asyncio.sleep(4)
            await asyncio.to_thread(dead.start)
            await asyncio.to_thread(until, nodes.whole, "never whole again")
        over.set()
        await growing
        await counted.caught_up()
        await counted.assert_exact()


@pytest.mark.slow
async def test_masters_that_sentinels_replace_under_load_cost_no_counter() -> None:
    with watched_redis() as watched:
        async with counting(watched.url, Scale(300, 20_000, 200_000)) as counted:
            over = asyncio.Event()
            growing = asyncio.create_task(counted.grow_until(over))
            for _ in range(3):
                await asyncio.sleep(1)
                dead = watched.master()
                dead.kill()
                await asyncio.to_thread(until, lambda: watched.master() is not dead, "no heir")  # noqa: B023
                await asyncio.to_thread(dead.start)
                await asyncio.to_thread(until, watched.whole, "never whole again")
            over.set()
            await growing
            await counted.caught_up()
            await counted.assert_exact()

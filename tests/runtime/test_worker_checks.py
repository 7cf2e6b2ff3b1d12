"""What a running worker asks again and again, and what failing costs it: nothing that counts."""

import itertools
import logging
from collections.abc import Mapping

import pytest
from kit.events import synthetic_log
from kit.twins import LOG, Life, MortalConsumer, World, counted

from streams.errors import Halt, Retry
from streams.runtime.memory import MemoryStore

LOG_OF_ALL = synthetic_log(seed=31, videos=6, events=300)


@pytest.fixture
def world() -> World:
    world = World()
    world.put(LOG_OF_ALL)
    return world


class Evicting(MemoryStore):
    """A store whose server was told to evict while it ran."""

    evicts = False

    async def check(self) -> None:
        if self.evicts:
            raise Halt("Redis may evict counters: CONFIG SET maxmemory-policy noeviction")


async def test_a_redis_that_may_evict_by_now_is_an_alarm_within_seconds_and_stops_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.store = store = Evicting()
    life = await Life(world, store=store).start()
    await life.until(world.caught_up)
    store.evicts = True
    await life.until(lambda: "CONFIG SET maxmemory-policy noeviction" in caplog.text)
    assert life.metrics.store_alarms._value.get() >= 1
    store.evicts = False
    await life.stop()
    assert not life.worker.halted
    assert await world.is_exact()


class Forgetful(MortalConsumer):
    """A member whose commits fail, each in another of the ways that a group has."""

    tried = itertools.count()

    async def commit(self, positions: Mapping[int, int]) -> None:
        causes = ("RebalanceInProgress", "UnknownMember", "NotCoordinator", "it took too long")
        if (number := next(self.tried)) % 5 < len(causes):
            raise Retry(causes[number % 5])
        await super().commit(positions)


async def test_commits_that_fail_neither_lose_nor_repeat_an_event(world: World) -> None:
    life = await Life(world, consumer=Forgetful, batch=7).start()
    await life.until(lambda: world.caught_up() and world.log.committed("workers"))
    await life.stop()
    failed = life.metrics.commit_failures._value.get()
    assert failed >= 4
    assert await world.is_exact()
    receipts = world.receipts()
    await counted(world)
    assert world.receipts() == receipts


async def test_a_log_that_grows_under_a_running_worker_halts_it_and_names_the_way_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(2)
    world.put(
        [r for p in (0, 1) for r in synthetic_log(seed=3, events=80, partition=p, partitions=2)]
    )
    life = await Life(world).start()
    await life.until(world.caught_up)
    rows = world.rows()
    world.log.grow(LOG, 3)
    await life.until(lambda: set(life.worker.halted) == {0, 1})
    await life.stop()
    assert {halt.code for halt in life.worker.halted.values()} == {"namespace"}
    assert "rebuild" in caplog.text
    assert world.rows() == rows


async def test_an_event_loop_that_stood_still_is_said(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    slow = itertools.count(step=9)  # each look at the clock finds it nine seconds on
    life = await Life(world, clock=lambda: next(slow)).start()
    await life.until(lambda: "the event loop stood still for" in caplog.text)
    await life.stop()
    assert await world.is_exact()

"""A partition that comes back untouched goes on with what was in memory, and with nothing else."""

import asyncio
import gc
from collections.abc import Collection, Sequence
from random import Random
from typing import Any

import pytest
from kit.events import Logged, synthetic_log
from kit.garbage import alive, without_collector
from kit.twins import LOG, Life, World, counted

from streams.core.state import PartitionState
from streams.core.window import Window
from streams.runtime import collector
from streams.runtime.memory import MemoryStore
from streams.runtime.ports import Loaded

PARTITIONS = 4


def log_of(partition: int, partitions: int = PARTITIONS, events: int = 120) -> list[Logged]:
    return synthetic_log(7 + partition, 6, events, partition, partitions)


def world_of(partitions: int = PARTITIONS, **changes: object) -> World:
    world = World(partitions, **changes)  # type: ignore[arg-type]
    for partition in range(partitions):
        world.put(log_of(partition, partitions)[:60])
    return world


def put_rest(world: World) -> None:
    for partition in range(world.partitions):
        world.put(log_of(partition, world.partitions)[60:])


def count(life: Life, name: str) -> float:
    return life.metrics.registry.get_sample_value(f"streams_{name}_total") or 0


async def owns(life: Life, partitions: Sequence[int]) -> None:
    await life.until(lambda: sorted(life.worker.positions()) == list(partitions))


async def test_a_partition_that_stays_reads_no_id_again_and_one_that_is_new_does() -> None:
    world = world_of()
    first = await Life(world).start()
    await first.until(world.caught_up)
    second = await Life(world).start()
    await owns(first, [0, 1])
    await owns(second, [2, 3])
    put_rest(world)
    await first.until(world.caught_up)
    assert (count(first, "resumed_partitions"), count(second, "resumed_partitions")) == (2, 0)
    assert count(first, "replayed_records") == 2  # those at the watermarks, to know the log by
    assert count(second, "replayed_records") == 120
    checks = first.metrics.watermark_checks.labels("same")._value.get()
    assert checks == 2
    await second.stop()
    await owns(first, range(PARTITIONS))
    assert count(first, "resumed_partitions") == 4
    await first.stop()
    assert await world.is_exact()


async def test_what_somebody_else_counted_meanwhile_is_not_in_memory() -> None:
    world = world_of(1)
    life = await Life(world).start()
    await life.until(world.caught_up)
    await life.worker.on_revoked([0])
    put_rest(world)
    other = await Life(world, group="others").start()
    await other.until(world.caught_up)
    await other.stop()
    await life.worker.on_assigned([0])
    await owns(life, [0])
    assert count(life, "resumed_partitions") == 0
    await life.until(lambda: life.worker._owned[0].remembered == world.end())
    await life.stop()
    assert await world.is_exact()


class Counting(MemoryStore):
    """Counts the windows that came to be in memory, while one is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[int] = []
        self._before = windows()

    async def parts(self, partition: int) -> Collection[int]:
        self.windows.append(windows() - self._before)
        return await super().parts(partition)


def windows() -> int:
    gc.collect()
    return alive(Window)


async def test_what_is_worthless_is_forgotten_before_as_much_is_loaded() -> None:
    world = world_of(1)
    world.store = store = Counting()
    life = await Life(world, store=store).start()
    await life.until(world.caught_up)
    await life.worker.on_revoked([0])
    put_rest(world)
    await counted(world, group="others")
    store.windows.clear()
    await life.worker.on_assigned([0])
    await owns(life, [0])
    assert store.windows == [1]
    await life.stop()


async def test_nothing_is_kept_of_a_partition_that_went_to_another() -> None:
    world = world_of()
    first = await Life(world).start()
    await first.until(world.caught_up)
    second = await Life(world).start()
    await owns(first, [0, 1])
    assert first.worker._parked == {}
    await second.stop()
    await first.stop()


async def test_a_log_that_was_written_anew_meanwhile_halts() -> None:
    world = world_of(1)
    life = await Life(world).start()
    await life.until(world.caught_up)
    await life.worker.on_revoked([0])
    last = world.log.records(LOG, 0)[-1]
    world.log.cut(LOG, 0, last.offset)
    changed = log_of(0, 1)[59]
    world.put([changed._replace(timestamp=changed.timestamp + 1), *log_of(0, 1)[60:]])
    await life.worker.on_assigned([0])
    await life.until(lambda: bool(life.worker.halted))
    assert life.worker.halted[0].code == "log_rewritten"
    await life.stop()


class Slow(MemoryStore):
    """Answers what is stored of videos when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
        self.asked.set()
        await self.answer.wait()
        return await super().load(partition, videos)


@pytest.mark.parametrize("late", [False, True])
async def test_nothing_is_kept_of_a_partition_that_left_while_its_videos_were_read(
    monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    """What a released partition is given then is empty rows, in place of those stored."""
    monkeypatch.setattr("streams.runtime.worker.HANDOVER_S", 0.05)
    world = world_of(1, videos_in_memory=1)
    world.store = store = Slow()
    life = await Life(world, store=store).start()
    await life.until(world.caught_up)
    store.answer.clear()
    store.asked.clear()
    put_rest(world)
    await life.until(store.asked.is_set)
    leaving = asyncio.create_task(life.worker.on_revoked([0]))
    await asyncio.sleep(0)
    if not late:
        store.answer.set()
    await leaving
    store.answer.set()
    await life.worker.on_assigned([0])
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()
    assert count(life, "resumed_partitions") == 0


@pytest.mark.parametrize("seed", range(6))
async def test_members_come_and_go_and_every_counter_is_exact(seed: int) -> None:
    """Small generations and memory of few videos: ids and rows are read again and again."""
    random = Random(seed)
    changes: dict[str, Any] = {"generation_records": 25, "videos_in_memory": 4}
    world = World(PARTITIONS, **changes)
    left = {p: log_of(p, events=240) for p in range(PARTITIONS)}
    every = [await Life(world, batch=random.randrange(1, 60)).start()]
    lives = [*every]
    while any(left.values()):
        for partition, records in left.items():
            size = random.randrange(1, 40)
            world.put(records[:size])
            left[partition] = records[size:]
        for _ in range(random.randrange(60)):
            await asyncio.sleep(0)
        if len(lives) > 1 and random.random() < 0.5:
            await lives.pop(random.randrange(len(lives))).stop()
        elif len(lives) < 4:
            every.append(await Life(world, batch=random.randrange(1, 60)).start())
            lives.append(every[-1])
    await lives[0].until(world.caught_up)
    for life in lives:
        await life.stop()
    assert await world.is_exact()
    assert sum(count(life, "resumed_partitions") for life in every) > 0
    alone = World(PARTITIONS, **changes)
    for partition in range(PARTITIONS):
        alone.put(log_of(partition, events=240))
    assert world.outcome() == (await counted(alone)).outcome()


async def test_what_somebody_else_took_is_freed_without_the_collector() -> None:
    world = world_of(1)
    life = await Life(world).start()
    await life.until(world.caught_up)
    with without_collector():
        before = alive(PartitionState)
        world.store.partitions[0].watermark -= 1
        put_rest(world)
        await life.until(lambda: count(life, "flush_conflicts") > 0)
        await life.until(world.caught_up)
        assert alive(PartitionState) == before
    await life.stop()
    assert await world.is_exact()


async def test_what_a_worker_let_go_is_given_back_once_others_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float] = []
    world = world_of(1)
    life = await Life(world).start()
    await life.until(world.caught_up)
    monkeypatch.setattr(collector, "_give_back", lambda: given.append(0))
    monkeypatch.setattr(collector, "SOON_S", 0.0)
    await life.worker.on_revoked([0])
    await life.until(lambda: bool(given))
    await life.stop()

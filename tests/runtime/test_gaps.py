"""When partitions store what is folded: at once, one flush at a time, and less often under load."""

from asyncio import Event
from collections.abc import Mapping, Sequence
from typing import Any

from kit.events import interaction_record, like, synthetic_log, videos_of
from kit.twins import Life, MortalConsumer, World

from streams.errors import Retry
from streams.runtime.memory.store import MemoryStore
from streams.runtime.ports import FlushResult, Record
from streams.runtime.worker import FETCH_BUSY_MS, FETCH_MS

LOG_OF_ALL = synthetic_log(seed=11, videos=8, events=420)
HOUR_MS = 3_600_000


class Gate(MemoryStore):
    """A store that notes the offsets of flushes, and answers those of a partition while open."""

    def __init__(self, shut: int | None = None) -> None:
        super().__init__()
        self.flushed: list[int] = []
        self.opened = Event()
        self.shut = shut

    async def flush(self, partition: int, *arguments: Any) -> FlushResult:
        self.flushed.append(arguments[2])
        if partition == self.shut:
            await self.opened.wait()
        return await super().flush(partition, *arguments)


class Away(MemoryStore):
    """A store that takes nothing of partition 0."""

    async def flush(self, partition: int, *arguments: Any) -> FlushResult:
        if partition == 0:
            raise Retry("Redis does not answer")
        return await super().flush(partition, *arguments)


class Patient(MortalConsumer):
    """A consumer that notes how long it may wait for records."""

    patience: Sequence[int] = ()

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[int, Sequence[Record]]:
        self.patience = [*self.patience, timeout_ms]
        return await super().fetch(timeout_ms, max_records)


def world_with(store: MemoryStore, partitions: int = 1, **changes: object) -> World:
    world = World(partitions, **({"flush_interval_ms": HOUR_MS} | changes))  # type: ignore[arg-type]
    world.store = store
    return world


def put_in_each(world: World, number: int) -> None:
    """Write one event to each partition of a world."""
    homes = [videos_of(p, world.partitions, 1)[0] for p in range(world.partitions)]
    world.put(
        interaction_record(like(f"e{number}", viewer=f"u{number}", video=video), number)._replace(
            partition=partition
        )
        for partition, video in enumerate(homes)
    )


async def test_what_is_folded_is_stored_at_once_where_nothing_else_is_to_be_done() -> None:
    world = world_with(store := Gate())
    life = await Life(world, store=store).start()
    for count in (1, 2, 3):
        world.put([LOG_OF_ALL[count - 1]])
        await life.until(world.caught_up)
    assert store.flushed == [0, 1, 2]
    await life.stop()


async def test_one_flush_of_a_partition_is_under_way_and_the_next_has_all_that_came_meanwhile() -> (
    None
):
    world = world_with(store := Gate(shut=0))
    life = await Life(world, store=store).start()
    for record in LOG_OF_ALL[:10]:
        world.put([record])
        await life.until(lambda: life.worker.positions().get(0) == world.end() + 1)
    assert store.flushed == [0]
    store.opened.set()
    await life.until(world.caught_up)
    assert store.flushed == [0, 9]
    await life.stop()
    assert await world.is_exact()


async def test_while_more_is_to_be_read_a_partition_waits_for_the_interval() -> None:
    world = world_with(store := Gate(), fetch_records=20)
    world.put(LOG_OF_ALL)
    life = await Life(world, store=store).start()
    await life.until(world.caught_up)
    await life.stop()
    assert store.flushed == [world.end()]
    assert await world.is_exact()


async def test_partitions_that_have_something_to_store_share_what_a_worker_flushes() -> None:
    world = world_with(store := Gate(), 2)
    now = [100.0]
    life = await Life(world, store=store, clock=lambda: now[0]).start()
    put_in_each(world, 0)
    await life.until(world.caught_up)
    put_in_each(world, 1)
    for after_s in (0.0, 0.008):
        now[0] = 100.0 + after_s
        steps = life.dead.steps
        await life.until(lambda steps=steps: life.dead.steps > steps + 20)
        assert store.flushed == [0, 0]
    now[0] = 100.011
    await life.until(world.caught_up)
    await life.stop()
    assert store.flushed == [0, 0, 1, 1]


async def test_a_partition_whose_store_is_away_costs_the_others_no_time() -> None:
    world = world_with(store := Away(), 2)
    now = [100.0]
    life = Life(world, store=store, clock=lambda: now[0], consumer=Patient)
    await life.start()
    put_in_each(world, 0)
    consumer = life.consumer
    assert isinstance(consumer, Patient)
    await life.until(lambda: world.watermark(1) == 0 and consumer.patience[-1] == FETCH_MS)
    assert FETCH_BUSY_MS in consumer.patience
    put_in_each(world, 1)
    now[0] += 0.006  # more than the gap of one, less than that of two
    await life.until(lambda: world.watermark(1) == 1)
    assert world.watermark(0) == -1
    await life.stop()

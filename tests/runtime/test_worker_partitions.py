"""A partition that leaves or halts: it takes nothing more, and the others go on."""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kit.events import synthetic_log
from kit.twins import LOG, Life, MortalConsumer, World, counted

from streams.runtime.ports import Offsets


class Stubborn(MortalConsumer):
    """Tells where a log begins and ends even if whoever asked is cancelled, but not yet."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked_times = 0

    async def offsets(self, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        self.asked_times += 1
        if self.asked_times == 1:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return await super().offsets(partitions)


class Fallen(MortalConsumer):
    """Tells an end of before at first, as a broker does that does not know yet who leads."""

    asked = itertools.count()

    async def offsets(self, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        bounds = await super().offsets(partitions)
        if next(self.asked) > 1:
            return bounds
        return {partition: Offsets(one.start, one.end - 40) for partition, one in bounds.items()}


async def test_a_log_that_ends_too_early_is_asked_for_again_before_it_is_taken_to_be_cut() -> None:
    world = World()
    log = synthetic_log(seed=3, videos=4, events=200)
    world.put(log[:100])
    await counted(world)
    world.put(log[100:])
    life = await Life(world, consumer=Fallen, clock=time.monotonic).start()
    await life.until(lambda: world.caught_up() or bool(life.worker.halted))
    assert not life.worker.halted
    await life.stop()


async def test_what_was_revoked_takes_no_more_records() -> None:
    world = World()
    world.put(synthetic_log(seed=3, videos=4, events=200))
    life = await Life(world).start()
    await life.until(lambda: bool(life.worker.positions()))
    owned = life.worker._owned[0]
    await life.worker.on_revoked([0])
    folded, end = owned.folded, world.end()
    owned.backlog.clear()
    more = synthetic_log(seed=4, videos=4, events=20)
    owned.add([one._replace(offset=end + 1 + n) for n, one in enumerate(more)])
    await owned.work()
    assert owned.released
    assert owned.folded == folded
    assert life.worker.positions() == {}
    await life.stop()


async def test_a_position_that_left_the_log_halts_its_partition_and_the_others_go_on() -> None:
    world = World(partitions=2)
    logs = [
        synthetic_log(seed=5 + p, videos=4, events=100, partition=p, partitions=2) for p in (0, 1)
    ]
    for records in logs:
        world.put(records[:50])
    life = await Life(world).start()
    await life.until(world.caught_up)
    world.log.forget(LOG, 0, world.end(0) + 10)
    world.put(logs[1][50:])
    await life.until(lambda: bool(life.worker.halted) and world.watermark(1) == world.end(1))
    assert [*life.worker.halted] == [0]
    assert world.watermark(1) == world.end(1)
    await life.stop()


async def being_opened() -> tuple[World, Life]:
    """A worker that opens its partition, and is told of nothing that ends that."""
    world = World()
    world.put(synthetic_log(seed=3, videos=4, events=200))
    life = await Life(world, consumer=Stubborn).start()
    assert isinstance(life.consumer, Stubborn)
    await life.until(lambda: life.consumer.asked_times == 1)
    return world, life


async def test_who_let_go_of_a_partition_does_not_open_it_though_its_cancellation_is_lost() -> None:
    _, life = await being_opened()
    [opening] = life.worker._opening.values()
    await life.worker.on_revoked([0])
    await life.until(opening.done)
    assert life.worker.positions() == {}
    await life.stop()


async def test_who_opens_a_partition_again_does_so_once_though_a_cancellation_is_lost() -> None:
    world, life = await being_opened()
    await life.worker.on_assigned([0])
    await life.until(world.caught_up)
    assert world.caught_up()
    await life.stop()

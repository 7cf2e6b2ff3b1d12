"""A partition that stands still with work to do ends its worker, and nothing else does."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from kit.events import synthetic_log
from kit.patience import PATIENCE_S
from kit.twins import LOG, Life, World

from streams.errors import Halt, Retry
from streams.runtime import watchdog
from streams.runtime.dependencies import Dependency
from streams.runtime.memory import MemoryStore
from streams.runtime.ports import FlushResult, Record
from streams.runtime.watchdog import LOOKS

STUCK_MS = 60
RECORDS = synthetic_log(seed=3, videos=4, events=200)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HANDOVER_S", "GRACE_S"):
        monkeypatch.setattr(f"streams.runtime.worker.{name}", 0.02)


class Refusing(MemoryStore):
    """Takes no flush, and says why or says nothing."""

    def __init__(self, why: str | None) -> None:
        super().__init__()
        self.why = why

    async def flush(self, *_: Any) -> FlushResult:
        if self.why is None:
            await asyncio.Event().wait()
        raise Retry(self.why)


def world_of(stuck_after_ms: int = STUCK_MS, partitions: int = 1) -> World:
    world = World(partitions, stuck_after_ms=stuck_after_ms)
    world.put(RECORDS)
    return world


async def looked(life: Life, times: int = LOOKS) -> None:
    for _ in range(times + 1):
        await life.worker.watchdog.look()


async def ended(life: Life) -> Halt:
    """Return what a worker ends with by itself."""
    await life.until(lambda: False)
    assert life.task is not None
    with pytest.raises(Halt) as halt:
        await life.task
    return halt.value


@pytest.mark.parametrize("why", [None, "MISCONF: cannot persist"])
async def test_a_worker_whose_counters_are_never_stored_ends_and_says_what_it_waits_for(
    why: str | None,
) -> None:
    life = await Life(world_of(), store=Refusing(why)).start()
    halt = await ended(life)
    assert halt.code == "stuck"
    text = f"STUCK partition 0 has stood still at offset 0 of {len(RECORDS)}"
    assert str(halt).startswith(text)
    assert why is None or why in str(halt)


async def test_a_partition_whose_records_never_come_ends_its_worker() -> None:
    life = await Life(world_of()).start()
    life.consumer.resume = lambda _: None  # type: ignore[method-assign] # a client that forgot
    await life.until(life.world.caught_up)
    life.consumer.pause([0])
    life.world.put([one._replace(offset=len(RECORDS) + n) for n, one in enumerate(RECORDS)])
    assert f"at offset {len(RECORDS)} of {2 * len(RECORDS)}" in str(await ended(life))


async def test_it_is_called_stuck_at_half_time_and_a_move_ends_that() -> None:
    life = await Life(world_of(10**9), store=Refusing("no")).start()
    await life.until(lambda: bool(life.worker._owned) and life.worker._owned[0].trouble == "no")
    guard = life.worker.watchdog
    await looked(life, LOOKS // 2 - 1)
    assert guard.stuck() == []
    await looked(life, 0)
    assert len(guard.stuck()) == 1
    life.worker._owned[0].remembered += 1
    await looked(life, 0)
    assert guard.stuck() == []
    await life.bury()


async def test_a_worker_that_has_counted_everything_may_stand_still() -> None:
    world = world_of()
    life = await Life(world).start()
    await life.until(world.caught_up)
    await looked(life)
    assert life.worker.watchdog.stuck() == life.worker.watchdog.unready() == []
    await life.stop()


async def test_markers_behind_the_last_record_are_nothing_to_count() -> None:
    world = world_of()
    life = await Life(world).start()
    await life.until(world.caught_up)
    world.log.restore([RECORDS[0]._replace(offset=len(RECORDS) + 3)])
    world.log.forget(LOG, 0, len(RECORDS) + 4)
    life.consumer._positions[0] = world.log.offsets(LOG, 0).end  # as Kafka's, past the markers
    await looked(life)
    assert life.worker.watchdog.stuck() == []
    await life.stop()


async def test_a_halted_partition_makes_no_worker_stuck_and_none_ready() -> None:
    world = world_of(partitions=2)
    life = await Life(world).start()
    await life.until(lambda: world.watermark(0) == world.end(0))
    world.log.forget(LOG, 0, world.end(0) + 10)
    await life.until(lambda: bool(life.worker.halted))
    await looked(life)
    guard = life.worker.watchdog
    assert guard.stuck() == []
    (line,) = guard.unready()
    assert line.startswith("partition 0 is halted (data_loss): ")
    await life.stop()


async def test_while_redis_is_gone_nobody_is_stuck_and_then_the_time_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redis = Dependency("Redis", lambda: 0.0)
    redis.watched = True
    monkeypatch.setattr(watchdog, "DEPENDENCIES", (redis,))
    life = await Life(world_of(10**9), store=Refusing("no")).start()
    await life.until(lambda: bool(life.worker._owned) and life.worker._owned[0].trouble == "no")
    await looked(life)
    assert life.worker.watchdog.stuck() != []
    redis.failed("refused")
    await looked(life)
    assert life.worker.watchdog.stuck() == []
    await life.bury()


async def test_a_partition_without_a_leader_is_not_stuck() -> None:
    world = world_of(10**9)
    life = await Life(world, store=Refusing("no")).start()
    await life.until(lambda: bool(life.worker._owned))

    async def nobody(_: Sequence[int]) -> Mapping[int, object]:
        return {}

    life.consumer.offsets = nobody  # type: ignore[assignment] # no broker leads it
    await looked(life)
    assert life.worker.watchdog.stuck() == []
    await life.bury()


async def test_a_worker_stops_though_a_look_swallows_that_it_is_to_end() -> None:
    world = world_of()
    life = await Life(world).start()
    await life.until(world.caught_up)
    looking = asyncio.Event()

    async def swallow(_: Sequence[int]) -> Mapping[int, object]:
        if not looking.is_set():
            looking.set()
            with suppress(asyncio.CancelledError):  # as `asyncio.wait_for` of Python 3.11 may
                await asyncio.Event().wait()
        return {}

    life.consumer.offsets = swallow  # type: ignore[assignment]
    await looking.wait()
    async with asyncio.timeout(PATIENCE_S):
        await life.stop()


async def test_a_stuck_worker_ends_though_a_turn_swallows_that_it_is_to_end() -> None:
    life = await Life(world_of(), store=Refusing("no")).start()
    await life.until(lambda: bool(life.worker._owned))

    turns = itertools.count()

    async def swallow(*_: int) -> Mapping[int, Sequence[Record]]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # as above
            if next(turns):
                raise
        return {}

    life.consumer.fetch = swallow  # type: ignore[method-assign]
    assert (await ended(life)).code == "stuck"


class Slow(MemoryStore):
    """Never tells what is stored of a partition."""

    async def meta(self, *_: Any) -> None:
        await asyncio.Event().wait()


async def test_a_partition_that_is_never_opened_is_not_ready_and_in_the_end_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.runtime.worker.ANSWER_S", 0.01)
    life = await Life(world_of(10**9), store=Slow()).start()
    await looked(life)
    guard = life.worker.watchdog
    assert guard.unready() == ["partitions [0] are not open yet"]
    (line,) = guard.stuck()
    assert line.startswith("partition 0 has not been opened for ")
    await life.bury()


async def test_a_worker_without_partitions_is_not_ready() -> None:
    world = world_of()
    first, second = await Life(world).start(), await Life(world).start()
    await first.until(lambda: bool(first.worker._owned))
    assert first.worker.watchdog.unready() == []
    assert second.worker.watchdog.unready() == ["the group has given this worker no partition"]
    await second.stop()
    await first.stop()


async def test_reading_ids_again_is_a_move() -> None:
    world = world_of()
    life = await Life(world).start()
    await life.until(world.caught_up)
    await life.stop()
    again = await Life(world, batch=20).start()
    marks = set()

    def moved() -> bool:
        marks.update((one.watermark, one.remembered) for one in again.worker._owned.values())
        return len(marks) > 3

    await again.until(moved)
    assert len({watermark for watermark, _ in marks}) == 1
    await again.stop()


async def test_with_0_nothing_ever_ends_a_worker() -> None:
    life = await Life(world_of(0), store=Refusing("no")).start()
    await life.until(lambda: bool(life.worker._owned) and life.worker._owned[0].trouble == "no")
    assert life.task is not None
    assert not life.task.done()
    assert life.worker.watchdog.stuck() == []
    await life.bury()

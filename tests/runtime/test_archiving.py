"""Videos leave Redis for the archive and return: whatever breaks, every counter stays exact."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pytest
from kit.events import FIXED, NOW, Logged, admit, policy, records_of, synthetic_log, view
from kit.twins import LOG, Life, World, counted, counted_with_a_death

from streams.core.events import LogRecord
from streams.core.quiet import DAY_MS
from streams.core.state import Changes, PartitionState
from streams.errors import Halt
from streams.ops.rebuild import plan_rebuild, restart_partition
from streams.runtime import archive
from streams.runtime.archiving import Archiver, Archiving
from streams.runtime.memory import (
    MemoryDossiers,
    MemoryProducer,
    MemoryServingIndex,
    MemoryStore,
)
from streams.runtime.metrics import Metrics
from streams.runtime.ports import FlushResult
from streams.runtime.rows import StoredRows
from streams.runtime.serving import Indexing

ALL_QUIET_MS = -10_000 * DAY_MS
"""Quiet is what did not change since the sweep before."""
LOG_OF_ALL = synthetic_log(3, 12, 500)
WEEK_MS = 7 * DAY_MS


def world_of(records: Sequence[Logged] = LOG_OF_ALL, **changes: object) -> World:
    world = World(1, **{"generation_records": 100, **changes})  # type: ignore[arg-type]
    world.put(records)
    return world


async def rows_of(world: World) -> Mapping[str, Mapping[str, bytes]]:
    return await world.whole(world.store).scan(0)


def count(life: Life, name: str) -> float:
    return life.metrics.registry.get_sample_value(f"streams_{name}_total") or 0


async def counted_by(world: World, **more: Any) -> Life:
    life = await Life(world, **more).start()
    await life.until(world.caught_up)
    await life.stop()
    return life


async def is_as_if_all_had_stayed(world: World, records: Sequence[Logged] = LOG_OF_ALL) -> bool:
    stayed = await counted(world_of(records))
    assert await rows_of(world) == stayed.rows()[0]
    assert world.outcome()[:-1] == stayed.outcome()[:-1]
    stored = world.store.partitions[0]
    assert not stored.rows.keys() & stored.pointers.keys()
    return await world.is_exact()


@pytest.mark.parametrize("videos_in_memory", [1, 200_000])
async def test_videos_that_come_and_go_are_counted_as_if_they_had_stayed(
    videos_in_memory: int,
) -> None:
    world = world_of(videos_in_memory=videos_in_memory)
    life = await counted_by(world, batch=5, quiet_ms=ALL_QUIET_MS)
    assert count(life, "archived_videos") > 20
    assert count(life, "returned_videos") > 20
    assert (count(life, "archive_reads") > 20) == (videos_in_memory == 1)
    assert await is_as_if_all_had_stayed(world)


async def test_whoever_takes_over_reads_what_left_before() -> None:
    world = world_of(LOG_OF_ALL[:150])
    await counted_by(world, batch=5, quiet_ms=ALL_QUIET_MS)
    assert world.store.partitions[0].pointers
    world.put(LOG_OF_ALL[150:])
    life = await counted_by(world)  # and has nothing leave itself
    assert count(life, "archive_reads") == count(life, "returned_videos") > 0
    assert await is_as_if_all_had_stayed(world)


async def test_a_worker_that_dies_at_any_step_loses_no_video() -> None:
    log = synthetic_log(5, 5, 90)
    for dies_at in numbers(1, 3):
        world = world_of(log)
        died = await counted_with_a_death(world, dies_at, batch=4, quiet_ms=ALL_QUIET_MS)
        assert await is_as_if_all_had_stayed(world, log), f"dies at step {dies_at}"
        if not died:
            assert dies_at > 60
            return


# ------------------------------------------------------------------ who leaves, and when


def days(*events: LogRecord) -> list[Logged]:
    """Return the log of an old video, and of these events of others."""
    first = [policy(), admit(video="old"), view("e1", video="old"), admit("admit-2", video="new")]
    return timely([*first, *events])


def timely(events: Sequence[LogRecord], first_offset: int = 0) -> list[Logged]:
    """Return records that came when all of this had happened."""
    return [
        one._replace(offset=one.offset + first_offset, timestamp=NOW + 100 * DAY_MS)
        for one in records_of(events)
    ]


def on_day(day: int, name: str, video: str = "new") -> LogRecord:
    return view(name, video=video, viewer=name, ts=NOW + day * DAY_MS)


async def settled_with(world: World, **more: Any) -> Life:
    """Count the log with a flush for each record, and go on until nobody leaves any more."""
    return await counted_by(world, batch=1, quiet_ms=WEEK_MS, **more)


async def test_a_video_leaves_when_nothing_happened_for_so_many_days_of_event_time() -> None:
    later = [on_day(6, "e2"), on_day(7, "e3"), on_day(8, "e4"), on_day(8, "e5"), on_day(8, "e6")]
    world = world_of(days(*later[:2]))
    await settled_with(world)
    assert world.store.partitions[0].rows.keys() == {"old", "new"}
    world = world_of(days(*later))
    await settled_with(world)
    assert world.store.partitions[0].rows.keys() == {"new"}
    assert world.store.partitions[0].pointers.keys() == {"old"}


async def test_who_was_named_and_is_quiet_no_more_stays() -> None:
    world = await counted(world_of(days()))
    state = PartitionState(0, 1, 100, world.meta())
    rules = Archiving(
        world.store, MemoryProducer(world.log), "archive", WEEK_MS, 1 << 20, every_s=0.0
    )
    archiver, watermark = Archiver(rules, state), world.watermark()
    for day, left in ((0, set[str]()), (8, {"old", "new"})):
        state.event_time = NOW + 8 * DAY_MS
        archiver.turn()
        for _ in range(9):
            await asyncio.sleep(0)
        meta = world.meta()._replace(event_time=NOW + day * DAY_MS)
        changes = await archiver.leaving(watermark, watermark + 1, Changes(0, {}, meta))
        assert changes.departed.keys() == left


async def test_without_days_nobody_leaves() -> None:
    world = world_of()
    life = await counted_by(world, batch=5)
    assert count(life, "archived_videos") == 0
    assert not world.store.partitions[0].pointers


async def test_what_returned_is_told_to_go_from_the_archive_when_that_is_stored() -> None:
    later = [on_day(8, f"e{number}") for number in range(2, 9)]
    back = [on_day(8, "e9", "old"), on_day(8, "e10", "old")]
    world = world_of(days(*later, *back))
    await settled_with(world)
    record, tombstone = world.sent("archive")
    assert record.key is not None
    assert record.key.startswith(b"old@")
    assert (tombstone.key, tombstone.value) == (record.key, None)
    assert world.store.partitions[0].rows.keys() == {"old", "new"}
    assert not world.store.partitions[0].pointers


async def test_rows_that_no_record_holds_stay() -> None:
    world = world_of(days(*(on_day(8, f"e{number}") for number in range(2, 9))))
    life = Life(world, batch=1, quiet_ms=WEEK_MS, archived_bytes=100)
    await life.start()
    await life.until(world.caught_up)
    await life.stop()
    assert world.store.partitions[0].rows.keys() == {"old", "new"}
    assert not world.sent("archive")


# ------------------------------------------------------------------ what breaks


class Refusing(MemoryStore):
    """A store that another owner moved, when somebody leaves."""

    async def flush(
        self, partition: int, namespace: str, expected: int, new: int, changes: Changes
    ) -> FlushResult:
        if changes.departed:
            self.partitions[partition].watermark -= 1  # as one that fell back
        return await super().flush(partition, namespace, expected, new, changes)


async def test_a_flush_that_comes_too_late_has_nobody_leave() -> None:
    world = world_of(days(*(on_day(8, f"e{number}") for number in range(2, 9))))
    world.store = Refusing()
    life = await Life(world, batch=1, quiet_ms=WEEK_MS).start()
    await life.until(lambda: len(world.sent("archive")) > 1)
    await life.bury()
    assert world.store.partitions[0].rows.keys() == {"old", "new"}
    assert not world.store.partitions[0].pointers


async def test_an_archive_that_takes_nothing_keeps_nothing_from_being_counted() -> None:
    world = world_of()
    world.log.leaderless.add(("archive", 0))
    life = await counted_by(world, batch=5, quiet_ms=ALL_QUIET_MS)
    assert count(life, "archived_videos") == 0
    assert await is_as_if_all_had_stayed(world)


async def gone_quiet() -> World:
    """Return a world in which `old` is archived, and something happens to it."""
    world = world_of(days(*(on_day(8, f"e{number}") for number in range(2, 9))))
    await settled_with(world)
    assert world.store.partitions[0].pointers.keys() == {"old"}
    world.put(timely([on_day(8, "e20", "old")], 20))
    return world


@pytest.mark.usefixtures("impatient")
async def test_what_the_archive_does_not_answer_is_waited_for() -> None:
    world = await gone_quiet()
    world.log.leaderless.add(("archive", 0))
    life = await Life(world).start()
    await life.until(lambda: count(life, "read_retries") > 1)
    assert world.watermark() < 20
    world.log.leaderless.clear()
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SILENT_TRIES", 1)
    monkeypatch.setattr(archive, "FETCH_MS", 1)


def made_again(world: World) -> None:
    world.log.create("archive", 1)


def another(world: World) -> None:
    [record] = world.sent("archive")
    made_again(world)
    world.log.restore([Logged("archive", 0, record.offset, NOW, record.key, b"{}", ())])


def compacted(world: World) -> None:
    world.log.forget("archive", 0, 1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("lose", [made_again, another, compacted])
async def test_what_the_archive_has_no_longer_halts_and_is_not_counted_from_nothing(
    lose: Any,
) -> None:
    world = await gone_quiet()
    lose(world)
    life = await Life(world).start()
    await life.until(lambda: life.worker.halted)
    halt = life.worker.halted[0]
    await life.stop()
    assert halt.code == "archive_lost"
    assert "the rows of old left Redis for offset 0 of archive[0]" in str(halt)
    assert "`streams counters rebuild --partition 0 --yes`" in str(halt)
    assert "old" not in world.store.partitions[0].rows
    with pytest.raises(Halt, match="left Redis for offset 0"):
        await world.verified()


async def test_a_store_whose_archive_nobody_reads_halts_too() -> None:
    world = await gone_quiet()
    life = await Life(world, store=world.store).start()
    await life.until(lambda: life.worker.halted)
    await life.stop()
    assert "1 videos are in the archive, which is not read here" in str(life.worker.halted[0])


async def test_redis_that_falls_back_to_before_somebody_left_goes_on_with_the_rows_it_has() -> None:
    world = world_of(LOG_OF_ALL[:150])
    await counted_by(world, batch=20)
    before = world.store.partitions[0]
    world.store.partitions[0] = type(before)(
        before.namespace, before.watermark, before.meta, dict(before.rows)
    )
    kept = {video: dict(fields) for video, fields in before.rows.items()}
    world.put(LOG_OF_ALL[150:])
    await counted_by(world, batch=5, quiet_ms=ALL_QUIET_MS)
    assert world.sent("archive")
    world.store.partitions[0] = type(before)(before.namespace, before.watermark, before.meta, kept)
    await counted_by(world)
    assert await is_as_if_all_had_stayed(world)


# ------------------------------------------------------------------ who reads it all


async def test_a_snapshot_has_what_left_and_brings_it_back(tmp_path: Path) -> None:
    world = world_of()
    await counted_by(world, batch=5, quiet_ms=ALL_QUIET_MS)
    assert world.store.partitions[0].pointers
    taken = await world.snapshot(tmp_path)
    assert not taken.verification.differences, taken.verification.examples
    world.log.forget(LOG, 0, world.end())
    log = world.counted_log(tmp_path)
    plan = await plan_rebuild(log)
    assert plan.kept.keys() == {0}
    await restart_partition(log, MemoryDossiers(), 0, plan)
    assert not world.store.partitions[0].pointers
    assert world.rows()[0] == (await counted(world_of())).rows()[0]


async def test_the_first_snapshot_of_a_log_without_its_beginning_has_what_left(
    tmp_path: Path,
) -> None:
    world = world_of(generation_records=10)
    await counted_by(world, batch=5, quiet_ms=ALL_QUIET_MS)
    before = await rows_of(world)
    world.log.forget(LOG, 0, 100)
    assert (await world.snapshot(tmp_path)).made
    log = world.counted_log(tmp_path)
    await restart_partition(log, MemoryDossiers(), 0, await plan_rebuild(log))
    assert world.rows()[0] == before


async def test_feeds_show_nothing_that_left_and_all_of_it_once_it_returned() -> None:
    world = world_of(days(*(on_day(8, f"e{number}") for number in range(2, 9))))
    index = MemoryServingIndex()
    rows = StoredRows(world.whole(world.store), world.namespace, 1)

    async def counted_and_told(**more: Any) -> set[tuple[str, str]]:
        indexing = Indexing(index, Metrics(), rows.tell)
        life = await Life(world, batch=1, indexing=indexing, **more).start()
        await life.until(world.caught_up)
        await life.stop()
        shown = {slice_id: await index.top(slice_id, 10) for slice_id in FIXED.slices}
        return {(slice_id, one.video) for slice_id, some in shown.items() for one in some}

    both = await counted_and_told()
    old = {(slice_id, video) for slice_id, video in both if video == "old"}
    assert len(old) > 2
    world.put(timely([on_day(8, "e20")], 20))
    assert await counted_and_told(quiet_ms=WEEK_MS) == both - old
    assert world.store.partitions[0].pointers.keys() == {"old"}
    world.put(timely([on_day(8, "e30", "old")], 30))
    assert await counted_and_told() == both


async def test_an_installation_that_goes_on_for_long_holds_only_what_is_alive() -> None:
    """Two new videos a day, each seen on two days, for sixty days: no more than ten days stay."""
    events: list[LogRecord] = [policy()]
    for day in range(60):
        today = [f"d{day}-{number}" for number in range(2)]
        before = [f"d{day - 1}-{number}" for number in range(2)] if day else []
        events += [admit(f"admit-{name}", video=name, band=0) for name in today]
        events += [on_day(day, f"e{day}-{name}", name) for name in (*before, *today)]
    world, index, sizes = (
        world_of(timely(events), videos_in_memory=10),
        MemoryServingIndex(),
        [],
    )
    life = await Life(world, batch=4, quiet_ms=WEEK_MS, indexing=Indexing(index, Metrics())).start()

    def note() -> bool:
        if (stored := world.store.partitions.get(0)) is not None:
            sizes.append(len(stored.rows))
        return world.caught_up()

    await life.until(note)
    await life.stop()
    stored = world.store.partitions[0]
    assert len(stored.rows) + len(stored.pointers) == 120
    assert max(sizes) <= 2 * 10
    shown = {
        video
        for known in index._slices.values()
        for video, pair in known.pairs.items()
        if pair.entry.score is not None
    }
    assert shown <= stored.rows.keys()
    assert await world.is_exact()

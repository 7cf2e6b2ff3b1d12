"""Full parts of the window: stored as they fill, loaded by whoever takes over, else read again."""

import itertools
import logging
from copy import deepcopy
from random import Random

import pytest
from kit.events import synthetic_log
from kit.twins import LOG, Life, World, counted, counted_with_a_death

from streams.core.generations import read_generations
from streams.core.window import REPLAYED_GENERATIONS, Part
from streams.errors import Retry
from streams.runtime.part_store import StoredPart
from streams.runtime.window_store import read_part, write_part

GENERATION = 60
RECORDS = [
    one._replace(offset=offset)
    for offset, one in enumerate(
        record
        for number, record in enumerate(synthetic_log(3, videos=8, events=1_500))
        for _ in range(2 if number % 6 == 0 else 1)
    )
]
PART_RECORDS = [GENERATION, 25]
"""Generations of one part, and of several."""


@pytest.fixture(params=PART_RECORDS)
def part_records(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("streams.core.generations.PART_RECORDS", request.param)
    return int(request.param)


def world_of(upto: int | None = None, **changes: object) -> World:
    world = World(generation_records=GENERATION, **changes)  # type: ignore[arg-type]
    world.put(RECORDS[:upto])
    return world


OUTCOMES: list[tuple[object, ...]] = []


async def outcome() -> tuple[object, ...]:
    """What must come out, whatever happens; by one worker, that keeps ids in sets."""
    if not OUTCOMES:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("streams.core.generations.PART_RECORDS", 1_000_000)
            OUTCOMES.append((await counted(world_of(), batch=31)).outcome())
    return OUTCOMES[0]


def replayed(life: Life) -> float:
    return life.metrics.registry.get_sample_value("streams_replayed_records_total") or 0


def remembers(life: Life, offset: int) -> bool:
    """Tell whether a worker owns the partition, with the ids up to an offset."""
    owned = life.worker._owned.get(0)
    return owned is not None and owned.remembered == offset


async def takes_over(world: World) -> Life:
    """Let another worker count the rest of the log."""
    world.put(RECORDS[world.end() + 1 :])
    life = await Life(world, batch=17).start()
    await life.until(world.caught_up)
    await life.stop()
    return life


async def test_a_takeover_reads_the_part_of_the_watermark_and_no_other(part_records: int) -> None:
    world = await counted(world_of(350), batch=31)
    life = await takes_over(world)
    in_its_part = 349 % GENERATION % part_records + 1
    assert replayed(life) == in_its_part
    assert world.outcome() == await outcome()
    assert await world.is_exact()


@pytest.mark.usefixtures("part_records")
async def test_at_any_watermark_a_takeover_counts_the_same() -> None:
    expected = await outcome()
    world = world_of(0)
    for upto in range(7, len(RECORDS), 29):
        world.put(RECORDS[world.end() + 1 : upto])
        await counted(world, batch=5)
    await takes_over(world)
    assert world.outcome() == expected


@pytest.mark.usefixtures("part_records")
async def test_a_worker_may_die_between_storing_a_part_and_any_other_step() -> None:
    expected = await outcome()
    steps = range(5, 400, 31)
    for step in steps:
        world = world_of()
        died = await counted_with_a_death(world, step, batch=40)
        assert world.outcome() == expected, f"died at step {step}"
        if not died:
            break


@pytest.mark.usefixtures("part_records")
@pytest.mark.parametrize("seed", range(3))
async def test_deaths_evictions_and_fall_backs_in_a_row_change_nothing(seed: int) -> None:
    """What falls back is the whole partition: counters, watermark and parts."""
    random = Random(seed)
    world = world_of(0, videos_in_memory=1)
    kept = None
    for _ in range(7):
        world.put(RECORDS[world.end() + 1 :][: random.randrange(20, 90)])
        await Life(world, batch=random.randrange(1, 60), dies_at=random.randrange(8, 90)).live()
        if kept is not None and random.random() < 0.5:
            world.store.partitions.update(deepcopy(kept))
        elif world.watermark() >= 0:
            kept = deepcopy(world.store.partitions)
    await takes_over(world)
    assert world.outcome() == await outcome()
    assert await world.is_exact()


def spoilt(world: World, how: str) -> None:
    """Do something to one of the parts that the next owner needs."""
    parts = world.store.partitions[0].parts
    needed = max(start for start, part in parts.items() if start + GENERATION <= 350 and part.ids)
    entry, ids = parts[needed]
    match how:
        case "is gone":
            del parts[needed]
        case "has a damaged entry":
            parts[needed] = StoredPart(entry[:-1] + bytes([entry[-1] ^ 1]), ids)
        case "has a torn entry":
            parts[needed] = StoredPart(entry[: len(entry) // 2], ids)
        case "has torn ids":
            parts[needed] = StoredPart(entry, ids[: len(ids) // 2])
        case "lost its ids":
            parts[needed] = StoredPart(entry, b"")
        case "is of other counters":
            empty = Part(needed, needed + GENERATION)
            parts[needed] = write_part(empty, "another", 0)
        case "ends elsewhere":
            parts[needed] = write_part(Part(needed, needed + 7), world.namespace, 0)


@pytest.mark.parametrize(
    "how",
    [
        "is gone",
        "has a damaged entry",
        "has a torn entry",
        "has torn ids",
        "lost its ids",
        "is of other counters",
        "ends elsewhere",
    ],
)
async def test_without_one_of_its_parts_the_window_is_read_from_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    caplog.set_level(logging.INFO, "streams.worker")
    monkeypatch.setattr("streams.core.generations.PART_RECORDS", 25)
    world = await counted(world_of(350), batch=31)
    spoilt(world, how)
    life = await takes_over(world)
    assert replayed(life) >= 3 * GENERATION
    assert "the window is read from the log: the part of offset" in caplog.text
    assert world.outcome() == await outcome()
    again = await Life(world).start()
    await again.until(lambda: remembers(again, world.end()))
    await again.stop()
    assert replayed(again) <= GENERATION  # what was read is stored again


async def test_a_part_that_another_history_left_is_dropped_before_anything_is_counted(
    part_records: int,
) -> None:
    world = await counted(world_of(100), batch=31)
    left = write_part(Part(120, 120 + part_records), world.namespace, 0)
    world.store.partitions[0].parts[120] = left
    world.put(RECORDS[100:115])
    await counted(world)
    assert 120 not in world.store.partitions[0].parts
    await takes_over(world)
    assert world.outcome() == await outcome()


@pytest.mark.usefixtures("part_records")
async def test_what_is_too_old_to_matter_is_deleted() -> None:
    world = await counted(world_of(), batch=31)
    parts = world.store.partitions[0].parts
    generations = read_generations(world.meta().generations, GENERATION)
    end = world.end()
    assert min(parts) >= generations.back(end, REPLAYED_GENERATIONS + 1)
    bare = [start for start, part in parts.items() if not part.ids]
    assert bare
    assert max(bare) < generations.back(end, 1)


async def test_an_owner_that_lost_its_partition_stores_no_part() -> None:
    world = await counted(world_of(55))
    late = await Life(world).start()
    await late.until(lambda: remembers(late, 54))
    owned = late.worker._owned[0]
    world.put(RECORDS[55:90])
    await late.until(world.caught_up)
    world.store.partitions[0].watermark -= 1
    world.store.partitions[0].parts.clear()
    owned.state.window.filled = None
    owned._parts._filled.append(Part(0, GENERATION))
    await owned._parts.keep(owned.watermark, owned._digest)
    assert world.store.partitions[0].parts == {}
    world.store.partitions[0].watermark += 1
    await owned._parts.keep(owned.watermark, owned._digest)
    assert list(world.store.partitions[0].parts) == [0]
    await late.stop()


async def test_a_part_that_is_needed_no_more_is_not_stored() -> None:
    """Others counted on while its owner stood still."""
    world = await counted(world_of(5 * GENERATION))
    late = await Life(world).start()
    await late.until(lambda: remembers(late, 5 * GENERATION - 1))
    owned = late.worker._owned[0]
    kept = set(world.store.partitions[0].parts)
    owned._parts._filled.append(Part(0, GENERATION))
    await owned._parts.keep(owned.watermark, owned._digest)
    assert 0 not in world.store.partitions[0].parts
    assert set(world.store.partitions[0].parts) <= kept
    await late.stop()


async def test_no_watermark_passes_a_part_that_is_not_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = world_of(200)
    refused = itertools.count()
    store = world.store
    change_parts = store.change_parts

    async def change(*arguments: object) -> bool:
        if (time := next(refused)) <= 3:
            assert world.watermark() < GENERATION
        if time < 3:
            raise Retry("not now")
        return await change_parts(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "change_parts", change)
    monkeypatch.setattr("streams.runtime.owned.BACKOFF_S", (0.0,))
    await counted(world, batch=10)
    assert next(refused) > 3
    assert await world.is_exact()


async def test_retention_takes_nothing_from_a_window_whose_parts_are_stored() -> None:
    world = await counted(world_of(350), batch=31)
    world.log.forget(LOG, 0, 300)
    life = await takes_over(world)
    assert replayed(life) == 50
    assert world.outcome() == await outcome()
    assert life.metrics.registry.get_sample_value("streams_short_windows_total") == 0


async def test_what_neither_log_nor_store_has_keeps_nothing_else_from_being_loaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = await counted(world_of(350), batch=31)
    world.log.forget(LOG, 0, 185)
    del world.store.partitions[0].parts[120]
    life = await takes_over(world)
    assert replayed(life) == 50
    assert "the ids of offsets 120 to 179 are no longer in the log" in caplog.text


async def test_what_retention_took_of_the_part_that_is_read_again_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = await counted(world_of(350), batch=31)
    world.log.forget(LOG, 0, 345)
    life = await takes_over(world)
    assert replayed(life) == 5
    assert "the ids of offsets 300 to 344 are no longer in the log" in caplog.text


@pytest.mark.parametrize(
    "part",
    [
        Part(0, 9, ["e1", "e2"], b"", {("u", "v"): ("discover:a", True)}, [("u", "v")]),
        Part(0, 9, (), b"d" * 32, {("u", "v"): ("", True)}, ()),
        Part(0, 9),
    ],
)
def test_a_part_is_read_as_it_was_written(part: Part) -> None:
    stored = write_part(part, "here", 3)
    bounds = Part(0, 9)
    found = read_part(stored, bounds, ("here", 3), ids=True)
    assert found == part._replace(ids=found.ids, met=found.met)
    assert [*found.ids] == [*part.ids]
    assert found.met == [*part.met]
    assert read_part(stored._replace(ids=b""), bounds, ("here", 3), ids=False).states == part.states

"""What nobody can read is skipped once a person says so, and by all readers of the log alike."""

from collections.abc import Sequence

import pytest
from kit.events import Logged, synthetic_log
from kit.keys import SIGNER, STRANGER
from kit.twins import LOG, Life, World, counted
from msgspec.structs import replace

from streams.errors import Halt
from streams.ops.rebuild import plan_rebuild, restart_partition
from streams.ops.skip import SkipPlan, plan_skip, skip_rows, write_skip
from streams.ops.status_text import as_lines
from streams.runtime.installation import installation_record
from streams.runtime.ledger import Skip
from streams.runtime.memory import (
    MemoryCluster,
    MemoryDossiers,
    MemoryProducer,
    MemoryReader,
)
from streams.runtime.ports import Outgoing
from streams.runtime.signing import Signer

EVENTS = synthetic_log(events=700)
DAMAGED = range(EVENTS[150].offset, EVENTS[158].offset)
BY = {"by": "ada", "why": "disk of broker 2", "ts": 1_700_000_000_000}


def damaged_world(log: Sequence[Logged] = EVENTS) -> World:
    """Return a world in whose log some offsets cannot be read."""
    world = World(generation_records=40)
    world.put(log)
    world.log.damaged[LOG, 0] = (DAMAGED.start, DAMAGED.stop)
    return world


async def halted(world: World) -> Life:
    """Return a worker that came as far as the damage."""
    worker = await Life(world, batch=37).start()
    await worker.until(lambda: 0 in worker.worker.halted)
    await worker.until(lambda: world.watermark() == before(DAMAGED.start))
    return worker


def before(offset: int) -> int:
    """Return the last offset that can be read before one."""
    return max(one.offset for one in EVENTS if one.offset < offset)


async def planned(world: World, offset: int) -> SkipPlan:
    """Return the plan for a place of partition 0."""
    await world.read_ledger()
    log = world.counted_log()._replace(reader=MemoryReader(world.log))
    return await plan_skip(log, 0, offset)


async def skip(world: World, offset: int, signer: Signer = SIGNER) -> None:
    """Have a place skipped, as the verb does."""
    plan = await planned(world, offset)
    if not plan.done:
        entry = Skip(0, offset, plan.following, **BY)
        await write_skip(MemoryProducer(world.log), world.settings, signer, entry)
        await world.read_ledger()


HALT = before(DAMAGED.start) + 1


async def skipped_world() -> World:
    """Return a world that counted all that can be read."""
    world = damaged_world()
    worker = await halted(world)
    await skip(world, HALT)
    await worker.until(world.caught_up)
    await worker.stop()
    return world


async def test_the_worker_goes_on_behind_what_a_person_has_skipped() -> None:
    world = await skipped_world()
    found = await world.verified()
    assert (found.differences, found.unproved) == (0, {}), found.examples
    assert found.records == len(EVENTS) - 8
    gone = damaged_world([one for one in EVENTS if one.offset not in DAMAGED])
    gone.log.damaged.clear()
    await counted(gone)
    assert world.rows() == gone.rows()
    assert world.meta() == gone.meta()._replace(skips=world.meta().skips)
    assert b"disk of broker 2" in world.meta().skips


async def test_a_rebuild_skips_the_same_and_comes_to_the_same_bytes() -> None:
    world = await skipped_world()
    before_it = world.store.partitions[0]
    log = world.counted_log()
    await restart_partition(log, MemoryDossiers(), 0, await plan_rebuild(log))
    await counted(world, batch=11)
    after = world.store.partitions[0]
    assert (after.rows, after.meta) == (before_it.rows, before_it.meta)


async def test_snapshots_go_on_behind_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    world, folder = await skipped_world(), tmp_path_factory.mktemp("snapshots")
    taken = await world.snapshot(folder)
    assert (taken.verification.differences, taken.verification.unproved) == (0, {})
    world.log.forget(LOG, 0, EVENTS[300].offset)
    assert (await world.verified(folder)).differences == 0


async def test_an_older_dump_skips_again_by_itself() -> None:
    world = await skipped_world()
    await world.store.erase(0)
    await world.store.begin(0, world.namespace)
    await counted(world)
    assert (await world.verified()).differences == 0


async def test_what_counted_otherwise_than_the_ledger_says_is_a_difference() -> None:
    world = await skipped_world()
    partition = world.store.partitions[0]
    partition.meta = partition.meta._replace(skips=b"")
    assert [one.counter for one in (await world.verified()).examples] == ["meta skips"]


async def test_a_skip_that_nobody_in_force_signed_skips_nothing() -> None:
    world = damaged_world()
    worker = await halted(world)
    await skip(world, HALT, Signer(world.installation.id, STRANGER))
    assert not world.ledger.all()
    await worker.stop()
    again = await halted(world)
    await again.stop()


@pytest.mark.parametrize("value", [b"nothing", b'{"by":"\xff"}', b'{"x":' + b"[" * 100_000])
async def test_a_signed_entry_that_cannot_be_read_is_a_halt(value: bytes) -> None:
    world = damaged_world()
    key = b"0:1"
    headers = [SIGNER.header(key, value)]
    entry = Outgoing(world.settings.topic("ledger"), value, key, headers, partition=0)
    await (await MemoryProducer(world.log).send(entry))
    with pytest.raises(Halt, match="ledger: a record cannot be read"):
        await world.read_ledger()


async def test_one_place_is_skipped_once() -> None:
    world = damaged_world()
    worker = await halted(world)
    assert await planned(world, HALT) == SkipPlan(0, HALT, DAMAGED.stop, done=False)
    await skip(world, HALT)
    await skip(world, HALT)
    assert await planned(world, HALT) == SkipPlan(0, HALT, DAMAGED.stop, done=True)
    assert len(world.log.records("ledger", 0)) == 1
    await worker.until(world.caught_up)
    await worker.stop()


@pytest.mark.parametrize(
    ("offset", "why"),
    [
        (HALT + 1, f"begins at {HALT}"),
        (HALT - 1, "it is counted"),
        (DAMAGED.stop + 20, f"begins at {HALT}"),
    ],
)
async def test_no_other_place_is_skipped(offset: int, why: str) -> None:
    world = damaged_world()
    worker = await halted(world)
    await worker.stop()
    with pytest.raises(Halt, match=why):
        await planned(world, offset)


async def test_nothing_is_skipped_that_can_be_read() -> None:
    world = World()
    world.put(EVENTS[:50])
    await counted(world)
    world.put(EVENTS[50:])
    with pytest.raises(Halt, match="can be read"):
        await planned(world, EVENTS[49].offset + 1)
    with pytest.raises(Halt, match="no partition 7"):
        await plan_skip(world.counted_log(), 7, 0)


async def test_a_passed_place_that_the_ledger_lost_may_be_written_again() -> None:
    world = await skipped_world()
    world.log.create("ledger", 1)
    assert await planned(world, HALT) == SkipPlan(0, HALT, DAMAGED.stop, done=False)


async def test_without_a_skip_verification_names_what_cannot_be_read() -> None:
    world = damaged_world()
    worker = await halted(world)
    await worker.stop()
    world.store.partitions[0].watermark = EVENTS[-1].offset
    assert "fails its checksum" in (await world.verified()).unproved[0]


async def test_people_are_told_who_had_what_skipped_and_why() -> None:
    world = damaged_world()
    worker = await halted(world)
    await skip(world, HALT)
    await worker.stop()
    world.log.create("policies", 1)
    world.log.append(installation_record(world.settings, world.installation))
    cluster, reader = MemoryCluster(world.log), MemoryReader(world.log)
    (row,) = rows = await skip_rows(cluster, reader, world.settings)
    assert (row["by"], row["why"]) == ("ada", "disk of broker 2")
    assert (row["partition"], row["offset"], row["following"]) == (0, HALT, DAMAGED.stop)
    lines = dict(as_lines({"skips": rows, "unknown": {}}))
    last = DAMAGED.stop - 1
    assert lines["skips"].startswith(f"partition 0, offsets {HALT} to {last}, by ada at ")
    world.log.delete("ledger")
    assert await skip_rows(cluster, reader, world.settings) == [], "there is no ledger yet"


async def test_the_next_key_signs_again_what_a_retired_one_had_skipped() -> None:
    world = await skipped_world()
    world.installation = replace(world.installation, keys=(STRANGER.public,))
    await world.read_ledger()
    assert "fails its checksum" in (await world.verified()).unproved[0]
    await skip(world, HALT, Signer(world.installation.id, STRANGER))
    assert (await world.verified()).differences == 0

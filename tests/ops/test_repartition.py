"""Counters, window and dossiers go over to another partition count, exactly, in one step."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kit.events import (
    FOOTBALL,
    NOW,
    Logged,
    interaction_record,
    view,
)
from kit.keys import INSTALLATION, SPELLING
from kit.repartitions import (
    Move,
    feed,
    later,
    log_of,
    moving,
    remembered,
    small_move,
    timeless,
    together,
    traffic_of,
    videos_in,
    world_of,
)
from kit.twins import LOG, Dead, counted

from streams.core.generations import read_generations
from streams.core.partition_control import Key, Repartition
from streams.core.partitioner import partition_of
from streams.core.state import Changes
from streams.errors import Halt, Retry
from streams.ops.rebuild import plan_rebuild, restart_partition
from streams.ops.repartition_ends import (
    undo_repartition,
)
from streams.runtime.codec import decode_log
from streams.runtime.installation import (
    read_installation,
)
from streams.runtime.memory import (
    MemoryReader,
)
from streams.runtime.ports import Document, Outgoing


@pytest.mark.parametrize(("before", "after"), [(2, 4), (4, 2), (2, 3), (1, 5)])
async def test_every_counter_goes_over_and_all_are_counted_on_as_if_nothing_had_happened(
    before: int, after: int, tmp_path: Path
) -> None:
    move = await moving(before, after, tmp_path)
    stayed = videos_in(move.before)
    made = await move.run()
    assert videos_in(move.after) == stayed
    assert traffic_of(move.after) == traffic_of(move.before)
    assert made.base == tuple(move.after.watermark(p) for p in range(after))
    feed(move.after, later(before), before)
    assert not move.after.caught_up()
    await counted(move.after)
    found = await move.after.verified(tmp_path)
    assert (found.differences, found.unproved, found.partitions) == (0, {}, after), found
    unmoved = world_of(before)
    for partition in range(before):
        unmoved.put(log_of(partition, before))
    await counted(unmoved)
    assert timeless(videos_in(move.after)) == timeless(videos_in(unmoved))
    assert traffic_of(move.after) == traffic_of(unmoved)


async def cut_short(move: Move, dies_at: int) -> bool:
    """Begin a run that dies at a step; tell whether it came to that step."""
    dead = Dead(dies_at)
    running = asyncio.create_task(move.repartitioner(dead).run())
    dying = asyncio.create_task(dead.now.wait())
    await asyncio.wait([running, dying], return_when=asyncio.FIRST_COMPLETED)
    died = not running.done()
    for task in (running, dying):
        task.cancel()
    await asyncio.gather(running, dying, return_exceptions=True)
    return died


@pytest.mark.parametrize(
    ("first", "stride"),
    [(1, 311), *(pytest.param(each, 40, marks=pytest.mark.slow) for each in range(5, 40, 5))],
)
async def test_a_run_that_dies_anywhere_is_done_again_and_leaves_the_same(
    first: int, stride: int, tmp_path: Path
) -> None:
    whole = await small_move(tmp_path / "whole")
    await whole.run()
    dies_at = first
    while True:
        move = await small_move(tmp_path / str(dies_at))
        died = await cut_short(move, dies_at)
        made = await read_installation(MemoryReader(move.after.log), move.after.settings)
        assert (made is None) or all(
            stored.namespace != move.before.namespace
            for stored in move.before.store.partitions.values()
        )
        if made is None:
            made = await move.run()
        move.after.installation = made
        assert videos_in(move.after) == videos_in(whole.after)
        assert traffic_of(move.after) == traffic_of(whole.after)
        found = [together([remembered(w, p)]) for w in (move.after, whole.after) for p in range(4)]
        assert found[:4] == found[4:]
        assert (await move.after.verified(move.folder)).unproved == {}
        assert move.new_dossiers.shelves[partition_of(b"v1", 4)].documents == {
            "v1": Document(3, b"{}")
        }
        if not died:
            return
        dies_at += stride


async def steps_of_a_run(folder: Path) -> int:
    dead = Dead(None)
    await (await small_move(folder)).repartitioner(dead).run()
    return dead.steps


@pytest.mark.parametrize(
    ("stride", "dense"), [(397, 14), pytest.param(40, 1, marks=pytest.mark.slow)]
)
async def test_of_two_runs_at_a_time_the_first_one_changes_nothing_that_counts(
    stride: int, dense: int, tmp_path: Path
) -> None:
    steps = await steps_of_a_run(tmp_path / "whole")
    for stops_at in (*range(2, steps - 30, stride), *range(steps - 30, steps, dense)):
        move = await small_move(tmp_path / str(stops_at))
        paused = Paused(stops_at)
        first = asyncio.create_task(move.repartitioner(paused).run())
        await paused.now.wait()
        second = await move.run()
        after = outcome_of(move)
        paused.on.set()
        with suppress(Halt):
            await first
        if stops_at < steps - 4:
            assert isinstance(first.exception(), Halt)
        else:  # it slept with the last record in its hands
            second = msgspec.structs.replace(second, base=first.result().base)
        assert outcome_of(move) == after
        assert await read_installation(MemoryReader(move.after.log), move.after.settings) == second
        feed(move.after, log_of(0, 2, 60)[50:], 2)
        await counted(move.after)
        found = await move.after.verified(move.folder)
        assert (found.differences, found.unproved) == (0, {})


class Sleeper:
    """A port that sleeps before a call of one name, behind some others, until `on` is set."""

    def __init__(self, port: Any, name: str, behind: int) -> None:
        self.asleep, self.on = asyncio.Event(), asyncio.Event()
        self._port, self._name, self._behind = port, name, behind

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._port, name)
        if name != self._name:
            return called

        async def call(*arguments: Any) -> Any:
            self._behind -= 1
            if self._behind < 0:
                self.asleep.set()
                await self.on.wait()
            return await called(*arguments)

        return call


def die(_done: int) -> None:
    raise Retry("dead")


@pytest.mark.parametrize(("name", "behind"), [("labelled", 4), ("relabel", 0), ("flush", 0)])
async def test_a_run_that_slept_before_it_stores_anything_stores_nothing(
    name: str, behind: int, tmp_path: Path
) -> None:
    move = await small_move(tmp_path)
    with pytest.raises(Retry):
        await move.repartitioner().run(die)
    sleeper = Sleeper(move.after.store, name, behind)
    first = asyncio.create_task(move.repartitioner(store=sleeper).run())
    await sleeper.asleep.wait()
    await move.run()
    after = outcome_of(move)
    sleeper.on.set()
    with pytest.raises(Halt):
        await first
    assert outcome_of(move) == after


class Paused(Dead):
    """Stops at a step until `on` is set."""

    def __init__(self, stops_at: int) -> None:
        super().__init__(None)
        self.on = asyncio.Event()
        self._stops_at = stops_at

    async def step(self) -> None:
        """Take one step."""
        self.steps += 1
        if self.steps == self._stops_at:
            self.now.set()
            await self.on.wait()


def outcome_of(move: Move) -> object:
    """Return what workers of the new log go by."""
    stored = move.after.store.partitions
    return {
        p: (each.namespace, each.watermark, each.meta, dict(each.rows))
        for p, each in stored.items()
    }


async def test_the_new_topics_have_an_installation_once_the_old_counters_are_closed(
    tmp_path: Path,
) -> None:
    move = await small_move(tmp_path)
    stored = move.before.store.partitions[0]
    changes = Changes(0, {}, stored.meta)
    assert await read_installation(MemoryReader(move.after.log), move.after.settings) is None
    assert await move.index.lease(FOOTBALL, 10, 2)
    made = await move.run()
    assert await read_installation(MemoryReader(move.after.log), move.after.settings) == made
    assert not await move.index.lease(FOOTBALL, 10, 2)
    with pytest.raises(Halt, match=r"went over into the topic .* use its topic_prefix"):
        await move.before.store.flush(0, move.before.namespace, stored.watermark, 10_000, changes)
    with pytest.raises(Halt, match="differ in"):
        await move.after.store.meta(0, move.before.namespace)
    with pytest.raises(Halt, match="differ in"):
        await move.before.store.meta(0, move.after.namespace)
    with pytest.raises(Halt):
        await counted(move.before)


async def test_what_a_worker_wrote_while_it_was_read_is_not_left_behind(tmp_path: Path) -> None:
    move = await small_move(tmp_path)
    stored = move.before.store.partitions[1]

    def write(_done: int) -> None:
        stored.watermark += 1

    with pytest.raises(Halt, match="written meanwhile"):
        await move.repartitioner().run(write)
    assert await read_installation(MemoryReader(move.after.log), move.after.settings) is None


async def test_a_record_that_comes_while_it_is_done_stops_it_and_can_be_counted_after_all(
    tmp_path: Path,
) -> None:
    move = await small_move(tmp_path)

    def write(done: int) -> None:
        if done == 4:
            late = interaction_record(view("late", video="v0"))
            move.before.log.append(Outgoing(LOG, late.value, late.key, (), 0, late.timestamp))

    with pytest.raises(Halt, match=r"is not counted.*--undo"):
        await move.repartitioner().run(write)
    assert await read_installation(MemoryReader(move.after.log), move.after.settings) is None
    assert await undo_repartition(move.holding()) == 2
    assert await undo_repartition(move.holding()) == 0
    await counted(move.before)
    await move.run()
    assert videos_in(move.after) == videos_in(move.before)


def put_letterless(move: Move) -> None:
    move.before.put([Logged("uploads", 0, 0, NOW, b"v1", b"{}", ())])


def lengthen_one(move: Move) -> None:
    meta = move.before.meta(1)
    longer = read_generations(meta.generations, 20).lengthened(10, 99).encode()
    move.before.store.partitions[1].meta = meta._replace(generations=longer)


def forget_a_policy(move: Move) -> None:
    move.before.store.partitions[1].meta = move.before.meta(1)._replace(policy=b"")


def change_a_row(move: Move) -> None:
    rows = move.before.store.partitions[1].rows
    video = min(rows)
    field = max(rows[video])
    rows[video][field] = rows[video][field].replace(b"1", b"2", 1)


def begin_a_change_of_keys(move: Move) -> None:
    pending = Key("keys-1", NOW, 1, INSTALLATION.keys)
    move.before.installation = msgspec.structs.replace(INSTALLATION, pending=pending)


def put_uncounted(move: Move) -> None:
    move.before.put([interaction_record(view("more"), 5_000)])


def use_the_same_database(move: Move) -> None:
    move.after.store = move.before.store


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (put_uncounted, "offset 5000 on is not counted"),
        (put_letterless, "has not heard"),
        (lengthen_one, "differ in generations"),
        (forget_a_policy, "differ in policy"),
        (change_a_row, "its digest is not that of the rows"),
        (begin_a_change_of_keys, "a change of keys is under way"),
        (use_the_same_database, "holds counters already"),
    ],
)
async def test_what_is_not_settled_or_not_sound_goes_nowhere(
    break_it: Callable[[Move], None], why: str, tmp_path: Path
) -> None:
    move = await small_move(tmp_path)
    break_it(move)
    names = {p: each.namespace for p, each in move.before.store.partitions.items()}
    with pytest.raises(Halt, match=why):
        await move.run()
    assert {p: each.namespace for p, each in move.before.store.partitions.items()} == names
    assert await read_installation(MemoryReader(move.after.log), move.after.settings) is None


async def test_what_else_is_in_the_other_database_is_found_when_it_is_read_back(
    tmp_path: Path,
) -> None:
    move = await small_move(tmp_path)
    with pytest.raises(Retry):
        await move.repartitioner().run(die)
    move.after.store.partitions[0].rows["stray"] = {"video": b"[]"}
    with pytest.raises(Halt, match="not those that were written"):
        await move.run()


async def test_a_log_of_which_nothing_is_counted_has_nothing_to_take_over(tmp_path: Path) -> None:
    with pytest.raises(Halt, match="nothing is counted"):
        await Move(world_of(2), world_of(4), tmp_path).run()


async def test_without_its_snapshot_nothing_proves_a_new_partition_and_with_it_it_is_rebuilt(
    tmp_path: Path,
) -> None:
    move = await moving(1, 2, tmp_path)
    await move.run()
    feed(move.after, later(1), 1)
    await counted(move.after)
    whole = videos_in(move.after)
    found = await move.after.verified()
    assert set(found.unproved) == {0, 1}
    bare = await plan_rebuild(move.after.counted_log())
    assert bare.lost == {p: base + 1 for p, base in enumerate(move.after.installation.base)}
    log = move.after.counted_log(tmp_path)
    plan = await plan_rebuild(log)
    assert not plan.lost
    for partition in range(2):
        await restart_partition(log, move.new_dossiers, partition, plan)
    await counted(move.after)
    assert videos_in(move.after) == whole
    taken = await move.after.snapshot(tmp_path)
    assert (len(taken.made), taken.verification.differences) == (2, 0)


def snapshots_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.snapshot"))


async def test_a_snapshot_of_a_run_that_was_cut_short_proves_nothing(tmp_path: Path) -> None:
    move = await moving(1, 2, tmp_path, cut=50)
    with pytest.raises(Retry):
        await move.repartitioner().run(die)
    kept = snapshots_in(tmp_path)
    assert len(kept) == 2
    await move.run()
    for path in set(snapshots_in(tmp_path)) - set(kept):
        path.unlink()
    found = await move.after.verified(tmp_path)
    assert found.unproved


async def test_the_record_says_of_which_log_in_each_partition(tmp_path: Path) -> None:
    move = await small_move(tmp_path)
    made = await move.run()
    for partition, base in enumerate(made.base):
        last = move.after.log.records(LOG, partition)[-1]
        decoded = decode_log([last], INSTALLATION.trust(), SPELLING)
        (said,) = decoded.events
        assert last.offset == base
        assert isinstance(said, Repartition)
        assert said.before == move.before.log.identity(LOG).topic_id
        assert said.watermarks == (move.before.watermark(0), move.before.watermark(1))

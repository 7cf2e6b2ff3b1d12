"""Snapshots: made of the log alone, chained, compared, and gone on from when the log was cut."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.events import (
    COOKING,
    FOOTBALL,
    MUSIC,
    Logged,
    impression,
    like,
    records_of,
    synthetic_log,
    unlike,
)
from kit.keys import STRANGER
from kit.twins import LOG, World, counted

from streams.core.counters import decode_slice, encode_slice
from streams.core.events import Comment, Follow, Hide, InteractionRecord
from streams.core.generations import read_generations
from streams.errors import Halt
from streams.ops.compared import Verification
from streams.ops.rebuild import plan_rebuild, restart_partition
from streams.ops.recount_window import WindowRecount
from streams.ops.snapshotting import Snapshots
from streams.runtime.memory import MemoryDossiers, MemoryStore
from streams.runtime.ports import Loaded
from streams.runtime.signing import Signer

GENERATION = 40


async def grown(world: World, records: Sequence[Logged]) -> World:
    """Let more records come and be counted."""
    world.put(records)
    return await counted(world, batch=37)


async def chained(folder: Path, log: Sequence[Logged], *cuts: int) -> World:
    """Return a world that counted a log, with a snapshot at each cut."""
    world = World(generation_records=GENERATION)
    for start, end in zip((0, *cuts), cuts, strict=False):
        await grown(world, log[start:end])
        taken = await world.snapshot(folder)
        assert not taken.verification.differences, taken.verification.examples
        assert not taken.verification.unproved
    return await grown(world, log[cuts[-1] :])


def window_start(world: World, offset: int) -> int:
    """Return the first offset whose id a worker that begins at another one needs."""
    return read_generations(world.meta().generations, GENERATION).back(offset, 3)


def files(folder: Path) -> list[Path]:
    """Return the snapshots of partition 0, the oldest first."""
    return sorted(folder.rglob("partition=0/*.snapshot"))


def spoil(path: Path, at: int) -> None:
    """Change one byte of a file."""
    text = bytearray(path.read_bytes())
    text[at] ^= 1
    path.write_bytes(text)


@pytest.mark.parametrize("part_records", [17, 100_000])
@pytest.mark.parametrize("seed", range(4))
async def test_what_retention_deleted_is_still_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, part_records: int
) -> None:
    monkeypatch.setattr("streams.core.generations.PART_RECORDS", part_records)
    log = synthetic_log(seed, events=1_000)
    world = await chained(tmp_path, log, 150, 320, 480)
    world.log.forget(LOG, 0, log[480].offset)
    found = await world.verified(tmp_path)
    assert (found.differences, found.unproved, found.proved_from) == (0, {}, {}), found.examples
    assert (found.partitions, found.records) == (1, len(log) - 480)
    assert (await world.verified()).unproved.keys() == {0}


@pytest.mark.parametrize("seed", range(3))
async def test_a_rebuild_goes_on_from_a_snapshot_and_comes_to_the_same_bytes(
    tmp_path: Path, seed: int
) -> None:
    log = synthetic_log(seed, events=1_000)
    world = await chained(tmp_path, log, 200, 400)
    before = world.store.partitions[0]
    world.log.forget(LOG, 0, window_start(world, log[399].offset + 1))
    counted_log = world.counted_log(tmp_path)
    plan = await plan_rebuild(counted_log)
    assert (plan.lost, list(plan.kept)) == ({}, [0])
    assert not plan.kept[0].forgotten
    await restart_partition(counted_log, MemoryDossiers(), 0, plan)
    assert world.watermark() == log[399].offset
    await counted(world, batch=23)
    after = world.store.partitions[0]
    assert (after.rows, after.meta, after.watermark) == (
        before.rows,
        before.meta,
        before.watermark,
    )
    assert (await world.verified(tmp_path)).differences == 0


ACTS = st.lists(
    st.tuples(
        st.sampled_from([like, like, unlike, Follow, Hide, Comment, impression]),
        st.sampled_from(["u1", "u2"]),
        st.sampled_from([FOOTBALL, MUSIC, COOKING]),
        st.integers(0, 30),
    ),
    min_size=3,
    max_size=60,
)


@settings(deadline=None, max_examples=40)
@given(ACTS, st.integers(1, 8), st.data())
def test_no_cut_changes_what_is_counted_behind_it(
    acts: list[tuple[type, str, str, int]], generation: int, data: st.DataObject
) -> None:
    events: list[InteractionRecord] = [
        kind(f"e{number}", "v1", viewer, slice_id, 1_700_000_000_000)
        if kind in (Follow, Hide, Comment)
        else kind(f"e{number}", viewer=viewer, slice_id=slice_id)
        for kind, viewer, slice_id, number in acts
    ]
    log = records_of([*events, impression("last")])
    cut = data.draw(st.integers(1, len(events)))

    async def cut_there(folder: Path) -> Verification:
        world = await grown(World(generation_records=generation), log[:cut])
        taken = await world.snapshot(folder)
        assert not taken.verification.differences, taken.verification.examples
        assert not taken.verification.unproved
        await grown(world, log[cut:])
        world.log.forget(LOG, 0, cut)
        return await world.verified(folder)

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(cut_there(Path(folder)))
    assert (found.differences, found.unproved) == (0, {}), found.examples


async def test_a_snapshot_is_never_made_of_what_is_stored(tmp_path: Path) -> None:
    log = synthetic_log(events=300)
    sound, damaged = tmp_path / "sound", tmp_path / "damaged"
    for folder in (sound, damaged):
        world = await grown(World(generation_records=GENERATION), log)
        rows = world.store.partitions[0].rows
        if folder is damaged:
            video = next(name for name in rows if FOOTBALL in rows[name])
            row = decode_slice(rows[video][FOOTBALL])
            row.views += 1
            rows[video] = {**rows[video], FOOTBALL: encode_slice(row)}
        taken = await world.snapshot(folder)
        assert len(taken.made) == 1
    counters = {one.counter for one in taken.verification.examples}
    assert counters == {"views", "row"}
    assert [path.read_bytes() for path in files(sound)] == [
        path.read_bytes() for path in files(damaged)
    ]


async def test_what_no_recount_tells_is_compared_with_the_fold(tmp_path: Path) -> None:
    world = await grown(World(generation_records=GENERATION), synthetic_log(events=300))
    rows = world.store.partitions[0].rows
    video = next(name for name in rows if FOOTBALL in rows[name])
    row = decode_slice(rows[video][FOOTBALL])
    row.allowance += 1
    rows[video] = {**rows[video], FOOTBALL: encode_slice(row)}
    taken = await world.snapshot(tmp_path)
    (example,) = taken.verification.examples
    assert (example.video, example.slice, example.counter) == (video, FOOTBALL, "row")


async def test_only_what_changed_is_written_again_and_whole_ones_now_and_then(
    tmp_path: Path,
) -> None:
    log = synthetic_log(2, videos=60, events=900)
    world = World(generation_records=GENERATION)
    for end in range(30, len(log), 30):
        await grown(world, log[end - 30 : end])
        await world.snapshot(tmp_path)
    headers = world.counted_log(tmp_path).tools.snapshots.headers(0)  # type: ignore[union-attr]
    whole = [header for header in headers if header.is_whole]
    assert 2 <= len(whole) < len(headers) / 2
    assert headers[-1].watermark == whole[-1].watermark, "older ones are of no use"
    assert {path.stat().st_mode & 0o777 for path in files(tmp_path)} == {0o600}
    world.log.forget(LOG, 0, headers[1].watermark + 1)
    assert (await world.verified(tmp_path)).differences == 0


async def test_nothing_new_makes_no_snapshot(tmp_path: Path) -> None:
    world = await grown(World(generation_records=GENERATION), synthetic_log(events=200))
    assert len((await world.snapshot(tmp_path)).made) == 1
    again = await world.snapshot(tmp_path)
    assert (again.made, again.verification.differences) == ([], 0)


REASONS = {
    "damaged": lambda path: spoil(path, -9),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "header cannot be read": lambda path: path.write_bytes(b"{}\n"),
    "misplaced": lambda path: path.write_bytes(min(path.parent.iterdir()).read_bytes()),
    "nobody vouches": lambda path: spoil(path, path.read_bytes().index(b"\n") + 60),
}


@pytest.mark.parametrize("reason", REASONS)
async def test_a_bad_snapshot_is_passed_over_with_its_reason(tmp_path: Path, reason: str) -> None:
    log = synthetic_log(events=900)
    world = await chained(tmp_path, log, 200, 400)
    world.log.forget(LOG, 0, log[200].offset)
    REASONS[reason](files(tmp_path)[-1])
    found = await world.verified(tmp_path)
    assert (found.differences, found.unproved) == (0, {})
    assert found.records == len(log) - 200, "it went on from the one before"
    (line,) = found.refused
    assert reason in line


async def test_what_stands_on_a_bad_snapshot_is_no_better(tmp_path: Path) -> None:
    log = synthetic_log(events=900, videos=40)
    world = await chained(tmp_path, log, 400, 430)
    spoil(files(tmp_path)[0], -9)
    world.log.forget(LOG, 0, 100)
    found = await world.verified(tmp_path)
    assert found.unproved.keys() == {0}
    assert len(found.refused) == 2
    assert "goes on from" in found.refused[0]


async def test_what_takes_its_place_is_not_the_parent(tmp_path: Path) -> None:
    log = synthetic_log(events=900, videos=40)
    one, other = tmp_path / "one", tmp_path / "other"
    world = await chained(one, log, 400, 430)
    again = await grown(World(generation_records=GENERATION), log[:400])
    await again.snapshot(other, at_ms=7)
    files(one)[0].write_bytes(files(other)[-1].read_bytes())
    world.log.forget(LOG, 0, 100)
    found = await world.verified(one)
    assert len(found.refused) == 1, "sound by itself"
    assert "another one" in found.refused[0]


async def test_another_ones_snapshot_is_passed_over(tmp_path: Path) -> None:
    log = synthetic_log(events=300)
    world = await grown(World(generation_records=GENERATION), log)
    await world.snapshot(tmp_path, Signer(world.installation.id, STRANGER))
    world.log.forget(LOG, 0, 10)
    (line,) = (await world.verified(tmp_path)).refused
    assert "not in force" in line


async def test_another_logs_snapshot_is_passed_over(tmp_path: Path) -> None:
    log = synthetic_log(events=300)
    world = await grown(World(generation_records=GENERATION), log)
    await world.snapshot(tmp_path)
    (path,) = files(tmp_path)
    other = World(generation_records=GENERATION)
    other.log.create(LOG, 1)  # made again: another topic of the same name
    await grown(other, log)
    mine = path.parents[1]
    mine.rename(mine.with_name(other.log.identity(LOG).topic_id))
    (line,) = (await other.verified(tmp_path)).refused
    assert "foreign: of topic id" in line
    assert path.name in line


async def test_a_snapshot_of_a_log_that_was_written_anew_is_passed_over(tmp_path: Path) -> None:
    log = synthetic_log(events=300)
    world = await grown(World(generation_records=GENERATION), log)
    await world.snapshot(tmp_path)
    other = World(generation_records=GENERATION)
    await grown(other, [*log[:-1], log[-1]._replace(timestamp=log[-1].timestamp + 1)])
    (line,) = (await other.verified(tmp_path)).refused
    assert "another log" in line


async def unchained(tmp_path: Path) -> tuple[World, Sequence[Logged], Snapshots]:
    """Return a world whose log lost its beginning before there was any snapshot."""
    log = synthetic_log(events=1_000)
    world = await grown(World(generation_records=GENERATION), log[:400])
    world.log.forget(LOG, 0, window_start(world, log[399].offset + 1))
    return world, log, await world.snapshot(tmp_path)


async def test_what_cannot_be_chained_begins_anew_and_says_from_where(tmp_path: Path) -> None:
    world, log, taken = await unchained(tmp_path)
    start = log[399].offset + 1
    assert [made.proved_from for made in taken.made] == [start]
    assert f"from offset {start} on can be proved" in taken.verification.unproved[0]
    await grown(world, log[400:])
    found = await world.verified(tmp_path)
    assert (found.differences, found.unproved) == (0, {}), found.examples
    assert found.proved_from == {0: start}
    assert found.records == len(log) - 400
    again = await world.snapshot(tmp_path)
    assert (again.verification.differences, again.verification.unproved) == (0, {})
    assert [made.proved_from for made in again.made] == [start]


async def test_a_gap_between_the_last_snapshot_and_the_log_is_named(tmp_path: Path) -> None:
    log = synthetic_log(events=1_000)
    world = await chained(tmp_path, log, 200)
    world.log.forget(LOG, 0, log[250].offset)
    found = await world.verified(tmp_path)
    assert f"the newest snapshot ends at {log[199].offset}" in found.unproved[0]
    plan = await plan_rebuild(world.counted_log(tmp_path))
    assert plan.lost == {0: log[250].offset}


async def test_without_the_whole_window_no_chain_begins(tmp_path: Path) -> None:
    log = synthetic_log(events=1_000)
    world = await grown(World(generation_records=GENERATION), log)
    world.log.forget(LOG, 0, log[-20].offset)
    taken = await world.snapshot(tmp_path)
    assert not taken.made
    assert "shorter than the window" in taken.verification.unproved[0]


async def test_a_repeat_that_the_log_cannot_tell_any_more_is_named_by_the_plan(
    tmp_path: Path,
) -> None:
    log = synthetic_log(events=1_000)
    world = await chained(tmp_path, log, 400)
    world.log.forget(LOG, 0, log[390].offset)
    (kept,) = (await plan_rebuild(world.counted_log(tmp_path))).kept.values()
    assert kept.forgotten
    assert kept.forgotten[-1] == log[390].offset - 1


class Moving(MemoryStore):
    """A store that a worker writes to whenever rows are read from it."""

    def __init__(self, world: World, rest: list[Logged]) -> None:
        super().__init__()
        self.partitions.update(world.store.partitions)
        self._world, self._rest = world, rest

    async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
        """Count some more first."""
        self._world.put(self._rest[:40])
        del self._rest[:40]
        self._world.store = self
        reading, self.load = self.load, super().load  # type: ignore[method-assign]
        await counted(self._world, batch=7)
        self.load = reading  # type: ignore[method-assign]
        return await super().load(partition, videos)


async def test_workers_may_go_on_while_it_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.ops.verify.CHUNK_VIDEOS", 3)
    log = synthetic_log(events=1_000)
    world = await grown(World(generation_records=GENERATION), log[:300])
    world.store = Moving(world, log[300:])
    taken = await world.snapshot(tmp_path)
    assert world.watermark() > log[299].offset
    assert (taken.verification.differences, taken.verification.unproved) == (0, {})
    assert [made.watermark for made in taken.made] == [log[299].offset]
    assert (await world.verified()).differences == 0


async def test_a_watermark_that_goes_back_ends_the_comparison() -> None:
    world = await grown(World(generation_records=GENERATION), synthetic_log(events=300))

    class Falling(MemoryStore):
        """Loses what it acknowledged once rows are read from it."""

        async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
            """Return an older watermark."""
            return (await super().load(partition, videos))._replace(watermark=3)

    falling = Falling()
    falling.partitions.update(world.store.partitions)
    world.store = falling
    assert "went back" in (await world.verified()).unproved[0]


@pytest.mark.parametrize("name", ["note_like", "is_first", "lengthen"])
async def test_where_fold_and_recount_disagree_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world = await grown(World(generation_records=GENERATION), synthetic_log(events=600))
    monkeypatch.setattr(WindowRecount, name, lambda *_: "")  # a recount with a fault
    taken = await world.snapshot(tmp_path)
    assert not taken.made
    assert "a fault of the program" in taken.verification.unproved[0]


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    world = await grown(World(generation_records=GENERATION), synthetic_log(events=100))
    (tmp_path / "file").write_text("")
    with pytest.raises(Halt, match="cannot write"):
        await world.snapshot(tmp_path / "file")

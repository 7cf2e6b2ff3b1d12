"""What a worker folded comes to the serving index, also when the index or the worker failed."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import pytest
from kit.events import FIXED, FOOTBALL, admit, policy, records_of, synthetic_log, view
from kit.garbage import alive, without_collector
from kit.serving import CARS, FANS, FAR, entry
from kit.twins import Life, World, counted
from msgspec.structs import replace

from streams.core.events import (
    Policy,
)
from streams.core.outlook import Outlook
from streams.core.partitioner import partition_of
from streams.core.serving import Entry
from streams.core.units import MICROS
from streams.core.words import SliceReview
from streams.errors import Retry
from streams.runtime import owned, refilling, serving
from streams.runtime.leases import OPEN, Applied, Footing
from streams.runtime.memory.serving import MemoryServingIndex
from streams.runtime.metrics import Metrics
from streams.runtime.refilling import Page
from streams.runtime.serving import SWEEP_S, Indexing, _Partition

PARTITIONS = 2
ZERO = [f"v{n}" for n in range(40) if partition_of(f"v{n}".encode(), PARTITIONS) == 0]
ONE = [f"v{n}" for n in range(40) if partition_of(f"v{n}".encode(), PARTITIONS) == 1]


class BrittleIndex(MemoryServingIndex):
    """An index that notes its calls, and fails in the slices that are `down`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, dict[int, int], list[Entry]]] = []
        self.priced: list[str] = []
        self.down: set[str] = set()

    async def apply(
        self, slice_id: str, partitions_at: Mapping[int, int], entries: Sequence[Entry]
    ) -> Applied:
        await asyncio.sleep(0)
        if slice_id in self.down:
            raise Retry("no answer")
        self.calls.append((slice_id, dict(partitions_at), list(entries)))
        return await super().apply(slice_id, partitions_at, entries)

    async def set_prices(
        self,
        slice_id: str,
        order: tuple[int, int],
        prices: Mapping[str, int],
        footing: Footing = OPEN,
    ) -> bool:
        self.priced.append(slice_id)
        return await super().set_prices(slice_id, order, prices, footing)


class Desk:
    """An index, rows, and one worker's `Indexing` between them, whose seconds pass by hand."""

    def __init__(self, index: BrittleIndex | None = None, *, rows: bool = True) -> None:
        self.index = index or BrittleIndex()
        self.metrics = Metrics()
        self.rows: dict[int, list[Page]] = {}
        self.asked: list[tuple[int, str | None]] = []
        self.unread = 0  # so many times the rows cannot be read
        self.now = 1_000.0
        self.indexing = Indexing(
            self.index, self.metrics, self.rows_of if rows else None, lambda: self.now
        )

    async def rows_of(self, partition: int, slice_id: str | None) -> AsyncIterator[Page]:
        self.asked.append((partition, slice_id))
        for page in self.rows.get(partition, []):
            if self.unread:
                self.unread -= 1
                raise Retry("no rows")
            yield [one for one in page if slice_id in (None, one[0])]

    async def turn(self, turns: int = 1, seconds: float = 1.0) -> None:
        for _ in range(turns):
            self.now += seconds
            self.indexing.turn()
            await self.indexing.settle()

    def take(self, partition: int, offset: int, *entries: Entry, slice_id: str = CARS) -> None:
        self.indexing.take(partition, offset, {slice_id: entries} if entries else {})

    async def shown(self, slice_id: str = CARS) -> dict[str, int]:
        return {one.video: one.net for one in await self.index.top(slice_id, 100)}

    def value(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(f"streams_index_{name}", labels)
        assert value is not None
        return value


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is tried again be tried at once."""
    monkeypatch.setattr(refilling, "PAUSE_S", (0.0,))
    monkeypatch.setattr(refilling, "SWEEP_PAUSE_S", 0.0)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


# What is taken is sent


async def test_a_slice_is_told_once_a_second_for_all_partitions(desk: Desk) -> None:
    for partition in range(PARTITIONS):
        desk.indexing.open(partition, PARTITIONS, 4)
    desk.take(0, 8, entry(ZERO[0], 8, 1), entry(ZERO[1], 8, 5))
    desk.take(0, 9, entry(ZERO[0], 9, 2))
    desk.take(1, 6, entry(ONE[0], 6, 3))
    desk.take(1, 7, entry(ONE[0], 7, 4), slice_id=FANS)
    await desk.turn()
    told = {(slice_id, at[0], at[1]): len(some) for slice_id, at, some in desk.index.calls}
    assert told == {(CARS, 9, 7): 3, (FANS, 9, 7): 1}
    assert await desk.shown() == {ZERO[1]: 5, ONE[0]: 3, ZERO[0]: 2}
    assert desk.value("entries_total") == 4


async def test_positions_are_told_also_when_nothing_was_folded(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, 4)
    desk.take(0, 8, entry(offset=8))
    await desk.turn(2)
    assert [(at, len(some)) for _, at, some in desk.index.calls] == [({0: 8}, 1), ({0: 8}, 0)]


async def test_a_partition_that_nothing_was_counted_of_has_no_position(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, -1)
    desk.indexing.open(1, PARTITIONS, 5)
    desk.take(1, 6, entry(offset=6))
    await desk.turn()
    assert desk.index.calls == [(CARS, {1: 6}, [entry(offset=6)])]


async def test_what_was_taken_is_sent_after_its_partition_left(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, 4)
    desk.take(0, 8, entry(offset=8))
    desk.indexing.release(0)
    desk.take(0, 9, entry("v2", offset=9))  # a flush that was under way
    await desk.indexing.stop()
    assert desk.index.calls == [(CARS, {}, [entry(offset=8), entry("v2", offset=9)])]


# An index that does not answer


async def test_an_index_that_does_not_answer_falls_behind_and_catches_up(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.indexing.open(0, PARTITIONS, 4)
    desk.index.down = {CARS, FANS}
    desk.take(0, 8, entry("v1", 8, 1), entry("v2", 8, 1))
    desk.take(0, 8, entry("v1", 8, 1), slice_id=FANS)
    await desk.turn(3)
    desk.take(0, 9, entry("v1", 9, 2))
    await desk.turn(20)
    assert desk.value("age_seconds") == pytest.approx(23)
    desk.index.down = set()
    await desk.turn(5)
    assert await desk.shown() == {"v1": 2, "v2": 1}
    assert await desk.shown(FANS) == {"v1": 1}
    assert desk.value("age_seconds") == 0
    behind, again = warned(caplog)
    assert behind.startswith("the serving index falls behind")
    assert again == "the serving index has caught up"


async def test_what_comes_while_a_call_fails_is_the_later_word(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, 4)
    desk.index.down = {CARS}
    desk.take(0, 8, entry("v1", 8, 1), entry("v2", 8, 1))
    desk.indexing.turn()
    await asyncio.sleep(0)
    desk.take(0, 9, entry("v1", 9, 2))
    await desk.indexing.settle()
    desk.index.down = set()
    await desk.turn(3)
    assert await desk.shown() == {"v1": 2, "v2": 1}


async def test_a_slice_that_does_not_answer_keeps_no_other_one_waiting(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, 4)
    hanging = asyncio.Event()
    apply = desk.index.apply

    async def hang(slice_id: str, *rest: Any) -> Applied:
        if slice_id == FANS:
            await hanging.wait()
        return await apply(slice_id, *rest)

    desk.index.apply = hang  # type: ignore[method-assign]
    desk.take(0, 8, entry(offset=8), slice_id=FANS)
    desk.indexing.turn()
    desk.take(0, 9, entry(offset=9))
    for _ in range(3):
        desk.now += 1
        desk.indexing.turn()
        for _ in range(20):
            await asyncio.sleep(0)
    assert await desk.shown() == {"v1": 350_000}
    assert desk.value("age_seconds") == 3
    hanging.set()
    await desk.indexing.settle()
    assert await desk.shown(FANS) == {"v1": 350_000}


async def test_a_mistake_of_ours_stops_no_counting_and_is_tried_again(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.indexing.open(0, PARTITIONS, 4)
    desk.take(0, 8, Entry("v1", 8, 5, allowance="sixty"))  # type: ignore[arg-type]
    await desk.turn(3)
    desk.take(0, 9, entry(offset=9))
    await desk.turn(9)
    assert await desk.shown() == {"v1": 350_000}
    assert len(warned(caplog)) == 2


async def test_more_than_there_is_room_for_is_filled_from_the_rows(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "WAITING_MOST", 3)
    desk.indexing.open(0, PARTITIONS, 4)
    await desk.turn()
    desk.index.down = {CARS}
    desk.take(0, 8, *(entry(video, 8, 1) for video in ZERO[:5]))
    desk.rows[0] = [[(FANS, entry(video, 8, 1)) for video in ZERO[:5]]]
    await desk.turn(2)
    desk.index.down = set()
    await desk.turn(8)
    assert len(await desk.shown(FANS)) == 5
    assert await desk.shown() == {}


async def test_no_more_should_be_told_while_much_waits_or_is_on_its_way(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "ROOM", 3)
    for partition in range(PARTITIONS):
        desk.indexing.open(partition, PARTITIONS, -1)
    desk.index.down = {CARS}
    desk.take(0, 8, entry(ZERO[0], 8), entry(ZERO[1], 8))
    desk.take(0, 9, entry(ZERO[0], 9), slice_id=FANS)
    assert not desk.indexing.has_room(0)
    assert desk.indexing.has_room(1)
    await desk.turn()
    assert desk.indexing.has_room(0)
    desk.take(0, 10, entry(ZERO[2], 10))
    desk.index.down = set()
    desk.now += 1
    desk.indexing.turn()
    await asyncio.sleep(0)  # the calls are under way
    assert not desk.indexing.has_room(0)
    await desk.indexing.settle()
    assert desk.indexing.has_room(0)


@pytest.mark.parametrize(
    ("owned", "when"),
    [((2,), [[0.6]]), ((1, 3), [[0.3], [0.6]]), ((0, 1, 2, 3), [[0.2], [0.3], [0.5], [0.6]])],
)
def test_partitions_are_asked_once_a_turn_one_after_the_other(
    desk: Desk, owned: Sequence[int], when: list[list[float]]
) -> None:
    """All at once would keep the worker from counting; the last leaves time for two flushes."""
    for partition in reversed(owned):
        desk.indexing.open(partition, 4, -1)
    began = desk.now
    told = dict.fromkeys(owned, began)
    asked: dict[int, list[float]] = {partition: [] for partition in owned}
    for tenth in range(40):
        desk.now = began + tenth / 10
        if tenth % 10 == 0:
            desk.indexing.turn()
        for partition in owned:
            if desk.indexing.asks(partition, told[partition]):
                told[partition] = desk.now
                asked[partition].append(round(desk.now - began, 1))
    assert list(asked.values()) == [
        [round(at + turn, 1) for turn in range(4) for at in each] for each in when
    ]


def test_who_is_left_takes_the_place_of_who_is_gone(desk: Desk) -> None:
    for partition in range(PARTITIONS):
        desk.indexing.open(partition, PARTITIONS, -1)
    desk.indexing.turn()
    told, desk.now = desk.now, desk.now + 0.35
    assert desk.indexing.asks(0, told)
    desk.indexing.release(1)
    assert not desk.indexing.asks(0, told)


def test_who_did_not_tell_all_is_asked_again_at_any_time(desk: Desk) -> None:
    desk.indexing.turn()
    assert not desk.indexing.asks(0, desk.now - 1.4)
    assert desk.indexing.asks(0, desk.now - 1.5)


async def test_what_waits_until_its_partition_is_as_far_as_the_index_is_told_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "ROOM", 1)
    await desk.index.apply(CARS, {0: 9}, [])
    desk.indexing.open(0, PARTITIONS, 4)
    desk.take(0, 5)
    desk.indexing._lines[CARS].add(0, [], desk.now)
    await desk.turn()
    desk.take(0, 6, entry(ZERO[0], 6))
    await desk.turn()
    assert desk.indexing.has_room(0)
    desk.take(0, 10, entry(ZERO[0], 10))
    await desk.turn()
    assert set(await desk.shown()) == {ZERO[0]}


async def test_a_partition_that_is_told_in_part_is_no_further_than_before(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, -1)
    desk.indexing.take(0, 8, {CARS: [entry(ZERO[0], 8)]}, whole=False)
    await desk.turn()
    assert set(await desk.shown()) == {ZERO[0]}
    assert await desk.index.positions(CARS) == {}
    desk.take(0, 9, entry(ZERO[1], 9))
    await desk.turn()
    assert await desk.index.positions(CARS) == {0: 9}


# Filled from the rows


async def test_a_partition_that_nothing_was_counted_of_is_not_filled(desk: Desk) -> None:
    desk.rows[0] = [[(CARS, entry(ZERO[0], 3))]]
    desk.indexing.open(0, PARTITIONS, -1)
    desk.indexing.turn()
    assert desk.value("refill_left") == 0
    desk.take(0, 8, entry(ZERO[1], 8))
    desk.indexing.follow(0, Outlook(words(1, FOOTBALL)))
    await desk.turn(3)
    assert desk.asked == []
    assert set(await desk.shown()) == {ZERO[1]}
    desk.indexing.follow(0, Outlook(words(2)))
    await desk.turn()
    assert desk.asked == [(0, None)]


async def test_a_partition_is_told_whole_when_it_is_opened(desk: Desk) -> None:
    desk.rows[0] = [[(CARS, entry(ZERO[0], 7, 9))], [(CARS, entry(ZERO[1], 7)), (FANS, entry())]]
    desk.indexing.open(0, PARTITIONS, 7)
    desk.indexing.turn()
    assert desk.value("refill_left") == 1
    await desk.indexing.settle()
    await desk.turn()
    assert desk.asked == [(0, None)]
    assert [some[0].video for _, _, some in desk.index.calls if some] == [ZERO[0], ZERO[1], "v1"]
    assert await desk.index.positions(CARS) == await desk.index.positions(FANS) == {0: 7}
    assert desk.value("refill_left") == 0
    assert desk.value("refills_total", cause="opened") == 1


async def test_what_the_rows_do_not_tell_leaves_the_index(desk: Desk) -> None:
    """A takedown was stored, and its worker died before it told the index."""
    gone, kept, later = ZERO[:3]
    others = [entry(video, 3) for video in ONE[:2]]
    await desk.index.apply(CARS, {0: 5}, [entry(gone, 5), entry(kept, 5), *others])
    desk.rows[0] = [[(CARS, entry(kept, 6))]]
    desk.indexing.open(0, PARTITIONS, 6)
    desk.take(0, 9, entry(later, 9))
    await desk.turn(3)
    assert set(await desk.shown()) == {kept, later, *ONE[:2]}


async def test_what_rows_alone_were_to_tell_leaves_the_index_though_it_was_the_last_that_was_told(
    desk: Desk,
) -> None:
    """A takedown was stored up to offset 9, and forgotten for an index that was too far behind."""
    gone, kept = ZERO[:2]
    desk.indexing.open(0, PARTITIONS, -1)
    desk.take(0, 6, entry(gone, 6), entry(kept, 5))
    await desk.turn(2)
    desk.rows[0] = [[(CARS, entry(kept, 9))]]
    desk.indexing.fill_one(0, 9)
    await desk.turn(3)
    assert set(await desk.shown()) == {kept}


async def test_what_a_filling_removed_of_an_index_that_fell_back_is_told_again(desk: Desk) -> None:
    """It fell back between the filling and the removal of what that had not told."""
    video, other = ZERO[:2]
    await desk.index.apply(CARS, {0: 9}, [entry(video, 3)])
    desk.rows[0] = [[(CARS, entry(other, 9))]]
    desk.indexing.open(0, PARTITIONS, 9)
    await desk.turn(3)
    assert set(await desk.shown()) == {other}
    desk.rows[0] = [[(CARS, entry(video, 9)), (CARS, entry(other, 9))]]
    desk.indexing.fill_one(0)
    await desk.turn(3)
    assert set(await desk.shown()) == {video, other}


async def test_rows_that_are_older_than_what_was_taken_remove_only_what_is_older_still(
    desk: Desk,
) -> None:
    """The counters fell back to a replica behind, and nobody noticed yet."""
    await desk.index.apply(CARS, {0: 9}, [entry(ZERO[0], 3), entry(ZERO[1], 8)])
    desk.rows[0] = [[(CARS, entry(ZERO[2], 6))], [(CARS, entry(ZERO[3], 7))]]
    desk.indexing.open(0, PARTITIONS, 9)
    await desk.turn(3)
    assert set(await desk.shown()) == set(ZERO[1:4])


async def test_without_rows_nothing_is_filled_and_nothing_removed() -> None:
    desk = Desk(rows=False)
    await desk.index.apply(CARS, {0: 5}, [entry(ZERO[0], 5)])
    desk.indexing.open(0, PARTITIONS, 6)
    desk.take(0, 9, entry(ZERO[1], 9))
    await desk.turn(3)
    assert set(await desk.shown()) == set(ZERO[:2])
    assert desk.value("refill_left") == 0


async def test_rows_that_do_not_come_are_asked_for_again(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.rows[0] = [[(CARS, entry(ZERO[0], 7))], [(CARS, entry(ZERO[1], 7))]]
    desk.unread = 3
    desk.indexing.open(0, PARTITIONS, 7)
    await desk.turn()
    assert set(await desk.shown()) == set(ZERO[:2])
    assert [line for line in warned(caplog) if "do not come" in line] == [
        "partition 0: its rows do not come: no rows"
    ]


async def test_a_filling_waits_for_an_index_that_does_not_answer(desk: Desk) -> None:
    desk.rows[0] = [[(CARS, entry(ZERO[0], 7))]]
    desk.index.down = {CARS}
    desk.indexing.open(0, PARTITIONS, 7)
    desk.indexing.turn()
    for _ in range(50):
        await asyncio.sleep(0)
    desk.index.down = set()
    await desk.turn()
    assert set(await desk.shown()) == {ZERO[0]}


async def test_a_released_partition_is_filled_no_more(desk: Desk) -> None:
    desk.rows[0] = [[(CARS, entry(ZERO[0], 7))]]
    desk.indexing.open(0, PARTITIONS, 7)
    desk.indexing.turn()
    desk.indexing.release(0)
    await desk.turn()
    assert await desk.shown() == {}


async def test_a_partition_released_while_it_is_filled_is_freed_without_the_collector(
    desk: Desk,
) -> None:
    await filling_slowly(desk)
    with without_collector():
        before = alive(_Partition)
        desk.indexing.release(0)
        await turns_of(desk, 3)
        assert alive(_Partition) == before - 1


async def opened(desk: Desk) -> None:
    """Open two partitions, each with a video in each of two slices."""
    for partition, video in ((0, ZERO[0]), (1, ONE[0])):
        desk.rows[partition] = [[(name, entry(video, 7))] for name in (CARS, FANS)]
        desk.indexing.open(partition, PARTITIONS, 7)
    await desk.turn(3)
    desk.asked.clear()


async def test_an_emptied_index_is_full_again_within_seconds(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await opened(desk)
    for slice_id in (CARS, FANS):
        await desk.index.clear(slice_id)
    await desk.turn(2)
    assert sorted(desk.asked) == [(0, None), (1, None)]
    for slice_id in (CARS, FANS):
        assert set(await desk.shown(slice_id)) == {ZERO[0], ONE[0]}
    assert desk.value("refills_total", cause="lost") == 2
    await desk.turn(3)
    assert len(desk.asked) == 2
    assert any("the serving index lost" in line for line in warned(caplog))


async def test_what_the_index_lost_before_it_was_told_how_far_a_partition_is_is_filled_again(
    desk: Desk,
) -> None:
    """Another worker cleared it between a filling and the first word of this one."""
    desk.rows[0] = [[(CARS, entry(ZERO[0], 7))]]
    desk.indexing.open(0, PARTITIONS, 7)
    await desk.turn()
    await desk.index.clear(CARS)
    await desk.turn(3)
    assert set(await desk.shown()) == {ZERO[0]}
    assert desk.value("refills_total", cause="lost") == 1


async def test_a_slice_that_fell_back_is_filled_alone(desk: Desk) -> None:
    await opened(desk)
    desk.take(0, 9)
    await desk.turn()
    before = desk.index._slices[CARS]
    before.at[0] = 7  # a replica that was behind took over
    await desk.turn(2)
    assert desk.asked == [(0, CARS)]
    assert await desk.index.positions(CARS) == {0: 9, 1: 7}


async def test_a_removal_that_the_index_lost_is_made_again(desk: Desk) -> None:
    await opened(desk)
    copy = entry(ZERO[0], 7)
    desk.rows[0] = [[(FANS, copy)]]
    desk.take(0, 9, entry(ZERO[0], 9, None))
    await desk.turn()
    assert set(await desk.shown()) == {ONE[0]}
    await desk.index.clear(CARS)
    await desk.index.apply(CARS, {0: 7, 1: 7}, [copy, entry(ONE[0], 7)])  # the replica's state
    await desk.turn(3)
    assert set(await desk.shown()) == {ONE[0]}


async def test_what_the_index_loses_while_it_is_filled_is_filled_after(desk: Desk) -> None:
    going = await filling_slowly(desk)
    await desk.index.clear(CARS)
    await turns_of(desk, 3)
    going.set()
    await desk.turn(2)
    assert set(await desk.shown()) == {ZERO[0], ONE[0]}


async def test_a_filling_comes_to_its_end_however_often_more_is_to_be_filled(desk: Desk) -> None:
    going = await filling_slowly(desk)
    for _ in range(5):
        desk.indexing.fill()
        await turns_of(desk, 1)
    going.set()
    await desk.turn(3)
    assert desk.asked == [(0, None), (1, None)] * 2
    assert desk.value("refill_left") == 0


async def filling_slowly(desk: Desk) -> asyncio.Event:
    """Begin to fill all partitions; return what lets it go on behind their first pages."""
    await opened(desk)
    going, rows_of = asyncio.Event(), desk.rows_of

    async def slow(partition: int, slice_id: str | None) -> AsyncIterator[Page]:
        async for page in rows_of(partition, slice_id):
            yield page
            await going.wait()

    desk.indexing._refilling._rows_of = slow  # type: ignore[union-attr,misc]
    desk.indexing.fill()
    await turns_of(desk, 1)
    return going


async def turns_of(desk: Desk, turns: int) -> None:
    """Take turns, and wait for nothing that they begin."""
    for _ in range(turns):
        desk.now += 1
        desk.indexing.turn()
        for _ in range(20):
            await asyncio.sleep(0)


async def test_the_slow_sweep_tells_everything_again(desk: Desk) -> None:
    await opened(desk)
    desk.index._slices[CARS].ranked["0"].put(desk.index._slices[CARS].pairs[ZERO[0]].member, None)
    desk.now += SWEEP_S - 10
    await desk.turn()
    assert desk.asked == []
    await desk.turn(12)
    assert sorted(desk.asked) == [(0, None), (1, None)]
    assert set(await desk.shown()) == {ZERO[0], ONE[0]}
    assert desk.value("refills_total", cause="sweep") == 2


# Zombies, other lives, other logs


async def test_a_zombie_stops_and_its_entries_change_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    zombie = Desk()
    owner = Desk(zombie.index)
    for desk in (zombie, owner):
        desk.indexing.open(0, PARTITIONS, 7)
        await desk.turn()
    zombie.take(0, 8, entry(ZERO[0], 8), entry(ZERO[1], 8))
    owner.take(0, 20, entry(ZERO[0], 20, None))
    await owner.turn()
    await zombie.turn()  # it learns it from this call, whose entries are older
    zombie.take(0, 9, entry(ZERO[2], 9))
    await zombie.turn(3)
    assert set(await owner.shown()) == {ZERO[1]}
    assert await owner.index.positions(CARS) == {0: 20}
    assert len([line for line in warned(caplog) if "was told up to" in line]) == 1
    await owner.turn(2)
    assert owner.value("refills_total", cause="opened") == 1, "the owner lost nothing"


async def test_an_owner_whose_counters_fell_back_goes_on_when_it_is_as_far(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, 7)
    desk.take(0, 20, entry(ZERO[0], 20, 5))
    await desk.turn()
    desk.indexing.open(0, PARTITIONS, 7)
    desk.take(0, 15, entry(ZERO[0], 15, 4))
    await desk.turn()
    desk.take(0, 18, entry(ZERO[1], 18, 3))
    await desk.turn()
    assert await desk.shown() == {ZERO[0]: 5}
    desk.take(0, 21, entry(ZERO[2], 21, 2))
    await desk.turn()
    assert await desk.shown() == {ZERO[0]: 5, ZERO[1]: 3, ZERO[2]: 2}


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("end", [20, 21])
async def test_who_had_left_before_the_counters_fell_back_and_stays_now_is_shown_again(
    desk: Desk, end: int, is_known: bool
) -> None:
    """It left for the archive at offset 20, and nothing tells of it since but its rows.

    Whether the slice is known before the partition is as far, or later.
    """
    left, other = ZERO[:2]
    await desk.index.apply(CARS, {0: 20}, [entry(left, 20, None), entry(other, 9)])
    desk.rows[0] = [[(CARS, entry(left, 7)), (CARS, entry(other, 7))]]
    desk.indexing.open(0, PARTITIONS, 7)
    if is_known:
        desk.indexing._lines[CARS].add(0, [], desk.now)
    await desk.turn()
    desk.take(0, end)
    desk.rows[0] = [[(CARS, entry(left, end)), (CARS, entry(other, end))]]
    await desk.turn(3)
    assert set(await desk.shown()) == {left, other}


async def test_a_log_that_was_made_again_does_not_wait_for_the_old_offsets(desk: Desk) -> None:
    await desk.index.apply(CARS, {0: 1_000, 1: 7}, [entry(ZERO[0], 1_000), entry(ONE[0], 7)])
    desk.rows = {0: [], 1: [[(CARS, entry(ONE[0], 7))]]}
    desk.indexing.open(0, PARTITIONS, -1)
    desk.indexing.open(1, PARTITIONS, 7)
    desk.take(0, 3, entry(ZERO[1], 3))
    desk.rows[0] = [[(CARS, entry(ZERO[1], 3))]]
    await desk.turn(4)
    assert set(await desk.shown()) == {ZERO[1], ONE[0]}
    assert await desk.index.positions(CARS) == {0: 3, 1: 7}


# Prices


async def test_prices_are_told_once_and_again_to_an_index_that_lost_them(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, 7)
    desk.take(0, 8, entry(offset=8))
    desk.indexing.price((1, 2), {CARS: {"0": 50_000}})
    await desk.turn(3)
    assert await desk.shown() == {"v1": 300_000}
    assert desk.index.priced == [CARS]
    desk.indexing.price((1, 1), {CARS: {"0": 9}})
    await desk.turn()
    assert desk.index.priced == [CARS]
    desk.rows[0] = [[(CARS, entry(offset=8))]]
    await desk.index.clear(CARS)
    await desk.turn(3)
    assert await desk.shown() == {"v1": 300_000}
    desk.indexing.price((2, 0), {CARS: {"0": 350_000}, FANS: {"0": 1}})
    await desk.turn()
    assert await desk.shown() == {"v1": 0}


async def test_the_prices_of_a_policy_are_followed_and_an_earlier_one_s_are_not(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, 7)
    desk.indexing.follow(0, None)
    desk.indexing.follow(
        0, Outlook(policy(seq=2, terms={"discover:0": 7_000, "discover:5c": 90_000}))
    )
    desk.indexing.follow(0, Outlook(policy(seq=1, terms={})))
    price = FIXED.slices[FOOTBALL].price
    dear = entry("v2", 8, price + 100_000, band=5, commercial=True)
    desk.take(0, 8, entry("v1", 8, price + 9_000), dear, slice_id=FOOTBALL)
    await desk.turn(3)
    assert await desk.shown(FOOTBALL) == {"v2": 10_000, "v1": 2_000}


async def test_the_share_of_newcomers_is_that_of_the_policy_in_force(desk: Desk) -> None:
    desk.indexing.open(0, PARTITIONS, 7)
    desk.indexing.follow(0, Outlook(policy(fresh_share=MICROS)))
    newcomer = entry("new", 8, -1, deadline=FAR, due=20)
    desk.take(0, 8, entry("best", 8, MICROS), newcomer, slice_id=FOOTBALL)
    await desk.turn(3)
    (lease,) = await desk.index.lease(FOOTBALL, 1, 1, None)
    assert (lease.video, lease.via) == ("new", "fresh")


def words(seq: int, *frozen: str) -> Policy:
    """Return a policy in which these slices are frozen."""
    slices = {
        name: replace(spec, word=SliceReview("w1", name, 10**12, name in frozen, "alice", "why"))
        for name, spec in FIXED.slices.items()
    }
    return policy(seq=seq, slices=slices)


async def test_a_slice_is_frozen_at_once_and_filled_again_when_it_is_open(desk: Desk) -> None:
    desk.rows[0] = [[(FOOTBALL, entry("v1", 8, MICROS))]]
    desk.indexing.open(0, PARTITIONS, 7)
    desk.indexing.follow(0, Outlook(words(1)))
    await desk.turn()
    assert await desk.shown(FOOTBALL)
    desk.indexing.follow(0, Outlook(words(2, FOOTBALL)))
    await desk.turn()
    assert await desk.index.is_frozen(FOOTBALL)
    assert await desk.shown(FOOTBALL) == {}
    desk.take(0, 9, entry("v1", 9, None), slice_id=FOOTBALL)  # the fold lets it go meanwhile
    await desk.turn()
    desk.rows[0] = [[(FOOTBALL, entry("v1", 10, MICROS))]]
    desk.indexing.follow(0, Outlook(words(3)))
    await desk.turn(3)
    assert not await desk.index.is_frozen(FOOTBALL)
    assert await desk.shown(FOOTBALL)


async def test_each_partition_is_filled_again_when_it_is_counted_by_another_freezing(
    desk: Desk,
) -> None:
    """Rows that are counted by the policy before tell of a slice as it was."""
    for partition in range(PARTITIONS):
        desk.indexing.open(partition, PARTITIONS, 7)
        desk.indexing.follow(partition, Outlook(words(1, FOOTBALL)))
    await desk.turn()
    desk.indexing.follow(0, Outlook(words(2)))
    await desk.turn(3)
    desk.rows[1] = [[(FOOTBALL, entry(ONE[0], 9, MICROS))]]
    desk.indexing.follow(1, Outlook(words(2)))
    await desk.turn(3)
    assert ONE[0] in await desk.shown(FOOTBALL)


# In a worker


class NotedIndexing(Indexing):
    """Notes what a worker tells."""

    def __init__(self) -> None:
        super().__init__(BrittleIndex(), Metrics())
        self.opened: list[tuple[int, int, int]] = []
        self.taken: list[tuple[int, int]] = []
        self.released: list[int] = []

    def open(self, partition: int, partitions: int, watermark: int) -> None:
        self.opened.append((partition, partitions, watermark))
        super().open(partition, partitions, watermark)

    def take(
        self,
        partition: int,
        offset: int,
        entries: Mapping[str, Sequence[Entry]],
        *,
        whole: bool = True,
    ) -> None:
        self.taken.append((partition, offset))
        super().take(partition, offset, entries, whole=whole)

    def release(self, partition: int) -> None:
        self.released.append(partition)
        super().release(partition)


LOG_OF_ALL = synthetic_log(seed=11, videos=8, events=420)


async def test_a_worker_tells_of_what_is_stored_as_soon_as_it_is() -> None:
    world, indexing = World(), NotedIndexing()
    world.put(LOG_OF_ALL[:100])
    life = await Life(world, batch=30, indexing=indexing).start()
    await life.until(world.caught_up)
    await life.stop()
    assert indexing.opened == [(0, 1, -1)]
    offsets = [offset for _, offset in indexing.taken]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] == world.watermark()
    assert indexing.released[-1] == 0


async def test_what_another_worker_stored_first_is_not_told() -> None:
    world, indexing = World(), NotedIndexing()
    world.put(LOG_OF_ALL[:50])
    life = await Life(world, indexing=indexing).start()
    await life.until(world.caught_up)
    await counted(elsewhere := World(), group="others")
    elsewhere.put(LOG_OF_ALL[:100])
    await counted(elsewhere, group="others")
    first, theirs = world.watermark(), elsewhere.watermark()
    world.store.partitions[0] = elsewhere.store.partitions[0]
    world.put(LOG_OF_ALL[50:110])
    await life.until(world.caught_up)
    await life.stop()
    assert [opened[2] for opened in indexing.opened] == [-1, theirs]
    assert [offset for _, offset in indexing.taken if offset > first] == [world.watermark()]


async def test_an_index_that_is_behind_is_told_when_it_has_room_and_then_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owned, "TELL_MOST", 3)
    monkeypatch.setattr(serving, "ROOM", 0)
    world, indexing = World(), NotedIndexing()
    world.put(LOG_OF_ALL[:100])
    life = await Life(world, batch=30, indexing=indexing).start()
    await life.until(world.caught_up)
    assert indexing.taken == []
    monkeypatch.setattr(serving, "ROOM", serving.WAITING_MOST)
    await life.until(lambda: indexing._owned[0].offset == world.watermark())
    await life.stop()
    assert len(indexing.taken) > 2


async def test_what_only_feeds_wait_for_does_not_keep_videos_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The index does not answer for long: it is filled from the rows when it does."""
    monkeypatch.setattr(serving, "ROOM", 0)
    world, indexing = World(videos_in_memory=4), NotedIndexing()
    world.put(LOG_OF_ALL)
    life = await Life(world, batch=30, indexing=indexing).start()
    await life.until(world.caught_up)
    (one,) = life.worker._owned.values()
    await life.until(lambda: len(one.state.videos) <= 4)
    assert one.state.untold <= 2
    assert indexing._owned[0].cause == "lost"
    await life.stop()


async def test_with_more_videos_than_memory_feeds_are_told_early_and_not_from_the_rows() -> None:
    world, indexing = World(videos_in_memory=2, flush_rows=4), NotedIndexing()
    world.put(LOG_OF_ALL)
    life = await Life(world, batch=30, indexing=indexing, clock=time.monotonic).start()
    await life.until(world.caught_up)
    assert len(indexing.taken) > 1
    assert indexing._owned[0].cause is None
    await life.stop()


async def test_a_policy_that_nothing_follows_on_is_told_all_the_same() -> None:
    """It is stored by a flush that comes too soon after another one to tell anything."""
    world, indexing = World(), NotedIndexing()
    records = records_of([policy(seq=1), admit(), policy(seq=2)])
    world.put(records[:2])
    life = await Life(world, indexing=indexing).start()
    await life.until(lambda: indexing.taken and indexing._order == (0, 1))
    world.put(records[2:])
    await life.until(lambda: indexing._order == (0, 2))
    await life.stop()


async def test_feeds_follow_no_policy_before_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filling that a policy causes reads rows, and those are of before it until then."""
    world, indexing, early = World(), NotedIndexing(), set[int]()
    store, follow = world.store.flush, indexing.follow

    async def slow(*arguments: Any) -> Any:
        for _ in range(30):
            await asyncio.sleep(0)
        return await store(*arguments)

    def noted(partition: int, outlook: Outlook | None) -> None:
        if outlook is not None:
            stored = msgspec.json.decode(world.store.partitions[0].meta.policy)
            early.update({outlook.policy.seq} - {*range(stored["seq"] + 1)})
        follow(partition, outlook)

    monkeypatch.setattr(world.store, "flush", slow)
    monkeypatch.setattr(indexing, "follow", noted)
    monkeypatch.setattr(serving, "ASK_S", serving.EVERY_S)
    monkeypatch.setattr(serving, "LATE_S", 0.0)
    seen = [view(f"e{n}", viewer=f"u{n}") for n in range(80)]
    kept = [[policy(seq=n + 2), *seen[n * 4 : n * 4 + 4]] for n in range(20)]
    world.put(records_of([policy(seq=1), admit(), *chain.from_iterable(kept)]))
    life = await Life(world, batch=1, indexing=indexing).start()
    await life.until(world.caught_up)
    await life.stop()
    assert indexing._order == (0, 21)
    assert not early

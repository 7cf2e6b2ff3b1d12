"""What chance showed and taught, summed from the minutes of traffic that a worker wrote."""

from collections import Counter
from math import sqrt
from statistics import fmean, stdev

import pytest
from kit.events import COOKING, FANS, FOOTBALL, MUSIC, synthetic_log
from kit.twins import World, counted

from streams.core.traffic import ClassSums, decode
from streams.core.units import MICROS, surface_of
from streams.errors import Retry
from streams.ops.exploration import ALL, Explored, as_row, explored, lesson, read_explored
from streams.runtime.memory import MemoryReader
from streams.runtime.ports import Outgoing


async def world_of(seed: int = 7) -> World:
    world = World()
    world.put(synthetic_log(seed=seed, videos=8, events=900))
    return await counted(world, batch=50)


async def read(world: World) -> list[Explored]:
    return await read_explored(MemoryReader(world.log), "traffic", [0], 0)


async def test_the_explored_share_is_that_of_the_minutes_that_were_written() -> None:
    world = await world_of()
    shown, drawn = Counter[str](), Counter[str]()
    for raw in world.ticks():
        for sums in decode(raw).sums:
            if surface_of(sums.slice) != "following":
                shown[sums.slice] += sums.impressions
                drawn[sums.slice] += sums.via.get("explore", 0)
    total, *by_slice = await read(world)
    assert (total.slice, total.impressions) == (ALL, shown.total())
    assert total.explored == drawn.total() > 20
    assert total.share == drawn.total() / shown.total()
    assert {each.slice: (each.impressions, each.explored) for each in by_slice} == {
        name: (shown[name], drawn[name]) for name in sorted(shown)
    }


async def test_a_minute_that_was_written_twice_counts_once_and_what_is_none_not_at_all() -> None:
    world = await world_of()
    before = await read(world)
    world.log.append(Outgoing("traffic", world.ticks()[1], b"0", (), 0))
    world.log.append(Outgoing("traffic", b"{}", b"0", (), 0))
    assert await read(world) == before


async def test_a_topic_that_does_not_answer_is_said() -> None:
    world = World()
    with pytest.raises(Retry):
        await read_explored(MemoryReader(world.log), "traffic", [0, 9], 0)


def test_what_was_expected_of_drawn_tranches_stands_beside_what_was_found() -> None:
    trials = [(350_000, 300_000), (350_000, 340_000), (380_000, 350_000), (300_000, 310_000)]
    sums = [ClassSums(FOOTBALL, "0", impressions=500, via={"explore": 50, "rank": 400})]
    sums += [ClassSums(COOKING, "3c", impressions=500), ClassSums(FANS, "0", impressions=9_000)]
    for place, (hoped, found) in enumerate(trials):
        sums[place % 2].note_trial(hoped, found)
    total, cooking, football = explored(sums)
    assert (total.impressions, total.explored, total.trials) == (1_000, 50, 4)
    assert total.expected == pytest.approx(fmean(hoped for hoped, _ in trials) / MICROS)
    assert total.found == pytest.approx(fmean(found for _, found in trials) / MICROS)
    apart = [(found - hoped) / MICROS for hoped, found in trials]
    assert total.half_width_95 == pytest.approx(1.96 * stdev(apart) / sqrt(len(apart)), rel=1e-3)
    assert (cooking.slice, cooking.explored, cooking.trials) == (COOKING, 0, 2)
    assert football.share == 0.1
    assert as_row(football)["explored_%"] == 10.0
    assert lesson(total) == (
        "of 4 drawn tranches 0.345 a view was expected and 0.325 was found: as expected, ± 0.025"
    )


def test_one_trial_tells_no_interval_and_none_tell_nothing() -> None:
    sums = ClassSums(MUSIC, "0", impressions=9)
    sums.note_trial(350_000, 200_000)
    total, _ = explored([sums])
    assert total.half_width_95 is None
    assert lesson(total).endswith("0.200 was found")
    untried, _ = explored([ClassSums(MUSIC, "0", impressions=9)])
    assert (untried.expected, untried.found) == (None, None)
    assert explored([]) == []

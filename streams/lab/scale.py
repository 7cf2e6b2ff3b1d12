"""How the throughput changes with pairs in memory, with workers, and with one hot video."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from streams.core.events import Policy
from streams.lab.bench import Bench, BenchTrial, Sizes
from streams.lab.counted import count_once
from streams.lab.load import Shape
from streams.lab.timed import Timed

PAIRS: Final = (10_000, 100_000, 1_000_000, 10_000_000)
WORKERS: Final = (1, 2, 3, 4)
HOT_SHARE: Final = 0.9
ENOUGH: Final = 1_000_000
"""Events of a run, unless its pairs are more or the bench has fewer."""


class Setting(NamedTuple):
    """A load, and how many workers count it."""

    case: str
    shape: Shape
    events: int
    workers: tuple[int, ...] = (1,)


class ScaleRow(NamedTuple):
    """What one setting came to; `pairs` of a video and a slice are None where chance makes them.

    Rates are None where the events were too few to be timed.
    """

    case: str
    videos: int
    pairs: int | None
    workers: int
    events: int
    events_per_second: int | None
    events_per_cpu_second: int | None
    counters_checked: int
    differences: int


def settings_of(sizes: Sizes, policy: Policy) -> Iterator[Setting]:
    """Yield what is measured; every pair has an event, so there are no more pairs than events."""
    few = min(sizes.events, ENOUGH)
    for pairs in PAIRS:
        if pairs <= sizes.events:
            yield Setting("pairs", Shape.even(pairs, policy), max(pairs, few))
    yield Setting("workers", Shape(sizes.videos), few, WORKERS)
    yield Setting("hot video", Shape(sizes.videos, hot=HOT_SHARE), few)


async def scale(bench: Bench, sizes: Sizes) -> list[ScaleRow]:
    """Return a row a setting and number of workers, each verified by a recount."""
    rows = []
    for setting in settings_of(sizes, bench.policy):
        case, shape, events, crews = setting
        bench.tell(f"{case}: sending {events:,} events about {shape.videos:,} videos")
        async with BenchTrial(bench, shape) as trial:
            await trial.send(events, 1)
            for workers in crews:
                timed, checked = await count_once(trial, workers)
                named = f"{shape.pairs:,} pairs" if shape.pairs else case
                bench.tell(f"{named}, {workers} at work: {timed}")
                rows.append(_row(setting, workers, timed, checked))
    return rows


def _row(setting: Setting, workers: int, timed: Timed, checked: int) -> ScaleRow:
    case, shape, events, _ = setting
    clock, cores = None, None
    if timed.events:
        clock, cores = round(timed.per_second), round(timed.per_cpu_second)
    return ScaleRow(
        case,
        shape.videos,
        shape.pairs or None,
        workers,
        events,
        clock,
        cores,
        checked,
        timed.differences,
    )

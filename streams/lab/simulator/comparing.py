"""Many runs: every contender in every world and regime, over seeds, on all cores."""

import math
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import fmean, stdev
from typing import Final, NamedTuple, TypeVar

from streams.lab.simulator.admission import load_platform
from streams.lab.simulator.building import build_world
from streams.lab.simulator.lineup import CONTENDERS, SERVERS
from streams.lab.simulator.loop import Course, run
from streams.lab.simulator.measures import Measures, measure
from streams.lab.simulator.names import Cell

Result = TypeVar("Result")
STUDENT_95: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Two-sided 95 % quantiles of Student's t at 1, 2, ... degrees of freedom; 1.96 beyond."""
REFERENCES: Final = ("oracle", "ladder")
"""Always run: everything is measured against them."""


class CellResult(NamedTuple):
    """Measures of each contender, with what it took: impressions shown and CPU seconds."""

    cell: Cell
    measures: dict[str, Measures]
    speed: dict[str, tuple[int, float]]


class Interval(NamedTuple):
    """A mean over seeds, and half the width of its 95 % interval (NaN of one seed)."""

    mean: float
    half: float


class Summary(NamedTuple):
    """One contender in one world and regime: an interval for each field of `Measures`."""

    world: str
    regime: str
    contender: str
    intervals: dict[str, Interval]


def play(cell: Cell) -> CellResult:
    """Run all contenders of a cell through the same world."""
    platform = load_platform(cell.folder)
    world = build_world(platform, cell.world, cell.regime, cell.size, cell.seed)
    courses: dict[str, Course] = {}
    speed: dict[str, tuple[int, float]] = {}
    for name in CONTENDERS:
        if name in REFERENCES or name in cell.contenders:
            began = time.process_time()
            contender = CONTENDERS[name](world, SERVERS[cell.servers](), cell.seed)
            courses[name] = run(world, contender, cell.seed)
            speed[name] = int(courses[name].shown.sum()), time.process_time() - began
    oracle, ladder = (courses[name] for name in REFERENCES)
    measures = {
        name: measure(world, course, oracle, ladder)
        for name, course in courses.items()
        if name in cell.contenders
    }
    return CellResult(cell, measures, speed)


def play_all(
    cells: Sequence[Cell], processes: int, done: Callable[[CellResult], None]
) -> list[CellResult]:
    """Run cells, the longest first, and return their results in the order of `cells`."""
    results = []
    for result in on_cores(play, sorted(cells, key=_size, reverse=True), processes):
        done(result)
        results.append(result)
    return sorted(results, key=lambda result: cells.index(result.cell))


def summarise(results: Iterable[CellResult]) -> list[Summary]:
    """Return mean and interval over the seeds of each world, regime and contender."""
    groups: dict[tuple[str, str, str], list[Measures]] = {}
    for result in results:
        for name, measures in result.measures.items():
            key = (result.cell.world, result.cell.regime, name)
            groups.setdefault(key, []).append(measures)
    return [
        Summary(
            *key,
            {field: interval([getattr(one, field) for one in group]) for field in Measures._fields},
        )
        for key, group in groups.items()
    ]


def interval(values: Sequence[float]) -> Interval:
    """Return mean and half width over seeds; seeds with nothing to measure are left out.

    >>> mean, half = interval([1.0, 2.0, 3.0])
    >>> mean, round(half, 3)
    (2.0, 2.484)
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Interval(math.nan, math.nan)
    if len(known) == 1:
        return Interval(known[0], math.nan)
    freedom = len(known) - 1
    quantile = STUDENT_95[freedom - 1] if freedom <= len(STUDENT_95) else 1.96
    return Interval(fmean(known), quantile * stdev(known) / math.sqrt(len(known)))


def speeds(results: Iterable[CellResult]) -> dict[str, float]:
    """Return impressions a CPU second, by contender."""
    totals: dict[str, list[float]] = {}
    for result in results:
        for name, (shown, seconds) in result.speed.items():
            total = totals.setdefault(name, [0, 0])
            total[0] += shown
            total[1] += seconds
    return {name: shown / seconds for name, (shown, seconds) in totals.items()}


def on_cores(
    work: Callable[[Cell], Result], cells: Sequence[Cell], processes: int
) -> Iterator[Result]:
    """Do the work of each cell, so many at a time, and yield the results in order."""
    if processes == 1:
        yield from map(work, cells)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        yield from pool.map(work, cells)


def _size(cell: Cell) -> float:
    """Return a guess of how long a cell takes beside others."""
    return cell.size * {"rich": 10, "crowded": 4, "middle": 2, "scarce": 1}[cell.regime]

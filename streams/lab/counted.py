"""Our own count of a whole log, timed from where every admission is folded to its end."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

from streams.lab.bench import BenchTrial
from streams.lab.phases import Timeline
from streams.lab.timed import Cores, Timed


class Stretch(NamedTuple):
    """The part of a run that is timed: moments of `perf_counter`, and the events between them."""

    began: float
    ended: float
    events: int


async def count_once(trial: BenchTrial, workers: int = 1) -> tuple[Timed, int]:
    """Count the trial's log from nothing; return what it took, and how many counters were compared.

    An admission's signature costs more than many events, so the clock starts when the last video is
    admitted, and what is counted of the feedback by then is left out. Several workers do not start
    at once: they are timed while each partition has something left to count.
    """
    await trial.forget()
    async with AsyncExitStack() as stack:
        pids = [(await stack.enter_async_context(trial.worker())).pid for _ in range(workers)]
        cores = Cores(pids)
        async with cores.watched():
            timeline = await trial.timeline()
    stretch = stretch_of(timeline, trial.admitted, together=workers > 1)
    verified = await trial.verified()
    took = stretch.ended - stretch.began
    cpu_s = cores.between(stretch.began, stretch.ended)
    return Timed(stretch.events, took, cpu_s, verified["differences"]), verified["counters_checked"]


def stretch_of(
    timeline: Timeline, admitted: Mapping[int, int], *, together: bool = False
) -> Stretch:
    """Return what to time: from where each partition is past its admissions to the last move.

    With `together` it ends where the first partition does. It is empty where that came before.

    >>> moves = {0: [(-1, 0.0), (9, 1.0), (99, 4.0)], 1: [(-1, 0.0), (49, 2.0), (69, 3.0)]}
    >>> stretch_of(moves, {0: 10, 1: 5})
    Stretch(began=2.0, ended=4.0, events=110)
    >>> stretch_of(moves, {0: 10, 1: 5}, together=True)
    Stretch(began=2.0, ended=3.0, events=20)
    """
    began = max(
        next(at for mark, at in marks if mark + 1 >= admitted.get(partition, 0))
        for partition, marks in timeline.items()
    )
    ends = [marks[-1][1] for marks in timeline.values()]
    ended = max(min(ends) if together else max(ends), began)
    moved = (_mark(marks, ended) - _mark(marks, began) for marks in timeline.values())
    return Stretch(began, ended, sum(moved))


def _mark(marks: Sequence[tuple[int, float]], moment: float) -> int:
    """Return a partition's watermark at a moment: the last that was seen by then."""
    return max(mark for mark, at in marks if at <= moment)

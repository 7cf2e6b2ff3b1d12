"""How long a count took, by the clock and by the cores that a process had."""

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from streams.runtime.ending import beside

SAMPLE_S: Final = 0.02
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Timed(NamedTuple):
    """One run: events that were counted, and what they took.

    >>> Timed(3_000, 2.0, 1.5).per_second, Timed(3_000, 2.0, 1.5).per_cpu_second
    (1500.0, 2000.0)
    """

    events: int
    wall_s: float
    cpu_s: float
    differences: int = 0

    def __str__(self) -> str:
        rates = f"{self.per_second:,.0f} events/s, {self.per_cpu_second:,.0f} a CPU second"
        return f"{rates}, {self.differences} differences"

    @property
    def per_second(self) -> float:
        """Events a second of the clock."""
        return self.events / max(self.wall_s, 1 / _TICKS)

    @property
    def per_cpu_second(self) -> float:
        """Events a second in which a core worked for the process."""
        return self.events / max(self.cpu_s, 1 / _TICKS)


def cpu_seconds(pid: int) -> float:
    """Return how long cores have worked for a process so far, in all of its threads."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS


class Cores:
    """What cores have done for some processes, looked at again and again."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._samples: list[tuple[float, float]] = []  # clock, core seconds

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look until the end of the block, and a last time then."""
        async with beside(self._watch()):
            yield
            self._look()

    def between(self, began: float, ended: float) -> float:
        """Return the core seconds between two moments of `perf_counter`."""
        return self._at(ended) - self._at(began)

    def _at(self, moment: float) -> float:
        place = bisect_left(self._samples, (moment, 0.0))
        return self._samples[min(place, len(self._samples) - 1)][1]

    async def _watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(SAMPLE_S)

    def _look(self) -> None:
        self._samples.append((time.perf_counter(), sum(map(cpu_seconds, self._pids))))

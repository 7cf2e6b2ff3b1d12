"""What was shown lately, over all partitions: the topic `traffic`, read and summed for who steers.

Pure: it is given the records in the order in which each partition wrote them. What is said twice
counts once. A partition whose minutes do not come, or whose clock is far from the others', is
*unmeasured*: the others are not waited for, and nothing is guessed for it.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from streams.core.traffic import ClassSums, Tick
from streams.core.units import MICROS

ClassKey = tuple[str, str]
"""Slice and class."""


class TrafficWindow(NamedTuple):
    """Sums of the ticks from `first` to `last`, both inclusive, by slice and class."""

    first: int  # minutes since 1970
    last: int
    sums: Mapping[ClassKey, ClassSums]
    unmeasured: tuple[int, ...]  # partitions without any tick there


class TrafficView:
    """The latest `minutes` ticks of each of so many partitions.

    >>> view = TrafficView(partitions=2, minutes=5)
    >>> tick = Tick("0.7", 0, 7, (ClassSums("discover:cars", "0", impressions=3),))
    >>> view.take(tick), view.take(tick)
    (True, False)
    >>> window = view.window(1)
    >>> window.sums["discover:cars", "0"].impressions, window.unmeasured
    (3, (1,))
    """

    def __init__(self, partitions: int, minutes: int) -> None:
        self._partitions: Final = partitions
        self._kept: Final[defaultdict[int, deque[Tick]]] = defaultdict(
            lambda: deque(maxlen=minutes)
        )

    @property
    def now(self) -> int:
        """The tick by which most partitions go, 0 before any.

        The lower median of their latest ones: a few whose clocks run ahead, or that have nothing
        to read, do not move it.
        """
        latest = sorted(kept[-1].tick for kept in self._kept.values())
        return latest[(len(latest) - 1) // 2] if latest else 0

    def take(self, tick: Tick) -> bool:
        """Take a record; tell whether it was new: a partition's ticks rise, so others are not."""
        kept = self._kept[tick.partition]
        if kept and tick.tick <= kept[-1].tick:
            return False
        kept.append(tick)
        return True

    def window(self, minutes: int) -> TrafficWindow:
        """Return what the latest `minutes` ticks up to `now` sum to."""
        last = self.now
        first = last - minutes + 1
        sums: dict[ClassKey, ClassSums] = {}
        for _, kept in sorted(self._kept.items()):
            for tick in kept:
                if first <= tick.tick <= last:
                    _add(sums, tick)
        return TrafficWindow(first, last, sums, self.unmeasured(minutes))

    def unmeasured(self, minutes: int) -> tuple[int, ...]:
        """Return the partitions without any of the latest `minutes` ticks up to `now`."""
        last = self.now
        latest = range(last - minutes + 1, last + 1)
        measured = {p for p, kept in self._kept.items() if any(t.tick in latest for t in kept)}
        return tuple(p for p in range(self._partitions) if p not in measured)


def unsteered(sums: Iterable[ClassSums]) -> int:
    """Return the share of impressions that went by no mix of the latest minutes, micro-units."""
    known = list(sums)
    impressions = sum(each.impressions for each in known)
    steered = sum(each.steered for each in known)
    return (impressions - steered) * MICROS // impressions if impressions else 0


def _add(sums: dict[ClassKey, ClassSums], tick: Tick) -> None:
    for each in tick.sums:
        key = (each.slice, each.kind)
        if key not in sums:
            sums[key] = ClassSums(*key)
        sums[key].add(each)

"""Exploration as a budget: the share of a crowd's impressions that chance gave, and its lesson."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any, Final, NamedTuple

from streams.core.traffic import ClassSums, Tick
from streams.core.units import MICROS, surface_of
from streams.ops.tail import locate, read_ticks_in
from streams.runtime.ports import LogReader

ALL: Final = "all"
"""Names the row of all public crowds together."""
NORMAL_95: Final = 1.96


class Explored(NamedTuple):
    """What chance showed in one slice, and what came of the tranches that it drew there.

    Of so many `trials`, `expected` is the mean of what other crowds had led to expect of a view,
    and `found` what its views were worth, in value; both None before any. In 95 of 100 samples like
    it the true mean of `found` less `expected` lies within `half_width_95` of what it is here.
    """

    slice: str
    impressions: int
    explored: int  # of those, because chance drew the slice
    trials: int
    expected: float | None
    found: float | None
    half_width_95: float | None  # None of fewer than two

    @property
    def share(self) -> float:
        """Which part of the impressions chance gave."""
        return self.explored / self.impressions if self.impressions else 0.0


async def read_explored(
    reader: LogReader, topic: str, partitions: Sequence[int], since_ms: int
) -> list[Explored]:
    """Return what chance showed in each public slice since a time, and in all of them together.

    A minute that was written twice counts once. `StreamsError` if the topic does not answer.
    """
    span = await locate(reader, topic, partitions, since_ms)
    ticks: dict[str, Tick] = {}
    async for tick in read_ticks_in(reader, span):
        ticks[tick.id] = tick
    return explored(sums for tick in ticks.values() for sums in tick.sums)


def explored(sums: Iterable[ClassSums]) -> list[Explored]:
    """Return what minutes of traffic say of chance: the total first, then slices by their names."""
    by_slice: defaultdict[str, ClassSums] = defaultdict(lambda: ClassSums("", ""))
    for each in sums:
        if surface_of(each.slice) != "following":
            for name in (ALL, each.slice):
                by_slice[name].add(each)
    return [_row(name, by_slice[name]) for name in sorted(by_slice, key=lambda n: (n != ALL, n))]


def as_row(each: Explored) -> dict[str, Any]:
    """Return a slice's numbers for people and JSON, values rounded to four digits."""
    rounded = {
        name: None if value is None else round(value, 4)
        for name in ("expected", "found", "half_width_95")
        for value in (getattr(each, name),)
    }
    counts = {name: getattr(each, name) for name in ("slice", "impressions", "explored")}
    return {**counts, "explored_%": round(100 * each.share, 2), "trials": each.trials, **rounded}


def lesson(total: Explored) -> str:
    """Return in words what the drawn tranches taught about what is expected of a crowd.

    >>> print(lesson(Explored("all", 90_000, 900, 40, 0.35, 0.31, 0.03)))
    of 40 drawn tranches 0.350 a view was expected and 0.310 was found: 0.040 ± 0.030 less
    >>> print(lesson(Explored("all", 90_000, 900, 40, 0.35, 0.36, 0.03)))
    of 40 drawn tranches 0.350 a view was expected and 0.360 was found: as expected, ± 0.030
    >>> print(lesson(Explored("all", 90_000, 0, 0, None, None, None)))
    no drawn tranche was shown to its end
    """
    if total.expected is None or total.found is None:
        return "no drawn tranche was shown to its end"
    apart, half = total.found - total.expected, total.half_width_95
    text = f"of {total.trials:,} drawn tranches {total.expected:.3f} a view was expected and "
    text += f"{total.found:.3f} was found"
    if half is None:
        return text
    if abs(apart) <= half:
        return f"{text}: as expected, ± {half:.3f}"
    return f"{text}: {abs(apart):.3f} ± {half:.3f} {'more' if apart > 0 else 'less'}"


def _row(name: str, sums: ClassSums) -> Explored:
    counts = (name, sums.impressions, sums.via.get("explore", 0), sums.trials)
    if not sums.trials:
        return Explored(*counts, None, None, None)
    expected, found = (each / sums.trials / MICROS for each in (sums.hoped, sums.found))
    half = None
    if sums.trials > 1:
        spread = sums.apart / MICROS - sums.trials * (found - expected) ** 2
        variance = max(spread, 0.0) / (sums.trials - 1)
        half = NORMAL_95 * sqrt(variance / sums.trials)
    return Explored(*counts, expected, found, half)

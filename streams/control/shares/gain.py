"""How much a tilt moves: the gain of each promise, from the scores of what was shown.

Where two classes compete, each has impressions near the cut, so many a unit of value. A tilt
between them moves the cut of both: `own` x `other` / (`own` + `other`) impressions a unit of value
change sides. `traffic` has them in buckets of score less price.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Final

from streams.core.shares import Bar
from streams.core.traffic import GAP_MICROS, GAPS, ClassSums
from streams.core.units import MICROS

LEAST: Final = 100
"""Impressions with a score, of either side, below which nothing is said of a place."""
STEEPEST: Final = 1.0
"""Scores fall no faster from bucket to bucket, but by chance."""


def estimate_gain(bar: Bar, sums: Mapping[tuple[str, str], ClassSums]) -> int | None:
    """Return the gain that traffic tells, None where too little of it has scores.

    >>> near = {"gaps": [0] * 4 + [100] * 4 + [0] * 8}
    >>> sums = {
    ...     ("discover:cars", kind): ClassSums("discover:cars", kind, impressions=400, **near)
    ...     for kind in ("0", "5")
    ... }
    >>> estimate_gain(Bar("ordinary", 700_000), sums)
    3125000
    """
    own: defaultdict[str, list[int]] = defaultdict(lambda: [0] * GAPS)
    other: defaultdict[str, list[int]] = defaultdict(lambda: [0] * GAPS)
    for (slice_id, kind), each in sums.items():
        if bar.is_of(slice_id) and each.gaps:
            side = own if bar.has(slice_id, kind) else other
            place = "" if bar.name == "private" else slice_id  # there, surfaces compete
            side[place] = [one + more for one, more in zip(side[place], each.gaps, strict=True)]
    moved = 0
    for place in own.keys() & other.keys():
        if min(sum(own[place]), sum(other[place])) >= LEAST:
            moved += _between(_near_cut(own[place]), _near_cut(other[place]))
    scored = sum(map(sum, (*own.values(), *other.values())))
    return moved * MICROS // scored if moved else None


def _near_cut(gaps: Sequence[int]) -> int:
    """Return the impressions a unit of value at the cut, beyond which none were shown.

    The cut lies in the fullest bucket or just below it: from there on scores are the fewer the
    higher, about exponentially. With a fall of `rate` a bucket, a density at the cut is that at the
    upper edge of the fullest bucket and `rate` times what lies between them; whatever the cut was
    from minute to minute, as all of it is linear. Without impressions in the next two buckets the
    fullest one itself tells; the last bucket has no end.
    """
    full = max(range(GAPS - 1), key=gaps.__getitem__)
    first, second = gaps[full + 1 : full + 3] if full + 3 < GAPS else (0, 0)
    if not 0 < second < first:
        return gaps[full] * MICROS // GAP_MICROS
    rate = min(log(first / second), STEEPEST)
    at_edge = first * rate / (1 - exp(-rate))
    return round((at_edge + rate * sum(gaps[: full + 1])) * MICROS / GAP_MICROS)


def _between(own: int, other: int) -> int:
    return own * other // (own + other) if own + other else 0

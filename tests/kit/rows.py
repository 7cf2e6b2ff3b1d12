"""Rows of feedback as honest viewers leave them."""

from operator import attrgetter, mul
from typing import Any, Final

from streams.core.counters import Slice
from streams.core.distinct import ALL_PRESSED, BUTTONS, EVERYONE
from streams.core.events import Weights
from streams.core.traffic import ClassSums
from streams.core.units import MICROS

FIRSTS: Final = {
    "comments": "commenters",
    "shares": "sharers",
    "reports": "reporters",
    "orders": "buyers",
}


def honest(**numbers: Any) -> Slice:
    """Return a row with these numbers, of very many viewers: all of it weighs.

    Whatever is not named follows: a view has its impression, an impression its allowance, and
    nobody comments twice.
    """
    numbers.setdefault("impressions", numbers.get("views", 0))
    numbers.setdefault("allowance", numbers["impressions"])
    for counter, first in FIRSTS.items():
        numbers.setdefault(first, numbers.get(counter, 0))
    everyone = {"viewers": EVERYONE, "likers": ALL_PRESSED, "pressers": ALL_PRESSED}
    return Slice(**(everyone | numbers))


def value_of(row: Slice | ClassSums, weights: Weights) -> int:
    """Return what feedback was worth to its viewers, summed, if all of it weighs.

    That of a row, or of a minute's sums.
    """
    counts = _weighing_in(row) if isinstance(row, Slice) else _pressed_in(row)
    buttons: int = sum(map(mul, _worths(weights), counts))
    return weights.watch * row.ratio_sum // MICROS + buttons


_worths: Final = attrgetter(*BUTTONS)
_weighing_in: Final = attrgetter(*BUTTONS.values())
_pressed_in: Final = attrgetter(*(f"{name}s" for name in BUTTONS))
"""What of a minute is worth something besides watching."""

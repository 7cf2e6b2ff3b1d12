"""Rows of feedback as honest viewers leave them."""

from typing import Any, Final

from streams.core.counters import Slice
from streams.core.distinct import BUTTON_BITS, EVERYONE

ANYBODY: Final = (1 << BUTTON_BITS) - 1
"""So many viewers pressed something that nobody counts them."""
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
    everyone = {"viewers": EVERYONE, "likers": ANYBODY, "pressers": ANYBODY}
    return Slice(**(everyone | numbers))

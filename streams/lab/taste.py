"""What simulated viewers truly think of a video: the truth that the decisions have to find out.

A video's *appeal* to a slice is a number from 0 to 1; what its viewers do follows from it
(`viewers`).
"""

import math
from collections.abc import Mapping
from random import Random
from typing import Final, Literal

from streams.core.events import SlicePolicy, Weights
from streams.core.units import MICROS, surface_of
from streams.lab.viewers import appeal_for

Fortune = Literal["loved", "fair", "misplaced", "dull"]
"""A video's lot: liked where it belongs, middling, liked elsewhere only, or liked nowhere."""
FORTUNES: Final[Mapping[Fortune, int]] = {"loved": 40, "fair": 15, "misplaced": 30, "dull": 15}
"""How many of a hundred videos have which lot."""

LOVED, DISLIKED = 0.14, -0.24
"""Value per view above or below what the slice is used to."""
UNRELATED: Final = 0.3
"""Slices less alike than this to a misplaced video's own may love it."""


def draw_fortune(chance: Random) -> Fortune:
    """Return a video's lot."""
    return chance.choices(list(FORTUNES), list(FORTUNES.values()))[0]


def draw_appeals(
    chance: Random, home: str, fortune: Fortune, slices: Mapping[str, SlicePolicy], weights: Weights
) -> dict[str, float]:
    """Return the appeal of one video to every slice.

    `home` is the slice it is meant for. What its own crowd thinks carries over to the others as
    far as the catalogue calls them alike; the rest is chance. A view of a video that is neither
    liked nor disliked is worth the slice's prior mean.
    """
    own = {"loved": LOVED, "fair": 0.0, "misplaced": DISLIKED, "dull": DISLIKED}[fortune]
    own += chance.gauss(0, 0.03)
    appeals: dict[str, float] = {}
    for name, spec in sorted(slices.items()):
        alike = 1.0 if name == home else _likeness(home, name, slices)
        more = alike * own + chance.gauss(0, 0.06) * math.sqrt(1 - alike * alike)
        if fortune == "dull":
            more += (1 - alike) * DISLIKED
        elif fortune == "misplaced" and alike < UNRELATED and chance.random() < 0.4:
            more = LOVED
        appeals[name] = appeal_for(spec.prior_mean + more * MICROS, weights)
    return appeals


def _likeness(one: str, other: str, slices: Mapping[str, SlicePolicy]) -> float:
    """Return how alike two slices are, 0 to 1: as the catalogue says; fans and towns, half."""
    if surface_of(other) != "discover":
        return 0.5
    said = max(slices[one].neighbours.get(other, 0), slices[other].neighbours.get(one, 0))
    return said / MICROS

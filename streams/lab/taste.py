"""What simulated viewers truly think of a video: the truth that the decisions have to find out.

A video's *appeal* to a slice is a number from 0 to 1; what its viewers do follows from it
(`viewers`).
"""

import math
from collections.abc import Mapping
from random import Random
from typing import Final, Literal

from streams.core.events import Policy
from streams.core.units import MICROS, surface_of
from streams.lab.viewers import appeal_for

Alike = Mapping[tuple[str, str], float]
"""How alike two slices are, 0 to 1, both ways; pairs that are not named are not alike."""
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
    chance: Random, home: str, fortune: Fortune, policy: Policy, alike: Alike
) -> dict[str, float]:
    """Return the appeal of one video to every slice.

    `home` is the slice it is meant for. What its own crowd thinks carries over to the others as
    far as they are `alike`; the rest is chance. A view of a video that is neither liked nor
    disliked is worth the slice's prior mean.
    """
    own = {"loved": LOVED, "fair": 0.0, "misplaced": DISLIKED, "dull": DISLIKED}[fortune]
    own += chance.gauss(0, 0.03)
    appeals: dict[str, float] = {}
    for name, spec in sorted(policy.slices.items()):
        likeness = _likeness(home, name, alike)
        more = likeness * own + chance.gauss(0, 0.06) * math.sqrt(1 - likeness * likeness)
        if fortune == "dull":
            more += (1 - likeness) * DISLIKED
        elif fortune == "misplaced" and likeness < UNRELATED and chance.random() < 0.4:
            more = LOVED
        appeals[name] = appeal_for(spec.prior_mean + more * MICROS, policy.weights)
    return appeals


def _likeness(home: str, other: str, alike: Alike) -> float:
    """Return how alike a slice is to a video's home, 0 to 1; fans and towns are so by half."""
    if other == home:
        return 1.0
    return alike.get((home, other), 0.0) if surface_of(other) == "discover" else 0.5

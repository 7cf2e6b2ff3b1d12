"""What simulated viewers truly think of a video: the truth that the decisions have to find out.

A video's *appeal* to a slice is a number from 0 to 1; the rates at which its viewers watch and
press buttons follow from it, and so does the value of a view that can be expected.
"""

import math
from collections.abc import Mapping
from random import Random
from typing import Final, Literal, NamedTuple

from streams.core.events import SlicePolicy, Weights
from streams.core.units import MICROS, surface_of

Fortune = Literal["loved", "fair", "misplaced", "dull"]
"""A video's lot: liked where it belongs, middling, liked elsewhere only, or liked nowhere."""
FORTUNES: Final[Mapping[Fortune, int]] = {"loved": 40, "fair": 15, "misplaced": 30, "dull": 15}
"""How many of a hundred videos have which lot."""

LOVED, DISLIKED = 0.14, -0.24
"""Value per view above or below what the slice is used to."""
UNRELATED: Final = 0.3
"""Slices less alike than this to a misplaced video's own may love it."""


class Rates(NamedTuple):
    """What viewers of one slice do with one video, per view, as probabilities.

    `watched` is the mean share of the video that is watched. The spans are KuaiRand's (CIKM 2022):
    complete 2-31 %, like 0.5-22 %, comment 0-1 %, share 0-0.6 %, follow 0-1 %, hide 0-0.6 %.
    """

    watched: float
    complete: float
    like: float
    comment: float
    share: float
    follow: float
    hide: float
    report: float
    order: float


def rates_at(appeal: float, *, commercial: bool = False) -> Rates:
    """Return the rates at an appeal of 0 to 1."""
    square = appeal * appeal
    return Rates(
        watched=0.10 + 0.72 * appeal,
        complete=0.02 + 0.29 * appeal,
        like=0.005 + 0.215 * square,
        comment=0.0002 + 0.0098 * square,
        share=0.006 * square,
        follow=0.0003 + 0.0097 * square,
        hide=0.0003 + 0.0057 * (1 - appeal),
        report=0.0005 * (1 - appeal) ** 2,
        order=0.03 * square if commercial else 0.0,
    )


def worth(rates: Rates, weights: Weights) -> float:
    """Return the expected value of one view, in micro-units."""
    return (
        weights.watch * rates.watched
        + weights.complete * rates.complete
        + weights.like * rates.like
        + weights.comment * rates.comment
        + weights.share * rates.share
        + weights.follow * rates.follow
        + weights.hide * rates.hide
        + weights.report * rates.report
        + weights.order * rates.order
    )


def appeal_for(value: float, weights: Weights) -> float:
    """Return the appeal at which a view is worth `value` micro-units, 0 or 1 beyond the ends.

    >>> from streams.core.rule import DEFAULT_WEIGHTS
    >>> round(appeal_for(worth(rates_at(0.6), DEFAULT_WEIGHTS), DEFAULT_WEIGHTS), 6)
    0.6
    """
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        if worth(rates_at(middle), weights) < value:
            low = middle
        else:
            high = middle
    return (low + high) / 2


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

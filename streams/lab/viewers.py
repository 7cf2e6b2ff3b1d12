"""What viewers do with a video that appeals to them so much: one truth for crowd and simulator.

An *appeal* from 0 to 1 fixes every rate. The formulas take one appeal or an array of them.
"""

import math
from random import Random
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from streams.core.events import (
    EVENT_TYPES,
    Comment,
    Follow,
    Hide,
    Like,
    Order,
    Report,
    Share,
    Weights,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Real = TypeVar("Real", float, npt.NDArray[np.float64])
else:
    Real = TypeVar("Real")

SKIPPED: Final = 0.1
"""Who skips a video has seen up to this share of it, any part equally likely."""
LONGEST_PARTIAL: Final = 0.94
"""Who neither skips nor completes has seen at most this share, just short of complete."""


class Rates(NamedTuple, Generic[Real]):
    """What viewers of one slice do with one video, per view, as probabilities.

    `partial` is the mean share watched by those who neither skip nor complete. Spans per play, as
    published for short video (KuaiRand, CIKM 2022, and platforms' own reports): skip 3-85 %,
    complete 1-69 %, like 0.3-30 %, comment 0.01-1 %, share up to 0.6 %, follow 0.03-1 %, hide up
    to 0.6 %, report up to 0.05 %.
    """

    skip: Real
    complete: Real
    partial: Real
    like: Real
    comment: Real
    share: Real
    follow: Real
    hide: Real
    report: Real
    order: Real

    @property
    def watched(self) -> Real:
        """Mean share of the video that is watched."""
        rest = 1 - self.skip - self.complete
        return self.complete + self.skip * (SKIPPED / 2) + rest * self.partial


class Style(NamedTuple, Generic[Real]):
    """How a video earns its appeal: below 1 it gets more of that than its appeal says, above less.

    Two videos of the same appeal differ in what viewers do, by factors: rates are heavy-tailed.
    """

    complete: Real
    like: Real
    talk: Real  # comment, share, follow


PLAIN: Final[Style[float]] = Style(1.0, 1.0, 1.0)
"""As the appeal says."""
Button = Like | Comment | Share | Follow | Hide | Report | Order
BUTTONS: Final[dict[str, type[Button]]] = {
    EVENT_TYPES[kind]: kind for kind in (Like, Comment, Share, Follow, Hide, Report, Order)
}
"""What a viewer can press, by the names of its rates."""
PLEASED: Final = ("like", "comment", "share", "follow", "order")
"""Buttons that only those press who did not skip the video."""
ANNOYED: Final = ("hide", "report")


def rates_in(appeal: Real, style: Style[Real], orders: Real) -> Rates[Real]:
    """Return the rates at an appeal of 0 to 1; `orders` is 1 for commercial videos, else 0."""
    square = appeal * appeal
    return Rates(
        skip=_between(0.85, 0.03, appeal),
        complete=_between(0.01, 0.69, appeal**style.complete),
        partial=0.25 + 0.45 * appeal,
        like=_between(0.003, 0.30, appeal**style.like),
        comment=_between(0.0001, 0.01, appeal**style.talk),
        share=_between(0.0001, 0.006, appeal**style.talk),
        follow=_between(0.0003, 0.01, appeal**style.talk),
        hide=0.0001 + 0.0059 * (1 - appeal),
        report=0.0005 * (1 - appeal) * (1 - appeal),
        order=0.03 * square * orders,
    )


def rates_at(appeal: float, *, commercial: bool = False) -> Rates[float]:
    """Return the rates of one plain video."""
    return rates_in(appeal, PLAIN, 1.0 if commercial else 0.0)


def worth(rates: Rates[Real], weights: Weights) -> Real:
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


def bend_of(partial: Real) -> Real:
    """Return the power of a uniform draw that makes shares of this mean: skewed ones.

    A share is `LONGEST_PARTIAL * draw ** bend`.
    """
    return LONGEST_PARTIAL / partial - 1


def draw_watch(chance: Random, rates: Rates[float]) -> tuple[float, bool]:
    """Return the share that one viewer watches, 1 for all of it, and whether that is a skip."""
    luck = chance.random()
    if luck < rates.skip:
        return SKIPPED * chance.random(), True
    if luck > 1 - rates.complete:
        return 1.0, False
    return LONGEST_PARTIAL * math.pow(chance.random(), bend_of(rates.partial)), False


def draw_buttons(chance: Random, rates: Rates[float], *, skipped: bool) -> list[str]:
    """Return what one viewer presses, each button for itself."""
    pressed = [name for name in ANNOYED if chance.random() < getattr(rates, name)]
    if not skipped:
        stayed = 1 - rates.skip
        pressed += [name for name in PLEASED if chance.random() < getattr(rates, name) / stayed]
    return pressed


def appeal_for(value: float, weights: Weights) -> float:
    """Return the appeal at which a view is worth `value` micro-units, 0 or 1 beyond the ends.

    >>> weights = Weights(600_000, 100_000, 500_000, 0, 0, 0, 0, 0, 0)
    >>> round(appeal_for(worth(rates_at(0.6), weights), weights), 6)
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


def _between(low: float, high: float, place: Real) -> Real:
    """Return the rate at a place from 0 to 1 of a span, even in its logarithm."""
    times: Real = (high / low) ** place
    return low * times

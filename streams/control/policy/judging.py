"""How well a model predicts pairs that it did not learn from, and whether another does better.

A pair is predicted from the other pairs of its video. The measure is the log of the density that
was expected where the mean value of the pair's views came to lie: a strictly proper score, best on
average for whoever expects the truth (Gneiting & Raftery 2007, Strictly proper scoring rules,
prediction, and estimation, J. American Statistical Association 102).
"""

from typing import Final, NamedTuple

import numpy as np

from streams.control.policy.learning import Bools, Expected, FactorModel, Floats, Seen

SURE: Final = 2.0
"""A gain counts from so many of its standard errors on."""


class Gain(NamedTuple):
    """By how much pairs are predicted better: log score a pair, its standard error, pairs."""

    mean: float
    error: float
    pairs: int

    @property
    def surely(self) -> float:
        """What the gain is at least, chance aside."""
        return self.mean - SURE * self.error

    def __str__(self) -> str:
        amount = f"{abs(self.mean):.4f} in log score a pair, standard error {self.error:.4f}"
        way = "better" if self.mean >= 0 else "worse"
        return f"{self.pairs} pairs held out are predicted {way} by {amount}"


def gain_between(before: Floats, after: Floats) -> Gain:
    """Return the gain of one model's `scores` over another's.

    Pairs of one video share its tastes: the standard error is that of sums by video.

    >>> gain_between(np.array([[-1.0, np.nan], [-2.0, -1.0]]), np.array([[0, np.nan], [-1.0, 0]]))
    Gain(mean=1.0, error=0.0, pairs=3)
    """
    gains = after - before
    known = np.isfinite(gains)
    pairs = int(known.sum())
    if not pairs:
        return Gain(0.0, 0.0, 0)
    mean = float(gains[known].sum()) / pairs
    by_video = np.where(known, gains - mean, 0.0).sum(axis=1)
    return Gain(mean, float(np.sqrt((by_video**2).sum())) / pairs, pairs)


def scores(model: FactorModel, seen: Seen, held: Bools) -> Floats:
    """Return the log score of each pair that was seen and is held out, NaN of the others."""
    means, variances = Expected(model, seen.only(~held)).predicted(model)
    judged = held & np.isfinite(seen.errors)
    variances = np.where(judged, variances + seen.errors, 1.0)
    score = -(np.log(2 * np.pi * variances) + (seen.means - means) ** 2 / variances) / 2
    return np.where(judged, score, np.nan)

"""Learns tastes from what videos did: expectation maximisation of the policy's factor model.

What a view of video v is worth in slice s, on average, is m_s + fit + L_s f_v + e_vs: three unknown
tastes f_v of the video (each of unit variance) and a part of its own with variance own_s. Of a pair
that was seen we know the mean value of its views less the fit, with an error of known variance; the
other pairs are missing. Which ones are missing depends on what was seen of the video and on nothing
else, and is thereby ignorable for a likelihood, though not for moments (Rubin 1976, Inference and
missing data, Biometrika 63). So the likelihood is what is climbed here.

All numbers are plain values: the policy's integers begin and end in `proposing`.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from streams.control.policy.factors import FACTORS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STEPS: Final = 60
CLOSE: Final = 1e-5
"""No number moves by more than this in a step: it is done."""
LEAST_VARIANCE: Final = 1e-6
_NUDGE: Final = 0.1
"""Loadings begin so many standard deviations off: at zero the likelihood has a saddle."""


@dataclass(frozen=True, slots=True)
class FactorModel:
    """What is expected of every slice: a mean, loadings on three tastes, a variance of its own."""

    means: Floats
    loadings: Floats  # a row a slice
    own: Floats

    def __post_init__(self) -> None:
        slices = len(self.means)
        assert self.loadings.shape == (slices, FACTORS)
        assert self.own.shape == (slices,)

    def is_finite(self) -> bool:
        """Tell whether all of it are numbers."""
        return all(bool(np.isfinite(each).all()) for each in (self.means, self.loadings, self.own))

    def farthest(self, other: Self) -> float:
        """Return the largest difference in any number."""
        apart = (self.means - other.means, self.loadings - other.loadings, self.own - other.own)
        return max(float(np.abs(each).max(initial=0.0)) for each in apart)


@dataclass(frozen=True, slots=True)
class Seen:
    """Pairs that were seen: a row a video, a column a slice; an infinite error where nothing was.

    `means` are mean values of a view less the fit of the tags, `errors` their variances.
    """

    means: Floats
    errors: Floats

    @property
    def pairs(self) -> int:
        """How many pairs were seen."""
        return int(np.isfinite(self.errors).sum())

    def only(self, which: Bools) -> "Seen":
        """Return what was seen of some pairs, the others being missing."""
        return Seen(np.where(which, self.means, 0.0), np.where(which, self.errors, np.inf))


class Expected:
    """What the tastes of videos are expected to be, given what was seen of them under a model.

    With w = 1 / (own + error), A = I + sum of w L L' and b = sum of w (y - m) L over the slices
    seen: mean A^-1 b, covariance A^-1 (e.g. Rubin & Thayer 1982, EM algorithms for ML factor
    analysis, Psychometrika 47, with an error of its own for each pair).

    >>> model = FactorModel(np.zeros(2), np.array([[1.0, 0, 0], [1.0, 0, 0]]), np.full(2, 0.5))
    >>> tastes = Expected(model, Seen(np.array([[2.0, 0.0]]), np.array([[0.5, np.inf]])))
    >>> tastes.means.tolist(), tastes.seconds[0, 0, 0].item()
    ([[1.0, 0.0, 0.0]], 0.5)
    """

    def __init__(self, model: FactorModel, seen: Seen) -> None:
        self.weights: Final = 1.0 / (model.own + seen.errors)
        loadings = model.loadings
        sums = self.weights @ _squares(loadings)
        inverse = np.eye(FACTORS) + sums.reshape(-1, FACTORS, FACTORS)
        pulls = (self.weights * (seen.means - model.means)) @ loadings
        self.seconds: Final = np.linalg.inv(inverse)
        self.means: Final = np.einsum("vij,vj->vi", self.seconds, pulls)

    def predicted(self, model: FactorModel) -> tuple[Floats, Floats]:
        """Return mean and variance of every pair's true mean value, as if itself unseen."""
        common = self.seconds.reshape(-1, FACTORS * FACTORS) @ _squares(model.loadings).T
        return model.means + self.means @ model.loadings.T, common + model.own


class Moments:
    """Expected moments of tastes and values under one model, summed over videos.

    A statistic: `update` with videos, `merge` with the moments of other videos, then take the
    model that these moments are most likely under (`with_tastes`, `with_own`).

    >>> model = FactorModel(np.zeros(1), np.zeros((1, 3)), np.ones(1))
    >>> seen = Seen(np.array([[0.4], [0.6]]), np.full((2, 1), 1e-9))
    >>> moments = Moments(model).update(seen)
    >>> round(moments.with_tastes(prior=model, weight=1e-9).means[0].item(), 6)
    0.5
    >>> round(moments.with_own(prior=model, weight=1e-9).own[0].item(), 6)
    0.26
    """

    def __init__(self, model: FactorModel) -> None:
        slices, terms = len(model.means), 1 + FACTORS
        self._model = model
        self._squares = np.zeros((slices, terms, terms))
        self._products = np.zeros((slices, terms))
        self._own = np.zeros(slices)
        self._counts = np.zeros(slices)

    def update(self, seen: Seen) -> Self:
        """Add videos."""
        model, tastes = self._model, Expected(self._model, seen)
        weights = tastes.weights
        terms = np.column_stack((np.ones(len(tastes.means)), tastes.means))
        squares = terms[:, :, None] * terms[:, None, :]
        squares[:, 1:, 1:] += tastes.seconds
        flat = squares.reshape(len(squares), -1)
        self._squares += (weights.T @ flat).reshape(self._squares.shape)
        self._products += (weights * seen.means).T @ terms
        means, variances = tastes.predicted(model)
        gain = model.own * weights
        own = gain**2 * ((seen.means - means) ** 2 + variances - model.own) + model.own * (1 - gain)
        known = np.isfinite(seen.errors)
        self._own += np.where(known, own, 0.0).sum(axis=0)
        self._counts += known.sum(axis=0)
        return self

    def merge(self, other: Self) -> Self:
        """Add the moments of other videos under the same model."""
        assert other._model is self._model
        self._squares += other._squares
        self._products += other._products
        self._own += other._own
        self._counts += other._counts
        return self

    def with_tastes(self, prior: FactorModel, weight: float) -> FactorModel:
        """Return the model with the likeliest means and loadings: a regression for each slice.

        `prior` weighs as much as `weight` videos.
        """
        start = np.column_stack((prior.means, prior.loadings))
        ridge = (weight / prior.own)[:, None]
        squares = self._squares + ridge[:, :, None] * np.eye(1 + FACTORS)
        sides = (self._products + ridge * start)[..., None]
        rows = np.asarray(np.linalg.solve(squares, sides)[..., 0], np.float64)
        return FactorModel(rows[:, 0], rows[:, 1:], self._model.own)

    def with_own(self, prior: FactorModel, weight: float) -> FactorModel:
        """Return the model with the likeliest variances that slices have of their own."""
        own = (self._own + weight * prior.own) / (self._counts + weight)
        model = self._model
        return FactorModel(model.means, model.loadings, np.maximum(own, LEAST_VARIANCE))


def learn(
    prior: FactorModel, seen: Seen, weight: float, start: FactorModel | None = None
) -> FactorModel:
    """Return the model that what was seen is likeliest under, beginning at `start`.

    The prior weighs as if `weight` more videos were seen exactly as it expects. Each step moves
    means and loadings with own parts integrated out, then the variances of those with their
    expectations (alternating augmentation, Meng & van Dyk 1997, The EM algorithm, J. Royal
    Statistical Society B 59): no step loses likelihood. Loadings are turned onto the prior's in
    the end, so that a difference is a change and not another way to write the same.
    """
    model = start or FactorModel(prior.means, _nudged(prior), prior.own)
    for _ in range(STEPS):
        before = model
        model = Moments(model).update(seen).with_tastes(prior, weight)
        model = Moments(model).update(seen).with_own(prior, weight)
        if model.farthest(before) < CLOSE:
            break
    return FactorModel(model.means, turned_onto(model.loadings, prior.loadings), model.own)


def turned_onto(loadings: Floats, aim: Floats) -> Floats:
    """Return the loadings after the rotation that brings them nearest to `aim`.

    The orthogonal Procrustes problem (Schönemann 1966, Psychometrika 31). The covariances between
    slices stay what they are.

    >>> aim = np.eye(3)
    >>> turned_onto(aim[:, ::-1], aim).round(9).tolist() == aim.tolist()
    True
    """
    if not aim.any():
        return loadings
    left, _, right = np.linalg.svd(loadings.T @ aim)
    return np.asarray(loadings @ (left @ right))


def _squares(loadings: Floats) -> Floats:
    """Return L L' of each slice, flat."""
    return np.asarray(loadings[:, :, None] * loadings[:, None, :]).reshape(len(loadings), -1)


def _nudged(prior: FactorModel) -> Floats:
    """Return the prior's loadings a little off, the same way each time."""
    places = np.arange(1, len(prior.means) + 1)[:, None] * np.arange(1, 1 + FACTORS)
    spread = np.sqrt((prior.loadings**2).sum(axis=1) + prior.own)[:, None]
    return np.asarray(prior.loadings + _NUDGE * spread * np.cos(1.0 + places * 2.399963))

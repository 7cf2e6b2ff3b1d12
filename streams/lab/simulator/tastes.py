"""The nine worlds: what viewers truly think of each video, and how that differs from the policy.

Each draws target means; where a target lies beyond what viewers can do, the nearest is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.events import Policy
from streams.core.units import MICROS, surface_of
from streams.lab.simulator.arrays import Bools, Floats, Ints
from streams.lab.simulator.world import Fakes, Habits, Tastes, per_slice, prior_variances

PHASES: Final = 8
LATE: Final = Habits(lost=0.10, button_ticks=8)


@dataclass(frozen=True, slots=True)
class Stage:
    """What is known before tastes are drawn."""

    policy: Policy
    slices: tuple[str, ...]
    fits: Floats
    reachable: Bools
    followers: Ints
    commercial: Bools
    alike: Mapping[tuple[str, str], float]  # what the catalogue says of neighbours
    rng: np.random.Generator

    @property
    def expected(self) -> Floats:
        """What the policy expects of each pair before any evidence."""
        fit_value = self.policy.fit_value / MICROS
        return per_slice(self.policy, "prior_mean")[:, None] + fit_value * self.fits

    @property
    def spreads(self) -> Floats:
        """The policy's standard deviation of true means, by slice."""
        return np.sqrt(prior_variances(self.policy))

    def correlated(self, correlation: Floats) -> Floats:
        """Return deviations of unit variance, correlated between the slices of a video."""
        root = np.linalg.cholesky(correlation)
        return np.asarray(root @ self.rng.standard_normal(self.fits.shape))


def draw_independent(stage: Stage) -> Tastes:
    """Let no crowd say anything about another; the policy's priors are true."""
    return _gaussian(stage, np.eye(len(stage.slices)))


def draw_correlated(stage: Stage) -> Tastes:
    """Let crowds agree as far as the catalogue calls them neighbours; the priors are true."""
    return _gaussian(stage, shipped_correlation(stage.slices, stage.alike))


def draw_hidden(stage: Stage) -> Tastes:
    """Give 70 % of the variance to three tastes that no file knows; neighbours mean nothing."""
    loadings = stage.rng.standard_normal((len(stage.slices), 3))
    loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
    return _gaussian(stage, 0.7 * loadings @ loadings.T + 0.3 * np.eye(len(loadings)))


def draw_wrong_priors(stage: Stage) -> Tastes:
    """Move the truth off the catalogue: means by 0.06 (one sd), variances up to a factor of two."""
    shifts = 0.06 * stage.rng.standard_normal(len(stage.slices))
    scales = np.exp2(stage.rng.uniform(-0.5, 0.5, len(stage.slices)))
    correlation = shipped_correlation(stage.slices, stage.alike)
    spreads = stage.spreads * scales
    expected = stage.expected + shifts[:, None]
    targets = expected + spreads[:, None] * stage.correlated(correlation)
    return Tastes(targets[None], expected, correlation * np.outer(spreads, spreads))


def draw_rare_hits(stage: Stage) -> Tastes:
    """Let few like most videos, and one crowd that their tags don't name love half of them."""
    spreads = np.full(len(stage.slices), 0.05)
    expected = np.repeat((per_slice(stage.policy, "price") - 0.05)[:, None], stage.fits.shape[1], 1)
    targets = expected + spreads[:, None] * stage.rng.standard_normal(stage.fits.shape)
    for video in np.flatnonzero(stage.rng.random(stage.fits.shape[1]) < 0.5):
        unlikely = np.flatnonzero(stage.reachable[:, video] & (stage.fits[:, video] == 0))
        place = stage.rng.choice(unlikely)
        targets[place, video] = expected[place, video] + stage.rng.uniform(0.20, 0.35)
    return Tastes(targets[None], expected, np.diag(spreads**2))


def draw_drift(stage: Stage) -> Tastes:
    """Let videos tire: over its first 80 ticks a view loses 0 to 0.2 of its worth."""
    base = draw_correlated(stage)
    tired = np.asarray(stage.rng.uniform(0, 0.2, stage.fits.shape[1]))
    steps = np.linspace(0, 1, PHASES)[:, None, None]
    targets = base.targets - steps * tired[None, None, :]
    return Tastes(targets, base.expected, base.covariance, phase_ticks=80 // PHASES)


def draw_late(stage: Stage) -> Tastes:
    """Let buttons come 8 ticks after the view, and a tenth of the views never."""
    base = draw_correlated(stage)
    return Tastes(base.targets, base.expected, base.covariance, habits=LATE)


def draw_fake(stage: Stage) -> Tastes:
    """Let bots praise a tenth of the videos in their three best-fitting crowds, and report another.

    Both from arrival, for 20 ticks, three events of a kind a tick and pair.
    """
    base = draw_correlated(stage)
    lots = stage.rng.random(stage.fits.shape[1])
    public = np.array([surface_of(name) == "discover" for name in stage.slices])
    best = np.argsort(-np.where(public[:, None], stage.fits, -1), axis=0, kind="stable")[:3]
    pairs = best * stage.fits.shape[1] + np.arange(stage.fits.shape[1])
    praised, reported = pairs[:, lots < 0.1], pairs[:, lots > 0.9]
    fakes = Fakes(np.sort(praised.ravel()), np.sort(reported.ravel()), each=3, ticks=20)
    return Tastes(base.targets, base.expected, base.covariance, fakes=fakes)


def draw_mixture(stage: Stage) -> Tastes:
    """Make better-known creators a little better on average, commercial videos worse."""
    base = draw_correlated(stage)
    bands = np.floor(np.log10(np.maximum(stage.followers, 1)))
    better = 0.02 * (np.minimum(bands, 5) - 2) - 0.06 * stage.commercial
    own = 0.05 * stage.rng.standard_normal(len(bands))
    return Tastes(base.targets + better + own, base.expected + better, base.covariance)


WORLDS: Final[Mapping[str, Callable[[Stage], Tastes]]] = {
    "independent": draw_independent,
    "correlated": draw_correlated,
    "hidden": draw_hidden,
    "wrong-priors": draw_wrong_priors,
    "rare-hits": draw_rare_hits,
    "drift": draw_drift,
    "late": draw_late,
    "fake": draw_fake,
    "mixture": draw_mixture,
}
"""Every world by its name on the command line."""


def shipped_correlation(names: Sequence[str], alike: Mapping[tuple[str, str], float]) -> Floats:
    """Return the correlation nearest to the catalogue's neighbours.

    Neighbours are no correlation: some eigenvalues are negative. Those are cut off, and the
    diagonal is made one again.
    """
    raw = np.array([[alike.get((one, other), 0.0) for other in names] for one in names])
    raw += np.eye(len(names))
    values, vectors = np.linalg.eigh(raw)
    nearest = (vectors * np.maximum(values, 1e-3)) @ vectors.T
    scale = np.sqrt(np.diag(nearest))
    return np.asarray(nearest / np.outer(scale, scale))


def _gaussian(stage: Stage, correlation: Floats) -> Tastes:
    targets = stage.expected + stage.spreads[:, None] * stage.correlated(correlation)
    covariance = correlation * np.outer(stage.spreads, stage.spreads)
    return Tastes(targets[None], stage.expected, covariance)

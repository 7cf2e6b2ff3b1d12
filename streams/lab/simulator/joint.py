"""One Gaussian posterior over all crowds of a video: the upper reference.

What one crowd thinks moves what is expected of all others, by the covariance between them. Pairs
are ranked by the index of the posterior, over the impressions that a pair can expect.
"""

from typing import Final

import numpy as np

from streams.core.units import MICROS
from streams.lab.simulator.arrays import Bools, Floats
from streams.lab.simulator.contenders import Ranking
from streams.lab.simulator.serving import Question, Servers
from streams.lab.simulator.tastes import shipped_correlation
from streams.lab.simulator.traffic import EventBatch
from streams.lab.simulator.world import World, per_slice, prior_variances

LEARN_TICKS: Final = 10
PRIOR_VIDEOS: Final = 30
"""Videos that the covariance one begins with weighs against those seen."""
GROWN: Final = 1.05
"""A video is looked at again when it has so many times its views of the last look."""


class JointPosterior(Ranking):
    """Knows the true means and covariance from which tastes are drawn."""

    def __init__(self, world: World, servers: Servers, seed: int) -> None:
        super().__init__(world, servers, seed)
        self.expected, self.covariance = world.tastes.expected, world.tastes.covariance
        count = len(world.videos)
        self.mean = self.expected.copy()
        self.second = np.repeat(self.covariance[None], count, 0)  # posterior covariance by video
        self._looked = np.zeros(count)
        self._slots = world.slots.copy()

    def scores(self, question: Question) -> Floats:
        """Return the index of each pair, over what its slice can still give to one video."""
        variance = np.maximum(np.diagonal(self.second, axis1=1, axis2=2).T, 0)
        self._slots = self._slots - question.slots
        rivals = np.maximum((question.room > 0).sum(axis=1), 1)
        horizon = np.maximum(self._slots / rivals, 1)[:, None]
        return self.mean + np.sqrt(variance) * psi(variance * horizon / self.tallies.noise())

    def learn(self, batch: EventBatch, tick: int) -> None:
        """Count the events, and look again at the videos that got enough of them."""
        super().learn(batch, tick)
        views = self.tallies.views.sum(axis=0)
        self._look(views >= np.maximum(self._looked * GROWN, self._looked + 10))

    def _look(self, which: Bools) -> None:
        """Compute the posterior of some videos."""
        if not which.any():
            return
        videos = np.flatnonzero(which)
        self._looked[videos] = self.tallies.views.sum(axis=0)[videos]
        weight = (self.tallies.views / self.tallies.noise())[:, videos].T
        surprise = (self.tallies.mean() - self.expected)[:, videos].T
        gain = np.linalg.inv(np.eye(len(self.covariance)) + self.covariance * weight[:, None, :])
        second = gain @ self.covariance
        self.second[videos] = (second + second.transpose(0, 2, 1)) / 2
        moved = np.einsum("vij,vj->vi", second, weight * surprise)
        self.mean[:, videos] = (self.expected[:, videos].T + moved).T


class LearnedPosterior(JointPosterior):
    """Begins with the policy's priors and the catalogue's neighbours, and learns from all videos.

    Expectation maximisation of mean and covariance over what was seen of every video (Dempster,
    Laird, Rubin 1977), one step every few ticks.
    """

    def __init__(self, world: World, servers: Servers, seed: int) -> None:
        super().__init__(world, servers, seed)
        policy = world.policy
        spreads = np.sqrt(prior_variances(policy))
        self._first = shipped_correlation(world.slices, world.alike) * np.outer(spreads, spreads)
        self._shipped = per_slice(policy, "prior_mean")[:, None] + (
            policy.fit_value / MICROS * world.fits
        )
        self.expected, self.covariance = self._shipped, self._first
        self.mean = self.expected.copy()
        self.second = np.repeat(self._first[None], len(world.videos), 0)

    def learn(self, batch: EventBatch, tick: int) -> None:
        """Learn from the videos as well."""
        super().learn(batch, tick)
        seen = self._looked > 0
        if tick % LEARN_TICKS == LEARN_TICKS - 1 and seen.any():
            self._maximise(seen)
            self._look(seen)

    def _maximise(self, seen: Bools) -> None:
        """Move mean and covariance to what the posteriors of the videos say."""
        count = int(seen.sum()) + PRIOR_VIDEOS
        apart = (self.mean - self._shipped)[:, seen]
        shift = apart.sum(axis=1) / count
        self.expected = self._shipped + shift[:, None]
        around = apart - shift[:, None]
        spread = self.second[seen].sum(axis=0) + around @ around.T
        self.covariance = (PRIOR_VIDEOS * self._first + spread) / count


def psi(s: Floats) -> Floats:
    """Return the stopping boundary of `core.estimate.psi`, for an array (Brezzi & Lai 2002)."""
    safe = np.maximum(s, 1e-12)
    log = np.log(np.maximum(safe, 15))
    return np.select(
        [s <= 0.2, s <= 1, s <= 5, s <= 15],
        [
            np.sqrt(safe / 2),
            0.49 - 0.11 / np.sqrt(safe),
            0.63 - 0.26 / np.sqrt(safe),
            0.77 - 0.58 / np.sqrt(safe),
        ],
        np.sqrt(2 * log - np.log(log) - np.log(16 * np.pi)),
    )

"""One simulated platform: its videos, audiences, slots, and the truth that no contender sees."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from streams.core.events import Policy, VideoControl
from streams.core.units import MICROS, surface_of
from streams.lab.simulator.arrays import Bools, Floats, Ints
from streams.lab.simulator.names import Regime
from streams.lab.viewers import Rates

SLOTS: Final[dict[Regime, float]] = {"rich": 0.5, "middle": 0.05, "scarce": 0.01, "crowded": 0.05}
"""Slots as a share of what the videos could use; the crowded regime has those of `middle`."""
CROWD: Final[dict[Regime, int]] = {"rich": 1, "middle": 1, "scarce": 1, "crowded": 4}
"""Times as many videos."""

TICKS: Final = 200
TICK_MS: Final = 1_000
FIRST_PUBLIC: Final = 2
SCALE: Final = 250
"""A slice has its reach over this many viewers: about 400,000 impressions a video, all slices."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How feedback travels: shares of views lost, late, and before their impression."""

    lost: float = 0.03
    late: float = 0.10
    overtaking: float = 0.01
    late_buttons: float = 0.15
    button_ticks: int = 0  # every button comes at least so many ticks after its view


@dataclass(frozen=True, slots=True)
class Fakes:
    """Attacks: pairs whose bots praise the video, or report it, `each` times a tick, from arrival.

    Bots send their events without being shown anything.
    """

    praised: Ints  # pairs
    reported: Ints
    each: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Tastes:
    """What a world is about: the means that it wants, and how feedback behaves there."""

    targets: Floats  # of each phase and pair; the nearest that viewers can do becomes true
    expected: Floats  # true mean of each pair's distribution
    covariance: Floats  # true covariance between the slices of a video
    phase_ticks: int = 1 << 30
    habits: Habits = field(default_factory=Habits)
    fakes: Fakes | None = None


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is fixed before the first tick.

    A pair is `slice place * videos + video`. `rates` and `means` have a leading axis of phases: a
    video enters the next one `tastes.phase_ticks` after the last. `means` are true means per view.
    """

    name: str
    policy: Policy
    slices: tuple[str, ...]
    videos: tuple[str, ...]
    admissions: tuple[tuple[VideoControl, ...], ...]
    arrivals: Ints  # tick of each video
    followers: Ints
    durations_ms: Ints
    fits: Floats  # of the tags, 0 to 1
    reachable: Bools
    audience: Ints  # viewers of a pair
    slots: Ints  # of each slice, all ticks together
    ticks: int
    rates: Rates[Floats]
    means: Floats
    tastes: Tastes
    alike: Mapping[tuple[str, str], float]  # pairs of slices, as the catalogue says

    @property
    def shape(self) -> tuple[int, int]:
        """Slices and videos."""
        return len(self.slices), len(self.videos)

    @property
    def prices(self) -> Floats:
        """What an impression of each slice is worth to other content, in value."""
        return per_slice(self.policy, "price")

    @property
    def public(self) -> Bools:
        """Which slices belong to the public, and not to a creator's followers."""
        return np.array([surface_of(name) != "following" for name in self.slices])

    def first_crowds(self, video: int) -> list[int]:
        """Return the first crowds of a video: its followers, its city, the two best fits."""
        public = np.array([surface_of(name) == "discover" for name in self.slices])
        fits, reachable = self.fits[:, video], self.reachable[:, video]
        best = np.argsort(-np.where(public & reachable, fits, -1), kind="stable")[:FIRST_PUBLIC]
        return [*np.flatnonzero(reachable & ~public).tolist(), *best.tolist()]

    def phases(self, tick: int) -> Ints:
        """Return the phase of each video."""
        age = np.maximum(tick - self.arrivals, 0) // self.tastes.phase_ticks
        return np.asarray(np.minimum(age, self.means.shape[0] - 1))

    def means_at(self, tick: int) -> Floats:
        """Return the true mean of each pair, now."""
        if self.means.shape[0] == 1:
            return np.asarray(self.means[0])
        return np.asarray(self.means[self.phases(tick), :, np.arange(len(self.videos))].T)

    def live(self, tick: int) -> Bools:
        """Return which pairs may be shown: their video is here and may reach the slice."""
        return self.reachable & (self.arrivals <= tick)

    def slots_at(self, tick: int) -> Ints:
        """Return the slots of each slice in one tick."""
        return (tick + 1) * self.slots // self.ticks - tick * self.slots // self.ticks


def prior_variances(policy: Policy) -> Floats:
    """Return the variance of true means that the policy expects in each slice, by id."""
    loadings = np.array([spec.loadings for _, spec in sorted(policy.slices.items())]) / MICROS
    return np.asarray(per_slice(policy, "own_variance") + (loadings**2).sum(axis=1))


def per_slice(policy: Policy, field: str) -> Floats:
    """Return one number of every slice, by id, as value: `price`, `prior_mean`, variances."""
    raw = [getattr(spec, field) for _, spec in sorted(policy.slices.items())]
    return np.array(raw, np.float64) / MICROS

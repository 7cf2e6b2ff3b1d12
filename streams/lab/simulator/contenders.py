"""Contenders: whoever answers the feed's question which video fills a slot. One interface.

What is compared here is not called a policy: that word is the record in the log.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import numpy as np

from streams.core.events import Weights
from streams.core.units import MICROS
from streams.lab.simulator.arrays import Bools, Floats, Ints
from streams.lab.simulator.serving import UNLIMITED, Offer, Question, Servers
from streams.lab.simulator.traffic import IMPRESSION, LIKE, NAMES, VIEW, EventBatch
from streams.lab.simulator.world import World, prior_variances


class StoppedPair(NamedTuple):
    """A pair that was stopped, and after how many impressions."""

    pair: int
    tick: int
    impressions: int


class Contender(Protocol):
    """Decides who sees what; private to one run.

    The loop calls `admit` when a video arrives, then each tick `choose` once and `learn` once.
    """

    stops: list[StoppedPair]
    decisions: int
    overdrawn: int  # impressions beyond the allowance

    def admit(self, video: int) -> None:
        """Take in a video: from now on it may be shown."""

    def choose(self, question: Question) -> Ints:
        """Answer the feed: impressions of each pair in this tick."""

    def learn(self, batch: EventBatch, tick: int) -> None:
        """Take in what the log got in this tick."""

    def stopped(self) -> Bools:
        """Return which pairs stand stopped."""


class Tallies:
    """Sums of feedback of each pair, and what follows from them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sums = np.zeros((len(NAMES), *world.shape))
        self._watch = np.zeros(world.shape)  # value of watching
        self._watch_sq = np.zeros(world.shape)
        self.completes = np.zeros(world.shape)

    def add(self, batch: EventBatch) -> None:
        """Count events."""
        size, videos = int(np.prod(self._world.shape)), len(self._world.videos)
        keys = batch.kind * size + batch.pair
        self._sums += np.bincount(keys, minlength=self._sums.size).reshape(self._sums.shape)
        views = batch.kind == VIEW
        pairs = batch.pair[views]
        share = batch.watch_ms[views] / self._world.durations_ms[pairs % videos]
        complete = share >= 0.95
        weights = self._world.policy.weights
        value = (weights.watch * share + weights.complete * complete) / MICROS
        for sums, each in (
            (self._watch, value),
            (self._watch_sq, value * value),
            (self.completes, complete),
        ):
            np.add(sums, np.bincount(pairs, each, minlength=size).reshape(sums.shape), out=sums)

    @property
    def impressions(self) -> Floats:
        """Impressions counted so far."""
        return np.asarray(self._sums[IMPRESSION])

    @property
    def views(self) -> Floats:
        """Views so far."""
        return np.asarray(self._sums[VIEW])

    @property
    def likes(self) -> Floats:
        """Likes so far."""
        return np.asarray(self._sums[LIKE])

    def mean(self) -> Floats:
        """Return the mean value per view, 0 without any."""
        buttons = np.tensordot(_button_weights(self._world.policy.weights), self._sums[LIKE:], 1)
        return np.asarray((self._watch + buttons) / np.maximum(self.views, 1))

    def noise(self, weight: float = 20) -> Floats:
        """Return the variance of one view's value, shrunk to the policy's by so many views.

        Parts are squared apart; what watching and buttons share is taken as 0.15 of their means'
        product twice, as those who like a video watch more of it.
        """
        views = np.maximum(self.views, 1)
        watch = self._watch / views
        worths = _button_weights(self._world.policy.weights)
        rates = np.minimum(self._sums[LIKE:] / views, 1)
        buttons = np.tensordot(worths, rates, 1)
        own = self._watch_sq / views - watch**2 + 2 * 0.15 * watch * buttons
        own += np.tensordot(worths**2, rates * (1 - rates), 1)
        specs = sorted(self._world.policy.slices.items())
        prior = np.array([spec.noise_variance for _, spec in specs])[:, None] / MICROS
        shrunk = (weight * prior + views * own) / (weight + views)
        return np.asarray(np.maximum(shrunk, self._world.policy.noise_floor / MICROS))


class Ranking(ABC):
    """Every crowd is open; pairs above the price are shown, the best score first.

    Subclasses say the score.
    """

    def __init__(self, world: World, servers: Servers, seed: int) -> None:
        self.stops: list[StoppedPair] = []
        self.decisions = 0
        self.overdrawn = 0
        self.world = world
        self.tallies = Tallies(world)
        self.rng = np.random.default_rng([seed, 3])
        self._servers = servers
        self._here = np.zeros(len(world.videos), np.bool_)
        self._bar = world.prices[:, None]

    def admit(self, video: int) -> None:
        """Take in a video."""
        self._here[video] = True

    def choose(self, question: Question) -> Ints:
        """Show the best scores above the price."""
        scores = self.scores(question)
        wanted = self._here & (scores > self._bar)
        offer = Offer(scores, np.where(wanted, UNLIMITED, 0))
        return self._servers.serve(offer, question)

    def learn(self, batch: EventBatch, tick: int) -> None:  # noqa: ARG002 - the protocol's
        """Count the events."""
        self.tallies.add(batch)

    def stopped(self) -> Bools:
        """Nothing is ever stopped: what ranks low is not shown."""
        return np.zeros(self.world.shape, np.bool_)

    @abstractmethod
    def scores(self, question: Question) -> Floats:
        """Return the score of each pair."""


class Oracle(Ranking):
    """Knows every true mean."""

    def scores(self, question: Question) -> Floats:
        """Return the true means."""
        return self.world.means_at(question.tick)


class AlwaysWiden(Ranking):
    """Never stops and never learns: the best match of tags comes first."""

    def scores(self, question: Question) -> Floats:  # noqa: ARG002 - the protocol's
        """Return what the policy expects; everything is above the price."""
        return self.world.fits + 1


class Thompson(Ranking):
    """One draw from each pair's own posterior a tick (Thompson 1933), with the policy's priors."""

    def scores(self, question: Question) -> Floats:  # noqa: ARG002 - the protocol's
        """Return one draw of each pair's mean."""
        mean, sd = self.posterior()
        return mean + sd * self.rng.standard_normal(mean.shape)

    def posterior(self) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of each pair's mean value."""
        policy = self.world.policy
        specs = [spec for _, spec in sorted(policy.slices.items())]
        variance = prior_variances(policy)[:, None]
        prior = np.array([spec.prior_mean for spec in specs])[:, None] / MICROS
        prior = prior + policy.fit_value / MICROS * self.world.fits
        noise, views = self.tallies.noise(), self.tallies.views
        gain = views * variance / (noise + views * variance)
        return prior + gain * (self.tallies.mean() - prior), np.sqrt(variance * (1 - gain))


def _button_weights(weights: Weights) -> Floats:
    return np.array([getattr(weights, name) for name in NAMES[LIKE:]], np.float64) / MICROS

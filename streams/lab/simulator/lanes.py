"""Contenders that open a few crowds of a video and the next one when a crowd is done."""

from abc import ABC, abstractmethod
from typing import Final

import numpy as np

from streams.core.units import surface_of
from streams.lab.simulator.arrays import Bools, Floats, Ints
from streams.lab.simulator.contenders import StoppedPair, Tallies
from streams.lab.simulator.serving import Offer, Question, Servers, beyond
from streams.lab.simulator.traffic import EventBatch
from streams.lab.simulator.world import World

POOLS: Final = np.array((300, 3_000, 12_000))
LIKES, COMPLETIONS = 0.10, 0.60
Z: Final = 1.645
"""One-sided 5 %."""
PEEK_FROM: Final = 10


class Lanes(ABC):
    """Starts where the admission says; a crowd that is done hands over to the next best fit.

    Subclasses judge. A pair is offered while it is open and has allowance left.
    """

    def __init__(self, world: World, servers: Servers) -> None:
        self.stops: list[StoppedPair] = []
        self.decisions = 0
        self.overdrawn = 0
        self.world = world
        self.tallies = Tallies(world)
        self.open = np.zeros(world.shape, np.bool_)
        self.allowance = np.zeros(world.shape, np.int64)
        self.stage = np.zeros(world.shape, np.int64)
        self._servers = servers
        self._tried = np.zeros(world.shape, np.bool_)
        self._stopped = np.zeros(world.shape, np.bool_)

    def admit(self, video: int) -> None:
        """Open the first crowds."""
        for place in self.world.first_crowds(video):
            self.start(place, video)

    def choose(self, question: Question) -> Ints:
        """Show what is open, best score first."""
        offer = Offer(self.scores(), np.where(self.open, self.allowance, 0))
        counts = self._servers.serve(offer, question)
        self.overdrawn += beyond(counts, offer, question)
        return counts

    def learn(self, batch: EventBatch, tick: int) -> None:
        """Count the events and judge."""
        self.tallies.add(batch)
        self.judge(tick)

    def stopped(self) -> Bools:
        """Return which pairs were stopped."""
        return self._stopped

    def start(self, place: int, video: int) -> None:
        """Open one crowd with the first grant."""
        self.decisions += 1
        self.open[place, video] = self._tried[place, video] = True
        self.allowance[place, video] = self.first_grant()

    def start_next(self, video: int) -> None:
        """Open the public crowd that fits best of those not tried."""
        for place in np.argsort(-self.world.fits[:, video], kind="stable"):
            public = surface_of(self.world.slices[place]) != "following"
            if public and self.world.reachable[place, video] and not self._tried[place, video]:
                self.start(int(place), video)
                return

    def stop(self, which: Bools, tick: int) -> None:
        """StoppedPair pairs, never followers, and open the next crowd of each."""
        for place, video in np.argwhere(which & self.world.public[:, None]).tolist():
            self.decisions += 1
            self.open[place, video], self._stopped[place, video] = False, True
            shown = int(self.tallies.impressions[place, video])
            self.stops.append(StoppedPair(place * len(self.world.videos) + video, tick, shown))
            self.start_next(video)

    @abstractmethod
    def first_grant(self) -> int:
        """Return the impressions of a start."""

    @abstractmethod
    def scores(self) -> Floats:
        """Return the score of each pair."""

    @abstractmethod
    def judge(self, tick: int) -> None:
        """Widen and stop."""


class TrafficPools(Lanes):
    """The ladder of fixed pools: who passes a threshold in one pool gets the next, larger one.

    A pool is judged when it is used up. Ranked by how far likes or completions are over the bar.
    """

    def first_grant(self) -> int:
        """Return the first pool."""
        return int(POOLS[0])

    def scores(self) -> Floats:
        """Return the better of the two rates over its threshold, 1 before any view."""
        views = self.tallies.views
        likes = (self.tallies.likes + 1) / (views * LIKES + 1)
        completes = (self.tallies.completes + 1) / (views * COMPLETIONS + 1)
        return np.maximum(likes, completes)

    def judge(self, tick: int) -> None:
        """Promote, or stop, whatever used its pool up."""
        views = np.maximum(self.tallies.views, 1)
        due = self.open & (self.tallies.impressions >= self.allowance)
        passed = (self.tallies.likes / views >= LIKES) | (
            self.tallies.completes / views >= COMPLETIONS
        )
        last = self.stage == len(POOLS) - 1
        promoted = due & passed & ~last
        self.stage += promoted
        self.allowance += np.where(promoted, POOLS[self.stage], 0)
        self.decisions += int(promoted.sum())
        for place, video in np.argwhere(due & passed & last).tolist():
            self.open[place, video] = False
            if self.world.public[place]:
                self.start_next(video)
        self.stop(due & ~passed, tick)


class PeekingZ(Lanes):
    """Looks after every tick whether the mean differs from the price at 5 %, as if once.

    Grants are those of the shipped policy: a first tranche, three times as many at each widening.
    """

    def first_grant(self) -> int:
        """Return the policy's tranche."""
        return self.world.policy.tranche

    def scores(self) -> Floats:
        """Return the sample mean, before enough views what the policy expects."""
        looked = self.tallies.views >= PEEK_FROM
        return np.where(looked, self.tallies.mean(), self.world.policy.weights.watch)

    def judge(self, tick: int) -> None:
        """StoppedPair below, widen above, top up in between."""
        policy, views = self.world.policy, np.maximum(self.tallies.views, 1)
        error = np.sqrt(self.tallies.noise(1) / views)
        z = (self.tallies.mean() - self.world.prices[:, None]) / error
        looked = self.open & (self.tallies.views >= PEEK_FROM)
        tranche = policy.tranche * policy.growth**self.stage
        left = self.allowance - self.tallies.impressions
        widened = looked & (z > Z) & (left <= tranche / 2) & (self.stage < policy.top_stage)
        kept = looked & (z >= -Z) & ~widened & (left <= tranche / 5)
        self.stage += widened
        self.allowance += np.where(widened, tranche * policy.growth, 0) + np.where(kept, tranche, 0)
        self.decisions += int(widened.sum() + kept.sum())
        for _, video in np.argwhere(widened & (self.stage == policy.top_stage)).tolist():
            self.start_next(video)
        self.stop(looked & (z < -Z), tick)

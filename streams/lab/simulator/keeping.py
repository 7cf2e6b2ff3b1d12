"""The rule under a keeper, which learns from what the rule showed and from nothing else.

It begins with the launch numbers. Every few ticks the keeper's own pure functions look at the rows
and at the slots that were asked for, as they do on a platform; only that the sample has all videos,
because there are few.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace as with_fields
from typing import Final

import numpy as np
from msgspec.structs import replace

from streams.control.policy.evidence import Evidence
from streams.control.policy.horizon import LIFE_DAYS
from streams.control.policy.keeper import Proposal
from streams.control.policy.proposing import propose
from streams.core.events import Policy
from streams.core.units import MICROS
from streams.lab.simulator.arrays import Ints
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.serving import Question, Servers
from streams.lab.simulator.traffic import EventBatch
from streams.lab.simulator.world import TICKS, World

EVERY_TICKS: Final = 10
LIFE_TICKS: Final = TICKS // 2
"""How long a video is shown, about: `LIFE_DAYS` in ticks."""
KEY: Final = b"simulation"

Proposing = Callable[[Policy, Evidence], Proposal]


class KeptRule(FoldedRule):
    """The rule, whose policy follows what is proposed; `proposals` has all that moved something."""

    def __init__(self, world: World, servers: Servers, proposing: Proposing = propose) -> None:
        super().__init__(world, servers)
        self.policy = world.policy
        self.proposals: list[Proposal] = []
        self._proposing = proposing
        self._wanted = np.zeros(len(world.slices))

    def choose(self, question: Question) -> Ints:
        """Show what is open and worth its price, and count the slots."""
        self._wanted += question.slots
        return super().choose(question)

    def learn(self, batch: EventBatch, tick: int) -> None:
        """Fold what the log got; now and then the keeper looks at it."""
        super().learn(batch, tick)
        if tick % EVERY_TICKS == EVERY_TICKS - 1:
            self._keep()

    def _keep(self) -> None:
        days = EVERY_TICKS * LIFE_DAYS / LIFE_TICKS
        slots = dict(zip(self._world.slices, (self._wanted / days).tolist(), strict=True))
        proposal = self._proposing(self.policy, Evidence(self._state.videos, KEY, slots=slots))
        self._wanted[:] = 0
        if proposal.slices:
            self.proposals.append(proposal)
            self._follow(replace(self.policy, slices={**self.policy.slices, **proposal.slices}))

    def _follow(self, policy: Policy) -> None:
        """Put a policy in force, and tell all of every video again, as a sweep does."""
        seq = self.policy.seq + 1
        self.policy = replace(policy, seq=seq, version=f"kept-{seq}")
        self._fold([self.policy])
        untouched: dict[int, Sequence[str]] = {}
        for name, state in self._state.videos.items():
            state.judged = state.controlled = True
            untouched[self._videos[name]] = []
        self._offer(untouched)


def apart(world: World) -> World:
    """Return the world with a policy to which no crowd says anything about another."""
    slices = {
        name: replace(
            spec,
            own_variance=spec.own_variance + sum(load * load for load in spec.loadings) // MICROS,
            loadings=(0, 0, 0),
        )
        for name, spec in world.policy.slices.items()
    }
    return with_fields(world, policy=replace(world.policy, slices=slices))

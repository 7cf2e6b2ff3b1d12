"""The keeper: moves the learned half of the policy, a step at a time and on evidence alone.

It runs where the leader of the control planes runs, and nowhere else. What is to move is proposed
by a pure function of the policy in force and of evidence; the keeper leaves out what operators
froze, checks the numbers, and says why a policy stays as it is.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from streams.control.policy.file import versioned
from streams.core.events import Policy, SlicePolicy
from streams.core.halves import differing, in_order, with_learned
from streams.errors import Retry
from streams.runtime.ports import Clock

log: Final = logging.getLogger("streams.control")

EVERY_S: Final = 600.0
"""So often the evidence is looked at: policies of 90 days are kept, each about 10 kB."""

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)
E_co = TypeVar("E_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What should move, and why; without `slices` and `noise_cross` nothing should.

    `slices` has numbers of the learned half for the slices that it names: the others stay, and so
    does `reach`. `evidence` says on how much it stands: counts by name.
    """

    why: str
    evidence: Mapping[str, int] = field(default_factory=dict)
    slices: Mapping[str, SlicePolicy] = field(default_factory=dict)
    noise_cross: int | None = None


class Propose(Protocol[E_contra]):
    """Says what should move: pure, the same for the same policy and evidence."""

    def __call__(self, policy: Policy, evidence: E_contra) -> Proposal | None:
        """Return what should move, or why nothing should; None if there is nothing to say.

        Runs in a thread of its own and may take seconds.
        """


class Gather(Protocol[E_co]):
    """Brings the evidence together."""

    async def __call__(self, policy: Policy) -> E_co | None:
        """Return what is known beside the policy in force, None if that is nothing yet.

        `Retry` if something does not answer.
        """


class Keeper(Generic[E]):
    """Asks now and then what should move of the policy in force."""

    def __init__(
        self,
        propose: Propose[E],
        gather: Gather[E],
        every_s: float = EVERY_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._propose: Final = propose
        self._gather: Final = gather
        self._every_s: Final = every_s
        self._clock: Final = clock
        self._next_at = clock() + every_s
        self._stays_why = ""

    async def next_policy(self, policy: Policy) -> Policy | None:
        """Return the policy that should follow on this one, if it is time and anything moves.

        Why nothing does is logged, once as long as it is the same.
        """
        if self._clock() < self._next_at:
            return None
        self._next_at = self._clock() + self._every_s
        why, moved = await self._judge(policy)
        if moved is None and why != self._stays_why:
            log.info("the keeper leaves the policy as it is: %s", why)
        self._stays_why = why if moved is None else ""
        return moved

    async def _judge(self, policy: Policy) -> tuple[str, Policy | None]:
        """Return the policy that should follow, or None and why none should."""
        if policy.pinned:
            return f"its learned half is pinned at {policy.pinned}", None
        try:
            evidence = await self._gather(policy)
            if evidence is None:
                return "there is no evidence yet", None
            proposal = await asyncio.to_thread(self._propose, policy, evidence)
        except Retry as error:
            return f"the evidence does not answer: {error}", None
        except Exception as error:
            log.exception("the keeper cannot propose anything")
            return f"its proposal failed: {error!r}", None
        if proposal is None:
            return "nothing is proposed", None
        wanted = _wanted(policy, proposal)
        moved = with_learned(policy, wanted, frozen=policy.frozen)
        families = differing(policy, moved)
        if not families:
            frozen = " (what it would move is frozen)" if differing(policy, wanted) else ""
            return f"{proposal.why}{frozen}", None
        moved = replace(moved, moved=in_order((*policy.moved, *families)))
        return _checked(replace(moved, why=proposal.why, evidence=dict(proposal.evidence)))


def _checked(moved: Policy) -> tuple[str, Policy | None]:
    """Return a policy if every reader of the log would take its numbers."""
    try:
        checked = msgspec.convert(msgspec.to_builtins(moved), Policy)
    except msgspec.ValidationError as error:
        return f"a number was proposed that no policy may have: {error}", None
    return moved.why, versioned(checked)


def _wanted(policy: Policy, proposal: Proposal) -> Policy:
    named = {name: spec for name, spec in proposal.slices.items() if name in policy.slices}
    cross = policy.noise_cross if proposal.noise_cross is None else proposal.noise_cross
    changes: dict[str, Any] = {"slices": policy.slices | named, "noise_cross": cross}
    return replace(policy, **changes)

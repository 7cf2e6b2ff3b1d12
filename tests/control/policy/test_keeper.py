"""What moves a policy's learned half, and why it stays, without a log."""

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from kit.events import FIXED, FOOTBALL, MUSIC
from msgspec.structs import replace

from streams.control.policy.file import versioned
from streams.control.policy.keeper import Keeper, Proposal
from streams.core.events import Policy, SlicePolicy
from streams.errors import Retry

IN_FORCE = replace(FIXED, files="fixed-1")


def dearer(policy: Policy, evidence: int) -> Proposal:
    """Propose a price of football that rises by the evidence."""
    spec = policy.slices[FOOTBALL]
    slices = {FOOTBALL: replace(spec, price=spec.price + evidence)}
    return Proposal(f"leases of football were worth {evidence} more", {"leases": evidence}, slices)


class Notebook:
    """Evidence that a test writes down; the clock stands where it is put."""

    def __init__(self, evidence: int | None = None) -> None:
        self.evidence = evidence
        self.now = 0.0
        self.gathered = 0

    async def gather(self, policy: Policy) -> int | None:
        assert policy.slices
        self.gathered += 1
        return self.evidence

    def keeper(self, propose: Any = dearer) -> Keeper[int]:
        made = Keeper(propose, self.gather, 60, lambda: self.now)
        self.now = 60
        return made


def refuses(policy: Policy, evidence: int) -> Proposal:
    return Proposal(f"{evidence} pairs, {len(policy.slices)} slices: too few")


async def test_what_is_proposed_moves_and_says_why_and_on_how_much() -> None:
    moved = await Notebook(5).keeper().next_policy(IN_FORCE)
    assert moved is not None
    assert moved.slices[FOOTBALL].price == FIXED.slices[FOOTBALL].price + 5
    assert moved.slices[MUSIC] == FIXED.slices[MUSIC]
    assert (moved.why, moved.evidence) == ("leases of football were worth 5 more", {"leases": 5})
    assert moved.moved == ("prices",)
    assert moved == versioned(moved)
    assert moved.version != versioned(IN_FORCE).version


async def test_families_that_moved_before_are_remembered() -> None:
    moved = await Notebook(5).keeper().next_policy(replace(IN_FORCE, moved=("means",)))
    assert moved is not None
    assert moved.moved == ("means", "prices")


@pytest.mark.parametrize(
    ("notebook", "propose", "policy", "why"),
    [
        (Notebook(None), dearer, IN_FORCE, "there is no evidence yet"),
        (Notebook(0), dearer, IN_FORCE, "leases of football were worth 0 more"),
        (Notebook(3), refuses, IN_FORCE, "3 pairs, 6 slices: too few"),
        (Notebook(3), lambda policy, evidence: None, IN_FORCE, "nothing is proposed"),  # noqa: ARG005
        (Notebook(5), dearer, replace(IN_FORCE, pinned="3.1"), "is pinned at 3.1"),
        (Notebook(5), dearer, replace(IN_FORCE, frozen=("prices",)), "would move is frozen"),
        (Notebook(1 << 60), dearer, IN_FORCE, "a number was proposed that no policy may have"),
    ],
)
async def test_it_leaves_the_policy_as_it_is_and_says_why_once(
    notebook: Notebook, propose: Any, policy: Policy, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = notebook.keeper(propose)
    with caplog.at_level(logging.INFO, "streams.control"):
        for now in (60, 120, 180):
            notebook.now = now
            assert await keeper.next_policy(policy) is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the keeper leaves the policy as it is: ")
    assert why in line


def broken(policy: Policy, evidence: int) -> Proposal:
    raise ZeroDivisionError(f"{evidence} of {len(policy.slices)}")


class Silent(Notebook):
    async def gather(self, policy: Policy) -> int | None:
        raise Retry(f"no store for {policy.version}")


@pytest.mark.parametrize(
    ("notebook", "propose", "why"),
    [
        (Notebook(5), broken, "its proposal failed: ZeroDivisionError('5 of 6')"),
        (Silent(5), dearer, "the evidence does not answer: no store for fixed-1"),
    ],
)
async def test_what_fails_moves_nothing_and_is_tried_again(
    notebook: Notebook, propose: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = notebook.keeper(propose)
    with caplog.at_level(logging.INFO, "streams.control"):
        assert await keeper.next_policy(IN_FORCE) is None
    assert why in caplog.text
    notebook.now = 120
    assert await keeper.next_policy(IN_FORCE) is None


async def test_a_frozen_slice_keeps_its_number_and_the_others_move() -> None:
    def both(policy: Policy, evidence: int) -> Proposal:
        slices = {n: replace(policy.slices[n], price=evidence) for n in (FOOTBALL, MUSIC)}
        return Proposal("both", {}, slices)

    policy = replace(IN_FORCE, frozen=(f"prices:{MUSIC}",))
    moved = await Notebook(5).keeper(both).next_policy(policy)
    assert moved is not None
    assert moved.slices[FOOTBALL].price == 5
    assert moved.slices[MUSIC] == FIXED.slices[MUSIC]


async def test_nothing_but_the_learned_half_moves() -> None:
    def everything(policy: Policy, evidence: int) -> Proposal:
        slices: Mapping[str, SlicePolicy] = {
            FOOTBALL: replace(policy.slices[FOOTBALL], reach=evidence, horizon=evidence),
            "discover:chess": policy.slices[FOOTBALL],
        }
        return Proposal("all", {}, slices, noise_cross=evidence)

    moved = await Notebook(9).keeper(everything).next_policy(IN_FORCE)
    assert moved is not None
    assert moved.slices.keys() == FIXED.slices.keys()
    assert moved.slices[FOOTBALL].reach == FIXED.slices[FOOTBALL].reach
    assert (moved.slices[FOOTBALL].horizon, moved.noise_cross) == (9, 9)
    assert moved.moved == ("horizons", "cross")


async def test_evidence_is_looked_at_when_it_is_time() -> None:
    notebook = Notebook(5)
    keeper = notebook.keeper()
    notebook.now = 59
    assert await keeper.next_policy(IN_FORCE) is None
    assert notebook.gathered == 0
    notebook.now = 60
    assert await keeper.next_policy(IN_FORCE) is not None
    assert await keeper.next_policy(IN_FORCE) is None
    assert notebook.gathered == 1

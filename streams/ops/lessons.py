"""What crowds teach each other about a video, out of one receipt."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streams.core.events import Policy
from streams.core.posterior import UNIT, Posterior, Sums, solve
from streams.core.receipts import Receipt
from streams.core.units import MICROS


class Lesson(NamedTuple):
    """What one judgement took from the other crowds, and what it gave them.

    Means in micro-units of value per view. `moved` is by how much the views of the judged crowd
    change what is expected `elsewhere` before any view there; "" and 0 if they change nothing.
    """

    before: int  # expected in the judged crowd before any view of the video
    after: int  # by what the other crowds think of it, its own views left out
    elsewhere: str
    moved: int


def lesson_of(receipt: Receipt, policy: Policy | None, crowds: Iterable[str]) -> Lesson | None:
    """Return what a judgement took and gave, None where nothing was judged.

    `crowds` are the other slices that the video is open to. What it gave them stands in the policy
    that the receipt names: of another one, or none, nothing is told of it.
    """
    if not receipt.loadings:
        return None
    whole = Sums(*receipt.sums)
    with_own, without = solve(whole), solve(_without(whole, receipt))
    slices = policy.slices if policy is not None and policy.version == receipt.policy else {}
    moves = {
        name: _shift(slices[name].loadings, with_own) - _shift(slices[name].loadings, without)
        for name in sorted(crowds)
        if name != receipt.slice and name in slices
    }
    most = max(moves, key=lambda name: abs(moves[name]), default="")
    moved = moves.get(most, 0)
    after = receipt.base + _shift(receipt.loadings, without)
    return Lesson(receipt.base, after, most if moved else "", moved)


def lessons(receipts: Sequence[Receipt], policies: Iterable[Policy]) -> list[Lesson | None]:
    """Return the lesson of each of a video's receipts, in their order."""
    known = {policy.version: policy for policy in policies}
    crowds: Sequence[str] = ()
    taught: list[Lesson | None] = []
    for receipt in receipts:
        if receipt.action == "open" and not receipt.slice:
            crowds = [crowd.slice for crowd in receipt.crowds]
        taught.append(lesson_of(receipt, known.get(receipt.policy), crowds))
    return taught


def _without(whole: Sums, receipt: Receipt) -> Sums:
    """Return the factor sums of the other slices: those of the receipt less its own slice's."""
    scale = receipt.noise_variance + receipt.weighed * receipt.own_variance
    weight = receipt.weighed * UNIT // scale
    pull = UNIT * (receipt.value - receipt.weighed * receipt.base) // scale
    l1, l2, l3 = receipt.loadings
    own = [weight * pair for pair in (l1 * l1, l1 * l2, l1 * l3, l2 * l2, l2 * l3, l3 * l3)]
    own += [pull * each for each in receipt.loadings]
    return Sums(*(total - part // MICROS for total, part in zip(whole, own, strict=True)))


def _shift(loadings: Sequence[int], tastes: Posterior) -> int:
    """Return by how much a video's tastes move what is expected in a slice."""
    l1, l2, l3 = loadings
    return (l1 * tastes.g1 + l2 * tastes.g2 + l3 * tastes.g3) // tastes.det

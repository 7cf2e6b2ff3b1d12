"""What the keeper learned last: what moved, on how much evidence, how much better it predicts."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from streams.core.events import Policy, number_of
from streams.ops.explain import moment
from streams.ops.policy import PolicyHistory, in_words, read_history
from streams.ops.policy_figures import Difference, differences, moved_in_words
from streams.runtime.installation import read_installation, require_made
from streams.runtime.policies import KeptPolicy
from streams.runtime.ports import LogReader
from streams.settings import Settings


class Learned(NamedTuple):
    """A policy that the keeper wrote, what it moved in words, and which numbers those were."""

    kept: KeptPolicy
    moved: str
    changes: list[Difference]

    def as_object(self) -> dict[str, Any]:  # what goes to JSON
        """Return the stable fields of the output."""
        policy = self.kept.policy
        return {
            "number": number_of(policy),
            "written": moment(self.kept.written_ms),
            "moved": self.moved,
            "evidence": in_words(policy.evidence),
            "why": policy.why,
            "changes": [each._asdict() for each in self.changes],
        }


def learned_last(history: PolicyHistory, slice_id: str | None = None) -> Learned | None:
    """Return what the keeper moved last, anywhere or in one slice; None if it moved nothing yet.

    Of the policies that are kept: those of 90 days. Only the keeper's bear evidence.
    """
    for before, after in reversed(list(pairwise(history.policies))):
        if not after.policy.evidence:
            continue
        changes = [
            each
            for each in differences(before.policy, after.policy)
            if each.half == "learned" and (slice_id is None or each.name.startswith(f"{slice_id} "))
        ]
        if changes:
            return Learned(after, _moved(before.policy, after.policy, changes, slice_id), changes)
    return None


async def read_learned(reader: LogReader, settings: Settings, slice_id: str) -> Learned | None:
    """Return what the keeper moved last in a slice, None if that is nothing yet."""
    installation = require_made(await read_installation(reader, settings), settings)
    return learned_last(await read_history(reader, settings, installation), slice_id)


def learned_lines(learned: Learned | None) -> Iterator[str]:
    """Yield what was learned, for people."""
    if learned is None:
        yield "The keeper has moved nothing yet in the policies that are kept."
        return
    policy = learned.kept.policy
    yield f"Learned last, by policy {number_of(policy)} at {moment(learned.kept.written_ms)}:"
    yield f"  moved: {learned.moved}"
    yield f"  on {in_words(policy.evidence)}"
    yield f"  because {policy.why}"


def _moved(before: Policy, after: Policy, changes: list[Difference], slice_id: str | None) -> str:
    """Return what moved in words: by family, or of one slice number by number."""
    if slice_id is None:
        return moved_in_words(before, after)
    return ", ".join(
        f"{each.name.removeprefix(slice_id).strip()} {each.before:g} to {each.after:g}"
        for each in changes
        if each.before is not None and each.after is not None
    )

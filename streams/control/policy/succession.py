"""Which policy follows on the one in force, by the files of a control plane and what people want.

The operators' half is that of the files; what was learned stays, unless the weights changed: then
its numbers are the worth of something else. A pinned learned half is that of an earlier policy.
"""

from collections.abc import Collection, Mapping
from typing import Final

from msgspec.structs import replace

from streams.control.policy.file import versioned
from streams.core.events import Policy, SliceReview
from streams.core.halves import ALL_FAMILIES, differing, in_order, with_learned
from streams.runtime.policies import Orders

NO_ORDERS: Final = Orders(0, "")
ROUTINE: Final = "the files of this control plane"
NOTE_MOST: Final = 300
WHY_MOST: Final = 2_000
"""Characters of a policy's `why`, and of what one person said in it."""


def successor(
    files: Policy, base: Policy | None, orders: Orders = NO_ORDERS, pinned: Policy | None = None
) -> Policy:
    """Return the policy that should be in force; its `why` says what it changes of `base`.

    `files` is the draft of the files, `pinned` the policy that the orders pin, None if no policy of
    that number is known.
    """
    notes = [] if base is None else _news(files, base)
    policy = files if base is None else _with_what_was_learned(files, base, notes)
    if orders.pinned:
        policy = _pinned(files, policy, orders, pinned, notes)
    if base is not None and base.pinned != policy.pinned:
        notes.append(f"pinned at {policy.pinned}" if policy.pinned else "pinned no more")
    policy = replace(policy, frozen=tuple(sorted({*files.frozen, *orders.frozen})))
    if base is not None and base.frozen != policy.frozen:
        notes.append(f"frozen: {', '.join(policy.frozen) or 'nothing'}")
    return versioned(replace(policy, why="; ".join(notes) or ROUTINE))


def with_words(policy: Policy, base: Policy | None, words: Mapping[str, SliceReview]) -> Policy:
    """Return a policy with people's last words on its slices; its `why` says what they changed.

    A word in force goes where the table has none, or one that ends no freezing.
    """
    notes, slices = [], {}
    for name, spec in policy.slices.items():
        before = None if base is None or name not in base.slices else base.slices[name].word
        word = _later(before, words.get(name))
        slices[name] = replace(spec, word=word)
        if word is not None and word != before:
            effect = "frozen" if word.frozen else "open again"
            notes.append(f"{name} {effect}, says {word.by}: {word.note}"[:NOTE_MOST])
    if slices == policy.slices:
        return policy
    why = "; ".join([*notes, *([policy.why] if policy.why != ROUTINE or not notes else [])])
    return versioned(replace(policy, slices=slices, why=why[:WHY_MOST]))


def _later(before: SliceReview | None, word: SliceReview | None) -> SliceReview | None:
    if before is None or word is None:
        return word or before
    return word if word.frozen or word.ts > before.ts else before


def _news(files: Policy, base: Policy) -> list[str]:
    before = base.files or base.version
    return [] if before == files.files else [f"files {before} -> {files.files}"]


def _with_what_was_learned(files: Policy, base: Policy, notes: list[str]) -> Policy:
    """Return the files' policy with every number that moved in `base`."""
    if base.weights != files.weights and base.moved:
        notes.append("other weights: what was learned is reset to the numbers of the files")
        return files
    moved = _unfrozen(base.moved, files)
    return replace(with_learned(files, base, moved, files.frozen), moved=moved)


def _pinned(
    files: Policy, policy: Policy, orders: Orders, source: Policy | None, notes: list[str]
) -> Policy:
    """Return the files' policy with the learned half of another one, `policy` if it has none."""
    if source is None or source.weights != files.weights:
        reason = "is not known" if source is None else "was learned with other weights"
        notes.append(f"not pinned: policy {orders.pinned} {reason}")
        return policy
    taken = with_learned(files, source, ALL_FAMILIES, files.frozen)
    moved = _unfrozen((*source.moved, *differing(files, taken)), files)
    return replace(taken, moved=moved, pinned=orders.pinned)


def _unfrozen(families: Collection[str], files: Policy) -> tuple[str, ...]:
    return in_order(family for family in families if family not in files.frozen)

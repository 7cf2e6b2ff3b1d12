"""Which policy follows on the one in force, by the files of a control plane and what people want.

The operators' half is that of the files; what was learned stays, unless the weights changed: then
its numbers are the worth of something else. A pinned learned half is that of an earlier policy. The
key that draws is made with the first policy that draws, and stays.
"""

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from streams.control.policy.file import versioned
from streams.core.events import Policy
from streams.core.halves import ALL_FAMILIES, differing, in_order, with_learned
from streams.runtime.policies import Orders

NO_ORDERS: Final = Orders(0, "")
ROUTINE: Final = "the files of this control plane"
"""Why a policy is there that nothing else led to."""


def successor(
    files: Policy, base: Policy | None, orders: Orders = NO_ORDERS, pinned: Policy | None = None
) -> Policy:
    """Return the policy that should be in force; its `why` says what it changes of `base`.

    `files` is the draft of the files, with a key to draw by if there is none yet; `pinned` is the
    policy that the orders pin, None if no policy of that number is known.
    """
    notes = [] if base is None else _news(files, base)
    policy = files if base is None else _with_what_was_learned(files, base, notes)
    if orders.pinned:
        policy = _pinned(files, policy, orders, pinned, notes)
    policy = replace(
        policy,
        frozen=tuple(sorted({*files.frozen, *orders.frozen})),
        explore_key=_key(files, base),
    )
    if base is not None and (base.pinned, base.frozen) != (policy.pinned, policy.frozen):
        notes.append(_held(base, policy, orders))
    return versioned(replace(policy, why="; ".join(notes) or ROUTINE))


def _key(files: Policy, base: Policy | None) -> str:
    if base is not None and base.explore_key:
        return base.explore_key
    return files.explore_key if files.explore_probability else ""


def _held(base: Policy, policy: Policy, orders: Orders) -> str:
    """Return in words what is pinned or frozen now, and who wanted it why."""
    notes = []
    if base.pinned != policy.pinned:
        notes.append(f"pinned at {policy.pinned}" if policy.pinned else "pinned no more")
    if base.frozen != policy.frozen:
        notes.append(f"frozen: {', '.join(policy.frozen) or 'nothing'}")
    wish = f" (by {orders.by}{f': {orders.why}' if orders.why else ''})" if orders.by else ""
    return f"{'; '.join(notes)}{wish}"


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

"""What policy is in force, which ones were, and what operators want of the next ones."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from streams.core.events import Policy, number_of, order_of
from streams.core.halves import ALL_FAMILIES, is_freezable
from streams.core.keys import Trust, read_trust
from streams.errors import Halt
from streams.ops.explain import moment
from streams.ops.policy_figures import moved_in_words
from streams.runtime.installation import Installation, table_records
from streams.runtime.policies import KeptPolicy, Orders, read_entry, stored_policy
from streams.runtime.ports import LogReader, Store
from streams.settings import Settings

NO_ORDERS: Final = Orders(0, "")


class PartitionPolicy(NamedTuple):
    """What one partition has in force, as far as it is counted."""

    partition: int
    policy: Policy | None
    term: int
    watermark: int


class PolicyHistory(NamedTuple):
    """The policies that are kept, the earliest first, and what operators want."""

    policies: Sequence[KeptPolicy]
    orders: Orders

    def named(self, number: str) -> Policy:
        """Return a policy by its number; `Halt` if it is not kept."""
        for kept in self.policies:
            if number_of(kept.policy) == number:
                return kept.policy
        latest = number_of(self.policies[-1].policy) if self.policies else "none"
        raise Halt(f"no policy {number} is kept (latest: {latest}): see `streams policy history`")


async def read_in_force(store: Store, namespace: str, partitions: int) -> list[PartitionPolicy]:
    """Return what every partition has in force; `Halt` if counters are of another log."""
    found = []
    for partition in range(partitions):
        stored = await store.meta(partition, namespace)
        if stored is None:
            found.append(PartitionPolicy(partition, None, 0, -1))
            continue
        policy = stored_policy(stored.meta.policy)
        term = read_trust(stored.meta.keys).term
        found.append(PartitionPolicy(partition, policy, term, stored.watermark))
    return found


def latest_of(partitions: Collection[PartitionPolicy]) -> Policy | None:
    """Return the latest policy that any partition has in force."""
    policies = [each.policy for each in partitions if each.policy is not None]
    return max(policies, key=order_of, default=None)


async def read_history(
    reader: LogReader, settings: Settings, installation: Installation
) -> PolicyHistory:
    """Return the policies that are kept, also those that a key signed which is retired by now."""
    keys = tuple(dict.fromkeys((*installation.first, *installation.keys)))
    trust = Trust(installation.id, keys, upgraded=True)
    kept: dict[bytes, KeptPolicy] = {}
    orders = NO_ORDERS
    async for record in table_records(reader, settings):
        entry = read_entry(record, trust)
        if isinstance(entry, Orders):
            orders = entry
        elif isinstance(entry, KeptPolicy):
            kept[record.key or b""] = entry
        elif record.value is None:
            kept.pop(record.key or b"", None)
    return PolicyHistory(sorted(kept.values(), key=lambda each: order_of(each.policy)), orders)


def summary(policy: Policy, partitions: Collection[PartitionPolicy]) -> dict[str, Any]:
    """Return what a policy is, who wrote it and why, and whether all partitions agree on it."""
    others = [each.partition for each in partitions if each.policy != policy]
    return {
        "number": number_of(policy),
        "version": policy.version,
        "files": policy.files or None,
        "rule": policy.rule,
        "by": policy.by or None,
        "why": policy.why or None,
        "evidence": in_words(policy.evidence) or None,
        "learned": ", ".join(policy.moved) or "nothing yet",
        "frozen": ", ".join(policy.frozen) or None,
        "pinned": policy.pinned or None,
        "term": max((each.term for each in partitions), default=0),
        "partitions": f"all {len(partitions)} agree" if not others else f"{others} differ",
    }


def place_row(each: PartitionPolicy) -> dict[str, Any]:
    """Return which policy one partition has in force, as a row."""
    return {
        "partition": each.partition,
        "number": None if each.policy is None else number_of(each.policy),
        "version": None if each.policy is None else each.policy.version,
        "term": each.term,
        "watermark": each.watermark,
    }


def history_rows(history: PolicyHistory, limit: int) -> list[dict[str, Any]]:
    """Return the latest policies, the earliest of them first: what each changed, and why."""
    kept = [each.policy for each in history.policies]
    befores = [None, *kept][: len(kept)]
    rows = [
        {
            "number": number_of(each.policy),
            "written": moment(each.written_ms),
            "version": each.policy.version,
            "by": each.policy.by or None,
            "changed": (before and moved_in_words(before, each.policy)) or None,
            "why": each.policy.why or None,
            "evidence": in_words(each.policy.evidence) or None,
        }
        for before, each in zip(befores, history.policies, strict=True)
    ]
    return rows[-limit:]


def in_words(evidence: Mapping[str, int]) -> str:
    """Return counts as people say them.

    >>> in_words({"held_out_pairs": 1_200, "videos": 80})
    '1,200 held out pairs, 80 videos'
    """
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in evidence.items())


def with_pin(orders: Orders, history: PolicyHistory, in_force: Policy, number: str) -> Orders:
    """Return orders that pin the learned half of a policy; `Halt` if it cannot be."""
    if history.named(number).weights != in_force.weights:
        raise Halt(f"policy {number} was learned with other weights: its numbers mean nothing now")
    return replace(orders, pinned=number)


def with_frozen(orders: Orders, in_force: Policy, names: Collection[str]) -> Orders:
    """Return orders that freeze numbers too; `Halt` if one has no such name."""
    for name in names:
        if not is_freezable(name, in_force.slices):
            families = ", ".join(ALL_FAMILIES)
            raise Halt(
                f"{name} is no number that is learned: name one of {families}, or family:slice"
            )
    return replace(orders, frozen=tuple(sorted({*orders.frozen, *names})))


def without_frozen(orders: Orders, in_force: Policy, names: Collection[str]) -> Orders:
    """Return orders that freeze these numbers no more; `Halt` if one was not by an order."""
    for name in names:
        if name not in orders.frozen:
            by_files = name in in_force.frozen
            where = "the files freeze it: change keeper.frozen there" if by_files else "it is not"
            raise Halt(f"{name} is frozen by no order: {where}")
    return replace(orders, frozen=tuple(each for each in orders.frozen if each not in names))

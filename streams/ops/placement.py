"""Which shard of a Redis Cluster has which partitions, and how they would be spread evenly.

All keys of a partition stand in one slot, that of its hash tag, and tags fall where a checksum has
them: 256 partitions on 16 shards with as many slots each come to 7 to 25. Slots can be given out
otherwise.
"""

from binascii import crc_hqx
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from streams.errors import Misconfigured

SLOTS: Final = 16_384


class PlacedPartition(NamedTuple):
    """A partition, its slot, the shard that has it now, and the one that should."""

    partition: int
    slot: int
    shard: str | None
    planned: str


class ShardPlan(NamedTuple):
    """A shard: how many partitions it has now, how many it would have, and by which slots.

    Of a new cluster `slots` is the range to create it with, of a running one those that it would
    be given from others.
    """

    shard: str
    partitions: int | None
    planned: int
    slots: str


class Placement(NamedTuple):
    """A plan for all partitions and shards."""

    shards: Sequence[ShardPlan]
    partitions: Sequence[PlacedPartition]


def slot_of_partition(partition: int) -> int:
    """Return the slot of a partition's hash tag.

    >>> slot_of_partition(7)
    1716
    """
    return crc_hqx(b"%d" % partition, 0) % SLOTS


def plan_new(partitions: int, shards: int) -> Placement:
    """Return an even placement by one range of slots a shard, for a cluster that is to be made."""
    tags = _tags(range(partitions))
    slots = sorted(tags)
    if shards > len(slots):
        raise Misconfigured(f"{partitions} partitions cannot be spread over {shards} shards")
    ends = _ends(slots, [len(tags[slot]) for slot in slots], shards)
    owners: dict[int, str] = {}
    plans = []
    for number, (before, end) in enumerate(pairwise([-1, *ends]), start=1):
        mine = [slot for slot in slots if before < slot <= end]
        owners |= dict.fromkeys(mine, str(number))
        count = sum(len(tags[slot]) for slot in mine)
        plans.append(ShardPlan(str(number), None, count, f"{before + 1}-{end}"))
    return Placement(plans, _placed(tags, {}, owners))


def plan_moves(partitions: int, shards: Mapping[str, Collection[int]]) -> Placement:
    """Return an even placement on the shards of a running cluster that moves as little as may be.

    `shards` has the slots of each; one without slots takes part too.
    """
    tags = _tags(range(partitions))
    now = {slot: shard for shard, slots in shards.items() for slot in slots if slot in tags}
    planned = _evened(tags, now, sorted(shards))
    before = Counter(dict.fromkeys(shards, 0))
    after = Counter(before)
    given: defaultdict[str, list[int]] = defaultdict(list)
    for slot, shard in planned.items():
        after[shard] += len(tags[slot])
        if slot in now:
            before[now[slot]] += len(tags[slot])
        if now.get(slot) != shard:
            given[shard].append(slot)
    plans = [
        ShardPlan(shard, before[shard], after[shard], " ".join(map(str, sorted(given[shard]))))
        for shard in sorted(shards)
    ]
    return Placement(plans, _placed(tags, now, planned))


def _tags(partitions: range) -> Mapping[int, list[int]]:
    """Return the partitions of each slot that has any."""
    tags: defaultdict[int, list[int]] = defaultdict(list)
    for partition in partitions:
        tags[slot_of_partition(partition)].append(partition)
    return tags


def _ends(slots: Sequence[int], weights: Sequence[int], shards: int) -> list[int]:
    """Return the last slot of each shard: midway between its last tag and the next one's first."""
    total, taken, at = sum(weights), 0, 0
    ends = []
    for number in range(1, shards):
        latest = len(slots) - (shards - number)  # the shards behind need a tag each
        taken, at = taken + weights[at], at + 1
        while at < latest and 2 * taken + weights[at] <= 2 * total * number / shards:
            taken, at = taken + weights[at], at + 1
        ends.append((slots[at - 1] + slots[at] - 1) // 2)
    return [*ends, SLOTS - 1]


def _evened(
    tags: Mapping[int, Sequence[int]], now: Mapping[int, str], shards: Sequence[str]
) -> dict[int, str]:
    """Return an owner for each slot: from the fullest shard to the emptiest, one by one."""
    planned = dict(now)
    load = Counter(dict.fromkeys(shards, 0))
    for slot, shard in now.items():
        load[shard] += len(tags[slot])
    for slot in sorted(tags.keys() - now.keys()):  # nobody has them
        emptiest = min(shards, key=lambda one: (load[one], one))
        planned[slot] = emptiest
        load[emptiest] += len(tags[slot])
    while True:
        fullest = max(shards, key=lambda one: (load[one], one))
        emptiest = min(shards, key=lambda one: (load[one], one))
        gap = load[fullest] - load[emptiest]
        fits = [s for s in sorted(planned) if planned[s] == fullest and len(tags[s]) < gap]
        if gap < 2 or not fits:
            return planned
        slot = max(fits, key=lambda one: (-len(tags[one]), one))
        planned[slot] = emptiest
        load[fullest] -= len(tags[slot])
        load[emptiest] += len(tags[slot])


def _placed(
    tags: Mapping[int, Sequence[int]], now: Mapping[int, str], planned: Mapping[int, str]
) -> list[PlacedPartition]:
    return sorted(
        PlacedPartition(partition, slot, now.get(slot), planned[slot])
        for slot, partitions in tags.items()
        for partition in partitions
    )

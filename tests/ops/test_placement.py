"""Partitions on the shards of a Redis Cluster: as even as can be, by moves as few as can be."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from streams.errors import Misconfigured
from streams.ops.placement import SLOTS, Placement, plan_moves, plan_new, slot_of_partition
from streams.runtime.namespace import meta_key


def test_a_partition_is_where_redis_has_its_keys() -> None:
    for partition in range(2_000):
        assert slot_of_partition(partition) == key_slot(meta_key(partition).encode())


def evenly(shards: int) -> dict[str, range]:
    """Return the slots of a cluster as redis-cli creates it."""
    ends = [round(SLOTS * number / shards) for number in range(shards + 1)]
    return {f"s{number}": range(*ends[number : number + 2]) for number in range(shards)}


def test_as_many_slots_each_are_not_as_many_partitions_each() -> None:
    found = plan_moves(256, evenly(16))
    counts = [shard.partitions or 0 for shard in found.shards]
    assert (min(counts), max(counts)) == (7, 25)
    assert {shard.planned for shard in found.shards} == {16}


def spread(placement: Placement) -> int:
    """Return by how many partitions the fullest shard is fuller than the emptiest."""
    counts = [shard.planned for shard in placement.shards]
    return max(counts) - min(counts)


def shared(partitions: int) -> int:
    """Return the greatest number of partitions in one slot: they cannot be taken apart."""
    return max(Counter(map(slot_of_partition, range(partitions))).values())


@given(st.integers(1, 700), st.integers(1, 40))
def test_a_new_cluster_gets_one_range_a_shard_and_all_slots(partitions: int, shards: int) -> None:
    if shards > len({slot_of_partition(p) for p in range(partitions)}):
        with pytest.raises(Misconfigured):
            plan_new(partitions, shards)
        return
    plan = plan_new(partitions, shards)
    ranges = [tuple(map(int, shard.slots.split("-"))) for shard in plan.shards]
    assert [slot for first, last in ranges for slot in range(first, last + 1)] == [*range(SLOTS)]
    assert sum(shard.planned for shard in plan.shards) == partitions
    assert spread(plan) <= 2 * shared(partitions) - 1
    for placed in plan.partitions:
        first, last = ranges[int(placed.planned) - 1]
        assert first <= placed.slot <= last


@given(st.integers(1, 400), st.integers(1, 20), st.integers(0, 3))
def test_a_running_cluster_is_evened_by_few_moves(partitions: int, shards: int, empty: int) -> None:
    now = {**evenly(shards), **{f"new{number}": range(0) for number in range(empty)}}
    plan = plan_moves(partitions, now)
    assert spread(plan) <= shared(partitions)
    moved = [one for one in plan.partitions if one.shard != one.planned]
    share = -(-partitions // len(now))
    surplus = sum(max((shard.partitions or 0) - share, 0) for shard in plan.shards)
    lack = sum(max(partitions // len(now) - (s.partitions or 0), 0) for s in plan.shards)
    assert len(moved) <= max(surplus, lack) + shared(partitions) * len(now)
    named = {int(slot) for shard in plan.shards for slot in shard.slots.split()}
    assert named == {one.slot for one in moved}


def test_slots_that_nobody_has_are_given_to_the_emptiest() -> None:
    plan = plan_moves(8, {"a": range(0), "b": [slot_of_partition(0)]})
    assert {shard.shard: shard.planned for shard in plan.shards} == {"a": 4, "b": 4}
    assert [one.shard for one in plan.partitions] == ["b", *[None] * 7]

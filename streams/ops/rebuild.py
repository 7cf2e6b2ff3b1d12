"""Drops the counters, so that workers count the log again."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from streams.errors import Halt
from streams.runtime.answers import require_all
from streams.runtime.ports import Cluster, Dossiers, LogReader, Store, TopicIdentity


class RebuildPlan(NamedTuple):
    """What a rebuild would do: `lost` has where logs begin that no longer begin at 0."""

    partitions: int
    lost: Mapping[int, int]


async def plan_rebuild(reader: LogReader, identity: TopicIdentity) -> RebuildPlan:
    """Return what a rebuild of the counters of this log would do."""
    partitions = range(identity.partitions)
    answers = await reader.offsets(identity.topic, partitions)
    bounds = require_all(identity.topic, partitions, answers)
    lost = {partition: both.start for partition, both in bounds.items() if both.start}
    return RebuildPlan(identity.partitions, lost)


async def drop_counters(
    cluster: Cluster,
    store: Store,
    dossiers: Dossiers,
    plan: RebuildPlan,
    group: str,
    tell: Callable[[int], None],
) -> int:
    """Delete the group, what is stored and the dossiers' positions; return the keys dropped.

    `Halt` while a worker is a member of the group, before anything is dropped. `tell` hears how
    many partitions are done.
    """
    if group in await cluster.groups():
        await cluster.forget_group(group)
    keys = 0
    for partition in range(plan.partitions):
        keys += await store.erase(partition)
        tell(partition + 1)
    await dossiers.forget()
    return keys


async def restart_partition(store: Store, partition: int, partitions: int, namespace: str) -> int:
    """Drop the counters of one partition; return how many keys that were.

    Its next owner counts its log from the beginning. No worker may own it meanwhile. `Halt` if
    there is no such partition.
    """
    if not 0 <= partition < partitions:
        raise Halt(f"there is no partition {partition}: the log has 0 to {partitions - 1}")
    keys = await store.erase(partition)
    await store.begin(partition, namespace)
    return keys

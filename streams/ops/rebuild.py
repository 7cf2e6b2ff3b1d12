"""Drops the counters, so that workers count the log again."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

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

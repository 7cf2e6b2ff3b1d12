"""Drops the counters, so that workers count the log again.

Dossiers stay, but not how far they hold the control plane's topics: it puts back what their copies
have, and reads those topics again. The serving index is a view of the rows: workers that count a
partition anew clear what its slices were told before, and fill them again.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, get_args

from streams.errors import Halt
from streams.runtime.answers import require_all
from streams.runtime.codec import ControlTopic
from streams.runtime.documents import TOPIC as DOSSIERS
from streams.runtime.ports import Cluster, Dossiers, LogReader, Place, Store, TopicIdentity
from streams.settings import Settings


class RebuildPlan(NamedTuple):
    """What a rebuild would do: `lost` has where logs begin that no longer begin at 0.

    `copies` is how many records the topic `dossiers` holds; `unheard` has where topics of the
    control plane begin that no longer begin at 0, of partitions without any copy.
    """

    partitions: int
    lost: Mapping[int, int]
    copies: int
    unheard: Mapping[Place, int]


async def plan_rebuild(
    reader: LogReader, identity: TopicIdentity, settings: Settings
) -> RebuildPlan:
    """Return what a rebuild of the counters of this log would do."""
    partitions = range(identity.partitions)
    answers = await reader.offsets(identity.topic, partitions)
    bounds = require_all(identity.topic, partitions, answers)
    lost = {partition: both.start for partition, both in bounds.items() if both.start}
    copies = await reader.offsets(settings.topic(DOSSIERS), partitions)
    copied = {partition: both.end - both.start for partition, both in copies.items()}
    unheard: dict[Place, int] = {}
    for topic in get_args(ControlTopic):
        for partition, both in (await reader.offsets(settings.topic(topic), partitions)).items():
            if both.start and not copied.get(partition):
                unheard[topic, partition] = both.start
    return RebuildPlan(identity.partitions, lost, sum(copied.values()), unheard)


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
        await dossiers.forget(partition)
        tell(partition + 1)
    return keys


async def restart_partition(
    store: Store, dossiers: Dossiers, partition: int, partitions: int, namespace: str
) -> int:
    """Drop the counters of one partition and its dossiers' positions; return the keys dropped.

    Its next owner counts its log from the beginning. No worker may own it meanwhile. `Halt` if
    there is no such partition.
    """
    if not 0 <= partition < partitions:
        raise Halt(f"there is no partition {partition}: the log has 0 to {partitions - 1}")
    keys = await store.erase(partition)
    await dossiers.forget(partition)
    await store.begin(partition, namespace)
    return keys

"""Drops the counters, so that workers count the log again.

From its beginning; of a log that lost that, from the newest snapshot that the rest follows on,
which is put in their place. Dossiers stay, but not how far they hold the control plane's topics: it
puts back what their copies have, and reads those topics again. The serving index is a view of the
rows: workers that count a partition anew clear what its slices were told before, and fill them
again.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, get_args

from streams.core.generations import read_generations
from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import Halt
from streams.ops.recount import ResumePoint
from streams.ops.verify import CountedLog, newest_snapshot, require_partition
from streams.runtime.answers import require_all
from streams.runtime.codec import ControlTopic
from streams.runtime.documents import TOPIC as DOSSIERS
from streams.runtime.ports import Cluster, Dossiers, Offsets, Place, Stored


class PutBack(NamedTuple):
    """What is put in the place of a partition's counters: a snapshot by its watermark.

    Its proof begins at the offset `proved_from`. `forgotten` are offsets of its window that the log
    no longer has: a repeat of theirs counts again.
    """

    watermark: int
    proved_from: int
    forgotten: range


class RebuildPlan(NamedTuple):
    """What a rebuild would do: `lost` has where logs begin that no longer begin at 0.

    And that no snapshot leads up to; those that one does are `kept`, those passed over `refused`.
    `copies` is how many records the topic `dossiers` holds; `unheard` has where topics of the
    control plane begin that no longer begin at 0, of partitions without any copy.
    """

    partitions: tuple[int, ...]
    lost: Mapping[int, int]
    copies: int
    unheard: Mapping[Place, int]
    kept: Mapping[int, PutBack] = {}
    refused: tuple[str, ...] = ()


async def plan_rebuild(log: CountedLog) -> RebuildPlan:
    """Return what a rebuild of the counters of this log, or of some partitions, would do."""
    reader, settings = log.reader, log.tools.settings
    _require_partitions(log)
    answers = await reader.offsets(log.identity.topic, log.partitions)
    bounds = require_all(log.identity.topic, log.partitions, answers)
    begins = {p: log.tools.installation.begins(p, both.start) for p, both in bounds.items()}
    kept: dict[int, PutBack] = {}
    refused: list[str] = []
    for partition, both in bounds.items():
        found = await _newest(log, partition, both, refused) if begins[partition] else None
        if found is not None:
            kept[partition] = found
    lost = {p: start for p, start in begins.items() if start and p not in kept}
    copies = await reader.offsets(settings.topic(DOSSIERS), log.partitions)
    copied = {partition: both.end - both.start for partition, both in copies.items()}
    unheard: dict[Place, int] = {}
    for topic in get_args(ControlTopic):
        told = await reader.offsets(settings.topic(topic), log.partitions)
        for partition, both in told.items():
            if both.start and not copied.get(partition):
                unheard[topic, partition] = both.start
    partitions = tuple(log.partitions)
    return RebuildPlan(partitions, lost, sum(copied.values()), unheard, kept, tuple(refused))


async def drop_counters(
    cluster: Cluster,
    log: CountedLog,
    dossiers: Dossiers,
    plan: RebuildPlan,
    group: str,
    tell: Callable[[int], None],
) -> int:
    """Delete the group, what is stored and the dossiers' positions; return the keys dropped.

    What the plan keeps is put in its place. `Halt` while a worker is a member of the group, before
    anything is dropped. `tell` hears how many partitions are done.
    """
    if group in await cluster.groups():
        await cluster.forget_group(group)
    keys = 0
    for done, partition in enumerate(plan.partitions, start=1):
        keys += await _replace(log, dossiers, partition, plan)
        tell(done)
    return keys


async def restart_partition(
    log: CountedLog, dossiers: Dossiers, partition: int, plan: RebuildPlan
) -> int:
    """Drop the counters of one partition and its dossiers' positions; return the keys dropped.

    Its next owner counts its log from the beginning, or from what the plan keeps. No worker may own
    it meanwhile.
    """
    keys = await _replace(log, dossiers, partition, plan)
    if partition not in plan.kept:
        await log.store.begin(partition, log.namespace)
    return keys


async def _replace(log: CountedLog, dossiers: Dossiers, partition: int, plan: RebuildPlan) -> int:
    """Put what the plan keeps in the place of what is stored; return how many keys were dropped."""
    point = _point_of(log, partition, plan)
    keys = await log.store.erase(partition)
    await dossiers.forget(partition)
    if point is not None:
        stored = Stored(point.watermark, point.meta)
        await log.store.restore(partition, log.namespace, stored, point.rows)
    return keys


def _point_of(log: CountedLog, partition: int, plan: RebuildPlan) -> ResumePoint | None:
    """Return what the plan keeps of a partition; `Halt` if it was good then and is no more."""
    kept, folder = plan.kept.get(partition), log.tools.snapshots
    if kept is None or folder is None:
        return None
    refused: list[str] = []
    newest = next(folder.good(partition, kept.watermark, refused), None)
    if newest is not None and newest.point.watermark == kept.watermark:
        return newest.point
    raise Halt(
        f"partition {partition}: its snapshot at {kept.watermark} was good and is no more: "
        f"{'; '.join(refused)}",
        code="snapshot",
        partition=partition,
    )


async def _newest(
    log: CountedLog, partition: int, bounds: Offsets, refused: list[str]
) -> PutBack | None:
    """Return the newest good snapshot if the rest of a log follows on it."""
    snapshot = await newest_snapshot(log, partition, bounds, bounds.end - 1, refused)
    if snapshot is None or snapshot.point.watermark + 1 < bounds.start:
        return None
    point = snapshot.point
    spans = read_generations(point.meta.generations, log.tools.generation_records)
    first = spans.back(point.watermark + 1, REPLAYED_GENERATIONS)
    forgotten = range(first, max(bounds.start, first))
    return PutBack(point.watermark, snapshot.header.proved_from, forgotten)


def _require_partitions(log: CountedLog) -> None:
    for partition in log.partitions:
        require_partition(partition, log.identity.partitions)

"""What a log of one partition count has to take over: how far it is counted, and how much it is."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import Halt
from streams.ops.carrying import TopicSet
from streams.ops.repartition_tail import generation_bounds
from streams.ops.verify import CountedLog
from streams.runtime.labels import Labelled, LabelStore, take_over
from streams.runtime.namespace import before_leaving, log_name, other_namespace
from streams.runtime.ports import Dossiers, Offsets, Stored
from streams.runtime.reading import batches_of

VIDEOS_A_S: Final = 4_000
RECORDS_A_S: Final = 20_000
"""What one core takes over."""


class Holding(NamedTuple):
    """A log, its counters, and what the control plane keeps beside them, of one partition count."""

    log: CountedLog
    store: LabelStore
    dossiers: Dossiers

    @property
    def partitions(self) -> int:
        """The partition count."""
        return self.log.identity.partitions

    @property
    def target(self) -> TopicSet:
        """Its topics."""
        return TopicSet(self.log.tools.settings, self.partitions)

    @property
    def name(self) -> str:
        """What its dossiers call its log."""
        return log_name(self.log.identity, self.log.tools.installation.id)


class PartitionEnd(NamedTuple):
    """One partition of before: how far it is counted, and what of it goes over.

    `behind` offsets are not counted yet; `window` offsets of the log are written again.
    """

    partition: int
    watermark: int
    behind: int
    videos: int
    window: int


async def plan_repartition(old: Holding) -> list[PartitionEnd]:
    """Return what of each partition would go over, changing nothing."""
    plan = []
    for partition in range(old.partitions):
        bounds, labelled = await old.log.bounds(partition), await old.store.labelled(partition)
        if labelled is None:
            plan.append(PartitionEnd(partition, -1, bounds.end - bounds.start, 0, 0))
            continue
        _require_own(partition, old, labelled.namespace)
        names = set[str]()

        def note(video: str, names: set[str] = names) -> bool:
            names.add(video)
            return False

        await old.store.scan(partition, note)
        stored, following = labelled.stored, labelled.stored.watermark + 1
        oldest, _ = generation_bounds(old.log, stored, REPLAYED_GENERATIONS)
        window = following - max(oldest, bounds.start)
        behind = max(bounds.end - following, 0)
        plan.append(PartitionEnd(partition, stored.watermark, behind, len(names), window))
    return plan


def seconds_of(plan: Sequence[PartitionEnd]) -> int:
    """Return about how long it takes, the tables apart."""
    videos, window = sum(each.videos for each in plan), sum(each.window for each in plan)
    return 1 + videos // VIDEOS_A_S + window // RECORDS_A_S


async def counted_ends(old: Holding, left: str) -> dict[int, Stored]:
    """Return what is stored of each partition that has anything.

    `Halt` if a record is not counted, or if the counters are neither `old`'s own nor have `left`
    for where they go now.
    """
    ends: dict[int, Stored] = {}
    for partition in range(old.partitions):
        labelled = await old.store.labelled(partition)
        bounds = await old.log.bounds(partition)
        following = bounds.start
        if labelled is not None:
            if labelled.namespace not in (old.log.namespace, left):
                raise other_namespace(partition, labelled.namespace, old.log.namespace)
            ends[partition] = labelled.stored
            following = max(labelled.stored.watermark + 1, bounds.start)
        span = {old.log.place(partition): Offsets(following, bounds.end)}
        async for records in batches_of(old.log.reader, span):
            raise Halt(
                f"partition {partition}: what stands from offset {records[0].offset} on is not "
                "counted: stop producers, then control planes, and workers when nothing is behind; "
                "if the counters are closed already, `--undo` opens them again",
                code="unsettled",
                partition=partition,
            )
    return ends


async def is_in_force(new: Holding) -> bool:
    """Tell whether all counters are there, and none of a run that was cut short."""
    labels = [await new.store.labelled(partition) for partition in range(new.partitions)]
    return all(one is not None and one.namespace == new.log.namespace for one in labels)


async def undo_repartition(old: Holding) -> int:
    """Open counters again that were closed for another log; return how many partitions.

    Only while that log's installation is not written.
    """
    opened = 0
    for partition in range(old.partitions):
        labelled = await old.store.labelled(partition)
        if labelled is None or labelled.namespace == old.log.namespace:
            continue
        _require_own(partition, old, labelled.namespace)
        after = Labelled(old.log.namespace, labelled.stored)
        await take_over(old.store, partition, labelled, after, "this command elsewhere")
        opened += 1
    return opened


def _require_own(partition: int, old: Holding, stored: str) -> None:
    if before_leaving(stored) != old.log.namespace:
        raise other_namespace(partition, stored, old.log.namespace)

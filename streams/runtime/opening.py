"""Where to start reading a partition, or why not: what is stored against what the log still has."""

from typing import Final, NamedTuple

from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import Halt
from streams.runtime.ports import Offsets

REBUILD: Final = "`streams counters rebuild --yes`"


class Start(NamedTuple):
    """The first offset to read, and the offsets before it whose ids are no longer in the log."""

    position: int
    lost: range


def start_of(partition: int, watermark: int, bounds: Offsets, generation_records: int) -> Start:
    """Return where to read: the watermark + 1, less the generations that are kept for ids.

    `watermark` is -1 before any flush. `Halt` if the log lacks what is needed.
    """
    following = watermark + 1
    if watermark >= 0 and following < bounds.start:
        raise Halt(
            f"DATA_LOSS partition {partition}: offsets {following} to {bounds.start - 1} are "
            "no longer in the log (retention); restore them, or count what is left with "
            f"{REBUILD}",
            code="data_loss",
            partition=partition,
        )
    if following > bounds.end:
        raise Halt(
            f"partition {partition}: the log ends at {bounds.end}, below the watermark "
            f"{watermark}: it was truncated or made again; count what is there with {REBUILD}",
            code="log_truncated",
            partition=partition,
        )
    if watermark < 0:
        return Start(bounds.start, range(0))
    generation = following // generation_records - REPLAYED_GENERATIONS
    first = max(generation * generation_records, 0)
    return Start(max(bounds.start, first), range(first, bounds.start))


def emptied(partition: int, position: int) -> Halt:
    """Return the halt of a partition whose watermark is gone; it is not a fresh one."""
    return Halt(
        f"partition {partition}: no watermark in Redis, but offsets below {position} were counted: "
        f"Redis lost its data; restore a backup, or count the whole log again with {REBUILD}",
        code="watermark_missing",
        partition=partition,
    )

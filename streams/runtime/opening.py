"""Where to start reading a partition, or why not: what is stored against what the log still has."""

from typing import Final, NamedTuple
from zlib import crc32

from streams.core.state import Meta, PartitionState
from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import Halt
from streams.runtime.namespace import corrupt, meta_key, rebuild_of
from streams.runtime.ports import Offsets, Record

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


def state_of(
    partition: int, partitions: int, generation_records: int, meta: Meta
) -> PartitionState:
    """Return a partition's state as its meta tells it; `Halt` if that cannot be read."""
    try:
        return PartitionState(partition, partitions, generation_records, meta)
    except ValueError as error:
        raise corrupt(partition, meta_key(partition), str(error)) from None


def mark_of(record: Record) -> str:
    """Return what tells a record from any other one that may stand at its place one day.

    Offset, timestamp, and a checksum of key, value and headers.
    """
    parts = [record.key, record.value]
    parts += [part for name, text in record.headers for part in (name.encode(), text)]
    checksum = 0
    for part in parts:
        checksum = crc32(b"-" if part is None else b"%d:%b" % (len(part), part), checksum)
    return f"{record.offset}:{record.timestamp}:{checksum:08x}"


def is_of(mark: str, offset: int) -> bool:
    """Tell whether a mark is that of the record at an offset: older code moves only watermarks."""
    return mark.startswith(f"{offset}:")


def rewritten(partition: int, mark: str, record: Record) -> Halt:
    """Return the halt of a partition whose log holds another record than the one counted."""
    then, now = (int(one.split(":")[1]) for one in (mark, mark_of(record)))
    return Halt(
        f"partition {partition}: the record at offset {record.offset} (timestamp {now}) is not the "
        f"one that was counted there (timestamp {then}): the log was cut and written anew, at the "
        f"latest from offset {record.offset} on; restore the log, or count what is there with "
        f"{rebuild_of(partition)}",
        code="log_rewritten",
        partition=partition,
    )


def emptied(partition: int, position: int) -> Halt:
    """Return the halt of a partition whose watermark is gone; it is not a fresh one."""
    return Halt(
        f"partition {partition}: no watermark in Redis, but offsets below {position} were counted: "
        f"Redis lost its data; restore a backup, or count the whole log again with {REBUILD}",
        code="watermark_missing",
        partition=partition,
    )

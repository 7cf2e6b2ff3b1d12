"""Has a place of the log skipped that nobody can read: the one at which its partition halted.

Nothing is taken on a person's word but that it shall be lost: what is to be skipped is read first,
and found to be unreadable from there to the first offset that can be read again.
"""

from typing import Any, Final, NamedTuple

from streams.errors import Halt
from streams.ops.verify import CountedLog, require_partition
from streams.runtime.installation import read_installation
from streams.runtime.ledger import TOPIC, Skip, Skips, read_ledger, skip_record
from streams.runtime.ports import Cluster, LogReader, Place, Producer
from streams.runtime.signing import Signer
from streams.settings import Settings

FETCH_MS: Final = 500
_TRIES: Final = 20
"""So often nothing may come, or a read may fail, before an offset counts as one that tells nothing;
a damaged batch says so after three."""


class SkipPlan(NamedTuple):
    """What would be skipped: from `offset` on, as far as `following`; `done` if it is already."""

    partition: int
    offset: int
    following: int
    done: bool


async def plan_skip(log: CountedLog, partition: int, offset: int) -> SkipPlan:
    """Return what is to be skipped; `Halt` unless the partition halts at this very offset.

    The reader of `log` must be a bare one: it is asked for what is skipped too.
    """
    ledger = log.tools.ledger
    require_partition(partition, log.identity.partitions)
    for skip in ledger.of(partition):
        if skip.offset == offset:
            return SkipPlan(partition, offset, skip.following, done=True)
    stored = await log.store.meta(partition, log.namespace)
    if stored is not None:
        for skip in Skips().joined(stored.meta.skips).of(partition):
            if skip.offset == offset:  # passed already, and the ledger does not say so any more
                return SkipPlan(partition, offset, skip.following, done=False)
    watermark = -1 if stored is None else stored.watermark
    if offset <= watermark:
        raise _refused(partition, offset, f"it is counted: the watermark is {watermark}")
    place = log.place(partition)
    bounds = await log.bounds(partition)
    start = ledger.following(partition, max(watermark + 1, bounds.start))
    halting = await _halting(log.reader, place, start, bounds.end, ledger)
    if halting is None:
        raise _refused(partition, offset, "everything behind the watermark can be read")
    if halting != offset:
        raise _refused(partition, offset, f"what cannot be read begins at {halting}")
    following = await _readable_again(log.reader, place, offset, bounds.end)
    return SkipPlan(partition, offset, following, done=False)


async def write_skip(producer: Producer, settings: Settings, signer: Signer, skip: Skip) -> None:
    """Write to the ledger what is skipped; returns when that is durable."""
    await (await producer.send(skip_record(settings, skip, signer)))


async def skip_rows(
    cluster: Cluster, reader: LogReader, settings: Settings
) -> list[dict[str, Any]]:
    """Return what is skipped of the log, for people; none where there is no ledger yet."""
    if settings.topic(TOPIC) not in await cluster.describe():
        return []
    installation = await read_installation(reader, settings)
    if installation is None:
        return []
    ledger = await read_ledger(reader, settings, installation)
    return [
        {
            "partition": skip.partition,
            "offset": skip.offset,
            "following": skip.following,
            "by": skip.by,
            "why": skip.why,
            "at": skip.ts,
        }
        for skip in ledger.all()
    ]


async def _halting(
    reader: LogReader, place: Place, start: int, end: int, ledger: Skips
) -> int | None:
    """Return the first position from which nothing can be read, None if all can be."""
    position = start
    while position < end:
        reached = await _read_from(reader, place, position)
        if reached is None:
            return position
        position = ledger.following(place[1], reached)
    return None


async def _readable_again(reader: LogReader, place: Place, damaged: int, end: int) -> int:
    """Return the first offset behind a damaged one from which something can be read, or the end."""
    low, step = damaged, 1  # nothing can be read at `low`
    while low + step < end and await _read_from(reader, place, low + step) is None:
        low, step = low + step, 2 * step
    high = min(low + step, end)
    while high - low > 1:
        middle = (low + high) // 2
        if await _read_from(reader, place, middle) is None:
            low = middle
        else:
            high = middle
    return high


async def _read_from(reader: LogReader, place: Place, position: int) -> int | None:
    """Return the position behind what is read from one, None if that is damaged.

    `Halt` (`busy`) if the brokers tell nothing.
    """
    reader.assign({place: position})
    for _ in range(_TRIES):
        try:
            records = (await reader.fetch(FETCH_MS, 1_000)).get(place, ())
        except Halt as halt:
            if halt.code != "corrupt":
                raise
            return None
        if records:
            return records[-1].offset + 1
        if (at := await reader.position(*place)) > position:
            return at
    raise Halt(f"{place[0]}[{place[1]}]: nothing comes from offset {position} on", code="busy")


def _refused(partition: int, offset: int, why: str) -> Halt:
    return Halt(
        f"partition {partition}: offset {offset} is not skipped: {why}",
        code="skip",
        partition=partition,
    )

"""Compares every counter that is stored with a recount of the log, in both directions."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from streams.core.counters import VIDEO_ROW, Slice, decode_slice
from streams.errors import Halt, Retry
from streams.ops.recount import COUNTED, Counts, Recount
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.installation import Installation
from streams.runtime.namespace import corrupt, video_key
from streams.runtime.ports import LogReader, Offsets, Store, TopicIdentity
from streams.settings import Settings

EXAMPLES: Final = 20
QUIET_TRIES: Final = 5
FETCH_MS: Final = 1_000
SILENCE_S: Final = 30
"""A partition that gives nothing for so long, and has more, is not waited for."""


class CounterDifference(Struct, frozen=True):
    """One counter that the store and the log tell differently; None: there is none at all."""

    partition: int
    video: str
    slice: str
    counter: str
    stored: int | None
    recounted: int | None


class Verification(Struct):
    """What was compared and what differed; `examples` holds the first few differences.

    `unanswered` are the partitions that no leader answers for: nothing is known of them.
    """

    partitions: int = 0
    records: int = 0
    checked: int = 0
    differences: int = 0
    unanswered: list[int] = []
    examples: list[CounterDifference] = []


async def verify(
    reader: LogReader,
    store: Store,
    identity: TopicIdentity,
    namespace: str,
    tools: "Verifier",
    tell: Callable[[int], None] = lambda _records: None,
) -> Verification:
    """Compare every counter of every partition with a recount up to its watermark.

    `tell` hears now and then how many records were read. `Halt` if the log no longer holds what
    was counted, if nothing was counted of it, or if a worker keeps writing.
    """
    result = Verification()
    known = await reader.offsets(identity.topic, range(identity.partitions))
    for partition in range(identity.partitions):
        if partition not in known:
            result.unanswered.append(partition)
        elif await store.meta(partition, namespace) is None:
            _require_empty(partition, known[partition])
        else:
            watermark, rows = await _quiet_rows(store, partition)
            bounds = await reader.offsets(identity.topic, [partition])
            _require_whole(partition, bounds.get(partition, known[partition]), watermark)
            recount = Recount(partition, identity.partitions, tools.settings.generation_records)
            before = result.records
            try:
                async for records in _read(reader, identity.topic, recount, watermark, tools):
                    result.records = before + records
                    tell(result.records)
            except Retry:
                result.unanswered.append(partition)
                continue
            result.partitions += 1
            _compare(partition, rows, recount.counts, result)
    return result


async def log_size(reader: LogReader, identity: TopicIdentity) -> int:
    """Return how many offsets the log has, all partitions that answer together."""
    bounds = await reader.offsets(identity.topic, range(identity.partitions))
    return sum(both.end - both.start for both in bounds.values())


class Verifier(Struct, frozen=True):
    """What verification needs beside its ports."""

    settings: Settings
    installation: Installation
    spelling: Spelling


async def _quiet_rows(
    store: Store, partition: int
) -> tuple[int, Mapping[str, Mapping[str, bytes]]]:
    """Return watermark and rows that belong together: nothing was flushed between."""
    for _ in range(QUIET_TRIES):
        before = await store.watermark(partition)
        rows = await store.scan(partition)
        if before is not None and before == await store.watermark(partition):
            return before, rows
    raise Halt(
        f"partition {partition} is being written all the time: stop the workers, or their load",
        code="busy",
        partition=partition,
    )


def _require_empty(partition: int, bounds: Offsets) -> None:
    if bounds.end:
        raise Halt(
            f"partition {partition}: {bounds.end} offsets in the log and no counters: start a "
            "worker; if one was here before, Redis lost its data (`streams counters rebuild`)",
            code="watermark_missing",
            partition=partition,
        )


def _require_whole(partition: int, bounds: Offsets, watermark: int) -> None:
    if bounds.start:
        raise Halt(
            f"partition {partition}: the log begins at {bounds.start}: what came before cannot be "
            "counted again",
            code="data_loss",
            partition=partition,
        )
    if bounds.end <= watermark:
        raise Halt(
            f"partition {partition}: the log ends at {bounds.end}, below the watermark {watermark}",
            code="log_truncated",
            partition=partition,
        )


async def _read(
    reader: LogReader, topic: str, recount: Recount, watermark: int, tools: Verifier
) -> AsyncIterator[int]:
    """Give the recount every event up to the watermark; yield the records read so far.

    `Retry` if nothing comes for `SILENCE_S`: the partition has lost its leader.
    """
    place = (topic, recount.partition)
    reader.assign({place: 0})
    trust = tools.installation.trust()
    records = silent_ms = 0
    while await reader.position(*place) <= watermark:
        batches = await reader.fetch(FETCH_MS, 10_000)
        silent_ms = 0 if batches else silent_ms + FETCH_MS
        if silent_ms > SILENCE_S * 1000:
            raise Retry(f"{place[0]}[{place[1]}]: nothing was read for {SILENCE_S} s")
        batch = [record for record in batches.get(place, ()) if record.offset <= watermark]
        records += len(batch)
        decoded = decode_log(batch, trust, tools.spelling)
        trust = decoded.trust
        for event, offset in zip(decoded.events, decoded.offsets, strict=True):
            recount.add(event, offset)
        yield records


def _compare(
    partition: int,
    stored: Mapping[str, Mapping[str, bytes]],
    recounted: Counts,
    result: Verification,
) -> None:
    """Compare both directions: what is stored, and what should be."""
    found: Counts = {}
    for video, fields in stored.items():
        for slice_id, raw in fields.items():
            if slice_id != VIDEO_ROW:
                row = _readable(partition, video, raw)
                found[video, slice_id] = {name: getattr(row, name) for name in COUNTED}
    for key in _union(found, recounted):
        ours: dict[str, Any] = found.get(key, {})
        theirs: dict[str, Any] = recounted.get(key, {})
        for name in COUNTED:
            result.checked += 1
            have, want = ours.get(name), theirs.get(name)
            if have != want and (have or want or key not in found):
                result.differences += 1
                if len(result.examples) < EXAMPLES:
                    result.examples.append(CounterDifference(partition, *key, name, have, want))


def _readable(partition: int, video: str, raw: bytes) -> Slice:
    try:
        return decode_slice(raw)
    except ValueError as error:
        raise corrupt(partition, video_key(partition, video), str(error)) from None


def _union(*keyed: Mapping[tuple[str, str], object]) -> Iterable[tuple[str, str]]:
    return sorted(set().union(*keyed))

"""Compares every counter that is stored with a recount of the log, in both directions.

And every minute of traffic that the topic still holds, with the one that is open.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from msgspec import Struct

from streams.core.counters import VIDEO_ROW, Reported, decode_slice, decode_video
from streams.core.first_rows import decode_first_slice
from streams.core.ticks import StoredTraffic, read_stored
from streams.errors import Halt, Retry, Unreachable
from streams.ops.recount import Counts, Recount
from streams.ops.recount_live import spelled
from streams.ops.recount_reports import ADDED_UP
from streams.ops.ticks_kept import TickDifference, compare_grants, compare_ticks, read_ticks
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.installation import Installation
from streams.runtime.namespace import corrupt, meta_key, video_key
from streams.runtime.ports import LogReader, Offsets, Store, Stored, TopicIdentity
from streams.settings import Settings

Row = TypeVar("Row")
EXAMPLES: Final = 20
QUIET_TRIES: Final = 5
FETCH_MS: Final = 1_000
SILENCE_S: Final = 30
"""A partition that gives nothing for so long, and has more, is not waited for."""


class CounterDifference(Struct, frozen=True):
    """One counter that the store and the log tell differently; None: there is none at all.

    Of a minute of traffic `video` is the id of its record, and `slice` slice and class.
    """

    partition: int
    video: str
    slice: str
    counter: str
    stored: int | None
    recounted: int | None


class Verification(Struct):
    """What was compared and what differed; `examples` holds the first few differences.

    `ticks` are the minutes of traffic among it. `unanswered` are the partitions that no leader
    answers for: nothing is known of them.
    """

    partitions: int = 0
    records: int = 0
    ticks: int = 0
    checked: int = 0
    differences: int = 0
    unanswered: list[int] = []
    examples: list[CounterDifference] = []

    def add(self, difference: CounterDifference) -> None:
        """Count a difference; it is an example as long as there are few."""
        self.differences += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(difference)


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
            quiet = await _quiet(store, partition, namespace)
            bounds = await reader.offsets(identity.topic, [partition])
            _require_whole(partition, bounds.get(partition, known[partition]), quiet.watermark)
            comparison = _Comparison(quiet, partition, identity, reader, tools)
            try:
                await comparison.run(result, tell)
            except (Retry, Unreachable):
                result.unanswered.append(partition)
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


class _Quiet(NamedTuple):
    """What is stored of a partition, all of it at one watermark."""

    watermark: int
    traffic: StoredTraffic
    rows: Mapping[str, Mapping[str, bytes]]


class _Comparison(NamedTuple):
    """One partition to compare."""

    quiet: _Quiet
    partition: int
    identity: TopicIdentity
    reader: LogReader
    tools: Verifier

    async def run(self, result: Verification, tell: Callable[[int], None]) -> None:
        """Recount and compare; `Retry` or `Unreachable` if something does not answer."""
        quiet, partition, tools = self.quiet, self.partition, self.tools
        kept = await read_ticks(self.reader, tools.settings.topic("traffic"), partition)
        recount = Recount(
            partition,
            self.identity.partitions,
            tools.installation.generation_records(tools.settings),
            quiet.traffic.since if quiet.traffic.since >= 0 else None,
            first=not tools.installation.trust().upgraded,
        )
        before = result.records
        async for records in _read(
            self.reader, self.identity.topic, recount, quiet.watermark, tools
        ):
            result.records = before + records
            tell(result.records)
        result.partitions += 1
        _compare(quiet.rows, recount, result)
        if not recount.first:
            _compare_reports(quiet.rows, recount, result)
        for checked, differing in compare_ticks(kept, quiet.traffic, recount.traffic):
            result.ticks += 1
            result.checked += checked
            _note(result, partition, differing)
        if not kept.first and quiet.traffic.since == recount.begins:
            _note(result, partition, compare_grants(kept, quiet.traffic, quiet.rows))


async def _quiet(store: Store, partition: int, namespace: str) -> _Quiet:
    """Return what is stored and belongs together: nothing was flushed between."""
    for _ in range(QUIET_TRIES):
        before = await store.meta(partition, namespace)
        rows = await store.scan(partition)
        if before is not None and before.watermark == await store.watermark(partition):
            return _Quiet(before.watermark, _traffic(partition, before), rows)
    raise Halt(
        f"partition {partition} is being written all the time: stop the workers, or their load",
        code="busy",
        partition=partition,
    )


def _traffic(partition: int, stored: Stored) -> StoredTraffic:
    try:
        return read_stored(stored.meta.traffic)
    except ValueError as error:
        raise corrupt(partition, meta_key(partition), str(error)) from None


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


def _compare_reports(
    stored: Mapping[str, Mapping[str, bytes]], recount: Recount, result: Verification
) -> None:
    """Compare how reports of each video add up."""
    found: dict[str, Reported] = {}
    for video, fields in stored.items():
        if VIDEO_ROW in fields:
            own = _readable(decode_video, recount.partition, video, fields[VIDEO_ROW])
            found[video] = own.reported or Reported()
    recounted = recount.reports.numbers()
    for video in sorted(found.keys() | recounted.keys()):
        ours, theirs = found.get(video), recounted.get(video, {})
        for name in ADDED_UP:
            result.checked += 1
            have, want = getattr(ours, name, 0), theirs.get(name, 0)
            if have != want:
                result.add(CounterDifference(recount.partition, video, "", name, have, want))


def _compare(
    stored: Mapping[str, Mapping[str, bytes]], recount: Recount, result: Verification
) -> None:
    """Compare both directions: what is stored, and what should be."""
    partition, recounted = recount.partition, recount.counts
    decode = decode_first_slice if recount.first else decode_slice
    found: Counts = {}
    for video, fields in stored.items():
        for slice_id, raw in fields.items():
            if slice_id != VIDEO_ROW:
                row = _readable(decode, partition, video, raw)
                counters = {name: getattr(row, name) for name in recount.names}
                found[video, slice_id] = counters | spelled(row.faded or ())
    for key in _union(found, recounted):
        ours: dict[str, Any] = found.get(key, {})
        theirs: dict[str, Any] = recounted.get(key, {}) | recount.rooms.faded(key)
        for name in dict.fromkeys((*recount.names, *ours, *theirs)):
            result.checked += 1
            have, want = ours.get(name), theirs.get(name)
            if have != want and (have or want or key not in found):
                result.add(CounterDifference(partition, *key, name, have, want))


def _note(result: Verification, partition: int, differing: Iterable[TickDifference]) -> None:
    for each in differing:
        where = (f"{partition}.{each.tick}", f"{each.slice} {each.kind}", each.name)
        result.add(CounterDifference(partition, *where, each.stored, each.recounted))


def _readable(decode: Callable[[bytes], Row], partition: int, video: str, raw: bytes) -> Row:
    try:
        return decode(raw)
    except ValueError as error:
        raise corrupt(partition, video_key(partition, video), str(error)) from None


def _union(*keyed: Mapping[tuple[str, str], object]) -> Iterable[tuple[str, str]]:
    return sorted(set().union(*keyed))

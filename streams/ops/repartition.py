"""Goes on with the counters, window and dossiers of a log in one of another partition count.

Kafka can add partitions to a topic, but no record moves: a video would live in two of them, without
an order. So the other partition count is another set of topics (another prefix) with a Redis
database of its own, beside those of before. Folding the log anew there would not give the same
counters: retention took records, and which id is a repeat goes by places in the log. So nothing is
counted again:

- each video's rows go over byte by byte, into the partition that its name has there;
- the new log begins with the records that the window of duplicates goes by (`repartition_tail`), so
  that what repeats one of before counts nothing, and a worker opens it as it opens any log;
- dossiers, policies and what else is a table go along (`carrying`);
- a signed `repartition` record in every partition says of which log, and how far it was counted;
- a snapshot of each partition is what `verify` and `rebuild` go on from: the log before it proves
  the rest, for as long as it is kept.

All of that is written beside, read back and compared. Then the counters of before are given another
name, which refuses whoever still writes them and proves that nobody did since they were read, feeds
find nothing in their index any more, and the last record to be written is the installation's:
until it stands there, nothing of the new topics is worked on by anyone. What was cut short is begun
anew by the same command: what it left in the new log is never read.

Nothing may be behind: producers, then control planes, then workers stop before it.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from msgspec.structs import replace

from streams.core.counters import VIDEO_ROW
from streams.core.partition_control import Repartition
from streams.core.state import Changes
from streams.errors import Halt
from streams.ops.carrying import CLAIM_KEY, carry_dossiers, carry_topics, require_heard
from streams.ops.installation import write_installation
from streams.ops.repartition_ends import Holding, counted_ends, is_in_force
from streams.ops.repartition_rows import (
    Family,
    Rows,
    deal_rows,
    deal_traffic,
    families,
    generation_length,
    meta_of,
    require_settled,
    require_whole,
)
from streams.ops.repartition_tail import (
    STEPS,
    LogBeginning,
    TailWriter,
    last_of,
)
from streams.ops.snapshotting import Snapshotter
from streams.runtime.installation import RECORD_KEY, TOPIC, Installation, table_records
from streams.runtime.labels import Labelled, take_over
from streams.runtime.leases import ServingIndex
from streams.runtime.namespace import coming_namespace, left_namespace
from streams.runtime.opening import mark_of
from streams.runtime.ports import Outgoing, Producer, Stored
from streams.runtime.signing import Signer, control_record, encode


class Repartitioner:
    """Takes what one holding has over into another one, whose topics are there and empty."""

    def __init__(
        self,
        old: Holding,
        new: Holding,
        index: ServingIndex,
        producer: Producer,
        signer: Signer,
        now_ms: Callable[[], int],
    ) -> None:
        self._old: Final = old
        self._new: Final = new
        self._index: Final = index
        self._producer: Final = producer
        self._signer: Final = signer
        self._now_ms: Final = now_ms
        self._left: Final = left_namespace(old.log.namespace, new.log.identity.topic_id)
        self._slices: Final[set[str]] = set()
        self._latest: Final[dict[bytes, bytes | None]] = {}  # of the new `policies`
        self._heard = 0  # up to this offset
        self._installed: bytes | None = None  # before this run began

    async def run(self, tell: Callable[[int], None] = lambda _partitions: None) -> Installation:
        """Take everything over, switch, and return the installation of the new topics.

        `tell` hears how many partitions of the new log are done. `Halt` or `Retry` if it cannot be
        ended now, and nothing is switched then: the same call begins anew.
        """
        await self._require_own_database()
        ends = await self._settled_ends()
        record = self._record(ends)
        await self._claim(record)
        await self._carry()
        tails, length = await self._write_tails(ends, record)
        done = 0
        progress = _Progress(record, tails, length, {})
        for family in families(self._old.partitions, self._new.partitions):
            await self._take_family(family, ends, progress)
            done += len(family.after)
            tell(done)
        await self._leave(ends)
        return await self._switch(progress)

    # ------------------------------------------------------------------ one run at a time

    def _record(self, ends: Mapping[int, Stored]) -> Repartition:
        partitions = range(self._old.partitions)
        watermarks = tuple(ends[p].watermark if p in ends else -1 for p in partitions)
        name = f"repartition-{secrets.token_hex(8)}"
        return Repartition(name, self._now_ms(), self._old.log.identity.topic_id, watermarks)

    async def _claim(self, record: Repartition) -> None:
        """Say in the new `policies` that this run is the one: another one has to stop."""
        value, topic = encode(record), self._new.log.tools.settings.topic(TOPIC)
        header = self._signer.header(CLAIM_KEY, value)
        async for one in table_records(self._new.log.reader, self._new.log.tools.settings):
            self._installed = one.value if one.key == RECORD_KEY else self._installed
        if self._installed is not None and await is_in_force(self._new):
            raise _overtaken()
        await (await self._producer.send(Outgoing(topic, value, CLAIM_KEY, [header], 0)))
        await self._require_claim(record)

    async def _require_claim(self, record: Repartition) -> None:
        """Raise `Halt` if another run began since, or one came to its end."""
        settings = self._new.log.tools.settings
        async for one in table_records(self._new.log.reader, settings, self._heard):
            self._heard = one.offset + 1
            if one.key in (RECORD_KEY, CLAIM_KEY):
                self._latest[one.key] = one.value
        is_last = self._latest.get(CLAIM_KEY) == encode(record)
        if not is_last or self._latest.get(RECORD_KEY) != self._installed:
            raise _overtaken()

    # ------------------------------------------------------------------ what goes over

    async def _settled_ends(self) -> dict[int, Stored]:
        """Return what is stored of each partition of before; `Halt` unless nothing is under way."""
        if self._old.log.tools.installation.pending is not None:
            raise Halt(
                "a change of keys is under way: end it with `streams keys`", code="unsettled"
            )
        ends = await counted_ends(self._old, self._left)
        if not ends:
            raise Halt("nothing is counted: make new topics with the partitions that you want")
        require_settled(ends)
        await self._require_heard()
        return ends

    async def _require_heard(self) -> None:
        old = self._old
        await require_heard(old.log.reader, old.target, old.dossiers, old.name)

    async def _carry(self) -> None:
        target = self._new.target
        await carry_topics(self._old.log.reader, self._old.target, self._producer, target)
        homes = (self._old.dossiers, self._new.dossiers, target.partitions, self._new.name)
        await carry_dossiers(*homes, self._now_ms())

    async def _write_tails(
        self, ends: Mapping[int, Stored], record: Repartition
    ) -> tuple[dict[int, LogBeginning], int]:
        """Write the beginnings of the new log; return them, and how long generations are there."""
        topic = self._new.log.identity.topic
        writer = TailWriter(
            *(self._old.log, self._new.log, self._producer),
            lambda partition: control_record(topic, record, self._signer, partition),
        )
        tails = await writer.write(ends)
        first, latest = next(iter(ends.values())), [tail.lengths[-1] for tail in tails.values()]
        counts = (self._old.partitions, self._new.partitions)
        return tails, generation_length(first, *counts, latest)

    async def _take_family(
        self, family: Family, ends: Mapping[int, Stored], progress: "_Progress"
    ) -> None:
        """Take the rows of some partitions over, into those that they go to."""
        rows = []
        for partition in (p for p in family.before if p in ends):
            rows.append(await self._old.store.scan(partition))
            require_whole(partition, ends[partition], rows[-1])
        sources = [ends[p] for p in family.before if p in ends] or list(ends.values())
        since = {each: progress.tails[each].watermark for each in family.after}
        traffic = deal_traffic(ends, family, self._new.partitions, since)
        for each, own in deal_rows(rows, family, self._new.partitions).items():
            tail = progress.tails[each]
            mark = mark_of(await last_of(self._new.log, each, tail))
            meta = meta_of(sources, tail.generations(progress.length), traffic[each], own)
            stored = Stored(tail.watermark, meta._replace(mark=mark))
            await self._put(each, stored, own, progress.record)
            progress.stored[each] = stored
            self._slices.update(name for fields in own.values() for name in fields)

    async def _put(self, partition: int, stored: Stored, rows: Rows, record: Repartition) -> None:
        """Store a partition under this run's name, read it back, and keep a snapshot of it.

        Every step is guarded: a run that slept while another one went on changes nothing.
        """
        log, store = self._new.log, self._new.store
        coming = coming_namespace(log.namespace, record.id)
        at = await self._take_place(partition, coming, record)
        steps = list(_steps(rows, stored.watermark))
        for new, some in steps:
            result = await store.flush(partition, coming, at, new, Changes(0, some, stored.meta))
            if result not in {"ok", "noop"}:
                raise _written_meanwhile(partition)
            at = new
        if await store.meta(partition, coming) != stored or await store.scan(partition) != rows:
            raise _written_meanwhile(partition)
        folder, mine = log.tools.snapshots, log._replace(namespace=coming)
        assert folder is not None, "the settings name one"
        await Snapshotter(mine, folder, self._signer, self._now_ms).keep_stored(partition)

    async def _take_place(self, partition: int, coming: str, record: Repartition) -> int:
        """Have what another run left be this one's; return its watermark, -1 where nothing is."""
        left = await self._new.store.labelled(partition)
        await self._require_claim(record)  # so what was there is of no later run
        if left is None:
            return -1
        taken = Labelled(coming, left.stored)
        if not await self._new.store.relabel(partition, left, taken):
            raise _written_meanwhile(partition)
        return left.stored.watermark

    async def _require_own_database(self) -> None:
        """Raise `Halt` if the new Redis database holds counters of anything else."""
        for partition in range(max(self._old.partitions, self._new.partitions)):
            labelled = await self._new.store.labelled(partition)
            if labelled is not None and not labelled.namespace.startswith(self._new.log.namespace):
                raise Halt(
                    f"the other Redis database holds counters already (partition {partition}): "
                    "name an empty one, of its own",
                    code="namespace",
                    partition=partition,
                )

    # ------------------------------------------------------------------ the switch

    async def _leave(self, ends: Mapping[int, Stored]) -> None:
        """Close the counters of before; `Halt` if anything came to them since they were read."""
        for partition, stored in ends.items():
            before = Labelled(self._old.log.namespace, stored)
            after = Labelled(self._left, stored)
            await take_over(self._old.store, partition, before, after, "every worker")
        await counted_ends(self._old, self._left)
        await self._require_heard()

    async def _switch(self, progress: "_Progress") -> Installation:
        """Take what feeds lease from away, then have the new topics be worked on."""
        for slice_id in sorted(self._slices - {VIDEO_ROW}):
            await self._index.clear(slice_id)
        namespace, store = self._new.log.namespace, self._new.store
        coming = coming_namespace(namespace, progress.record.id)
        for partition, stored in progress.stored.items():
            before, after = Labelled(coming, stored), Labelled(namespace, stored)
            if not await store.relabel(partition, before, after):
                raise _written_meanwhile(partition)
        await self._require_claim(progress.record)
        installation = self._old.log.tools.installation
        made = replace(
            installation,
            first=installation.keys,
            fresh=True,
            generation=progress.length,
            lengthened=progress.length,
            base=tuple(stored.watermark for _, stored in sorted(progress.stored.items())),
        )
        await write_installation(self._producer, self._new.log.tools.settings, made)
        return made


class _Progress(NamedTuple):
    """What a run wrote of the new log: by this record, and with generations of this length.

    `stored` is what it stored by now.
    """

    record: Repartition
    tails: Mapping[int, LogBeginning]
    length: int
    stored: dict[int, Stored]


def _steps(rows: Rows, watermark: int) -> Iterator[tuple[int, dict[str, dict[str, bytes]]]]:
    """Yield rows some at a time, each with a watermark to store it with: the last one is whole."""
    videos = sorted(rows)
    size = -(-len(videos) // STEPS) or 1
    starts = range(0, max(len(videos), 1), size)
    for new, start in enumerate(starts, start=watermark - len(starts) + 1):
        yield new, {video: dict(rows[video]) for video in videos[start : start + size]}


def _overtaken() -> Halt:
    return Halt(
        "another run of this command began behind this one, or came to its end: nothing that this "
        "one did is in force",
        code="busy",
    )


def _written_meanwhile(partition: int) -> Halt:
    return Halt(
        f"partition {partition}: the new counters are not those that were written: another run "
        "goes on, or that database holds something else; if nobody writes there, empty it "
        "(FLUSHDB) and run the same command again",
        code="busy",
        partition=partition,
    )

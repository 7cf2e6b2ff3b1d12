"""Where to start reading a partition, or why not: what is stored against what the log still has.

The functions are pure; `Opening` asks brokers and store for what they need, one partition at a
time, again and again until it is answered.
"""

import asyncio
import logging
from contextlib import suppress
from itertools import count
from typing import Final, NamedTuple
from zlib import crc32

from streams.core.generations import Generations
from streams.core.state import Meta, PartitionState
from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import Halt, Retry
from streams.runtime.answers import require_all
from streams.runtime.ledger import Skips
from streams.runtime.namespace import (
    corrupt,
    meta_key,
    namespace_of,
    other_namespace,
    rebuild_of,
)
from streams.runtime.ports import NOTHING_STORED, LogConsumer, Offsets, Record, Stored
from streams.runtime.question import SharedQuestion
from streams.runtime.surroundings import Surroundings
from streams.runtime.window_parts import KeptParts, load_window

REBUILD: Final = "`streams counters rebuild --yes`"


ANSWER_S: Final = 5.0
"""What is not answered by then is asked again."""
AGAIN_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
SHORT_S: Final = 15.0
"""A log is taken to be cut once its end is short for so long: a broker that was away may think for
some seconds that it leads still, and a new leader may not know yet what the last one knew."""
log: Final = logging.getLogger("streams.worker")


class Start(NamedTuple):
    """The first offset to read, and the offsets before it whose ids are no longer in the log."""

    position: int
    lost: range


def start_of(partition: int, watermark: int, bounds: Offsets, generations: Generations) -> Start:
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
    first = generations.back(following, REPLAYED_GENERATIONS)
    return Start(max(bounds.start, first), range(first, bounds.start))


def state_of(
    partition: int, partitions: int, generation_records: int, meta: Meta, *, telling: bool
) -> PartitionState:
    """Return a partition's state as its meta tells it; `Halt` if that cannot be read."""
    try:
        return PartitionState(partition, partitions, generation_records, meta, telling=telling)
    except ValueError as error:
        raise corrupt(partition, meta_key(partition), str(error)) from None


def mark_of(record: Record) -> str:
    """Return what tells a record from any other one that may stand at its place one day.

    Offset, timestamp, and a checksum of key, value and headers.
    """
    parts = [record.key, record.value]
    parts += [
        part
        for name, text in record.headers
        for part in (name.encode("utf-8", "surrogateescape"), text)
    ]
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


class Parked(NamedTuple):
    """What a worker has in memory of a partition that it let go; stored is all up to `watermark`.

    It is good for as long as nobody else moves the watermark.
    """

    state: PartitionState
    watermark: int

    def is_of(self, stored: Stored) -> bool:
        """Tell whether what is stored is still what it goes with."""
        digest = f"{self.state.digest:032x}"
        return (stored.watermark, stored.meta.digest) == (self.watermark, digest)


class Opened(NamedTuple):
    """A partition as it is stored, and where to read on.

    `whole` tells that the state knows all ids already: no record is read for its id. `lost` are
    offsets whose ids are needed and no longer in the log, `kept` the parts of the window that are
    stored.
    """

    state: PartitionState
    stored: Stored
    position: int
    whole: bool = False
    ledger: Skips = Skips()
    lost: range = range(0)
    kept: KeptParts = KeptParts()


class Opening:
    """Opens partitions of one log for one set of counters."""

    def __init__(
        self, consumer: LogConsumer, around: Surroundings, namespace: str, partitions: int
    ) -> None:
        self._consumer: Final = consumer
        self._store: Final = around.store
        self._settings: Final = around.settings
        self._metrics: Final = around.metrics
        self._installation: Final = around.installation
        self._secret: Final = around.secret
        self._namespace: Final = namespace
        self._partitions: Final = partitions
        self._clock: Final = around.clock
        self._telling: Final = around.indexing is not None
        self._identity: Final = SharedQuestion(self._identify)
        self._ledger: Final = SharedQuestion(around.read_ledger)

    async def open(self, partition: int, parked: Parked | None = None) -> Opened:
        """Return a partition when brokers and store have told what is needed; `Halt` if it can't.

        What does not answer is said once and asked again, and so is a log that ends too early. What
        was `parked` of it is used if it is still good.
        """
        short_at = float("inf")  # since then the log ends too early
        for attempt in count():
            try:
                async with asyncio.timeout(2 * ANSWER_S):
                    opened = await self._look(partition, parked)
                if not opened.whole:
                    parked = None  # worthless, and as large as what is loaded now
                opened = await self._with_parts(opened)
            except (Halt, Retry, TimeoutError) as error:
                if isinstance(error, Halt):
                    short_at = min(short_at, self._clock())
                    if error.code != "log_truncated" or self._clock() - short_at >= SHORT_S:
                        raise
                if not attempt:
                    why = str(error) or "no answer"
                    log.warning("partition %d waits to be opened: %s", partition, why)
                await asyncio.sleep(AGAIN_S[min(attempt, len(AGAIN_S) - 1)])
            else:
                if attempt:
                    log.warning("partition %d is open", partition)
                return opened
        raise AssertionError  # the loop has no end

    def stop(self) -> None:
        """Ask nobody any more."""
        self._identity.stop()
        self._ledger.stop()

    async def require_same_topic(self) -> None:
        """Raise `Halt` if the topic was made again or made larger; `Retry` if nobody says.

        However many ask, the brokers are asked once at a time.
        """
        try:
            await self._identity.answer(ANSWER_S)
        except TimeoutError:
            raise Retry("the brokers do not say which topic this is") from None

    async def _look(self, partition: int, parked: Parked | None) -> Opened:
        # Without an answer the partition is opened all the same: the record at the watermark tells
        # another topic of the same name, and the topic is asked for again every few seconds.
        with suppress(Retry):
            await self.require_same_topic()
        stored = await self._store.meta(partition, self._namespace)
        topic = self._settings.topic("interactions")
        answer = await self._consumer.offsets([partition])
        bounds = require_all(topic, [partition], answer)[partition]
        if stored is None:
            await self._require_fresh(partition)
        stored = stored or NOTHING_STORED
        whole = not self._installation.begins(partition, bounds.start)
        records = self._installation.generation_records(self._settings, whole=whole)
        meta = self._installation.meta(stored.meta, whole=whole)
        state = state_of(partition, self._partitions, records, meta, telling=self._telling)
        ledger = await self._ledger_of(partition, meta)
        start = start_of(partition, stored.watermark, bounds, state.window.generations)
        if parked is not None and parked.is_of(stored):
            self._metrics.resumed.inc()
            # The record at the watermark is read again: it tells whether the log is the same.
            position = ledger.following(partition, max(stored.watermark, bounds.start))
            return Opened(parked.state, stored, position, whole=True, ledger=ledger)
        if self._secret is None and not state.trust.upgraded:
            log.warning(
                "partition %d: this log began under 0.1.0: without STREAMS_SECRET what it signed "
                "is refused, up to the upgrade record",
                partition,
            )
        position = ledger.following(partition, start.position)
        return Opened(state, stored, position, ledger=ledger, lost=start.lost)

    async def _with_parts(self, opened: Opened) -> Opened:
        """Have the window's full parts loaded, if all are stored that it needs."""
        state, watermark = opened.state, opened.stored.watermark
        partition = state.partition
        if opened.whole:
            return opened._replace(kept=KeptParts(await self._store.parts(partition)))
        begins = opened.lost.stop
        first, kept, whole_from = await load_window(
            self._store, state, self._namespace, watermark, begins
        )
        if first is not None:
            position = max(opened.ledger.following(partition, first), opened.position)
            lost = range(first, begins) or range(opened.lost.start, whole_from)
            opened = opened._replace(position=position, lost=lost)
        else:
            state.window.turn(opened.position)  # of parts before the first event it tells too
        if opened.lost:
            self._metrics.short_windows.inc()
            log.warning(
                "partition %d: the ids of offsets %d to %d are no longer in the log: a repeat of "
                "theirs counts again",
                *(partition, opened.lost[0], opened.lost[-1]),
            )
        return opened._replace(kept=kept)

    async def _ledger_of(self, partition: int, meta: Meta) -> Skips:
        """Return what is skipped by the ledger, and by what was counted."""
        ledger = await self._known_ledger(partition)
        try:
            return ledger.joined(meta.skips)
        except ValueError as error:
            raise corrupt(partition, meta_key(partition), str(error)) from None

    async def _known_ledger(self, partition: int) -> Skips:
        """Return the ledger, an empty one if it does not answer; read once at a time.

        It is not waited for: what cannot be read halts then, until the ledger tells of it.
        """
        try:
            return await self._ledger.answer(ANSWER_S)
        except (Retry, TimeoutError) as error:
            why = str(error) or "no answer"
        log.warning("partition %d: what is skipped is not known: %s", partition, why)
        return Skips()

    async def _require_fresh(self, partition: int) -> None:
        """Tell an empty store from an emptied one: the group remembers that it was here."""
        committed = await self._consumer.committed(partition)
        if committed:
            raise emptied(partition, committed)

    async def _identify(self) -> None:
        identity = await self._consumer.identity()
        namespace = namespace_of(identity, self._installation.id)
        if namespace != self._namespace:
            raise other_namespace(None, self._namespace, namespace)

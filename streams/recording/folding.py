"""The fold over a recording, without Kafka: the receipts and digests of the live worker.

Partition after partition, each from a fresh state: what the live worker computes depends on the
log alone, so the same records give the same bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streams.core.keys import encode as encode_trust
from streams.core.receipts import encode
from streams.core.state import FRESH, PartitionState
from streams.errors import Halt
from streams.recording.lines import Recorded
from streams.recording.manifest import Manifest
from streams.recording.reader import Recording
from streams.recording.selection import Selection
from streams.runtime.codec import Spelling, spelling_of
from streams.runtime.folding import Rows, fold_run, prepare
from streams.runtime.namespace import fingerprint
from streams.runtime.ports import Conflict, Place, Store
from streams.settings import Settings

MEMORY_FLUSH_RECORDS: Final = 200_000
"""Without a store, changed rows are only digested: seldom, each row once for many changes."""


@dataclass(frozen=True)
class Rules:
    """What the result depends on beside the log: the same as the live worker's.

    `flush_rows` and `videos` (kept in memory) only matter with a store.
    """

    generation_records: int
    record_bytes: int
    flush_rows: int = 4_000
    videos: int = 200_000
    secret: bytes | None = None  # of 0.1.0


def rules_of(settings: Settings) -> Rules:
    """Return what a fold with these settings depends on beside the log."""
    spelling = spelling_of(settings)
    return Rules(
        settings.generation_records,
        spelling.limit,
        settings.flush_rows,
        settings.videos_in_memory,
        spelling.secret,
    )


class Folded(NamedTuple):
    """What came of one partition."""

    topic: str
    partition: int
    records: int
    events: int
    receipts: int
    applied: int
    duplicate: int
    late: int  # applied too
    invalid: int
    watermark: int  # last offset folded, -1 before any
    digest: str
    policy: str | None  # version in force at the end
    unsigned: int  # control records whose signature does not count; invalid too


def replay_namespace(manifest: Manifest, topic: str, rules: Rules) -> str:
    """Return the name of this recording's own set of counters, unlike any live one's."""
    return (
        f"replay={manifest.recording_id};topic={topic};"
        f"partitions={manifest.topics[topic].partitions};"
        f"generation={rules.generation_records}"
        + (f";secret={fingerprint(rules.secret)}" if rules.secret else "")
    )


class Folder:
    """Folds one topic of a recording; every receipt goes to `receive` as its bytes.

    With a `store`, rows go there under `namespace`, flushed as the live worker does.
    """

    def __init__(
        self,
        recording: Recording,
        topic: str,
        rules: Rules,
        receive: Callable[[bytes], None],
        selection: Selection | None = None,
    ) -> None:
        self._recording = recording
        self._topic = topic
        self._rules = rules
        self._receive = receive
        self._selection = selection
        self._partitions = recording.manifest.topics[topic].partitions

    async def partition(
        self, number: int, store: Store | None = None, tell: Callable[[int], None] = lambda _: None
    ) -> Folded:
        """Fold one partition from a fresh state; `tell` hears of records as they are folded.

        `Halt` if the store holds the partition already, or somebody else writes there.
        """
        if store is not None and await store.watermark(number) is not None:
            raise Halt(f"this Redis already holds partition {number}: fold into an empty database")
        keys = encode_trust(self._recording.manifest.trust(self._topic, number))
        meta = FRESH._replace(keys=keys)
        state = PartitionState(
            number, self._partitions, self._rules.generation_records, meta, telling=False
        )
        tally = _Tally()
        flusher = _Flusher(
            state,
            store,
            replay_namespace(self._recording.manifest, self._topic, self._rules),
            self._rules,
        )
        for chunk in self._chunks((self._topic, number)):
            await self._fold(state, chunk, tally, flusher)
            await flusher.after(chunk)
            tell(len(chunk))
        await flusher.flush()
        return Folded(
            self._topic,
            number,
            tally.records,
            tally.events,
            tally.receipts,
            tally.outcomes["applied"],
            tally.outcomes["duplicate"],
            tally.outcomes["late"],
            tally.outcomes["invalid"],
            flusher.folded,
            f"{state.digest:032x}",
            state.version,
            tally.unsigned,
        )

    def _chunks(self, place: Place) -> Iterator[list[Recorded]]:
        for chunk in self._recording.chunks(place):
            if not self._selection:
                yield chunk
            elif kept := [record for record in chunk if self._selection.takes(record)]:
                yield kept

    async def _fold(
        self,
        state: PartitionState,
        chunk: Sequence[Recorded],
        tally: "_Tally",
        flusher: "_Flusher",
    ) -> None:
        spelling = Spelling(self._rules.record_bytes, self._rules.secret)
        decoded = await prepare(state, chunk, spelling, flusher)
        effects = fold_run(state, decoded, 0, len(decoded.events))
        for receipt in (*effects.first_receipts, *effects.receipts):
            self._receive(encode(receipt))
        tally.records += len(chunk)
        tally.events += len(decoded.events) + len(decoded.refusals)
        tally.receipts += len(effects.first_receipts) + len(effects.receipts)
        tally.outcomes["invalid"] += len(decoded.refusals)
        tally.unsigned += sum(refusal.reason == "signature" for refusal in decoded.refusals)
        for (_, outcome), count in effects.outcomes.items():
            tally.outcomes[outcome] += count


class _Tally:
    """Sums of one partition."""

    __slots__ = ("events", "outcomes", "receipts", "records", "unsigned")

    def __init__(self) -> None:
        self.records = self.events = self.receipts = self.unsigned = 0
        self.outcomes: Counter[str] = Counter()


class _Flusher:
    """Takes changed rows out of the state in time, into the store if there is one."""

    def __init__(
        self, state: PartitionState, store: Store | None, namespace: str, rules: Rules
    ) -> None:
        self._state = state
        self._store = store
        self._namespace = namespace
        self._rules = rules
        self._watermark = -1
        self._records = 0  # since the last flush
        self.folded = -1

    async def load(self, videos: Sequence[str]) -> Rows:
        """Return videos as they are stored, if they were evicted."""
        if self._store is None:
            return {}
        loaded = await self._store.load(self._state.partition, videos)
        if (-1 if loaded.watermark is None else loaded.watermark) != self._watermark:
            raise self._not_alone()
        return loaded.videos

    async def scan(self) -> Rows:
        """Return every stored video."""
        return {} if self._store is None else await self._store.scan(self._state.partition)

    async def after(self, chunk: Sequence[Recorded]) -> None:
        """Note that a chunk was folded; flush if it is time."""
        self.folded = chunk[-1].offset
        self._records += len(chunk)
        if self._store is None:
            due = self._records >= MEMORY_FLUSH_RECORDS
        else:
            due = len(self._state.changed) >= self._rules.flush_rows
        if due:
            await self.flush()
            if self._store is not None and len(self._state.videos) > self._rules.videos:
                self._state.evict(self._rules.videos)

    async def flush(self) -> None:
        """Take all changes out and store them; `Halt` if somebody else writes there."""
        if self.folded == self._watermark:
            return
        changes = self._state.take_changes()
        if self._store is not None:
            result = await self._store.flush(
                self._state.partition, self._namespace, self._watermark, self.folded, changes
            )
            if isinstance(result, Conflict):
                raise self._not_alone()
        self._state.stored(changes.epoch)
        self._watermark, self._records = self.folded, 0

    def _not_alone(self) -> Halt:
        partition = self._state.partition
        return Halt(f"partition {partition}: another replay writes to this Redis", code="namespace")

"""The ports: what the worker and the control plane need from the world, as contracts.

Each has a real driver (`kafka`, `redis`) and an in-memory twin (`memory`); one contract suite
(`tests/contract/`) judges both. Offsets: `Record.offset` is a record's own, a *position* is the
next offset to read, a *watermark* is the last offset whose result is stored (-1 before any).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from streams.core.creators import DayStart
from streams.core.state import FRESH, Archived, Changes, Meta
from streams.runtime.part_store import PartStore

Headers = Sequence[tuple[str, bytes | None]]
"""An ordered list; names may repeat, and a header may have no value.

Bytes of a name that are not UTF-8 are lone surrogates in it (PEP 383): a record with such a name is
a bad one, and goes to the dead letters by its place.
"""
Place = tuple[str, int]
"""A partition of a topic: topic, partition."""


class Record(Protocol):
    """One record of a topic, as a driver hands it out; never changed."""

    @property
    def topic(self) -> str:
        """Name of its topic."""

    @property
    def partition(self) -> int:
        """Its partition of that topic."""

    @property
    def offset(self) -> int:
        """Its own offset in that partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, set by producer or broker."""

    @property
    def key(self) -> bytes | None:
        """The bytes it is partitioned by."""

    @property
    def value(self) -> bytes | None:
        """The payload; None is a tombstone."""

    @property
    def headers(self) -> Headers:
        """Its headers, see `Headers`."""


class TopicIdentity(NamedTuple):
    """What tells one topic from another of the same name: part of a partition's namespace."""

    cluster_id: str
    topic_id: str
    topic: str
    partitions: int


class Offsets(NamedTuple):
    """Bounds of one partition's log: first offset still there, next offset to be written."""

    start: int
    end: int


@dataclass(frozen=True)
class Outgoing:
    """One record to be written.

    `partition` None leaves the choice to Kafka's Java partitioner (murmur2 of the key).
    `timestamp` None means now. A header's name that is not text is refused (`Halt` `header`).
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None
    timestamp: int | None = None


class GroupMember(NamedTuple):
    """One member of a consumer group, and the partitions that it was given."""

    client_id: str
    host: str
    places: frozenset[Place]


class LogConsumer(Protocol):
    """Reads one topic as a member of a consumer group, at positions that the caller sets.

    Partitions come and go by rebalance. An assigned partition yields nothing until `seek`ed.
    """

    async def start(self, listener: "AssignmentListener") -> None:
        """Join the group; `Unreachable` if no broker answers."""

    async def stop(self) -> None:
        """Leave the group; ends within 10 s even while brokers are down. Idempotent."""

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[int, Sequence[Record]]:
        """Return the next records by partition, in offset order, {} after `timeout_ms` without any.

        Only assigned, sought and not paused partitions yield. Never cancelled by the caller.
        Raises `Retry` if the brokers fail for now, and `Halt` with its partition when the position
        is no longer (or not yet) in the log (code `data_loss`) or a batch is corrupt (`corrupt`).
        """

    def seek(self, positions: Mapping[int, int]) -> None:
        """Set the next offset to read of partitions, if still assigned; does not await."""

    def pause(self, partitions: Sequence[int]) -> None:
        """Stop yielding these partitions until `resume`; keeps their place in the group."""

    def resume(self, partitions: Sequence[int]) -> None:
        """Yield these partitions again."""

    async def position(self, partition: int) -> int | None:
        """Return the next offset that will be read of a partition, None if none was sought.

        It passes offsets that hold no record for readers (markers of transactions).
        """

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Commit positions to the group, for lag tools only; `Retry` if that fails."""

    async def committed(self, partition: int) -> int | None:
        """Return the group's committed position, None if it never committed one.

        `Retry` within a few seconds if no coordinator says.
        """

    async def offsets(self, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of the partitions that answer within a few seconds.

        One without a leader, or that does not exist, is left out and costs the others nothing;
        whoever needs all of them asks `answers.require_all`.
        """

    async def identity(self) -> TopicIdentity:
        """Return which topic this is; `Halt` if it does not exist, `Unreachable` if none says."""


class LogReader(Protocol):
    """Reads any partitions of any topics from given positions, as no member of a group."""

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers."""

    async def stop(self) -> None:
        """Disconnect, within a few seconds. Idempotent."""

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of the partitions that answer within a few seconds.

        One without a leader, or that does not exist, is left out and costs the others nothing;
        whoever needs all of them asks `answers.require_all`.
        """

    async def offsets_at(self, topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        """Return each partition's first offset at or after a time in ms, None if there is none.

        None too from a broker that cannot search by time. What does not answer is left out, as
        by `offsets`.
        """

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, and no others; does not await."""

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Return the next records in offset order, {} after `timeout_ms` without any.

        Never cancelled by the caller. `Retry` if the brokers fail for now, `Halt` code
        `data_loss` if a position left the log, `corrupt` if a batch is damaged each time.
        """

    async def position(self, topic: str, partition: int) -> int:
        """Return the next offset that will be read of an assigned partition.

        It passes offsets that hold no record for readers (markers of transactions).
        """


class Cluster(Protocol):
    """Knows and changes a cluster's topics and consumer groups.

    Every call ends within a few seconds. It raises `Unreachable` without a broker, `Retry` for
    what may pass (one broker is away, a group has no coordinator), `Halt` where the cluster
    refuses. After a `Retry` a change may have been made: ask before making it again.
    """

    async def describe(self) -> Mapping[str, int]:
        """Return every topic with its partition count, internal ones left out."""

    async def identity(self, topic: str) -> TopicIdentity:
        """Return which topic this is; `Halt` (`topic_missing`) if it does not exist."""

    async def configs(self, topic: str) -> Mapping[str, str]:
        """Return the topic's configuration, {} where the broker does not tell."""

    async def session_timeouts(self) -> tuple[int, int] | None:
        """Return least and greatest session timeout (ms) of a member, None if nobody tells."""

    async def create(
        self, topic: str, partitions: int, replication: int, configs: Mapping[str, str]
    ) -> None:
        """Create a topic; `Halt` if the cluster refuses, also because it exists."""

    async def set_configs(self, topic: str, configs: Mapping[str, str]) -> None:
        """Set these configuration entries of a topic and leave the others."""

    async def delete(self, topic: str) -> None:
        """Delete a topic with its records."""

    async def groups(self) -> Sequence[str]:
        """Return the ids of all consumer groups, sorted."""

    async def committed(self, group: str) -> Mapping[Place, int]:
        """Return a group's committed positions by topic and partition."""

    async def members(self, group: str) -> Sequence[GroupMember]:
        """Return a group's members; none of a group that does not exist, or is not told of."""

    async def forget_group(self, group: str) -> None:
        """Delete a consumer group and its committed positions; `Halt` if it has members."""


class AssignmentListener(Protocol):
    """Called by a `LogConsumer` from within its rebalance; awaited before records flow."""

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        """Take over partitions: those of this assignment, also if they were ours before."""

    async def on_revoked(self, partitions: Sequence[int]) -> None:
        """Let partitions go: they are about to be another's, this is the last chance to flush."""


class Producer(Protocol):
    """Writes records and says when they are durable."""

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers."""

    async def stop(self) -> None:
        """Send what is queued and disconnect, within 10 s. Idempotent."""

    async def send(self, record: Outgoing) -> Awaitable[int | None]:
        """Queue a record; what is returned completes when all in-sync replicas have it.

        With its offset, None if the broker does not say. Records of one partition are written in
        the order of the calls. `Retry` if the record could not be written.
        """


class LastingProducer(Producer, Protocol):
    """A producer whose records can be sent again in their order after some of them were lost."""

    async def describe(self) -> Mapping[str, int]:
        """Return every topic that may be seen with its partition count; creates none."""

    async def renew(self) -> bool:
        """Begin anew if a record was lost; tell whether that was so.

        Then all that was sent before is written or has failed, and nothing of it will be written
        behind what is sent next. `Retry` if no broker answers.
        """


class BatchSink(Protocol):
    """Writes records a batch at a time."""

    async def send_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing]
    ) -> Awaitable[None]:
        """Queue records of one partition in their order, each with its own timestamp.

        What is returned completes when all are durable and raises `Retry` if they are not.
        """


class Stored(NamedTuple):
    """What is stored of a partition beside its rows."""

    watermark: int
    meta: Meta


class HaltNote(NamedTuple):
    """Why a partition halted, and since when: left for readers, no part of what is counted."""

    code: str
    text: str
    at_ms: int


class Loaded(NamedTuple):
    """Rows by video and field, and the watermark that they belong to (None: none is stored)."""

    watermark: int | None
    videos: Mapping[str, Mapping[str, bytes]]
    pointers: Mapping[str, int] = {}  # of archived videos, without rows here: see `WholeStore`
    archived: Mapping[str, Archived] = {}  # whose rows were read by a pointer


class Conflict(NamedTuple):
    """Somebody else moved the watermark, or Redis lost acknowledged writes."""

    watermark: int


FlushResult = Literal["ok", "noop"] | Conflict
NOTHING_STORED: Final = Stored(-1, FRESH)


class Store(PartStore, Protocol):
    """Keeps counters, state and watermark of partitions, every flush guarded by the watermark."""

    async def check(self) -> None:
        """Raise `Halt` unless the store can be trusted (may it evict?), `Unreachable` if it is."""

    async def meta(self, partition: int, namespace: str) -> Stored | None:
        """Return watermark and meta of a partition, None for one never flushed.

        Raises `Halt`: code `namespace` if the partition belongs to another namespace,
        `watermark_missing` if it holds rows without a watermark. `Retry` if the store fails.
        """

    async def watermark(self, partition: int) -> int | None:
        """Return the stored watermark alone, None if there is none (idle audit)."""

    async def load(self, partition: int, videos: Sequence[str]) -> "Loaded":
        """Return the stored fields of each video, {} for one that is not stored.

        With the watermark that they belong to: a caller whose own is another one has lost the
        partition, and these rows count what it is about to count again.
        """

    async def flush(
        self, partition: int, namespace: str, expected: int, new: int, changes: Changes
    ) -> FlushResult:
        """Write rows (absolute values), meta and watermark, all or nothing.

        Only if the stored watermark is `expected` (-1: none is stored). `noop` if it is `new`
        already, with the digest of these changes: a retry after a lost reply. May be repeated.
        Rows of a video that leaves become a pointer; the pointer of one that returns is dropped.
        Raises `Retry` if the store fails for now, `Halt` code `namespace` or `store_corrupt`.
        """

    async def begin(self, partition: int, namespace: str) -> None:
        """Store that nothing of an erased partition is counted yet, and that this is meant.

        Its owner then counts it from the log's beginning; without this, offsets that the group
        committed tell of counters that are gone, and it would halt.
        """

    async def restore(
        self,
        partition: int,
        namespace: str,
        stored: Stored,
        rows: Mapping[str, Mapping[str, bytes]],
    ) -> None:
        """Put rows, meta and watermark into an erased partition; no worker may own it meanwhile.

        The meta comes last: a restoration that is cut short leaves rows without a watermark, which
        halts.
        """

    async def note_halt(self, partition: int, note: HaltNote | None) -> None:
        """Leave word that a partition halted, or take it back; `Retry` if the store fails."""

    async def halts(self, partitions: Sequence[int]) -> Mapping[int, HaltNote]:
        """Return the halts noted of these partitions."""

    async def scan(
        self, partition: int, wanted: Callable[[str], bool] | None = None
    ) -> Mapping[str, Mapping[str, bytes]]:
        """Return every stored video of a partition with its fields, or every `wanted` one.

        Of the others no more than the name is read; of archived ones see `WholeStore`.
        """

    async def erase(self, partition: int) -> int:
        """Delete all counters of a partition; return how many keys that were."""

    async def close(self) -> None:
        """Disconnect. Idempotent."""


class Document(NamedTuple):
    """What is known of a video, and which revision of it this is: each change has a greater one."""

    revision: int
    text: bytes


class DossierChange(NamedTuple):
    """A video's new document, and the revision that it was made from (0: there was none).

    It has that revision still where it says no more than before.
    """

    video: str
    before: int
    document: Document


class Move(NamedTuple):
    """How far the documents hold a topic, as next offsets: known so far, and now."""

    known: int
    now: int


class Claim(NamedTuple):
    """A video asks for a full guarantee of its creator's day (since 1970); see `Dossiers.claim`."""

    partition: int  # of the creator's id
    creator: str
    day: int
    video: str
    known: int = 0  # such that the partition took, at least


class Kept(NamedTuple):
    """Documents by video, without those that are not there, and how far they hold each topic."""

    positions: Mapping[str, int]
    documents: Mapping[str, Document]


class Dossiers(Protocol):
    """The control plane's memory: one small document per video, and the offsets that they hold.

    Each call but `scan` is about one partition, whose documents and offsets are kept together: a
    store that falls back loses both alike. Offsets are those of one log, named by `log`: what was
    read for another one does not count. `Retry` if the store fails for now.
    """

    async def read(self, partition: int, log: str, videos: Sequence[str]) -> Kept:
        """Return all positions and the documents of these videos."""

    async def put(
        self,
        partition: int,
        log: str,
        changes: Sequence[DossierChange],
        moves: Mapping[str, Move],
    ) -> Literal["ok", "conflict", "behind"]:
        """Write documents and positions by topic, all or nothing; may be repeated.

        `conflict` if a stored revision is not the one that a change was made from, and the change
        is not stored already: another control plane wrote it. `behind` if a position is below the
        one known: the store lost what it had acknowledged. A position that is above `now` already
        stays.
        """

    async def hold(self, partition: int, log: str, positions: Mapping[str, int]) -> None:
        """Set positions, whatever they were."""

    async def claim(self, log: str, claims: Sequence[Claim], most: int) -> Sequence[int | None]:
        """Take those that are of the creator's first `most` of their day; None of each other one.

        Of those the answer is how many the partition took by then (`CLAIMS` in its positions), or
        0: a video that has one has it whenever it asks. Where it took fewer than is known none is
        taken, and -1 less those is the answer. Kept are eight days up to a creator's last, of one
        whose last was taken as long ago nothing, by the store's clock. May be repeated.
        """

    async def keep_day(self, day: int, start: DayStart) -> None:
        """Keep what creators' videos had come to when a day (since 1970) began, for some days.

        Only the first one of a day counts; one that was cut short is none.
        """

    async def days(self, days: Sequence[int]) -> Mapping[int, DayStart]:
        """Return the beginnings of these days, of those that are kept."""

    def scan(self) -> AsyncIterator[Mapping[str, Document]]:
        """Yield every document by video, some at a time, in no order; one may come twice."""

    async def forget(self, partition: int) -> int:
        """Drop the positions of every log and keep the documents; return how many there were.

        A control plane then reads its topics again from their beginning.
        """


Clock = Callable[[], float]
"""Seconds, monotonic; an argument wherever time matters outside the fold."""

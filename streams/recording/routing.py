"""Where a recorded record goes in a replay, and with which timestamp and headers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from streams.core.partitioner import partition_of
from streams.recording.checkpoint import Checkpoint
from streams.recording.lines import Recorded
from streams.recording.pacing import Pace
from streams.recording.resigning import Resigner
from streams.recording.selection import Selection
from streams.runtime.ports import Headers, Outgoing, Place
from streams.runtime.signing import SIGNATURE

BATCH_RECORDS: Final = 5_000
BATCH_BYTES: Final = 4 << 20

TRACE: Final = (
    "x-original-topic",
    "x-original-partition",
    "x-original-offset",
    "x-original-timestamp",
    "x-replay-run-id",
)
"""Headers behind a replayed record's own ones, in this order."""

Timestamps = Literal["keep", "shift", "now"]
Partitions = Literal["keep", "rekey"]


@dataclass(frozen=True)
class Target:
    """Where records go.

    `topics` maps recorded topics to target topics, `counts` those to their partition counts,
    `recorded` recorded topics to theirs.
    """

    topics: Mapping[str, str]
    counts: Mapping[str, int]
    recorded: Mapping[str, int]


@dataclass(frozen=True)
class Options:
    """How to replay. `trace` adds the headers `TRACE`, `resigner` signs control records anew."""

    pace: Pace = field(default_factory=Pace)
    selection: Selection = field(default_factory=Selection)
    partitions: Partitions = "keep"
    timestamps: Timestamps = "keep"
    limit: int | None = None
    trace: bool = False
    resigner: Resigner | None = None
    batch: int = BATCH_RECORDS
    batch_bytes: int = BATCH_BYTES


class Router:
    """Says where a recorded record goes and with which timestamp and headers."""

    def __init__(self, target: Target, options: Options) -> None:
        self._target = target
        self._options = options
        self._known: dict[tuple[bytes, int], int] = {}  # partitions of keys
        self._traces: dict[Place, tuple[tuple[str, bytes], tuple[str, bytes]]] = {}

    def route(
        self, batch: Iterable[Recorded], checkpoint: Checkpoint, now_ms: int
    ) -> dict[Place, list[Outgoing]]:
        """Return what to write, by target partition, each in the order of `batch`."""
        out: defaultdict[Place, list[Outgoing]] = defaultdict(list)
        run_id = (TRACE[4], checkpoint.run_id.encode())
        kind, shift = self._options.timestamps, checkpoint.shift_ms or 0
        trace, rekey = self._options.trace, self._options.partitions == "rekey"
        topics, resigner = self._target.topics, self._options.resigner
        for record in batch:
            topic = topics[record.topic]
            timestamp = now_ms if kind == "now" else record.timestamp + shift
            headers = record.headers
            if headers and resigner is not None:
                headers = resigner.headers(record)
            if trace:
                headers = self._traced(record, headers, run_id)
            numbers = self._rekey(record, topic) if rekey else (record.partition,)
            for number in numbers:
                outgoing = Outgoing(topic, record.value, record.key, headers, number, timestamp)
                out[topic, number].append(outgoing)
        return out

    def _traced(self, record: Recorded, headers: Headers, run_id: tuple[str, bytes]) -> Headers:
        """Return headers of a record with `TRACE` behind them."""
        place = (record.topic, record.partition)
        source = self._traces.get(place)
        if source is None:
            source = ((TRACE[0], place[0].encode()), (TRACE[1], b"%d" % place[1]))
            self._traces[place] = source
        offset = (TRACE[2], b"%d" % record.offset)
        return [*headers, *source, offset, (TRACE[3], b"%d" % record.timestamp), run_id]

    def _rekey(self, record: Recorded, topic: str) -> Sequence[int]:
        """Return the partitions of a record by its key.

        A signed record without a key is one partition's copy of a broadcast (a policy): every
        target partition gets one copy. Any other record without a key keeps its partition, as
        far as there are as many.
        """
        count = self._target.counts[topic]
        if record.key is not None:
            known = self._known.get((record.key, count))
            if known is None:
                if len(self._known) >= 1 << 18:
                    self._known.clear()
                known = self._known[record.key, count] = partition_of(record.key, count)
            return (known,)
        if any(name == SIGNATURE for name, _ in record.headers):
            return range(record.partition, count, self._target.recorded[record.topic])
        return (record.partition % count,)


def own_headers(headers: Headers) -> Headers:
    """Return the headers that a record had before it was replayed: without `TRACE` at the end.

    >>> own_headers([("a", b"1"), *((name, b"") for name in TRACE)])
    [('a', b'1')]
    """
    while tuple(name for name, _ in headers[-len(TRACE) :]) == TRACE:
        headers = headers[: -len(TRACE)]
    return headers

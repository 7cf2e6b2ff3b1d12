"""Recordings for tests: a log in memory, recorded into a folder as `streams record` does."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kit.events import synthetic_log
from kit.keys import INSTALLATION
from streams.recording.checkpoint import Checkpoint, Reached
from streams.recording.ledger import Ledger, TargetLog
from streams.recording.lines import Recorded
from streams.recording.manifest import FORMAT_VERSION, Manifest
from streams.recording.pacing import Pace
from streams.recording.planning import Request, plan_recording
from streams.recording.reader import Recording
from streams.recording.recorder import Recorder
from streams.recording.replayer import Replayer, Time
from streams.recording.routing import Options, Target
from streams.recording.writer import RecordingWriter
from streams.runtime.installation import Installation
from streams.runtime.memory import MemoryCluster, MemoryLog, MemoryProducer, MemoryReader
from streams.runtime.ports import Record

TOPIC = "interactions"
UP_TO_NOW = Request([TOPIC], to_end=True)


class Brokers(MemoryReader, MemoryCluster, MemoryProducer):
    """A log's reader, cluster and sink in one, for tests that hand it to all three."""

    def topics(self) -> dict[str, int]:
        """Return the partition count of every topic."""
        return self._log.topics()


def log_with(records: Iterable[Record], partitions: int = 4, topic: str = TOPIC) -> MemoryLog:
    """Return a log that holds these records of one topic."""
    log = MemoryLog()
    log.create(topic, partitions)
    log.restore(records)
    return log


def busy_log(events: int = 600, partitions: int = 4) -> MemoryLog:
    """Return a log with everything that a real one holds, in every partition."""
    return log_with(
        [
            record
            for number in range(partitions)
            for record in synthetic_log(number + 1, 8, events, number, partitions)
        ],
        partitions,
    )


def cluster_of(log: MemoryLog) -> Brokers:
    """Return the cluster that a log is on."""
    return Brokers(log)


async def start_writer(
    cluster: Brokers,
    folder: Path,
    request: Request = UP_TO_NOW,
    now_ms: int = 0,
    installation: Installation = INSTALLATION,
) -> RecordingWriter:
    """Return a writer of a new recording of this cluster, planned at a time."""
    topics = await plan_recording(cluster, cluster, request, now_ms)
    identity = await cluster.identity(request.topics[0])
    manifest = Manifest(
        *(FORMAT_VERSION, folder.name, "2026-01-01T00:00:00+00:00", "1"),
        *(identity.cluster_id, topics),
        until=request.until,
        installation=installation,
    )
    return RecordingWriter(folder, manifest, time.monotonic)


async def record(
    cluster: Brokers,
    folder: Path,
    request: Request = UP_TO_NOW,
    installation: Installation = INSTALLATION,
) -> Recording:
    """Record a cluster to the end that the request names."""
    writer = await start_writer(cluster, folder, request, installation=installation)
    assert await Recorder(cluster, writer, now_ms=lambda: 0).run(lambda: False)
    return Recording(folder)


def seen(records: Iterable[Record]) -> list[tuple[object, ...]]:
    """Return all that a record is, its offset and topic left out."""
    return [(r.partition, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records]


def everything(recording: Recording) -> list[Recorded]:
    """Return a recording's records, partition by partition."""
    return [r for place in recording.places() for chunk in recording.chunks(place) for r in chunk]


def partition_records(log: MemoryLog, partitions: int = 4, topic: str = TOPIC) -> Sequence[Record]:
    """Return a topic's records, partition by partition."""
    return [record for number in range(partitions) for record in log.records(topic, number)]


@dataclass
class Hands:
    """A clock that moves only when somebody sleeps."""

    now: float = 1_000.0
    naps: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def time(self) -> Time:
        return Time(self.clock, self.sleep, lambda: int(self.now * 1000))


def fresh_checkpoint(recording: Recording, to: str = "again") -> Checkpoint:
    """Return the checkpoint of a replay that has sent nothing."""
    positions: dict[str, dict[int, int]] = {}
    for topic, number in recording.places():
        positions.setdefault(topic, {})[number] = 0
    return Checkpoint("plan", "run-1", positions, 0, None, targets={to: Reached(f"{to}-1")})


FAST = Options(pace=Pace(None))


def replayer_into(
    recording: Recording,
    cluster: Brokers,
    options: Options = FAST,
    hands: Hands | None = None,
    checkpoint: Checkpoint | None = None,
    *,
    file: Path | None = None,
    to: str = "again",
) -> Replayer:
    """Return a replay of a recording's interactions into a topic of a cluster.

    It keeps its place in `file` and, with one, looks at what the topic holds.
    """
    counts = {to: cluster.topics()[to]}
    recorded = {TOPIC: recording.manifest.topics[TOPIC].partitions}
    return Replayer(
        recording,
        cluster,
        Target({TOPIC: to}, counts, recorded),
        options,
        (hands or Hands()).time(),
        Ledger(
            checkpoint or fresh_checkpoint(recording, to),
            file,
            None if file is None else TargetLog(cluster, timestamps=options.timestamps != "now"),
        ),
    )


def target(partitions: int = 4, topic: str = "again") -> tuple[MemoryLog, Brokers]:
    """Return an empty log with a fresh topic, and its cluster."""
    log = MemoryLog(cluster_id="other")
    log.create(topic, partitions)
    return log, Brokers(log)

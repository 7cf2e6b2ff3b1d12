"""How fast recording, replaying and folding are, each on one core, and what memory they take."""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from streams.core.units import MICROS
from streams.recording.checkpoint import Checkpoint
from streams.recording.folding import Folder, Rules
from streams.recording.ledger import Ledger
from streams.recording.lines import Recorded
from streams.recording.manifest import FORMAT_VERSION, Manifest, Span, Topic
from streams.recording.pacing import Pace
from streams.recording.reader import Recording
from streams.recording.recorder import Recorder
from streams.recording.replayer import Replayer, Time
from streams.recording.routing import Options, Target
from streams.recording.writer import RecordingWriter
from streams.runtime.collector import quiet_collector
from streams.runtime.installation import Installation
from streams.runtime.ports import BatchSink, Offsets, Outgoing, Place, Record

Batch = tuple[int, Sequence[Outgoing]]  # partition, records
EARLY: Final = 0.2
"""Share of a phase after which its memory is looked at for the first time."""


class RecordingLoad(NamedTuple):
    """What to measure with: `batches` is asked for once, while recording; nothing is kept."""

    batches: Iterable[Batch]
    events: int
    topic: str
    partitions: int
    installation: Installation | None = None


def measure(
    load: RecordingLoad, rules: Rules, folder: Path, sink: BatchSink | None = None
) -> dict[str, int]:
    """Record a load into `folder`, replay it into `sink` (None: nowhere) and fold it.

    One process does it all. Rates are by the clock and, for a machine that is busy otherwise, by
    the time that this process had a core; making the load is left out of both. Memory is that of
    this process: `memory_grown_mib` is by how much it grew after the first fifth of a phase.
    """
    with quiet_collector():
        return asyncio.run(_measure(load, rules, folder, sink))


async def _measure(
    load: RecordingLoad, rules: Rules, folder: Path, sink: BatchSink | None
) -> dict[str, int]:
    source = _Source(load.batches, load.topic)
    spans = {partition: Span(0, None) for partition in range(load.partitions)}
    topics = {load.topic: Topic(load.partitions, "bench", {}, spans)}
    manifest = Manifest(FORMAT_VERSION, "bench", "", "bench", "bench", topics)
    manifest.installation = load.installation
    writer = RecordingWriter(folder, manifest, time.monotonic)
    recorded = _Phase(load.events)
    recorder = Recorder(source, writer, now_ms=_now_ms)
    await recorder.run(lambda: source.ended, lambda progress: recorded.at(progress.records))
    recording = Recording(folder)
    replay = await _replay(recording, load, sink or _Nowhere())
    fold = _FoldPhase(manifest.records, source.signed)
    receipts = await _fold(recording, load, rules, fold)
    records = manifest.records
    return {
        "events": load.events,
        "records": records,
        "size_bytes": writer.size,
        "record_records_per_second": round(records / (recorded.seconds - source.making_s)),
        "replay_records_per_second": round(records / replay.seconds),
        "fold_events_per_second": round(load.events / (fold.seconds - fold.control_s)),
        "record_records_per_core_second": round(records / (recorded.cpu_s - source.making_cpu_s)),
        "replay_records_per_core_second": round(records / replay.cpu_s),
        "fold_events_per_core_second": round(load.events / (fold.cpu_s - fold.control_cpu_s)),
        "fold_control_record_micros": round(fold.control_cpu_s * MICROS / max(fold.control, 1)),
        "receipts": receipts,
        "record_memory_grown_mib": recorded.grown_mib(),
        "replay_memory_grown_mib": replay.grown_mib(),
        "fold_memory_grown_mib": fold.grown_mib(),
        "peak_memory_mib": max(recorded.peak, replay.peak, fold.peak) >> 20,
    }


async def _replay(recording: Recording, load: RecordingLoad, sink: BatchSink) -> "_Phase":
    counts = {load.topic: load.partitions}
    positions = {load.topic: dict.fromkeys(range(load.partitions), 0)}
    replayer = Replayer(
        recording,
        sink,
        Target({load.topic: load.topic}, counts, counts),
        Options(pace=Pace(None)),
        Time(time.monotonic, asyncio.sleep, _now_ms),
        Ledger(Checkpoint("bench", "bench", positions, 0, None)),
    )
    phase = _Phase(recording.manifest.records)
    await replayer.run(lambda: False, lambda progress: phase.at(progress.sent))
    return phase


async def _fold(
    recording: Recording, load: RecordingLoad, rules: Rules, phase: "_FoldPhase"
) -> int:
    receipts = 0
    folder = Folder(recording, load.topic, rules, _drop)
    for partition in range(load.partitions):
        phase.begin(partition)
        receipts += (await folder.partition(partition, tell=phase.folded)).receipts
    return receipts


class _Source:
    """A `LogReader` whose log is made while it is read."""

    def __init__(self, batches: Iterable[Batch], topic: str) -> None:
        self._batches: Iterator[Batch] = iter(batches)
        self._topic = topic
        self._next: dict[int, int] = {}
        self.ended = False
        self.making_s = self.making_cpu_s = 0.0
        self.signed: Counter[int] = Counter()  # by partition

    async def start(self) -> None:
        """Connect to nothing."""

    async def stop(self) -> None:
        """Disconnect from nothing."""

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return no bounds: the log has none yet."""
        del topic, partitions
        return {}

    async def offsets_at(self, topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        """Return no offsets: nobody searches here."""
        del topic
        return dict.fromkeys(times)

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Make the log from here on."""
        self._next = {partition: at for (_, partition), at in positions.items()}

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Make the next batch."""
        del timeout_ms, max_records
        began, cpu_began = time.perf_counter(), time.process_time()
        batch = next(self._batches, None)
        if batch is None:
            self.ended = True
            return {}
        partition, outgoing = batch
        self.signed[partition] += sum(bool(out.headers) for out in outgoing)
        first = self._next[partition]
        self._next[partition] = first + len(outgoing)
        now_ms = _now_ms()
        made = [
            Recorded(self._topic, partition, offset, now_ms, out.key, out.value, out.headers)
            for offset, out in enumerate(outgoing, first)
        ]
        self.making_s += time.perf_counter() - began
        self.making_cpu_s += time.process_time() - cpu_began
        return {(self._topic, partition): made}

    async def position(self, topic: str, partition: int) -> int:
        """Return the next offset."""
        del topic
        return self._next[partition]


class _Nowhere:
    """A sink that forgets."""

    async def send_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing]
    ) -> Awaitable[None]:
        """Forget the records."""
        del topic, partition, records
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class _Phase:
    """Time and memory of one phase."""

    def __init__(self, total: int) -> None:
        gc.collect()
        self._total = total
        self._began = time.perf_counter()
        self._cpu_began = time.process_time()
        self.seconds = self.cpu_s = 1e-9
        self._early: int | None = None
        self._latest = 0
        self.done = 0
        self.peak = 0

    def at(self, done: int) -> None:
        """Note that so many records are done."""
        self.done = done
        self.seconds = time.perf_counter() - self._began
        self.cpu_s = time.process_time() - self._cpu_began
        self._latest = _resident_bytes()
        self.peak = max(self.peak, self._latest)
        if self._early is None and done >= EARLY * self._total:
            self._early = self._latest

    def grown_mib(self) -> int:
        """Return by how much the memory grew after the first fifth."""
        return (self._latest - (self._early or self._latest)) >> 20


class _FoldPhase(_Phase):
    """That of the fold; what runs of control records alone took is told apart.

    Admissions stand before all feedback, and to check a signature costs as much as many events.
    """

    def __init__(self, total: int, signed: Mapping[int, int]) -> None:
        super().__init__(total)
        self._signed = signed
        self._left = 0  # control records of this partition that are not folded yet
        self.control = 0
        self.control_s = self.control_cpu_s = 0.0

    def begin(self, partition: int) -> None:
        """Turn to the next partition."""
        self._left = self._signed[partition]

    def folded(self, records: int) -> None:
        """Note that a run of records is folded."""
        seconds, cpu_s = self.seconds, self.cpu_s
        self.at(self.done + records)
        self._left -= records
        if self._left >= 0:
            self.control += records
            self.control_s += self.seconds - seconds
            self.control_cpu_s += self.cpu_s - cpu_s


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    return pages * 4096


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _drop(_raw: bytes) -> None:
    pass

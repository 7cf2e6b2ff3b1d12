"""What one worker process does on this machine, beside a bare loop that only reads and decodes.

Throughput with one event a record, with arrays of 50, with many videos and with few in every crowd:
of the videos that are brought in, of the events behind them, and of both together; the worker's
peak memory; and the time from an event to its counter, idle and under load.
"""

import asyncio
import gc
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec

from streams.core.events import Policy
from streams.errors import Halt, StreamsError
from streams.lab import recording_bench
from streams.lab.drivers import Drivers
from streams.lab.judging import judgement_micros
from streams.lab.latency import (
    POLL_S,
    Beat,
    Sent,
    counted_while_sent,
    loads,
    send_paced,
    waited,
)
from streams.lab.load import Load, Shape
from streams.lab.phases import BenchLog, CountedRates, Timeline, rates_of
from streams.ops.installation import make_installation
from streams.ops.topics import wanted_topics
from streams.ops.verify import Verifier, verify
from streams.recording.folding import Rules
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.installation import Installation, signer_of
from streams.runtime.namespace import namespace_of
from streams.runtime.ports import BatchSink, Store
from streams.runtime.signing import Signer, SigningKey
from streams.settings import Settings, environment_of

PARTITIONS: Final = 4
JOIN_S: Final = 60.0
STOP_S: Final = 300.0
TELL_S: Final = 0.1
MANY_VIDEOS: Final = 200_000
"""What costs by the number of videos in memory shows with as many."""


class Case(NamedTuple):
    """One throughput run: `array` events share a record."""

    name: str
    array: int
    shape: Shape


@dataclass(frozen=True)
class Sizes:
    """How much to measure with: events and videos of a throughput run, seconds of a latency."""

    events: int
    videos: int
    seconds: int


class BenchFigures(NamedTuple):
    """Rates by case, waits from event to counter by load, and what a judgement costs.

    `live_events_per_second` are counted while as many come as can; the loads are shares of them.
    """

    cases: Mapping[str, Mapping[str, Any]]
    live_events_per_second: int
    waits: Mapping[str, Mapping[str, Any]]
    judgement_micros: float

    def fields(self) -> dict[str, Any]:
        """Return all of it by name."""
        return {**self.cases, **self.beside(), "event_to_counter_ms": self.waits}

    def beside(self) -> dict[str, Any]:
        """Return what is one figure by itself."""
        return {
            "live_events_per_second": self.live_events_per_second,
            "judgement_micros": self.judgement_micros,
        }


@dataclass(frozen=True)
class Bench:
    """Where and with what to measure; `folder` holds the worker's configuration.

    `tell` takes lines about how far it is.
    """

    drivers: Drivers
    settings: Settings
    folder: Path
    policy: Policy
    tell: Callable[[str], None]

    async def run(self, sizes: Sizes) -> BenchFigures:
        """Return throughput of each case, and waits under shares of what is counted live.

        A worker counts less while events come than when they are all there: the sender and the
        brokers that write want the same cores.
        """
        few = Shape(sizes.videos)
        cases = (
            Case("one_event_a_record", 1, few),
            Case("arrays_of_50", 50, few),
            Case("many_videos", 1, Shape(MANY_VIDEOS)),
            Case("crowded", 1, Shape.crowded(sizes.events)),
        )
        rates = {case.name: await self._throughput(case, sizes.events) for case in cases}
        enough = rates[cases[0].name]["feedback_events_per_second"]
        async with BenchTrial(self, few) as trial, trial.worker():
            await trial.admit()
            live = await trial.live_rate(enough, sizes.seconds)
            self.tell(f"{live:,.0f} events/s are counted while {enough:,} come")
            waits = {
                name: await self._latency(trial, name, per_second, sizes.seconds)
                for name, per_second in loads(live)
            }
        return BenchFigures(rates, round(live), waits, judgement_micros(self.policy))

    async def _latency(
        self, trial: "BenchTrial", name: str, per_second: float, seconds: int
    ) -> dict[str, Any]:
        measured = await trial.latency(per_second, seconds)
        self.tell(
            f"{name}, {per_second:,.0f} events/s for {seconds} s: half of them counted within "
            f"{measured['p50']} ms, 99 of 100 within {measured['p99']} ms"
        )
        return measured

    async def _throughput(self, case: Case, events: int) -> dict[str, Any]:
        name, array, shape = case
        async with BenchTrial(self, shape) as trial:
            self.tell(f"{name}: sending {events:,} events about {shape.videos:,} videos")
            await trial.send(events, array)
            bare = await trial.bare_loop(events)
            self.tell(f"{name}: bare loop {bare:,.0f} events/s; starting the worker")
            async with trial.worker() as process:
                rates = await trial.until_counted()
                peak = _peak_mib(process.pid)
            verified = await trial.verified()
        self.tell(
            f"{name}: {rates.videos:,.0f} videos/s brought in, then "
            f"{rates.feedback_events:,.0f} events/s; {rates.mixed_events:,.0f} events/s over both; "
            f"{verified['differences']} differences"
        )
        return {
            "videos_per_second": round(rates.videos),
            "feedback_events_per_second": round(rates.feedback_events),
            "events_per_second": round(rates.mixed_events),
            "bare_loop_events_per_second": round(bare),
            "ratio": round(rates.mixed_events / bare, 3),
            "peak_memory_mib": peak,
            **verified,
        }


def measure_recording(settings: Settings, policy: Policy, sizes: Sizes) -> dict[str, Any]:
    """Record a load into a temporary folder, replay it into nothing, and fold it.

    And fold a crowded load, and say what a judgement costs in one.
    """
    measured = _measure_recording(settings, policy, Shape(sizes.videos), sizes.events)
    crowded = _measure_recording(settings, policy, Shape.crowded(sizes.events), sizes.events)
    rates = ("fold_events_per_second", "fold_events_per_core_second")
    return {
        **measured,
        **{f"crowded_{name}": crowded[name] for name in rates},
        "judgement_micros": judgement_micros(policy),
    }


def _measure_recording(
    settings: Settings, policy: Policy, shape: Shape, events: int
) -> dict[str, int]:
    signer = Signer("bench", SigningKey.fresh())
    load = Load("interactions", PARTITIONS, shape=shape, policy=policy)
    now_ms = _now_ms()
    made = chain(load.admissions(signer, now_ms), load.feedback(events, 1, now_ms))
    batches = ((partition, records) for partition, records, _ in made)
    public = (signer.key.public,)
    installation = Installation(signer.installation, public, public, fresh=True)
    rules = Rules(settings.generation_records, settings.record_bytes)
    with tempfile.TemporaryDirectory() as folder:
        source = recording_bench.RecordingLoad(batches, events, "interactions", PARTITIONS)
        source = source._replace(installation=installation)
        return recording_bench.measure(source, rules, Path(folder) / "recording")


def circumstances() -> dict[str, Any]:
    """Return what a figure is worth nothing without: the machine and the command."""
    python = sys.version.split()[0]
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {python}",
        "command": "streams " + " ".join(sys.argv[1:]),
    }


class BenchTrial:
    """Topics, counters and a worker process of one run, gone afterwards."""

    def __init__(self, bench: Bench, shape: Shape) -> None:
        prefix = f"bench-{secrets.token_hex(4)}."
        self._drivers = bench.drivers
        self.prefix = prefix
        self._settings = msgspec.structs.replace(
            bench.settings, topic_prefix=prefix, partitions=PARTITIONS, group=prefix
        )
        self._folder = bench.folder
        self._policy = bench.policy
        self._key = SigningKey.fresh()
        self._installation: Installation
        self._topic = self._settings.topic("interactions")
        self._load = Load(self._topic, PARTITIONS, shape=shape, policy=bench.policy)
        self._cluster = bench.drivers.cluster
        self._stack = AsyncExitStack()
        self._store: Store
        self._log: BenchLog

    async def __aenter__(self) -> Self:
        self._store = await self._stack.enter_async_context(self._drivers.store())
        await self._store.check()
        for partition in range(PARTITIONS):
            if await self._store.watermark(partition) is not None:
                raise Halt(
                    "this Redis holds counters: name an empty database, e.g. "
                    "--redis redis://localhost:6379/9"
                )
        for topic in wanted_topics(self._settings):
            await self._cluster.create(topic.name, topic.partitions, 1, topic.configs)
        async with self._drivers.reader() as reader, self._drivers.producer() as producer:
            self._installation = await make_installation(
                reader, producer, self._settings, self._key.public
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._erase()
        await self._stack.aclose()
        for topic in wanted_topics(self._settings):
            with suppress(StreamsError):
                await self._cluster.delete(topic.name)

    @property
    def topic(self) -> str:
        """The log's full name."""
        return self._topic

    @property
    def admitted(self) -> Mapping[int, int]:
        """How many control records stand before the feedback, by partition."""
        return self._log.admissions

    async def _erase(self) -> None:
        for partition in range(PARTITIONS):
            await self._store.erase(partition)
        async with self._drivers.index() as index:
            for slice_id in self._policy.slices:
                await index.clear(slice_id)

    async def forget(self) -> None:
        """Erase the counters and take another group: the next worker counts the log anew."""
        await self._erase()
        group = f"{self.prefix}{secrets.token_hex(4)}"
        self._settings = msgspec.structs.replace(self._settings, group=group)

    async def send(self, events: int, array: int) -> None:
        """Write admissions and `events` events, and wait until the broker has them."""
        now_ms = _now_ms()
        async with self._drivers.producer() as producer:
            await self._write_admissions(producer, now_ms)
            admitted = await self._ends()
            for partition, records, _ in self._load.feedback(events, array, now_ms):
                await (await producer.send_batch(self._topic, partition, records))
        feedback = {p: end - admitted[p] for p, end in (await self._ends()).items()}
        self._log = BenchLog(admitted, feedback, self._load.videos, events)

    async def _write_admissions(self, producer: BatchSink, now_ms: int) -> None:
        for partition, records, _ in self._load.admissions(self._signer(), now_ms):
            await (await producer.send_batch(self._topic, partition, records))

    def _signer(self) -> Signer:
        return signer_of(self._installation, self._key)

    async def bare_loop(self, events: int) -> float:
        """Return events a second of reading and decoding alone, in this process."""
        gc.collect()
        async with self._drivers.reader() as reader:
            reader.assign({(self._topic, partition): 0 for partition in range(PARTITIONS)})
            seen = 0
            began = time.perf_counter()
            while seen < events:
                for records in (await reader.fetch(1_000, 4_000)).values():
                    seen += len(decode_log(records, None, Spelling(1 << 20)).events)
            return seen / (time.perf_counter() - began)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator["subprocess.Popen[bytes]"]:
        """Run `streams worker --only feedback` as a process of its own."""
        command = [sys.executable, "-m", "streams", "worker", "--only", "feedback"]
        command += ["--metrics-port", "0", "--config", str(self._folder)]
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own command
            command, env=environment_of(self._settings), stderr=subprocess.PIPE
        )
        try:
            yield process
        finally:
            process.terminate()
            _, errors = await asyncio.to_thread(process.communicate, timeout=STOP_S)
            if process.returncode:
                raise Halt(f"the worker failed: {errors.decode().strip().splitlines()[-1:]}")

    async def until_counted(self) -> CountedRates:
        """Return how fast was counted what was sent, from the first stored watermark on."""
        return rates_of(await self.timeline(), self._log)

    async def timeline(self) -> Timeline:
        """Return when each partition's stored watermark moved, once all of the log is counted."""
        return await self._watch(self._ends())

    async def verified(self) -> dict[str, int]:
        """Count the log a second time and compare."""
        identity = await self._cluster.identity(self._topic)
        namespace = namespace_of(identity, self._installation.id)
        async with self._drivers.reader() as reader:
            found = await verify(
                reader,
                self._store,
                identity,
                namespace,
                Verifier(self._settings, self._installation, Spelling(self._settings.record_bytes)),
            )
        return {"counters_checked": found.checked, "differences": found.differences}

    async def admit(self) -> None:
        """Write the admissions, and wait until they are counted and feeds were told of them."""
        async with self._drivers.producer() as producer:
            await self._write_admissions(producer, _now_ms())
        await self._watch(self._ends())
        marks = await self._watermarks()
        async with self._drivers.index() as index:
            for slice_id in self._policy.slices:
                while await index.positions(slice_id) != marks:  # noqa: ASYNC110
                    await asyncio.sleep(TELL_S)

    async def live_rate(self, per_second: float, seconds: int) -> float:
        """Send so many events a second and return how many were counted a second meanwhile."""
        sent, counted, _ = await self._paced(per_second, seconds)
        return counted_while_sent(sent, counted)

    async def latency(self, per_second: float, seconds: int) -> dict[str, Any]:
        """Send so many events a second and return how long they took to reach their counters."""
        sent, counted, behind_s = await self._paced(per_second, seconds)
        waits = waited(sent, counted, behind_s)
        return {"events_per_second": round(per_second), "seconds": seconds, **waits}

    async def _paced(self, per_second: float, seconds: int) -> tuple[list[Sent], Timeline, float]:
        """Send so many events a second; return them, what was counted when, and the worst delay."""
        beat = Beat.of(per_second)
        made = [
            list(self._load.feedback(beat.events, 1, _now_ms()))
            for _ in range(round(seconds / beat.apart_s))
        ]
        sent_all: asyncio.Future[Mapping[int, int]] = asyncio.get_running_loop().create_future()
        watching = asyncio.create_task(self._watch(sent_all, beat.poll_s))
        before = await self._ends()
        ends = [before[partition] for partition in range(PARTITIONS)]
        async with self._drivers.producer() as producer:
            sent, behind_s = await send_paced(producer, self._topic, made, beat.apart_s, ends)
        sent_all.set_result(await self._ends())
        return sent, await watching, behind_s

    async def _watch(self, ends: Awaitable[Mapping[int, int]], poll_s: float = POLL_S) -> Timeline:
        """Note when each partition's stored watermark moved, until all reach the log's ends."""
        timeline: Timeline = {partition: [] for partition in range(PARTITIONS)}
        reached = asyncio.ensure_future(ends)
        began = time.perf_counter()
        while True:
            marks = await self._watermarks()
            now = time.perf_counter()
            for partition, mark in marks.items():
                if not timeline[partition] or timeline[partition][-1][0] != mark:
                    timeline[partition].append((mark, now))
            if reached.done() and all(marks[p] + 1 >= end for p, end in reached.result().items()):
                return timeline
            if now - began > JOIN_S and max(marks.values()) < 0:
                raise Halt(f"the worker stored nothing for {JOIN_S:.0f} s")
            await asyncio.sleep(poll_s)

    async def _watermarks(self) -> Mapping[int, int]:
        marks = [await self._store.watermark(partition) for partition in range(PARTITIONS)]
        return {p: -1 if mark is None else mark for p, mark in enumerate(marks)}

    async def _ends(self) -> dict[int, int]:
        async with self._drivers.reader() as reader:
            bounds = await reader.offsets(self._topic, range(PARTITIONS))
        return {partition: at.end for partition, at in bounds.items()}


def _now_ms() -> int:
    return int(time.time() * 1000)


def _peak_mib(pid: int) -> int:
    """Return the largest resident memory that a process had."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024

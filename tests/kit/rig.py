"""Real servers and worker processes: start, load, hurt, wait, verify.

A `Rig` is one set of topics, one consumer group and one Redis, with the worker processes on them.
"""

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from kit.events import Logged
from kit.forks import Forked, run
from kit.keys import INSTALLATION, announce, key_file
from kit.patience import PATIENCE_S
from kit.redises import client_of
from kit.servers import create_topics
from streams.runtime.installation import Installation
from streams.runtime.ports import Record
from streams.settings import Settings, load_settings

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "config"
SESSION_MS: Final = 3_000
USUAL: Final = {"max.message.bytes": "1114112", "retention.ms": "-1"}
TABLE: Final = {"cleanup.policy": "compact", "max.message.bytes": "1114112"}
TABLES: Final = ("policies", "mix", "ledger")
"""Of one partition."""
TOPICS: Final = ("uploads", "recognitions", "reviews", "interactions", "decisions", "traffic")


class Rig:
    """Topics, group and Redis of one test; `changes` are settings for its worker processes."""

    def __init__(
        self, brokers: str, redis_url: str, prefix: str, partitions: int = 4, **changes: object
    ) -> None:
        self.brokers = brokers
        self.redis_url = redis_url
        self.prefix = f"{prefix}."
        self.partitions = partitions
        self.log = f"{self.prefix}interactions"
        self.decisions = f"{self.prefix}decisions"
        self.letters = f"{self.prefix}interactions.dlq"
        self.workers: list[WorkerProcess] = []
        self.changes = changes

    def create_topics(
        self,
        installation: Installation = INSTALLATION,
        without: Collection[str] = (),
        **configs: Mapping[str, str],
    ) -> None:
        """Create every topic that a worker asks for, some left out; `configs` by plain name."""
        topics = {
            f"{self.prefix}{name}{end}": {**USUAL, **configs.get(name, {})}
            for name in TOPICS
            for end in ("", ".dlq")
            if name + end not in without
        }
        create_topics(self.brokers, topics, self.partitions)
        create_topics(self.brokers, {f"{self.prefix}waiting": TABLE}, self.partitions)
        create_topics(
            self.brokers,
            {f"{self.prefix}{name}": TABLE for name in TABLES},
            1,
        )
        for name in ("dossiers", "archive"):
            create_topics(self.brokers, {f"{self.prefix}{name}": TABLE}, self.partitions)
        announce(self.brokers, self.settings, installation)

    @property
    def settings(self) -> Settings:
        """The settings of its commands, so far as they name topics."""
        return load_settings(CONFIG, {"topic_prefix": self.prefix}, {})

    def environment(self, **changes: object) -> dict[str, str]:
        """Return the environment of our commands."""
        settings: dict[str, object] = {
            "brokers": self.brokers,
            "redis": self.redis_url,
            "group": f"{self.prefix}workers",
            "topic_prefix": self.prefix,
            "partitions": self.partitions,
            "session_timeout_ms": SESSION_MS,
            "flush_interval_ms": 50,
            "audit_interval_ms": 500,
            "metrics_port": 0,
            "signing_key_file": key_file(),
            "config": CONFIG,
            **self.changes,
            **changes,
        }
        said = {f"STREAMS_{name.upper()}": str(value) for name, value in settings.items()}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("STREAMS_")}
        return inherited | {k: v for k, v in said.items() if v}

    def worker(
        self, *options: str, only: str | None = "feedback", **changes: object
    ) -> "WorkerProcess":
        """Start another worker: its feedback half alone, or with None both halves."""
        worker = WorkerProcess(self.environment(**changes), only, options)
        self.workers.append(worker)
        return worker

    def run(
        self,
        *arguments: str,
        said: str | None = None,
        patience_s: float = PATIENCE_S,
        **changes: object,
    ) -> "subprocess.CompletedProcess[str]":
        """Run one of our commands to its end; `said` is its standard input."""
        env = self.environment(**changes)
        return run(
            ["streams", *arguments], stdin=said or "", env=env, cwd=ROOT, timeout_s=patience_s
        )

    def verified(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return what `streams counters verify` finds."""
        done = self.run("counters", "verify", "--output", "json", patience_s=patience_s)
        assert done.returncode in (0, 3), done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def assert_exact(self, patience_s: float = PATIENCE_S) -> None:
        """Fail unless there are counters and each is that of the log."""
        found = self.verified(patience_s)
        assert found["differences"] == 0, found["examples"]
        assert found["checked"] > 0

    def watermarks(self) -> dict[int, int]:
        """Return the stored watermark of each partition that has one."""
        with client_of(self.redis_url) as client:
            stored = {p: client.hget(f"s:{{{p}}}:meta", "watermark") for p in self.all_partitions()}
        return {p: int(at) for p, at in stored.items() if at is not None}

    def all_partitions(self) -> range:
        """Return the partition numbers."""
        return range(self.partitions)

    async def ends(self, topic: str) -> dict[int, int]:
        """Return the next offset of each partition of a topic."""
        client = AIOKafkaConsumer(bootstrap_servers=self.brokers)
        await client.start()
        try:
            at = [TopicPartition(topic, p) for p in self.all_partitions()]
            ends = await client.end_offsets(at)
        finally:
            await client.stop()
        return {place.partition: end for place, end in ends.items()}

    async def caught_up(
        self, without: Iterable[int] = (), patience_s: float = PATIENCE_S, gap: int = 0
    ) -> None:
        """Return when every watermark is at the end of its partition's log.

        `gap` offsets at the end may hold no record: markers of transactions.
        """
        ends = await self.ends(self.log)
        wanted = {p: end - 1 - gap for p, end in ends.items() if end and p not in set(without)}
        await self.until(
            lambda: all(self.watermarks().get(p, -1) >= at for p, at in wanted.items()),
            lambda: f"watermarks {self.watermarks()}, wanted {wanted}; {self.logs()}",
            patience_s,
        )

    async def until(
        self, holds: Callable[[], bool], told: Callable[[], str], patience_s: float = PATIENCE_S
    ) -> None:
        """Return when `holds()` does; fail with what `told()` says when patience ends."""
        deadline = time.monotonic() + patience_s
        while not holds():
            assert time.monotonic() < deadline, told()
            await asyncio.sleep(0.05)

    def logs(self) -> str:
        """Return the last lines that each worker wrote."""
        return " | ".join(f"{worker.pid}: {worker.said()[-600:]}" for worker in self.workers)

    async def read(self, topic: str) -> list[Record]:
        """Return every committed record of a topic, partition by partition."""
        ends = {partition: end for partition, end in (await self.ends(topic)).items() if end}
        if not ends:
            return []
        client = AIOKafkaConsumer(
            bootstrap_servers=self.brokers,
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
        await client.start()
        found: list[Record] = []
        try:
            for partition, end in ends.items():
                place = TopicPartition(topic, partition)
                client.assign([place])
                client.seek(place, 0)
                while await client.position(place) < end:
                    batches = await client.getmany(timeout_ms=200)
                    found += batches.get(place, [])
        finally:
            await client.stop()
        return found

    async def receipts(self) -> dict[str, list[bytes]]:
        """Return the spellings of each decision by id: one each, if all is well."""
        told: dict[str, list[bytes]] = {}
        for record in await self.read(self.decisions):
            value = record.value or b""
            spellings = told.setdefault(json.loads(value)["id"], [])
            if value not in spellings:
                spellings.append(value)
        return told

    async def assert_every_decision_once(self) -> None:
        """Fail if one id has two spellings, or if a video's numbers have a hole."""
        told = await self.receipts()
        assert told
        assert all(len(spellings) == 1 for spellings in told.values())
        numbers: dict[str, list[int]] = {}
        for (value,) in told.values():
            receipt = json.loads(value)
            numbers.setdefault(receipt["video"], []).append(receipt["n"])
        for video, counted in numbers.items():
            assert sorted(counted) == list(range(1, len(counted) + 1)), video

    def stop(self) -> None:
        """End every worker process that still runs."""
        for worker in self.workers:
            worker.kill()


class WorkerProcess:
    """`streams worker` as a process of its own."""

    def __init__(
        self, environment: Mapping[str, str], only: str | None, options: Sequence[str] = ()
    ) -> None:
        half = [] if only is None else ["--only", only]
        folder = Path(tempfile.gettempdir())
        self._output = folder / f"streams-worker-{os.getpid()}-{time.monotonic_ns()}.log"
        with self._output.open("wb") as output, Path(os.devnull).open() as read:
            self._process = Forked(
                ["streams", "worker", *half, *options],
                env=environment,
                cwd=ROOT,
                files=(read, output, output),
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def said(self) -> str:
        """Return everything that it wrote."""
        return self._output.read_text("utf-8", "replace") if self._output.exists() else ""

    async def says(self, text: str, patience_s: float = PATIENCE_S) -> None:
        """Return when it has written `text`."""
        deadline = time.monotonic() + patience_s
        while text not in self.said():
            assert self.alive, f"ended with {self._process.poll()}: {self.said()[-2_000:]}"
            assert time.monotonic() < deadline, f"never said {text!r}: {self.said()[-2_000:]}"
            await asyncio.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a fault, and forget what it wrote."""
        if self.alive:
            self._process.kill()
        self._process.wait()
        self._output.unlink(missing_ok=True)

    async def stopped(self, patience_s: float = PATIENCE_S) -> int:
        """Return its exit code once it has ended by itself."""
        deadline = time.monotonic() + patience_s
        while self.alive:
            assert time.monotonic() < deadline, f"still runs: {self.said()[-2_000:]}"
            await asyncio.sleep(0.02)
        return self._process.wait()

    async def terminate(self, patience_s: float = PATIENCE_S) -> int:
        """Ask it to stop (SIGTERM) and return its exit code."""
        self.send(signal.SIGTERM)
        return await self.stopped(patience_s)


class Feed:
    """Writes logs of `kit.events.synthetic_log` to the topic, by and by or all at once."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.partitions = rig.partitions
        self._producer = AIOKafkaProducer(
            bootstrap_servers=rig.brokers, acks="all", max_request_size=64 << 20
        )
        self.sent = 0

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def send(self, records: Sequence[Logged]) -> None:
        """Write records to their own partitions in their order; return when all are there."""
        acks = [
            await self._producer.send(
                self._rig.log,
                value=one.value,
                key=one.key,
                partition=one.partition,
                timestamp_ms=one.timestamp,
                headers=list(one.headers),
            )
            for one in records
        ]
        await asyncio.gather(*acks)
        self.sent += len(records)

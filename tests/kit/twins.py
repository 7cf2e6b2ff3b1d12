"""The feedback worker over the twins in memory: a world that outlives its workers.

`World` is brokers and store; a `Life` is one worker in it that can die between any two of its
side effects. Its clock moves by itself, so nothing waits for time.
"""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kit import patience
from kit.events import Logged
from kit.keys import INSTALLATION, SIGNER
from streams.core.state import Meta
from streams.core.traffic import decode as decode_tick
from streams.ops.compared import Verification
from streams.ops.snapshots import SnapshotFolder
from streams.ops.snapshotting import Snapshots, Snapshotter
from streams.ops.verify import CountedLog, Verifier, verify
from streams.runtime.archive import Archive
from streams.runtime.archiving import Archiving
from streams.runtime.codec import Spelling
from streams.runtime.installation import Installation
from streams.runtime.ledger import Skips, read_ledger
from streams.runtime.letters import read_letter
from streams.runtime.memory import (
    MemoryConsumer,
    MemoryLog,
    MemoryProducer,
    MemoryReader,
    MemoryStore,
)
from streams.runtime.metrics import Metrics
from streams.runtime.namespace import namespace_of
from streams.runtime.ports import Clock, Outgoing, Producer, Record, Store
from streams.runtime.serving import Indexing
from streams.runtime.signing import Signer
from streams.runtime.skipping import SkippingReader
from streams.runtime.surroundings import Surroundings
from streams.runtime.whole import WholeStore
from streams.runtime.worker import Worker
from streams.settings import Secret, Settings, load_settings

CONFIG: Final = Path(__file__).parents[2] / "config"
LOG: Final = "interactions"
PATIENCE_S: Final = float(os.environ.get("STREAMS_TEST_PATIENCE_S", patience.PATIENCE_S))
"""How long a world in memory may take; a shorter one suits those who know that it hangs."""


def settings_of(**changes: object) -> Settings:
    """Return the shipped settings with some changed, whatever the environment says."""
    return load_settings(CONFIG, changes, {})


class World:
    """Brokers and store in memory, and what came of a log in them."""

    def __init__(
        self,
        partitions: int = 1,
        *,
        installation: Installation = INSTALLATION,
        secret: bytes | None = None,
        **changes: object,
    ) -> None:
        self.installation = installation
        self.secret: Final = secret
        quick: dict[str, object] = {"flush_interval_ms": 1, "audit_interval_ms": 1_000}
        self.settings = settings_of(partitions=partitions, **(quick | changes))
        self.partitions: Final = partitions
        self.log: Final = MemoryLog(now_ms=lambda: 1_700_000_000_000)
        self.store = MemoryStore()
        for topic in (LOG, "decisions", "traffic", "waiting", "archive", f"{LOG}.dlq"):
            self.log.create(topic, partitions)
        self.log.create("ledger", 1)
        self.ledger = Skips()

    def whole(self, store: MemoryStore) -> WholeStore:
        """Return a store of this world together with its archive."""
        return WholeStore(store, Archive("archive", lambda: MemoryReader(self.log)))

    def put(self, records: Iterable[Logged]) -> None:
        """Write records to the log at their own offsets."""
        self.log.restore(records)

    @property
    def namespace(self) -> str:
        """Namespace of the counters that workers of this world keep."""
        return namespace_of(self.log.identity(LOG), self.installation.id)

    def end(self, partition: int = 0) -> int:
        """Return the offset of a partition's last record, -1 without any."""
        records = self.log.records(LOG, partition)
        return records[-1].offset if records else -1

    def watermark(self, partition: int = 0) -> int:
        """Return the stored watermark, -1 before any."""
        stored = self.store.partitions.get(partition)
        return -1 if stored is None else stored.watermark

    def caught_up(self) -> bool:
        """Tell whether everything in the log is stored."""
        return all(self.watermark(p) >= self.end(p) for p in range(self.partitions))

    def sent(self, topic: str) -> list[Record]:
        """Return every record of a topic, partition by partition."""
        return [r for p in range(self.partitions) for r in self.log.records(topic, p)]

    def receipts(self) -> list[bytes]:
        """Return the decisions, repeats dropped; a repeat must have the bytes of the first."""
        first: dict[tuple[bytes | None, bytes], bytes] = {}
        for record in self.sent("decisions"):
            value = record.value or b""
            key = (record.key, value.split(b",")[1])
            assert first.setdefault(key, value) == value, "one id, two decisions"
        return list(first.values())

    def ticks(self) -> list[bytes]:
        """Return the minutes of traffic, repeats dropped; a repeat must have the same bytes."""
        first: dict[str, bytes] = {}
        for record in self.sent("traffic"):
            value = record.value or b""
            tick = decode_tick(value)
            assert (record.key, record.partition) == (b"%d" % tick.partition, tick.partition)
            assert first.setdefault(tick.id, value) == value, "one id, two minutes"
        return list(first.values())

    def letters(self) -> list[tuple[int, int, str]]:
        """Return offset, element and reason of every refusal, repeats dropped, in order."""
        return sorted({one for letter in self.sent(f"{LOG}.dlq") for one in refusals_in(letter)})

    def meta(self, partition: int = 0) -> Meta:
        """Return the stored meta."""
        return self.store.partitions[partition].meta

    def rows(self) -> list[Mapping[str, Mapping[str, bytes]]]:
        """Return every stored row by partition."""
        return [self.store.partitions[p].rows for p in sorted(self.store.partitions)]

    def outcome(self) -> tuple[object, ...]:
        """Return all that must not depend on anything but the log."""
        digests = [self.store.partitions[p].meta.digest for p in sorted(self.store.partitions)]
        return self.receipts(), self.ticks(), self.letters(), digests, self.rows()

    def counted_log(self, snapshots: Path | None = None) -> CountedLog:
        """Return the log and what is counted of it, with the snapshots of a folder."""
        identity = self.log.identity(LOG)
        folder = None
        if snapshots is not None:
            folder = SnapshotFolder(snapshots, identity, self.installation)
        spelling = Spelling(1 << 20, self.secret)
        tools = Verifier(self.settings, self.installation, spelling, folder, ledger=self.ledger)
        reader = SkippingReader(MemoryReader(self.log), LOG, self.ledger)
        return CountedLog(reader, self.whole(self.store), identity, self.namespace, tools)

    async def read_ledger(self) -> Skips:
        """Return what is skipped, and let whoever counts again know it too."""
        reader = MemoryReader(self.log)
        self.ledger = await read_ledger(reader, self.settings, self.installation)
        return self.ledger

    async def verified(self, snapshots: Path | None = None) -> Verification:
        """Count the log a second time and compare."""
        return await verify(*self.counted_log(snapshots))

    async def snapshot(self, folder: Path, signer: Signer = SIGNER, at_ms: int = 0) -> Snapshots:
        """Make the next snapshots, in a folder."""
        log = self.counted_log(folder)
        assert log.tools.snapshots is not None
        return await Snapshotter(log, log.tools.snapshots, signer, lambda: at_ms).take()

    async def is_exact(self) -> bool:
        """Tell whether everything is counted and every counter is that of the recount."""
        found = await self.verified()
        assert not found.differences, found.examples
        return self.caught_up() and found.checked > 0


def refusals_in(letter: Record) -> list[tuple[int, int, str]]:
    """Return offset, element and reason of each refusal that a letter lists."""
    read = read_letter(letter)
    assert read is not None
    return [(read.offset, listed.element, listed.reason) for listed in read.refusals]


class Dead:
    """What a worker calls, until it is dead: then every call waits for ever.

    `dies_at` counts steps: one before and one after each call that leaves the process.
    """

    def __init__(self, dies_at: int | None) -> None:
        self.steps = 0
        self.dies_at = dies_at
        self.now = asyncio.Event()

    async def step(self) -> None:
        """Take one step; never return from the last one."""
        self.steps += 1
        if self.dies_at is not None and self.steps >= self.dies_at:
            self.now.set()
        if self.now.is_set():
            await asyncio.Event().wait()

    async def call(self, made: Awaitable[Any]) -> Any:
        """Make a call between two steps."""
        try:
            await self.step()
        except asyncio.CancelledError:
            if asyncio.iscoroutine(made):
                made.close()
            raise
        result = await made
        await self.step()
        return result


_STEPS: Final = frozenset(
    ("meta", "watermark", "load", "scan", "flush", "check", "parts", "load_part", "change_parts")
)


class MortalStore(MemoryStore):
    """Another worker's view of a world's store."""

    def __init__(self, store: MemoryStore, dead: Dead) -> None:
        self._store = store
        self._dead = dead

    def __getattribute__(self, name: str) -> Any:
        if name in _STEPS:
            called = getattr(object.__getattribute__(self, "_store"), name)
            dead: Dead = object.__getattribute__(self, "_dead")
            return lambda *arguments: dead.call(called(*arguments))
        if name in {"note_halt", "halts", "pages", "pointers"}:  # no step: nothing hangs on them
            return getattr(object.__getattribute__(self, "_store"), name)
        return object.__getattribute__(self, name)


class MortalProducer(MemoryProducer):
    """A producer whose sends and acknowledgements are steps."""

    def __init__(self, log: MemoryLog, dead: Dead) -> None:
        super().__init__(log)
        self._dead = dead

    async def send(self, record: Outgoing) -> Awaitable[None]:
        """Write a record, unless dead."""
        acknowledged: Awaitable[None] = await self._dead.call(super().send(record))
        return acknowledged


class MortalConsumer(MemoryConsumer):
    """A consumer whose fetches and commits are steps; hands out `batch` records at most."""

    def __init__(self, log: MemoryLog, group: str, dead: Dead, batch: int) -> None:
        super().__init__(log, LOG, group)
        self._dead = dead
        self._batch = batch

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[int, Sequence[Record]]:
        """Return the next records, unless dead; an idle log costs no time."""
        batches: Mapping[int, Sequence[Record]] = await self._dead.call(
            super().fetch(min(timeout_ms, 1), min(self._batch, max_records))
        )
        return batches

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Commit, unless dead."""
        await self._dead.call(super().commit(positions))


class Life:
    """One worker in a world, from its start to its stop or its death."""

    def __init__(
        self,
        world: World,
        *,
        batch: int = 4_000,
        dies_at: int | None = None,
        group: str = "workers",
        store: Store | None = None,
        producer: Producer | None = None,
        consumer: type[MortalConsumer] = MortalConsumer,
        clock: Clock | None = None,
        indexing: Indexing | None = None,
        quiet_ms: int | None = None,
        archived_bytes: int = 1 << 20,
    ) -> None:
        self.world = world
        self.dead = Dead(dies_at)
        ticks = itertools.count()
        self.consumer = consumer(world.log, group, self.dead, batch)
        self.producer = MortalProducer(world.log, self.dead)
        self.metrics = Metrics()
        whole = world.whole(MortalStore(world.store, self.dead))
        around = Surroundings(
            producer or self.producer,
            store or whole,
            world.settings,
            world.installation,
            Secret(world.secret.decode()) if world.secret else None,
            metrics=self.metrics,
            clock=clock or (lambda: next(ticks) * 0.01),
            indexing=indexing,
            read_ledger=world.read_ledger,
            archiving=None
            if quiet_ms is None
            else Archiving(
                whole.bare, self.producer, "archive", quiet_ms, archived_bytes, every_s=0.0
            ),
        )
        self.worker = Worker(self.consumer, around)
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> "Life":
        """Start the worker and let it run beside the test."""
        await self.worker.start()
        self.task = asyncio.create_task(self.worker.run())
        return self

    async def until(self, holds: Any) -> None:
        """Return when `holds()` does, at once if the worker ended or died."""
        assert self.task is not None
        async with asyncio.timeout(PATIENCE_S):
            while not (holds() or self.task.done() or self.dead.now.is_set()):  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def stop(self) -> None:
        """Stop the worker in good order; raise what it raised."""
        assert self.task is not None
        self.worker.stop()
        await self.task

    async def live(self) -> bool:
        """Count all that is there, unless it dies; bury it, and return whether it died."""
        starting = asyncio.create_task(self.start())
        dying = asyncio.create_task(self.dead.now.wait())
        await asyncio.wait([starting, dying], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await self.until(self.world.caught_up)
        died = self.dead.now.is_set()
        await self.bury()
        return died

    async def bury(self) -> None:
        """End a dead worker's tasks without a further effect, and take it out of its group."""
        self.dead.now.set()
        mine = asyncio.all_tasks() - {asyncio.current_task()}
        while any(not task.done() for task in mine):
            for task in mine:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*mine, return_exceptions=True)
        await self.consumer.stop()


async def counted(world: World, **life: Any) -> World:
    """Let one worker count the whole log and stop."""
    worker = await Life(world, **life).start()
    await worker.until(world.caught_up)
    await worker.stop()
    return world


async def counted_with_a_death(world: World, dies_at: int, **life: Any) -> bool:
    """Let a worker die at a step and another one finish; return whether it came to that step."""
    first = Life(world, dies_at=dies_at, **life)
    died = await first.live()
    await counted(world, **life)
    return died

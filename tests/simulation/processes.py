"""What runs in a life: workers, control planes and feed servers, each the real one on twins."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Literal, cast

from kit.control import RULES
from kit.events import COOKING, FANS, FIXED, FOOTBALL, SHENYANG
from kit.keys import INSTALLATION, KEY
from kit.twins import CONFIG, LOG, settings_of
from msgspec.structs import replace as with_fields
from simulation.brokers import Brokers, Member, WiredProducer, WiredReader
from simulation.machines import Machine, Wire
from simulation.viewers import deeds

from streams.client.leases import Leased, Leases, impression
from streams.control.admission.acknowledged import FellBack
from streams.control.admission.register import TOPICS
from streams.control.agents import Handler
from streams.control.app import ControlPlane
from streams.control.log import Ports
from streams.control.metrics import ControlMetrics
from streams.control.policy.file import GuaranteeBound, versioned
from streams.control.rules import RulesInForce
from streams.core.events import Impression, InteractionRecord
from streams.core.generations import read_generations
from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import Retry
from streams.runtime.archive import Archive
from streams.runtime.archiving import Archiving
from streams.runtime.kafka import background
from streams.runtime.memory import (
    MemoryCluster,
    MemoryDossiers,
    MemoryLog,
    MemoryServingIndex,
    MemoryStore,
)
from streams.runtime.memory.store import StoredPartition
from streams.runtime.metrics import Metrics
from streams.runtime.namespace import namespace_of
from streams.runtime.part_store import PartGuard, PartsChange, StoredPart
from streams.runtime.ports import DossierChange, Move, Outgoing, Place
from streams.runtime.refilling import Page
from streams.runtime.rows import StoredRows
from streams.runtime.serving import Indexing
from streams.runtime.signing import encode
from streams.runtime.surroundings import Surroundings
from streams.runtime.whole import WholeStore
from streams.runtime.worker import Worker
from streams.settings import Settings

PARTITIONS: Final = 3
SLICES: Final = (FOOTBALL, COOKING, SHENYANG, FANS)
HANDLED_AT_ONCE: Final = 200
PAGE: Final = 6
"""Slots of one viewer's page."""
FULL: Final = 20
BEYOND: Final = 5
"""Impressions guaranteed to the first video of a creator's day, and to the others."""
SHOWN_EVERY_S: Final = 0.4
ALL_QUIET_MS: Final = -10 * 3_600_000
"""A life lasts seconds: what did not change since the sweep before is quiet."""


@cache
def settings() -> Settings:
    """Return the settings of every life."""
    return settings_of(
        partitions=PARTITIONS,
        flush_interval_ms=300,
        audit_interval_ms=2_000,
        generation_records=12,
        videos_in_memory=2,
        flush_rows=60,
    )


@cache
def rules(number: int = 0) -> RulesInForce:
    """Return the rules of `config/` with a policy of few slices; each number is another policy."""
    few = {name: FIXED.slices[name] for name in SLICES}
    drawn = {"fresh_share": 300_000 + number, "explore_probability": 300_000}
    used = {"nearly_used": 700_000} if number else {}
    draft = versioned(with_fields(FIXED, id="", seq=0, ts=0, slices=few, **drawn, **used))
    draft = with_fields(draft, files=draft.version)
    owed: dict[str, Any] = {"guarantee": FULL, "bound": GuaranteeBound(1, BEYOND)}
    policy, tools = replace(RULES.policy, draft=draft, **owed), replace(RULES.tools, **owed)
    return replace(RULES, policy=policy, tools=tools)


class WatchedDossiers(MemoryDossiers):
    """Takes note of a document that is written over a later one, even if somebody mends it."""

    def __init__(self) -> None:
        super().__init__()
        self.flaws: Final[list[str]] = []

    async def put(
        self,
        partition: int,
        log: str,
        changes: Sequence[DossierChange],
        moves: Mapping[str, Move],
    ) -> Literal["ok", "conflict", "behind"]:
        """Write documents and positions, all or nothing."""
        before = dict(self.shelves[partition].documents)
        result = await super().put(partition, log, changes, moves)
        for change in changes if result == "ok" else ():
            stored, now = before.get(change.video), change.document.revision
            if stored is not None and now < stored.revision:
                self.flaws.append(
                    f"{change.video}: revision {now} is written over {stored.revision}"
                )
        return result


PART_DEEDS: Final = (
    "part stored",
    "part stripped",
    "part dropped",
    "part refused",
    "part loaded",
    "part missing",
)


class WatchedStore(MemoryStore):
    """Sees who stores a part that is of no use any more, or is not the owner.

    One that is missing before others is no flaw: a Redis fell back meanwhile, or two owners took
    turns, and whoever takes the partition over finds the gap and reads the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self.late: Final[list[str]] = []
        self.counts: Final = Counter(dict.fromkeys(PART_DEEDS, 0))

    async def load_part(self, partition: int, start: int) -> StoredPart | None:
        """Return a part; note whether it is there."""
        part = await super().load_part(partition, start)
        self.counts["part missing" if part is None else "part loaded"] += 1
        return part

    async def change_parts(self, partition: int, guard: PartGuard, change: PartsChange) -> bool:
        """Store and drop parts; note what is stored too late."""
        done = await super().change_parts(partition, guard, change)
        self._count(change if done else PartsChange(), refused=not done)
        stored = self.partitions[partition] if done else StoredPartition()
        spans = read_generations(stored.meta.generations, settings().generation_records)
        needed_from = spans.back(max(stored.watermark, 0), REPLAYED_GENERATIONS)
        for start in change.kept if done else ():
            if guard.watermark != stored.watermark >= 0:
                self.late.append(f"partition {partition}: part {start} is stored by no owner")
            if start < needed_from:
                self.late.append(f"partition {partition}: part {start} is stored too late")
        return done

    def _count(self, change: PartsChange, *, refused: bool) -> None:
        counts = map(len, (change.kept, change.bare, change.dropped))
        self.counts.update(dict(zip(PART_DEEDS, (*counts, int(refused)), strict=False)))


class Redis:
    """All that one Redis holds: counters, dossiers and the serving index.

    `fillings` are the times at which somebody began to fill the index from rows. Where it
    `archives`, what did not change for part of a second leaves it.
    """

    def __init__(self, index: MemoryServingIndex, *, archives: bool) -> None:
        self.archives: Final = archives
        self.fillings: Final[list[float]] = []
        self.store: Final = WatchedStore()
        self.dossiers: Final = WatchedDossiers()
        self.index: Final = index


def whole_store(machine: Machine, log: MemoryLog, redis: Redis) -> WholeStore:
    """Return the store and its archive as a process reaches them."""
    bare = cast(Any, Wire(machine, "redis", redis.store, "pages"))
    return WholeStore(bare, Archive("archive", lambda: WiredReader(log, machine)))


# -------------------------------------------------------------------------- workers


class WorkerProcess:
    """A feedback worker with its serving index."""

    def __init__(self, machine: Machine, brokers: Brokers, redis: Redis, metrics: Metrics) -> None:
        clock = machine.net.loop.time
        log = brokers.log
        store = whole_store(machine, log, redis)
        producer = cast(Any, WiredProducer(log, machine))
        quiet = (store.bare, producer, "archive", ALL_QUIET_MS, settings().record_bytes, clock, 0.2)
        index: Any = Wire(machine, "index", redis.index, "pairs")
        namespace = namespace_of(log.identity(LOG), INSTALLATION.id)
        rows = StoredRows(store, namespace, PARTITIONS)

        def rows_of(partition: int, slice_id: str | None) -> AsyncIterator[Page]:
            redis.fillings.append(clock())
            return rows.tell(partition, slice_id)

        self.indexing: Final = Indexing(index, metrics, rows_of, clock)
        around = Surroundings(
            producer,
            store,
            settings(),
            INSTALLATION,
            metrics=metrics,
            clock=clock,
            indexing=self.indexing,
            archiving=Archiving(*quiet) if redis.archives else None,
        )
        member = Member(brokers, machine, LOG, settings().group)
        self.worker: Final = Worker(member, around)

    async def run(self) -> None:
        """Run until it is told to stop."""
        await self.worker.start()
        await self.worker.run()

    async def stop(self) -> None:
        """Ask it to stop in good order."""
        self.worker.stop()

    def sweep(self) -> None:
        """Let the hours pass after which it fills the index again."""
        for owned in self.indexing._owned.values():
            owned.swept_at = float("-inf")


# -------------------------------------------------------------------------- control planes


class Reading:
    """What Faust does for a control plane: it reads, hands over, and commits what is done."""

    def __init__(
        self,
        brokers: Brokers,
        machine: Machine,
        handlers: Mapping[str, Handler],
        positions: Callable[[], Any],
    ) -> None:
        self.ended: str | None = None
        self._machine: Final = machine
        self._handlers: Final = handlers
        self._positions: Final = positions
        self._members: Final = {
            name: Member(brokers, machine, name, settings().control_group) for name in handlers
        }
        self._tasks: Final[list[asyncio.Task[None]]] = []

    async def start(self) -> None:
        for name, member in self._members.items():
            await member.start(_Seeking(self, name, member))
            self._tasks.append(asyncio.create_task(self._read(name, member)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for member in self._members.values():
            await member.stop()

    def seek_soon(self, name: str, member: Member, partitions: Sequence[int]) -> None:
        """Find out from where to read, beside the rebalance."""
        self._tasks.append(asyncio.create_task(self._seek(name, member, partitions)))

    async def _seek(self, name: str, member: Member, partitions: Sequence[int]) -> None:
        try:
            positions: Mapping[Place, int] = await self._positions()
            committed = {p: await member.committed(p) or 0 for p in partitions}
        except (Retry, FellBack) as error:
            self.ended = f"it does not know where to read: {error}"
            return
        member.seek({p: positions.get((name, p), committed[p]) for p in partitions})

    async def _read(self, name: str, member: Member) -> None:
        while True:
            try:
                batches = await member.fetch(200, HANDLED_AT_ONCE)
            except Retry as error:
                self.ended = f"it reads no more: {error}"
                return
            records = [record for batch in batches.values() for record in batch]
            if not records:
                continue
            if not await self._handlers[name](records):
                return
            try:
                await member.commit({p: some[-1].offset + 1 for p, some in batches.items()})
            except Retry as error:
                self.ended = f"a commit failed: {error}"
                return


class _Seeking:
    """Takes partitions over, to be read from where the dossiers hold them."""

    def __init__(self, reading: Reading, name: str, member: Member) -> None:
        self._reading = reading
        self._name = name
        self._member = member

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        self._reading.seek_soon(self._name, self._member, partitions)

    async def on_revoked(self, partitions: Sequence[int]) -> None:
        """Let them go: what was not committed comes again."""


class Plane(ControlPlane):
    """The control plane with a reader of its own in the place of Faust."""

    def __init__(
        self, brokers: Brokers, machine: Machine, ports: Ports, metrics: ControlMetrics
    ) -> None:
        super().__init__(settings(), KEY, ports, Path(CONFIG), metrics=metrics, poll_s=2.0)
        self._brokers = brokers
        self._machine = machine

    async def _start_app(self) -> None:
        await self._register.list_all()
        handlers: dict[str, Handler] = {name: partial(self._take, name) for name in TOPICS}
        reading = Reading(self._brokers, self._machine, handlers, self._positions)
        self._app = cast(Any, reading)
        await reading.start()


class PlaneProcess:
    """A control plane."""

    def __init__(
        self, machine: Machine, brokers: Brokers, redis: Redis, metrics: ControlMetrics
    ) -> None:
        log, group = brokers.log, settings().keeper_group
        ports = Ports(
            producer=cast(Any, WiredProducer(log, machine)),
            dossiers=cast(Any, Wire(machine, "redis", redis.dossiers, "scan")),
            store=whole_store(machine, log, redis),
            index=cast(Any, Wire(machine, "index", redis.index, "pairs")),
            reader=WiredReader(log, machine),
            cluster=cast(Any, Wire(machine, "kafka", MemoryCluster(log))),
            background=background,
            member=lambda: Member(brokers, machine, "traffic", group),
            clock=machine.net.loop.time,
        )
        self.plane: Final = Plane(brokers, machine, ports, metrics)
        self._stopping: Final = asyncio.Event()

    async def run(self) -> None:
        """Run until it is told to stop."""
        await self.plane.start()
        await self._stopping.wait()
        await self.plane.stop()

    async def stop(self) -> None:
        """Ask it to stop in good order."""
        self._stopping.set()

    @property
    def settled(self) -> bool:
        """Whether nothing has to be read again, or written by it, as far as it knows."""
        plane = self.plane
        if not plane._joined or plane._behind:
            return False
        return not (plane._leader.leads and plane._leader.broadcast.waiting)


# -------------------------------------------------------------------------- feed servers


class FeedProcess:
    """A feed server: leases, shows, and tells what its viewers did."""

    def __init__(self, machine: Machine, log: MemoryLog, index: Any) -> None:
        loop = machine.net.loop
        self._machine: Final = machine
        self._random: Final = machine.random
        self._producer: Final = WiredProducer(log, machine)
        self._leases: Final = Leases(
            Wire(machine, "index", index),  # type: ignore[arg-type]
            clock=loop.time,
        )
        self._stopping: Final = asyncio.Event()
        self._count = 0

    async def run(self) -> None:
        """Show pages until it is told to stop."""
        while not self._stopping.is_set():
            await asyncio.sleep(SHOWN_EVERY_S * (0.5 + self._random.random()))
            try:
                await self._show_page()
            except Retry:
                continue

    async def stop(self) -> None:
        """Ask it to stop after its page."""
        self._stopping.set()

    async def _show_page(self) -> None:
        names = self._random.sample(SLICES, self._random.randrange(1, 4))
        page = await self._leases.take(names, PAGE, most_each=2)
        left: list[Leased] = []
        events: list[InteractionRecord] = []
        for leased in page:
            if self._random.random() < 0.1 or not leased.stands(self._machine.net.loop.time):
                left.append(leased)
            else:
                for _ in range(leased.impressions):
                    events += self._shown(leased)
        for event in events:
            await self._publish(event)
        if left:
            await self._leases.give_back(*left)

    def _shown(self, leased: Leased) -> list[InteractionRecord]:
        self._count += 1
        name = f"{self._machine.name}-{self._count}".replace(".", "_")
        shown: Impression = impression(leased, f"u{self._random.randrange(8)}", name)
        return [shown, *deeds(self._random, shown, name)]

    async def _publish(self, event: InteractionRecord) -> None:
        """Write an event, again if nobody says that it is there."""
        record = Outgoing(LOG, encode(event), event.video.encode())
        for _ in range(3):
            try:
                await (await self._producer.send(record))
            except Retry:
                continue
            return

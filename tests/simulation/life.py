"""One whole life of a small installation: what its plan brings, until everything has settled."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import Context
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from kit.control import NOW
from kit.keys import INSTALLATION, SPELLING
from kit.twins import LOG
from prometheus_client import CollectorRegistry
from simulation.brokers import Brokers, WakingLog
from simulation.leased import Watch
from simulation.loop import VirtualLoop, only_chance
from simulation.machines import HERE, Machine, Net, tasks_by_machine
from simulation.mistakes import mistakes
from simulation.past import needed_from, snapshots_of
from simulation.plan import CREW, Step, end_of
from simulation.processes import (
    PARTITIONS,
    FeedProcess,
    PlaneProcess,
    Redis,
    WorkerProcess,
    rules,
    settings,
)
from simulation.scale import small
from simulation.traffic import Traffic

from streams.control import app as control_app
from streams.control.admission.register import TOPICS
from streams.control.metrics import ControlMetrics
from streams.errors import Halt, StreamsError
from streams.ops.rebuild import plan_rebuild, restart_partition
from streams.ops.snapshots import SnapshotFolder
from streams.ops.verify import CountedLog, Verifier
from streams.runtime.archive import Archive
from streams.runtime.installation import installation_record
from streams.runtime.leases import IndexBounds
from streams.runtime.memory import MemoryReader, MemoryServingIndex
from streams.runtime.metrics import Metrics
from streams.runtime.namespace import namespace_of
from streams.runtime.whole import WholeStore

PATIENCE_S: Final = 120.0
"""So long after its last fault everything must have settled."""
FILLING_S: Final = 5.0
"""So long a filling of the index may last."""
SWEPT_S: Final = 30.0
"""So long after the last fault hours pass, where only the sweep puts the index right."""
ARCHIVING: Final = 3
"""In one of so many lives videos leave Redis for the archive."""
BEGUN: Final = NOW + 36_000
"""A minute ends a few seconds later."""
AGAIN_S: Final = (0.2, 2.5)
"""Between these a process that died is started again."""
REBUILT: Final = ("watermark_missing",)
"""Halts that an operator ends with `streams counters rebuild`: Redis lost a partition."""

Process = WorkerProcess | PlaneProcess | FeedProcess


class Flaw(AssertionError):
    """What must not be, in words."""


@dataclass
class Running:
    """A process that runs, what it is made of, and whether it is to run again when it ends."""

    machine: Machine
    process: Process
    again: bool = True


class Life:
    """The world of one seed; `run` lives it and returns what is left of it for the judges."""

    def __init__(self, seed: int, steps: Sequence[Step], folder: Path) -> None:
        self.steps: Final = steps
        self.folder: Final = folder  # of snapshots
        # generations of one part, or of many
        self.part_records: Final = 4 if seed % 4 else 400
        self.loop: Final = VirtualLoop()
        self.loop.set_task_factory(tasks_by_machine)
        self.loop.set_exception_handler(lambda _loop, _context: None)
        self.net: Final = Net(self.loop, seed)
        self.ahead: Final[Counter[str]] = Counter()  # seconds, by host
        self.log: Final = WakingLog(lambda: self.wall_ms("producers"))
        self.brokers: Final = Brokers(self.log, self.loop)
        bounds = IndexBounds(key=f"{seed}")
        index = MemoryServingIndex(lambda: self.wall_ms("redis") / 1000, bounds)
        self.redis: Final = Redis(index, archives=seed % ARCHIVING == 0)
        self.watch: Final = Watch(lambda: self.wall_ms("redis") / 1000, self.redis.index)
        self.metrics: Final = Metrics()  # of all workers
        self.metrics.expect_topic(LOG)
        self.control_registry: Final = CollectorRegistry()
        self.control_metrics: Final = ControlMetrics(self.control_registry)
        self.control_metrics.expect(TOPICS)
        self.running: Final[dict[str, Running]] = {}
        self.traffic: Final = Traffic(self.log, lambda: self.wall_ms("producers"))
        self.flaws: Final[list[str]] = []
        self.files = 0
        self.moves_to = 0  # so many partitions in the end, 0 for those that there are
        self.counts: Final = Counter({"snapshot taken": 0, "counted anew from a snapshot": 0})
        self.restarts = 0  # of partitions, by an operator
        self._starts: Final[Counter[str]] = Counter()
        self._is_unnoticed = False  # Redis fell back to where the index was just being filled
        self._kept: Final[dict[Step, Any]] = {}
        self._snapshotting: Final[list[asyncio.Task[None]]] = []
        self._wanted: Final[set[str]] = set(CREW)

    # ------------------------------------------------------------------ time

    def wall_ms(self, host: str) -> int:
        """Return what a host's clock on the wall shows."""
        return BEGUN + int((self.loop.now + self.ahead[host]) * 1000)

    def _wall_ns(self) -> int:
        here = HERE.get()
        return (
            self.wall_ms("producers" if here is None else here.name.rpartition(".")[0]) * 1_000_000
        )

    # ------------------------------------------------------------------ from the first to the last

    def run(self) -> "Life":
        """Live; raise `Flaw` if anything goes wrong that judges need not look for."""
        asyncio.set_event_loop(self.loop)
        replaced = {
            "load_rules": lambda _folder: rules(self.files),
            "file_stamps": lambda _folder: self.files,
        }
        try:
            with (
                only_chance(_drawn, self._wall_ns, self.loop),
                patch.multiple(control_app, **replaced),
                small(self.part_records),
                mistakes(self.flaws),
            ):
                self.loop.run_until_complete(self._live())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()
        return self

    async def _live(self) -> None:
        self._make_topics()
        for step in self.steps:
            self._at(step.at, partial(self._befall, step))
            if step.kind == "falls back":
                self._at(max(step.at - step.span, 0.01), partial(self._keep, step))
        for name in CREW:
            self.start(name)
        try:
            await asyncio.sleep(end_of(self.steps) + 0.5)
            self._heal()
            await self._settle()
            await self._end()
        finally:
            await self._clear()

    async def _clear(self) -> None:
        """Leave nothing behind: no process may outlive its life."""
        for running in self.running.values():
            running.again = False
            running.machine.kill()
        self._wanted.clear()
        await asyncio.sleep(0)
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.sleep(0)
        await self.loop.shutdown_asyncgens()

    def _at(self, at: float, call: Callable[[], object]) -> None:
        self.loop.call_at(at, call, context=Context())

    def _make_topics(self) -> None:
        for topic in (LOG, "decisions", "traffic", "waiting", "dossiers", "archive", *TOPICS):
            self.log.create(topic, PARTITIONS)
        for topic in (LOG, "decisions", "traffic", *TOPICS):
            self.log.create(f"{topic}.dlq", PARTITIONS)
        self.log.create("policies", 1)
        self.log.create("mix", 1)
        self.log.append(installation_record(settings(), INSTALLATION))

    # ------------------------------------------------------------------ processes

    def start(self, name: str) -> None:
        """Start a process, unless it runs."""
        if name in self.running or name not in self._wanted:
            return
        self._starts[name] += 1
        machine = Machine(self.net, f"{name}.{self._starts[name]}")
        process = machine_context(machine, partial(self._made, name, machine))
        self.running[name] = running = Running(machine, process)
        machine.ended = partial(self._ended, name, running)
        task = machine.spawn(process.run())
        task.add_done_callback(partial(self._left, name, running))

    def _made(self, name: str, machine: Machine) -> Process:
        if name.startswith("worker"):
            return WorkerProcess(machine, self.brokers, self.redis, self.metrics)
        if name.startswith("plane"):
            return PlaneProcess(machine, self.brokers, self.redis, self.control_metrics)
        return FeedProcess(machine, self.log, self.watch)

    def _left(self, name: str, running: Running, task: asyncio.Task[None]) -> None:
        """Take note that a process ended by itself, and why."""
        if running.machine.dead:
            return
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StreamsError):
            self.flaws.append(f"{name} ended with {error!r}")
        if isinstance(error, Halt):
            self.flaws.append(f"{name} halted at its start: {error}")
        running.machine.kill()

    def _ended(self, name: str, running: Running) -> None:
        """Have a process that ended started again a while later."""
        self.brokers.bury(running.machine)
        if self.running.get(name) is running:
            del self.running[name]
        if running.again:
            pause = running.machine.random.uniform(*AGAIN_S)
            self._at(self.loop.now + pause, partial(self.start, name))

    # ------------------------------------------------------------------ what befalls it

    def _befall(self, step: Step) -> None:
        self.net.note(step)
        handler: Callable[[Step], None] = getattr(
            self, f"_{step.kind.replace(' ', '_')}", None
        ) or (self.traffic.bring)
        handler(step)

    def _machine(self, name: str) -> Machine | None:
        running = self.running.get(name)
        return None if running is None else running.machine

    def _files(self, step: Step) -> None:
        self.files = step.number

    def _moves(self, step: Step) -> None:
        self.moves_to = step.number

    def _dies(self, step: Step) -> None:
        if (machine := self._machine(step.who)) is not None:
            machine.dies_in(step.number)

    def _falters(self, step: Step) -> None:
        self.net.traps[step.who] = partial(self._freeze, step.span)

    def _freezes(self, step: Step) -> None:
        if (machine := self._machine(step.who)) is not None:
            self._freeze(step.span, machine)

    def _freeze(self, span: float, machine: Machine) -> None:
        machine.freeze()
        self._at(self.loop.now + span, machine.thaw)
        self.brokers.bury(machine)

    def _slows(self, step: Step) -> None:
        if (machine := self._machine(step.who)) is not None:
            machine.pace_s = step.span

    def _stops(self, step: Step) -> None:
        running = self.running.get(step.who)
        if running is not None and not running.machine.dead:
            running.machine.spawn(running.process.stop())

    def _joins(self, step: Step) -> None:
        self._wanted.add(step.who)
        self.start(step.who)
        self._at(step.at + step.span, partial(self._leaves, step))

    def _leaves(self, step: Step) -> None:
        self._wanted.discard(step.who)
        self._stops(step)

    def _away(self, step: Step) -> None:
        self.net.away.add(step.who)
        self._at(step.at + step.span, partial(self.net.away.discard, step.who))

    def _deaf(self, step: Step) -> None:
        self.net.deaf[step.who] = step.number

    def _headless(self, step: Step) -> None:
        place = step.who, step.number
        self.log.leaderless.add(place)
        self._at(step.at + step.span, partial(self._has_leader, place))

    def _has_leader(self, place: tuple[str, int]) -> None:
        self.log.leaderless.discard(place)
        self.traffic.bring_late()

    def _clock(self, step: Step) -> None:
        self.ahead[step.who] += step.number

    # ------------------------------------------------------------------ what the log loses

    def _ages(self, step: Step) -> None:
        self._snapshotting.append(self.loop.create_task(self._snapshot(), context=Context()))
        self._at(step.at + step.span, partial(self._lose_beginnings, step))

    async def _snapshot(self) -> None:
        taken = await snapshots_of(self.counted_log(), lambda: self.wall_ms("producers"))
        if taken is None:
            return
        self.counts["snapshot taken"] += len(taken.made)
        if found := taken.verification.examples:
            self.flaws.append(f"a snapshot finds other counters: {found[:3]}")

    def _lose_beginnings(self, step: Step) -> None:
        """Have the log lose what nobody asks for, however far Redis falls back."""
        kept = [held for fall, (held, *_) in self._kept.items() if fall.at > step.at]
        for partition in range(PARTITIONS):
            stored = [held.get(partition) for held in (self.redis.store.partitions, *kept)]
            start = needed_from(self.counted_log(), partition, stored)
            self.log.forget(LOG, partition, max(start, self.log.offsets(LOG, partition).start))

    # ------------------------------------------------------------------ what Redis loses

    def _keep(self, step: Step) -> None:
        redis = self.redis
        self._kept[step] = deepcopy(
            (redis.store.partitions, redis.dossiers.shelves, redis.index._slices)
        )

    def _falls_back(self, step: Step) -> None:
        since = step.at - step.span - FILLING_S
        if any(begun >= since for begun in self.redis.fillings):
            self._is_unnoticed = True
        self._restore(step.who, *deepcopy(self._kept[step]))

    def _emptied(self, step: Step) -> None:
        self._restore(step.who, {}, {}, {})

    def _restore(self, who: str, partitions: Any, shelves: Any, slices: Any) -> None:
        redis = self.redis
        if who == "all" or who.startswith("partition"):
            numbers = range(PARTITIONS) if who == "all" else [int(who.split()[1])]
            for number in numbers:
                _take_over(redis.store.partitions, partitions, number)
                _take_over(redis.dossiers.shelves, shelves, number)
        if not who.startswith("partition"):
            names = {*redis.index._slices, *slices} if who in {"all", "index"} else {who}
            for name in names:
                _take_over(redis.index._slices, slices, name)
                self.watch.forget(name)

    # ------------------------------------------------------------------ the end

    def _heal(self) -> None:
        """End every fault; what is lost stays lost."""
        self.net.note("healed")
        self.log.leaderless.clear()
        self.net.away.clear()
        self.net.deaf.clear()
        self.net.traps.clear()
        self.traffic.bring_late()
        for running in self.running.values():
            running.machine.thaw()
            running.machine.pace_s = 0.002
        for name in CREW:
            if name not in self.running and name.startswith("feed"):
                self._wanted.discard(name)
        for name in [name for name in self.running if name.startswith("feed")]:
            self._wanted.discard(name)
            self._stops(Step(0, "stops", name))

    async def _settle(self) -> None:
        """Wait until nothing is left to be done; do what an operator is asked to do."""
        begun, quiet = self.loop.now, 0
        self._at(begun + SWEPT_S, self._sweep)
        while quiet < 2:
            await asyncio.sleep(1.0)
            self._raise_flaws()
            await self._operate()
            left = self.unsettled()
            quiet = 0 if left else quiet + 1
            if self.loop.now > begun + PATIENCE_S:
                raise Flaw(f"it does not settle: {left}")

    def _sweep(self) -> None:
        """Let hours pass if it takes the sweep: what a filling told is not told of by positions."""
        for running in self.running.values() if self._is_unnoticed else ():
            if isinstance(running.process, WorkerProcess):
                running.process.sweep()

    def unsettled(self) -> str:
        """Say what is still to be done, "" if nothing is."""
        from simulation.judges import index_differences  # noqa: PLC0415 - judges know lives

        for partition in range(PARTITIONS):
            if left := self._uncounted(partition):
                return left
        planes = [r.process for r in self.running.values() if isinstance(r.process, PlaneProcess)]
        if not all(each.settled for each in planes):
            return "a control plane has something to write or to read again"
        if sum(each.plane._leader.leads for each in planes) != 1:
            return "there is not one leader"
        if left := self._unhandled():
            return left
        return next(iter(index_differences(self)), "")

    def _unhandled(self) -> str:
        for topic in TOPICS:
            for partition in range(PARTITIONS):
                end = self.log.offsets(topic, partition).end
                shelf = self.redis.dossiers.shelves[partition].positions
                at = max((held.get(topic, 0) for held in shelf.values()), default=0)
                if at < end:
                    return f"{topic}[{partition}] is handled to {at} of {end}"
        return ""

    async def _operate(self) -> None:
        """Count partitions anew whose counters Redis lost, as the halt tells an operator to."""
        halted: dict[int, Halt] = {}
        for running in self.running.values():
            if isinstance(running.process, WorkerProcess):
                halted |= running.process.worker.halted
        for halt in halted.values():
            if halt.code not in REBUILT:
                raise Flaw(f"halted ({halt.code}): {halt}")
        if not halted:
            return
        workers = [name for name in self.running if name.startswith("worker")]
        await self._stop(workers)
        log = self.counted_log(tuple(sorted(halted)))
        plan = await plan_rebuild(log)
        self.restarts += len(halted)
        self.counts["counted anew from a snapshot"] += len(plan.kept)
        for partition in plan.partitions:
            await restart_partition(log, self.redis.dossiers, partition, plan)
        for worker in workers:
            self.start(worker)

    def counted_log(self, only: tuple[int, ...] | None = None) -> CountedLog:
        """Return the log and what is counted of it, or of some partitions."""
        identity = self.log.identity(LOG)
        snapshots = SnapshotFolder(self.folder, identity, INSTALLATION)
        tools = Verifier(settings(), INSTALLATION, SPELLING, snapshots, only)
        name = namespace_of(identity, INSTALLATION.id)
        return CountedLog(MemoryReader(self.log), self.whole_store(), identity, name, tools)

    def whole_store(self) -> WholeStore:
        """Return what is counted, wherever it is."""
        return WholeStore(self.redis.store, Archive("archive", lambda: MemoryReader(self.log)))

    async def _stop(self, names: Sequence[str]) -> None:
        """Stop processes in good order; they must end within 10 s."""
        stopping = [self.running[name] for name in names if name in self.running]
        for running in stopping:
            running.again = False
            running.machine.spawn(running.process.stop())
        until = self.loop.now + 12.0
        while any(each in self.running.values() for each in stopping):
            await asyncio.sleep(0.1)
            if self.loop.now > until:
                raise Flaw(f"{', '.join(names)} do not stop")

    async def _end(self) -> None:
        """Stop everything, the leader last of the control planes: no other one is to follow."""
        planes = [name for name in self.running if name.startswith("plane")]
        for name in sorted(planes, key=self._leads):
            await self._stop([name])
        while not self._is_counted():  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.2)
        await self._stop(list(self.running))
        self._raise_flaws()
        self.net.note("ended")

    def _leads(self, name: str) -> bool:
        process = self.running[name].process
        return isinstance(process, PlaneProcess) and process.plane._leader.leads

    def _is_counted(self) -> bool:
        return not any(self._uncounted(partition) for partition in range(PARTITIONS))

    def _uncounted(self, partition: int) -> str:
        stored = self.redis.store.partitions.get(partition)
        watermark = -1 if stored is None else stored.watermark
        records = self.log.records(LOG, partition)
        if not records or watermark >= records[-1].offset:
            return ""
        return f"partition {partition} is counted to {watermark} of {records[-1].offset}"

    def _raise_flaws(self) -> None:
        for task in self._snapshotting:
            if task.done():
                task.result()
        if flaws := [*self.flaws, *self.redis.store.late]:
            raise Flaw("; ".join(flaws))


def _drawn(count: int) -> bytes:
    """Return bytes of chance for the process that asks."""
    here = HERE.get()
    assert here is not None, "nobody else draws"
    return here.random.randbytes(count)


def machine_context(machine: Machine, made: Callable[[], Process]) -> Process:
    """Make what belongs to a process, as that process."""
    return machine._context.copy().run(made)


def _take_over(held: Any, other: Any, key: Any) -> None:
    if key in other:
        held[key] = other[key]
    else:
        held.pop(key, None)

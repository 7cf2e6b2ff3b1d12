"""Brokers as processes meet them: groups that lose patience, producers and readers on a wire."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from simulation.loop import outside
from simulation.machines import PATIENCE_S, Machine, reply_to

from streams.errors import Halt, Retry
from streams.runtime.memory import MemoryConsumer, MemoryLog, MemoryReader
from streams.runtime.memory.log import _Group
from streams.runtime.ports import (
    AssignmentListener,
    Offsets,
    Outgoing,
    Place,
    Record,
    TopicIdentity,
)

SESSION_S: Final = 2.0
"""A member that does not answer for so long is none any more."""
NOTICE_S: Final = 0.6
"""A member that is none any more hears of it within so long after it woke."""
IDLE: Final = 4
"""Brokers hold a fetch so many times as long as asked, where nothing comes."""


class WakingLog(MemoryLog):
    """A log that wakes those alone who wait for the topic that something came to.

    What retention took of it is `gone`, and known to nobody but judges.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        super().__init__(now_ms=now_ms)
        # in the order in which they came
        self.sleeping: Final[defaultdict[str, dict[asyncio.Event, None]]] = defaultdict(dict)
        self.gone: Final[defaultdict[Place, list[Record]]] = defaultdict(list)

    def forget(self, topic: str, partition: int, start: int) -> None:
        """Let retention delete what lies before `start`."""
        before = self.records(topic, partition)
        super().forget(topic, partition, start)
        kept = len(self.records(topic, partition))
        self.gone[topic, partition] += before[: len(before) - kept]

    def ever(self, topic: str, partition: int) -> Sequence[Record]:
        """Return all that was ever written to a partition."""
        return [*self.gone[topic, partition], *self.records(topic, partition)]

    def restore(self, records: Iterable[Record]) -> None:
        """Put records in as they are."""
        some = list(records)
        super().restore(some)
        for topic in dict.fromkeys(record.topic for record in some):
            for event in self.sleeping[topic]:
                event.set()


class Brokers:
    """Topics and groups of one life, and who deals partitions out in them."""

    def __init__(self, log: WakingLog, loop: asyncio.AbstractEventLoop) -> None:
        self.log: Final = log
        self.loop: Final = loop
        self.groups: Final[list[PatientGroup]] = []
        self._dealing: Final[set[asyncio.Task[None]]] = set()

    def group(self, name: str, topic: str) -> "PatientGroup":
        """Return a group of a topic."""
        known = self.log._groups.get((name, topic))
        if not isinstance(known, PatientGroup):
            known = PatientGroup(self, topic)
            self.log._groups[name, topic] = known
            self.groups.append(known)
        return known

    def deal(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something as the brokers, whoever it is that asked for it."""
        task = asyncio.create_task(work)
        self._dealing.add(task)
        task.add_done_callback(self._dealing.discard)
        return task

    def bury(self, machine: Machine) -> None:
        """Notice after a while that a process sends no heartbeats any more."""
        for group in self.groups:
            if any(member.machine is machine for member in group.members):
                outside(self.loop, SESSION_S, group.deal_soon)


class PatientGroup(_Group):
    """A group whose coordinator waits for its members only so long."""

    members: list["Member"]  # type: ignore[assignment]

    def __init__(self, brokers: Brokers, topic: str) -> None:
        super().__init__()
        self._brokers: Final = brokers
        self._topic: Final = topic

    def deal_soon(self, joined: "Member | None" = None) -> asyncio.Task[None]:
        """Deal the partitions out again."""
        count = self._brokers.log.identity(self._topic).partitions
        return self._brokers.deal(self.rebalance(count, joined=joined))

    async def rebalance(self, count: int, *, joined: Any = None) -> None:
        """Take all partitions away and deal them out, among those who answer."""
        async with self.lock:
            await asyncio.gather(*(member.revoke() for member in self.members))
            if joined is not None and joined not in self.members:
                self.members.append(joined)
                joined.gone = False
            self.members[:] = [each for each in self.members if not each.gone]
            share, more = divmod(count, max(len(self.members), 1))
            first = 0
            for place, member in enumerate(list(self.members)):
                size = share + (place < more)
                await member.assign(range(first, first + size))
                first += size
        if any(member.gone for member in self.members):
            self.deal_soon()


class Member(MemoryConsumer):
    """A consumer that is a process of its own: it may be dead, frozen, or no member any more."""

    def __init__(self, brokers: Brokers, machine: Machine, topic: str, group: str) -> None:
        self._patient: Final = brokers.group(group, topic)
        super().__init__(brokers.log, topic, group)
        self.machine: Final = machine
        self._sleeping: Final = brokers.log.sleeping[topic]
        self.gone = True
        self._notices_at: float | None = None

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group."""
        await self.machine.awake()
        self._listener = listener
        self._sleeping[self._wake] = None
        await asyncio.shield(self._patient.deal_soon(self))

    async def stop(self) -> None:
        """Leave the group."""
        await self.machine.awake()
        self._sleeping.pop(self._wake, None)
        self._drop()
        if not self.gone:
            self.gone = True
            self._patient.members.remove(self)
            await asyncio.shield(self._patient.deal_soon())

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[int, Sequence[Record]]:
        """Return what comes, as long as this is thought to be a member; else join again."""
        await self.machine.awake()
        if self.gone and self._notices():
            await self._join_again()
        found = await super().fetch(timeout_ms * IDLE, max_records)
        self.machine.step()
        await asyncio.sleep(self.machine.way_s(f"fetch {self._topic}"))
        await self.machine.awake()
        return found

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Commit, if the coordinator knows this member."""
        if self.gone:
            raise Retry("the coordinator does not know this member")
        await self.machine.call("kafka", super().commit, positions)

    async def committed(self, partition: int) -> int | None:
        """Return the group's committed position."""
        at: int | None = await self.machine.call("kafka", super().committed, partition)
        return at

    async def offsets(self, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of partitions."""
        bounds: Mapping[int, Offsets] = await self.machine.call(
            "kafka", super().offsets, partitions
        )
        return bounds

    async def identity(self) -> TopicIdentity:
        """Return which topic this is."""
        identity: TopicIdentity = await self.machine.call("kafka", super().identity)
        return identity

    async def revoke(self) -> None:
        """Let all partitions go; who does not in time is no member any more."""
        if self.gone:
            return
        before = self._assigned
        if not await self.machine.work_here(super().revoke, SESSION_S):
            self.gone, self._assigned = True, before

    async def assign(self, partitions: Sequence[int]) -> None:
        """Take partitions over; who does not in time is no member any more."""
        if not await self.machine.work_here(partial(super().assign, partitions), SESSION_S):
            self.gone = True

    def _notices(self) -> bool:
        """Tell whether it hears by now that it is no member any more."""
        now = self.machine.net.loop.now
        if self._notices_at is None:
            self._notices_at = now + self.machine.random.random() * NOTICE_S
        return now >= self._notices_at

    async def _join_again(self) -> None:
        self._notices_at = None
        if self._assigned and self._listener is not None:
            await self._listener.on_revoked(self._assigned)
        self._drop()
        await asyncio.shield(self._patient.deal_soon(self))


class WiredReader(MemoryReader):
    """A reader whose questions take time."""

    def __init__(self, log: MemoryLog, machine: Machine) -> None:
        super().__init__(log)
        self._machine: Final = machine

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of partitions."""
        bounds: Mapping[int, Offsets] = await self._machine.call(
            "kafka", super().offsets, topic, partitions
        )
        return bounds

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Return the next records."""
        found: Mapping[Place, Sequence[Record]] = await self._machine.call(
            "kafka", self._read, max_records
        )
        self._positions.update((p, some[-1].offset + 1) for p, some in found.items())
        if not found:
            await asyncio.sleep(timeout_ms / 1000)
        return found

    async def _read(self, max_records: int) -> Mapping[Place, Sequence[Record]]:
        share = max(max_records // max(len(self._positions), 1), 1)
        read = {place: self._log.read(*place, at, share) for place, at in self._positions.items()}
        return {place: records for place, records in read.items() if records}


class WiredProducer:
    """A producer: records leave in order, and some time later somebody says that they are there."""

    def __init__(self, log: MemoryLog, machine: Machine) -> None:
        self._log: Final = log
        self._machine: Final = machine
        self._queue: Final[deque[tuple[Outgoing, asyncio.Future[int | None]]]] = deque()
        self._leaving = False

    async def start(self) -> None:
        """Connect to nothing."""

    async def stop(self) -> None:
        """Wait until all that was queued has left."""
        while self._queue:  # noqa: ASYNC110 - nobody else waits for it
            await asyncio.sleep(self._machine.pace_s)

    async def send(self, record: Outgoing) -> Awaitable[int | None]:
        """Queue a record."""
        if self._machine.net.traps:
            self._machine.about_to("copies" if record.topic == "dossiers" else record.topic)
        await self._machine.awake()
        written: asyncio.Future[int | None] = self._machine.net.loop.create_future()
        stamped = record.timestamp or time.time_ns() // 1_000_000  # of its own host, as Kafka's are
        self._queue.append((replace(record, timestamp=stamped), written))
        if not self._leaving:
            self._leaving = True
            outside(self._machine.net.loop, self._machine.way_s("send"), self._leave)
        return written

    def _leave(self) -> None:
        """Write what is queued, in order; of a dead process maybe only the first of it."""
        net, machine = self._machine.net, self._machine
        self._leaving = False
        batch, refuses = list(self._queue), net.refuses("kafka")
        self._queue.clear()
        machine.step()
        if machine.dead:
            batch = batch[: machine.random.randrange(len(batch) + 1)]
        loses, back_s = net.loses_reply("kafka"), machine.way_s("acks")
        for record, written in batch:
            error: Exception | None = None
            offset: int | None = None
            if refuses:
                error = Retry("kafka is away")
            else:
                try:
                    offset = self._log.append(record).offset
                except (Retry, Halt) as raised:
                    error = raised
                net.note(machine.name, record.topic, record.partition, record.key)
                if loses:
                    error = Retry("kafka does not answer")
            wait_s = PATIENCE_S if loses else back_s
            outside(net.loop, wait_s, partial(reply_to, written, offset, error))
        machine.step()

"""Events on their way to the brokers: packed, sent in order, and sent again until they are written.

Every partition has a lane of its own: one without a leader holds up no other. A record that failed
because another one was lost goes back to its place in its lane, before anything behind it is sent;
one that was tried for too long is given up. What is not written yet is bounded in memory.
"""

import asyncio
import time
from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from streams.client.intake import Taken
from streams.client.packing import EventArray, Packer
from streams.core.partitioner import partition_of
from streams.errors import Halt, Retry
from streams.runtime.ending import end
from streams.runtime.ports import Clock, Headers, LastingProducer, Outgoing, Place
from streams.settings import Settings

EVENT_BYTES: Final = 100
"""Memory that an event takes beside its own bytes, about."""
PAUSE_S: Final = 0.5
"""Between two tries while brokers are away."""


@dataclass(frozen=True)
class Limits:
    """How much a publisher packs, keeps and tries.

    `batch` events of a partition at most share a record, and wait `linger_ms` for one another.
    `memory_bytes` of events may wait to be written; then whoever brings more waits. An event that
    is not written after `patience_s` is given up.
    """

    batch: int = 500
    linger_ms: int = 50
    memory_bytes: int = 32 << 20
    patience_s: float = 120.0


class Parcel:
    """The events of a record, from the first one to the record's end: `written`, or `Retry`."""

    __slots__ = ("array", "bytes", "place", "since", "written")

    def __init__(self, topic: str, array: EventArray, since: float) -> None:
        self.place: Place = (topic, array.partition)
        self.array = array
        self.since = since
        self.bytes = 0
        self.written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __lt__(self, other: "Parcel") -> bool:
        return self.array.mark < other.array.mark


class _Lane:
    """Records of one partition that are to be sent, in their order, and who sends them."""

    __slots__ = ("failed", "parcels", "task")

    def __init__(self) -> None:
        self.failed = False  # since something was sent last
        self.parcels: list[Parcel] = []
        self.task: asyncio.Task[None] | None = None


class Outbox:
    """Takes events and sees to it that they are written; belongs to one event loop.

    `partitions` are the topics that can be written, by full name, `headers` those of every record.
    `lost` is told of each record that is given up, and why.
    """

    def __init__(  # noqa: PLR0913 - each is another one's to give
        self,
        producer: LastingProducer,
        settings: Settings,
        partitions: Mapping[str, int],
        limits: Limits,
        *,
        headers: Headers = (),
        lost: Callable[[Parcel, Retry], None] = lambda _parcel, _why: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._producer = producer
        self._settings = settings
        self._partitions = partitions
        self._limits = limits
        self._headers = headers
        self._lost = lost
        self._clock = clock
        self._packer = Packer(partitions.get(settings.topic("interactions"), 0), limits.batch)
        self._parcels: dict[int, Parcel] = {}  # not settled yet, by the number of their first event
        self._lanes: dict[Place, _Lane] = {}
        self._number = self._held = 0
        self._linger: asyncio.TimerHandle | None = None
        self._eased = asyncio.Event()
        self._stopped = False

    @property
    def has_room(self) -> bool:
        """Whether memory allows for more events; one batch of them may go beyond it."""
        return self._held < self._limits.memory_bytes

    def require(self, taken: Taken) -> None:
        """Raise `Halt` unless the topic of an event is there. From any thread."""
        topic = self._settings.topic(taken.topic)
        if topic not in self._partitions:
            raise Halt(f"no topic {topic}, or none that may be seen", code="topic_missing")

    async def room(self) -> None:
        """Return when there is room."""
        while not self.has_room:
            self._eased.clear()
            await self._eased.wait()

    def add(self, taken: Taken) -> Parcel:
        """Take an event; return the record that it will be part of."""
        topic = self._settings.topic(taken.topic)
        self._number += 1
        if taken.topic == "interactions":
            array, full = self._packer.add(taken, self._number)
        else:
            array = self._alone(taken, self._partitions[topic])
            full = [array]
        parcel = self._parcel(topic, array)
        parcel.bytes += len(taken.value) + EVENT_BYTES
        self._held += len(taken.value) + EVENT_BYTES
        for one in full:
            self._dispatch(self._parcels[one.mark])
        return parcel

    def send_arrays(self) -> None:
        """Send the arrays as they stand."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        for array in self._packer.take_all():
            self._dispatch(self._parcels[array.mark])

    async def flush(self) -> None:
        """Send all that was taken so far; return when each record is written or given up."""
        self.send_arrays()
        if waiting := [parcel.written for parcel in self._parcels.values()]:
            await asyncio.wait(waiting)

    async def stop(self) -> None:
        """Stop the producer; what it cannot write within a few seconds is given up."""
        self._stopped = True
        if self._linger is not None:
            self._linger.cancel()
        await end(*(lane.task for lane in self._lanes.values() if lane.task is not None))
        await self._producer.stop()
        await asyncio.sleep(0)  # acknowledgements that came meanwhile are told
        for parcel in list(self._parcels.values()):
            self._give_up(parcel, Retry("the publisher was closed before"))

    def _alone(self, taken: Taken, partitions: int) -> EventArray:
        key = taken.event.video.encode()
        partition = partition_of(key, partitions)
        return EventArray(partition, self._number, key, [taken.value], len(taken.value))

    def _parcel(self, topic: str, array: EventArray) -> Parcel:
        if array.mark not in self._parcels:
            self._parcels[array.mark] = Parcel(topic, array, self._clock())
            if self._linger is None:
                loop = asyncio.get_running_loop()
                self._linger = loop.call_later(self._limits.linger_ms / 1000, self.send_arrays)
        return self._parcels[array.mark]

    def _dispatch(self, parcel: Parcel) -> None:
        """Put a record into its place in its lane, and see to it that somebody sends it."""
        lane = self._lanes.setdefault(parcel.place, _Lane())
        insort(lane.parcels, parcel)
        if lane.task is None:
            self._begin(lane)

    def _begin(self, lane: _Lane) -> None:
        lane.task = asyncio.create_task(self._work(lane), name="outbox")
        lane.task.add_done_callback(partial(self._rest, lane))

    def _rest(self, lane: _Lane, task: "asyncio.Task[None]") -> None:
        """Let a lane without work go; what nobody foresaw is the end of its records."""
        lane.task = None
        error = None if task.cancelled() else task.exception()
        while error is not None and lane.parcels:
            why = f"{type(error).__name__}: {error}"
            self._give_up(lane.parcels.pop(0), Retry(why))
        if lane.parcels and not self._stopped:  # they came while its task was ending
            self._begin(lane)

    async def _work(self, lane: _Lane) -> None:
        while lane.parcels:
            if lane.failed:
                lane.failed = False
                await asyncio.sleep(PAUSE_S)
            try:
                if not await self._producer.renew():
                    await self._send(lane)
            except Retry as error:
                self._sort_out(lane, error)
                lane.failed = True

    async def _send(self, lane: _Lane) -> None:
        """Send the first record of a lane; it leaves the lane once the producer has it."""
        parcel = lane.parcels[0]
        topic, partition = parcel.place
        array = parcel.array
        record = Outgoing(topic, array.value, array.key, self._headers, partition)
        acknowledged = asyncio.ensure_future(await self._producer.send(record))
        lane.parcels.remove(parcel)
        acknowledged.add_done_callback(partial(self._settle, parcel))

    def _settle(self, parcel: Parcel, acknowledged: "asyncio.Future[None]") -> None:
        error = None if acknowledged.cancelled() else acknowledged.exception()
        if error is None and not acknowledged.cancelled():
            self._release(parcel)
            parcel.written.set_result(None)
        elif parcel.array.mark in self._parcels:
            why = error if isinstance(error, Retry) else Retry(f"not acknowledged: {error!r}")
            if self._is_patient(parcel):
                self._lanes[parcel.place].failed = True
                self._dispatch(parcel)
            else:
                self._give_up(parcel, why)

    def _sort_out(self, lane: _Lane, why: Retry) -> None:
        """Give up what was tried for too long, in a lane that cannot send now."""
        while lane.parcels and not self._is_patient(lane.parcels[0]):
            self._give_up(lane.parcels.pop(0), why)

    def _is_patient(self, parcel: Parcel) -> bool:
        return not self._stopped and self._clock() - parcel.since < self._limits.patience_s

    def _give_up(self, parcel: Parcel, why: Retry) -> None:
        self._release(parcel)
        parcel.written.set_exception(why)
        parcel.written.exception()  # whoever awaits it still gets it; nobody is warned of it
        self._lost(parcel, why)

    def _release(self, parcel: Parcel) -> None:
        del self._parcels[parcel.array.mark]
        self._held -= parcel.bytes
        self._eased.set()

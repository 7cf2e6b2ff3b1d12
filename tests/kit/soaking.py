"""What a soak counts and how it is watched: a crowd at any rate, lag in seconds, what is held."""

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from statistics import median
from typing import Final, NamedTuple, Self

from redis.exceptions import RedisError

from kit.keys import SIGNER
from kit.loads import PARTITIONS
from kit.resources import Held
from kit.rig import CONFIG, Rig
from streams.control.rules import load_rules
from streams.errors import Retry
from streams.lab.load import Load, Shape
from streams.runtime.ending import beside
from streams.runtime.kafka import KafkaProducer
from streams.runtime.ports import Outgoing

VIDEOS: Final = 1_000
TICK_S: Final = 0.25
LOOK_S: Final = 0.25
HOLD_S: Final = 5.0
"""So often is looked at what processes hold."""
AT_ONCE: Final = 4_000
"""Events that are written at once where they come as fast as they are counted."""


class Lag:
    """For how long the oldest record has been in the log that is not counted, all the time.

    Only what `wrote` was told of is looked at.
    """

    def __init__(self, watermarks: Callable[[], Mapping[int, int]]) -> None:
        self._watermarks = watermarks
        self._ends: dict[int, list[tuple[int, float]]] = {}  # offset, when it was durable
        self._samples: list[tuple[float, float]] = []  # when, seconds

    def wrote(self, partition: int, offset: int) -> None:
        """Note that the log has a record, and now."""
        self._ends.setdefault(partition, []).append((offset, time.monotonic()))

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Self]:
        """Look until the end of the block."""
        async with beside(self._watch()):
            yield self

    @property
    def now_s(self) -> float:
        """Return the seconds as they were seen last."""
        return self._samples[-1][1] if self._samples else 0.0

    def peak_s(self, since: float) -> float:
        """Return the most seconds since then."""
        return max((seconds for when, seconds in self._since(since)), default=0.0)

    def last_above(self, limit_s: float, since: float) -> float:
        """Return how long after then it was above the limit for the last time; 0 if never."""
        return max((when - since for when, s in self._since(since) if s > limit_s), default=0.0)

    def longest_above(self, limit_s: float, since: float) -> float:
        """Return the longest time without a moment at or below the limit."""
        longest, began = 0.0, since
        for when, seconds in self._since(since):
            if seconds <= limit_s:
                began = when
            longest = max(longest, when - began)
        return longest

    def median_s(self, since: float) -> float:
        """Return the seconds in the median of all looks."""
        return median([seconds for _, seconds in self._since(since)] or [0.0])

    def _since(self, since: float) -> Sequence[tuple[float, float]]:
        return self._samples[bisect_left(self._samples, (since, 0.0)) :]

    async def _watch(self) -> None:
        marks: Mapping[int, int] = {}
        while True:
            with suppress(RedisError):  # it is away: nothing is counted that is seen
                marks = await asyncio.to_thread(self._watermarks)
            now = time.monotonic()
            self._samples.append((now, max(self._behind(marks, now), default=0.0)))
            await asyncio.sleep(LOOK_S)

    def _behind(self, marks: Mapping[int, int], now: float) -> Iterable[float]:
        for partition, ends in self._ends.items():
            place = bisect_right(ends, (marks.get(partition, -1), float("inf")))
            if place < len(ends):
                yield now - ends[place][1]


class Crowd:
    """Feedback on admitted videos, each event once, written until the log has it."""

    def __init__(self, rig: Rig, lag: Lag) -> None:
        policy = load_rules(CONFIG).policy.record(1, time.time_ns() // 1_000_000)
        self._load = Load(rig.log, PARTITIONS, shape=Shape(VIDEOS), policy=policy)
        self._producer = KafkaProducer(rig.brokers)
        self._lag = lag
        self.written = 0

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[Self]:
        """Admit the videos, and write for the time of the block."""
        await self._producer.start()
        try:
            for partition, [_, *records], _ in self._load.admissions(SIGNER, _now_ms()):
                await self._write(partition, records, 0)  # the policy is the control plane's own
            yield self
        finally:
            await self._producer.stop()

    async def fastest(self, seconds: float) -> float:
        """Return how many events a second are counted of as many as come; the lag is watched.

        Nothing is written while the lag is above a second. The first half of the time is not
        measured.
        """
        began = half = time.monotonic()
        before = self.written
        while (now := time.monotonic()) < began + seconds:
            if now < began + seconds / 2:
                half, before = now, self.written
            if self._lag.now_s > 1:
                await asyncio.sleep(LOOK_S / 5)
                continue
            made = self._load.feedback(AT_ONCE, 1, _now_ms(), batch=AT_ONCE)
            await asyncio.gather(*(self._write(*batch) for batch in made))
        return (self.written - before) / (now - half)

    @asynccontextmanager
    async def coming(self, per_s: float) -> AsyncIterator[None]:
        """Write so many events a second; a partition that takes none gets them later, in order."""
        queues = [asyncio.Queue[tuple[list[Outgoing], int] | None]() for _ in range(PARTITIONS)]
        writing = [asyncio.create_task(self._drain(p, one)) for p, one in enumerate(queues)]
        making = asyncio.create_task(self._make(per_s, queues))
        try:
            yield
        finally:
            making.cancel()
            await asyncio.wait([making])
            for queue in queues:
                queue.put_nowait(None)
            await asyncio.gather(*writing)

    async def _make(
        self, per_s: float, queues: Sequence["asyncio.Queue[tuple[list[Outgoing], int] | None]"]
    ) -> None:
        began, made = time.monotonic(), 0
        while True:
            due = round((time.monotonic() - began) * per_s) - made
            for partition, records, events in self._load.feedback(due, 1, _now_ms(), batch=due + 1):
                queues[partition].put_nowait((records, events))
            made += due
            await asyncio.sleep(TICK_S)

    async def _drain(
        self, partition: int, queue: "asyncio.Queue[tuple[list[Outgoing], int] | None]"
    ) -> None:
        while (batch := await queue.get()) is not None:
            await self._write(partition, *batch)

    async def _write(self, partition: int, records: list[Outgoing], events: int) -> None:
        while not await self._written(partition, records):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        self.written += events

    async def _written(self, partition: int, records: list[Outgoing]) -> bool:
        """Tell whether the log has all; the last one goes alone, for its offset."""
        *most, last = records
        with suppress(Retry):
            batch = await self._producer.send_batch(last.topic, partition, most)
            ack = await self._producer.send(replace(last, partition=partition))
            await batch
            if (offset := await ack) is not None:
                self._lag.wrote(partition, offset)
            return True
        return False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Look(NamedTuple):
    """What a process held so many seconds after the beginning."""

    at_s: float
    held: Held


class Holdings:
    """What processes hold over time, looked at again and again."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._began = time.monotonic()
        self._looks: dict[int, list[Look]] = {pid: [] for pid in pids}

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Self]:
        """Look until the end of the block."""
        async with beside(self._watch()):
            yield self

    def between(self, from_s: float, to_s: float) -> dict[int, Held]:
        """Return the most that each process held between two moments."""
        return {
            pid: Held(*map(max, zip(*held, strict=True)))
            for pid, looks in self._looks.items()
            if (held := [look.held for look in looks if from_s <= look.at_s < to_s])
        }

    async def _watch(self) -> None:
        while True:
            now_s = time.monotonic() - self._began
            for pid, looks in self._looks.items():
                with suppress(OSError):  # it is gone: whoever waits for it says so
                    looks.append(Look(now_s, Held.by(pid)))
            await asyncio.sleep(HOLD_S)

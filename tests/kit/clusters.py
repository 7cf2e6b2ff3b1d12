"""What tests share that run workers on several nodes of Kafka: topics, a lasting load, pauses."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from redis.exceptions import RedisError

from kit.control import review, upload
from kit.events import Logged, synthetic_log
from kit.loads import PARTITIONS
from kit.rig import USUAL, Rig
from kit.servers import create_topic
from streams.errors import Retry
from streams.runtime.kafka import KafkaProducer
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode

HOMES: Final = [[1], [2], [3], [2]]
"""The node of each partition of a topic that has one copy: without it nobody leads them."""
BATCHES_PER_S: Final = 3


class Pace(NamedTuple):
    """Records a second, events and videos at most, all of each partition."""

    per_s: float
    events: int
    videos: int


PACE: Final = Pace(per_s=60.0, events=40_000, videos=12)
TITLES: Final = ("周末足球赛 #football", "红烧肉 cooking", "online casino gambling", "qqq")
"""Of uploads: the gate approves of some at once, and others wait for a person."""


def make_topics(rig: Rig, alone: Collection[str] = ()) -> None:
    """Create the topics of a rig with three copies, two of them in sync; `alone` has one."""
    for name in alone:
        create_topic(rig.brokers, rig.prefix + name, config=USUAL, copies=HOMES)
    rig.create_topics(without=alone)


@asynccontextmanager
async def lasting_load(rig: Rig, pace: Pace = PACE) -> AsyncIterator[None]:
    """Write events to every partition that takes them; what is lost in between comes again."""
    async with _writing(rig) as (producer, stop, tasks):
        tasks += [
            asyncio.create_task(_write(producer, rig.log, p, pace, stop)) for p in range(PARTITIONS)
        ]
        yield


@asynccontextmanager
async def lasting_uploads(rig: Rig) -> AsyncIterator[None]:
    """Upload a video a second: some need a person, and some get a verdict a while later."""
    async with _writing(rig) as (producer, stop, tasks):
        tasks.append(asyncio.create_task(_upload(producer, rig.prefix, stop)))
        yield


@asynccontextmanager
async def _writing(
    rig: Rig,
) -> AsyncIterator[tuple[KafkaProducer, asyncio.Event, "list[asyncio.Task[None]]"]]:
    """Give a producer, what says that enough is written, and a place for who writes."""
    stop, tasks = asyncio.Event(), list[asyncio.Task[None]]()
    producer = KafkaProducer(rig.brokers)
    await producer.start()
    try:
        yield producer, stop, tasks
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        await producer.stop()


async def _upload(producer: KafkaProducer, prefix: str, stop: asyncio.Event) -> None:
    for number in itertools.count():
        ts = time.time_ns() // 1_000_000
        title = TITLES[number % len(TITLES)]
        event = upload(f"up{number}", title=title, creator=f"c{number % 7}", ts=ts)
        said: list[tuple[str, Any]] = [("uploads", event)]
        if number >= 5 and number % 3 == 0:
            word = ("approve", "limit", "reject")[number // 3 % 3]
            said.append(("reviews", review(word, f"up{number - 5}", name=f"m{number}", ts=ts)))
        outgoing = [Outgoing(prefix + at, encode(one), one.video.encode()) for at, one in said]
        while not await _acknowledged(producer, outgoing):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        if stop.is_set():
            return
        await asyncio.sleep(1)


async def _write(
    producer: KafkaProducer, topic: str, partition: int, pace: Pace, stop: asyncio.Event
) -> None:
    size = max(round(pace.per_s / BATCHES_PER_S), 1)
    for seed in itertools.count(31 + partition, PARTITIONS):
        records = await asyncio.to_thread(
            synthetic_log, seed, pace.videos, pace.events, partition, PARTITIONS, led=True
        )
        for at in range(0, len(records), size):
            while not await _written(producer, topic, records[at : at + size]):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            if stop.is_set():
                return
            await asyncio.sleep(1 / BATCHES_PER_S)


async def _written(producer: KafkaProducer, topic: str, records: list[Logged]) -> bool:
    outgoing = [
        Outgoing(topic, one.value, one.key, tuple(one.headers), one.partition, one.timestamp)
        for one in records
    ]
    return await _acknowledged(producer, outgoing)


async def _acknowledged(producer: KafkaProducer, outgoing: Sequence[Outgoing]) -> bool:
    with suppress(Retry):
        for ack in [await producer.send(one) for one in outgoing]:
            await ack
        return True
    return False


class Pauses:
    """How long each partition's watermark stood still, at most, since `begin`."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._moved: dict[int, tuple[int, float]] = {}
        self._longest: dict[int, float] = {}
        self._task = asyncio.create_task(self._watch())

    def begin(self) -> None:
        """Forget how long they stood still before."""
        now = time.monotonic()
        self._moved = {p: (at, now) for p, (at, _) in self._moved.items()}
        self._longest = dict.fromkeys(self._moved, 0.0)

    def longest(self) -> dict[int, float]:
        """Return the seconds by partition."""
        return {p: round(seconds, 1) for p, seconds in sorted(self._longest.items())}

    def stop(self) -> None:
        """Look no more."""
        self._task.cancel()

    async def _watch(self) -> None:
        marks: Mapping[int, int] = {}
        while True:
            with suppress(RedisError):  # a node of it is away: nothing moves that is seen
                marks = await asyncio.to_thread(self._rig.watermarks)
            now = time.monotonic()
            for partition, mark in marks.items():
                before, since = self._moved.get(partition, (-1, now))
                self._longest[partition] = max(self._longest.get(partition, 0.0), now - since)
                if mark != before:
                    self._moved[partition] = (mark, now)
            await asyncio.sleep(0.2)


async def all_moved(rig: Rig) -> None:
    """Return when every partition's watermark has risen."""
    before = await asyncio.to_thread(rig.watermarks)

    def risen() -> bool:
        marks = rig.watermarks()
        return all(marks.get(p, -1) > before.get(p, -1) for p in range(PARTITIONS))

    await rig.until(risen, rig.logs, 120)


def say(line: str) -> None:
    """Print a line of the report; pytest shows it with `-s`."""
    sys.stderr.write(f"{line}\n")

"""A live room that a crowd enters within a minute, beside everything else that the demo does.

Half a million viewers are one video's, so their events are one partition's: what that one lags by,
and whether the others notice, is measured while they come. When the last of them has left and all
is counted, the room ends, and is waited for to be gone from the index.
"""

import asyncio
import heapq
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from streams.core.counters import load_video
from streams.core.events import Ended, Upload
from streams.core.live import VIEW_MS
from streams.core.partitioner import partition_of
from streams.errors import Retry
from streams.lab.uploads import SUBJECTS
from streams.runtime.leases import ServingIndex
from streams.runtime.ports import Outgoing, Producer, Store
from streams.runtime.signing import encode
from streams.runtime.worker import Worker
from streams.settings import Settings

ROOM: Final = "live-room"
SUBJECT: Final = "dance"
FANS, PUBLIC = "following:fans", f"discover:{SUBJECT}"
FOLLOWERS: Final = 2_000_000
PUSHED: Final = 0.6
"""Share of the viewers whom a push brings; the others meet the room in the feed."""
STEP_S: Final = 0.1
ARRAY: Final = 250
"""Events that a collector puts into one record."""
TYPICAL_MS: Final = 20_000
"""Half of the visitors leave before so long."""
LIKED, COMMENTED = 0.05, 0.02
CAUGHT_UP: Final = 10
"""Records that the room's partition may be behind by: the demo's crowd goes on there."""
PATIENCE_S: Final = 20.0
POLL_S: Final = 0.02


class Lags:
    """How far each partition is behind, in seconds: how long its oldest unstored record stands."""

    def __init__(self) -> None:
        self.seconds: Final[defaultdict[int, list[float]]] = defaultdict(list)
        self._ends: Final[defaultdict[int, deque[tuple[int, float]]]] = defaultdict(deque)

    def note(self, now: float, backlog: Mapping[int, tuple[int, int]]) -> None:
        """Take a measurement: end and stored watermark of each partition.

        >>> lags = Lags()
        >>> for now, end, mark in ((0.0, 5, 4), (1.0, 9, 4), (2.0, 9, 6), (3.0, 9, 8)):
        ...     lags.note(now, {0: (end, mark)})
        >>> lags.seconds[0]
        [0.0, 0.0, 1.0, 0.0]
        """
        for partition, (end, mark) in backlog.items():
            ends = self._ends[partition]
            if not ends or ends[-1][0] < end:
                ends.append((end, now))
            while ends and ends[0][0] <= mark + 1:
                ends.popleft()
            self.seconds[partition].append(now - ends[0][1] if ends else 0.0)

    def told(self, partitions: Sequence[int]) -> dict[str, float]:
        """Return median and most of these partitions' lags in seconds, the worst of them."""
        medians = [statistics.median(self.seconds[p]) for p in partitions if self.seconds[p]]
        most = [max(self.seconds[p]) for p in partitions if self.seconds[p]]
        return {
            "median": round(max(medians, default=0.0), 2),
            "most": round(max(most, default=0.0), 2),
        }


class Visitors:
    """Draws who comes and what they do, spelled as their apps send it; the same for a `chance`."""

    def __init__(self, chance: Random) -> None:
        self.visits = self.events = 0
        self._chance: Final = chance
        self._leaving: Final[list[tuple[int, int, bytes]]] = []  # a heap, by time

    @property
    def are_there(self) -> bool:
        """Whether anybody is still in their first 30 seconds."""
        return bool(self._leaving)

    def act(self, now_ms: int, count: int) -> list[bytes]:
        """Return what happens by now: so many enter, and others leave or have seen 30 seconds."""
        events = [self._enter(now_ms) for _ in range(count)]
        while self._leaving and self._leaving[0][0] <= now_ms:
            at_ms, _, event = heapq.heappop(self._leaving)
            events.append(b'{"ts":%d,%b}' % (at_ms, event))
        self.events += len(events)
        return events

    def _enter(self, now_ms: int) -> bytes:
        chance, number = self._chance.random, self.visits
        self.visits += 1
        pushed = chance() < PUSHED
        slice_id, via = (FANS, "push") if pushed else (PUBLIC, "rank")
        who = f'"video":"{ROOM}","viewer":"v{number}","slice":"{slice_id}"'
        watched = min(int(self._chance.expovariate(0.7 / TYPICAL_MS)), VIEW_MS)
        view = f'"type":"view","id":"rv{number}",{who},"watch_ms":{watched},"duration_ms":{VIEW_MS}'
        leaving = [view]
        for kind, share in (("like", LIKED), ("comment", COMMENTED)):
            if chance() < share:
                leaving.append(f'"type":"{kind}","id":"r{kind}{number}",{who}')
        for event in leaving:
            heapq.heappush(self._leaving, (now_ms + watched, number, event.encode()))
        follows = ',"follower":true' if pushed else ""
        return (
            f'{{"type":"impression","id":"ri{number}",{who},"ts":{now_ms},"via":"{via}"{follows}}}'
        ).encode()


@dataclass
class LiveRoom:
    """A room that `viewers` enter within `seconds`; what is known of it afterwards is `report`."""

    viewers: int
    seconds: int = 60
    seed: int = 1
    report: dict[str, Any] = field(default_factory=dict)

    async def hold(self, scene: "Scene") -> None:
        """Open the room, let everybody in and leave, end it; `Retry` if something fails."""
        await scene.open()
        lags, visitors = Lags(), Visitors(Random(self.seed))  # noqa: S311 - viewers, not keys
        measuring = asyncio.create_task(scene.measure(lags))
        try:
            arrived_s, events = await self._let_in(scene, visitors)
            waited_s = await scene.catch_up()
        finally:
            measuring.cancel()
        off_index = await scene.end()
        home = scene.partition
        others = [partition for partition in lags.seconds if partition != home]
        self.report = {
            "video": ROOM,
            "partition": home,
            "viewers": visitors.visits,
            "arrived_in_s": round(arrived_s, 1),
            "visits_per_second": round(visitors.visits / arrived_s),
            "events_per_second": round(events / arrived_s),
            "caught_up_after_s": round(waited_s, 1),
            "lag_s": lags.told([home]),
            "others_lag_s": lags.told(others),
            "off_index_s": None if off_index is None else round(off_index, 2),
        }

    async def _let_in(self, scene: "Scene", visitors: Visitors) -> tuple[float, int]:
        """Let everybody in at an even pace, and leave; return seconds and events until all came."""
        began = time.monotonic()
        arrived_s, events = 0.0, 0
        while not arrived_s or visitors.are_there:
            passed = time.monotonic() - began
            due = min(round(self.viewers * passed / self.seconds), self.viewers)
            await scene.send(visitors.act(scene.now_ms(), due - visitors.visits))
            if due == self.viewers and not arrived_s:
                arrived_s, events = time.monotonic() - began, visitors.events
            await asyncio.sleep(STEP_S)
        await scene.send(())
        return arrived_s, events

    async def count(self, store: Store) -> None:
        """Note what the counters say, once everything is stored."""
        partition = self.report["partition"]
        fields = (await store.load(partition, [ROOM])).videos[ROOM]
        rows = load_video(ROOM, fields).slices.values()
        self.report["counted_visits"] = sum(row.impressions for row in rows)
        self.report["counted_views"] = sum(row.views for row in rows)

    @property
    def is_exact(self) -> bool:
        """Whether all visits and views were counted, each once."""
        counted = {self.report["counted_visits"], self.report["counted_views"]}
        return counted == {self.report["viewers"]}


@dataclass
class Scene:
    """Where the room is: the topics that its events go to, the index, the worker that counts."""

    producer: Producer
    index: ServingIndex
    worker: Worker
    settings: Settings
    _sent: list[Awaitable[object]] = field(default_factory=list)

    @property
    def partition(self) -> int:
        """The room's partition of the log."""
        return partition_of(ROOM.encode(), self.settings.partitions)

    def now_ms(self) -> int:
        """Return the time, ms since 1970."""
        return time.time_ns() // 1_000_000

    async def open(self) -> None:
        """Upload the room, and wait until the index has it."""
        words = SUBJECTS[SUBJECT]
        upload = Upload(
            id="room-upload",
            video=ROOM,
            creator="star",
            ts=self.now_ms(),
            duration_ms=VIEW_MS,
            title=words.titles[0],
            hashtags=tuple(words.hashtags[:2]),
            followers=FOLLOWERS,
            format="live",
        )
        await self._publish(upload)
        if await self._until(shown=True) is None:
            raise Retry(f"the live room is not in the index after {PATIENCE_S:.0f} s")

    async def end(self) -> float | None:
        """Say that the room is over; return after how long it is off the index."""
        await self._publish(Ended("room-ended", ROOM, self.now_ms()))
        return await self._until(shown=False)

    async def send(self, events: Sequence[bytes]) -> None:
        """Send events of the room; what was sent before is acknowledged by then."""
        sent, self._sent = self._sent, []
        for acknowledged in sent:
            await acknowledged
        topic, key = self.settings.topic("interactions"), ROOM.encode()
        for first in range(0, len(events), ARRAY):
            value = b"[" + b",".join(events[first : first + ARRAY]) + b"]"
            record = Outgoing(topic, value, key, (), self.partition)
            self._sent.append(await self.producer.send(record))

    async def catch_up(self) -> float:
        """Wait until all of the room is counted; return after how many seconds it is."""
        began = time.monotonic()
        while True:
            with suppress(Retry):
                end, mark = (await self.worker.backlog())[self.partition]
                if mark + CAUGHT_UP >= end:
                    return time.monotonic() - began
            await asyncio.sleep(STEP_S)

    async def measure(self, lags: Lags) -> None:
        """Note how far each partition is behind, again and again."""
        while True:
            with suppress(Retry):
                lags.note(time.monotonic(), await self.worker.backlog())
            await asyncio.sleep(STEP_S)

    async def _publish(self, event: Upload | Ended) -> None:
        topic = self.settings.topic("uploads")
        await (await self.producer.send(Outgoing(topic, encode(event), event.video.encode())))

    async def _until(self, *, shown: bool) -> float | None:
        """Return after how long feeds can show the room everywhere, or nowhere; None if not."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < PATIENCE_S:
            there = [await self._is_in(slice_id) for slice_id in (FANS, PUBLIC)]
            if all(there) if shown else not any(there):
                return passed
            await asyncio.sleep(POLL_S)
        return None

    async def _is_in(self, slice_id: str) -> bool:
        async for page in self.index.pairs(slice_id):
            if any(video == ROOM for video, _ in page):
                return True
        return False

"""No verdict of a thousand is lost, though control planes die and pause, and Redis forgets.

All on the twins, by a seed: at any call that leaves a control plane it may die, or stop for a while
and go on as if nothing was, long after another one took its place.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import pytest
from kit.control import NOW, Office, Process, review, upload

from streams.control.admission import dossier
from streams.control.admission.acknowledged import FellBack
from streams.core.partitioner import partition_of
from streams.core.words import Review
from streams.errors import Retry
from streams.runtime.documents import read_copy
from streams.runtime.memory import MemoryProducer, MemoryReader
from streams.runtime.ports import Document, Dossiers
from streams.runtime.redis import RedisDossiers

VERDICTS = 1_000
VIDEOS = [f"v{number}" for number in range(40)]
STAGES = {"approve": "public", "limit": "limited", "reject": "removed"}
End = Literal["dies", "sleeps"]


class Fate:
    """When a control plane stops, in calls that leave it, and whether it goes on some day."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.end: End = "dies"
        self.reached = asyncio.Event()
        self.awake = asyncio.Event()

    async def step(self) -> None:
        await asyncio.sleep(0)  # others go on meanwhile
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.reached.set()
                await (self.awake.wait() if self.end == "sleeps" else asyncio.Event().wait())

    def wake(self) -> None:
        self.left = None
        self.awake.set()
        self.reached, self.awake = asyncio.Event(), asyncio.Event()


class Fated:
    """A port whose calls are steps: one before each, and one behind it."""

    def __init__(self, port: object, fate: Fate) -> None:
        self._port = port
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._port, name)
        if not inspect.iscoroutinefunction(called):
            return called

        async def call(*arguments: Any) -> Any:
            await self._fate.step()
            result = await called(*arguments)
            await self._fate.step()
            return result

        return call


@dataclass
class Plane:
    """One control plane that may stop, and what it does where it stopped."""

    process: Process
    fate: Fate
    asleep: asyncio.Task[None] | None = None
    wakes_at: int = 0
    looked: bool = False


@dataclass
class Story:
    """What happens to an office in a thousand verdicts, by chance of a seed."""

    seed: int
    forgets: bool
    url: str = ""  # of a real Redis that holds the dossiers
    office: Office = field(default_factory=Office)
    planes: list[Plane] = field(default_factory=list)
    past: deque[Mapping[int, Any]] = field(default_factory=lambda: deque(maxlen=6))
    said: dict[str, list[Review]] = field(default_factory=dict)
    ends: dict[End, int] = field(default_factory=lambda: {"dies": 0, "sleeps": 0})
    losses: int = 0
    clients: list[RedisDossiers] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)

    async def play(self) -> None:
        """Give a thousand verdicts."""
        first = self.new_plane().process
        await (await first.start()).take(*(upload(video) for video in VIDEOS))
        await self.office.count()
        self.planes = [self.new_plane(), self.new_plane()]
        given = turn = 0
        while given < VERDICTS:
            turn += 1
            given += self.judge(min(self.chance.randint(1, 8), VERDICTS - given), given)
            await self.wake(turn)
            some = self.chance.sample(self.planes, self.chance.randint(1, 2))
            await asyncio.gather(*(self.work(plane, turn) for plane in some))
            if turn % 5 == 0:
                self.past.append({p: deepcopy(self.held(p)) for p in range(2)})
            if turn % 10 == 0:
                await self.office.count()
            if self.forgets and turn % 25 == 0:
                self.lose()

    def judge(self, count: int, given: int) -> int:
        """Let people give verdicts; a reject is rare, it is the last word on a video."""
        for number in range(given, given + count):
            video = self.chance.choice(VIDEOS)
            word = self.chance.choices(["approve", "limit", "reject"], [20, 20, 1])[0]
            one = review(word, video, name=f"m{number}", ts=NOW + number)
            self.said.setdefault(video, []).append(one)
            self.office.bring(one)
        return count

    def new_plane(self) -> Plane:
        fate, log = Fate(), self.office.world.log
        ports = {
            "dossiers": Fated(self.dossiers(), fate),
            "producer": Fated(MemoryProducer(log), fate),
            "store": Fated(self.office.world.store, fate),
            "reader": Fated(MemoryReader(log), fate),
        }
        return Plane(Process(self.office, **ports), fate)

    def dossiers(self) -> Dossiers:
        """Return a client of what holds the dossiers."""
        if not self.url:
            return self.office.dossiers
        self.clients.append(RedisDossiers(self.url))
        return self.clients[-1]

    async def work(self, plane: Plane, turn: int) -> None:
        """Have a control plane work as far as it comes."""
        if plane.asleep is not None:
            return
        if self.chance.random() < 0.5:
            plane.fate.left = self.chance.randint(1, 60)
            plane.fate.end = "dies" if self.chance.random() < 0.4 else "sleeps"
        working = asyncio.create_task(self.shift(plane))
        stopping = asyncio.create_task(plane.fate.reached.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            plane.fate.left = None
            working.result()
        elif plane.fate.end == "sleeps":
            self.ends["sleeps"] += 1
            plane.asleep, plane.wakes_at = working, turn + self.chance.randint(1, 12)
        else:
            self.ends["dies"] += 1
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            self.planes[self.planes.index(plane)] = self.new_plane()

    async def wake(self, turn: int) -> None:
        """Let those go on whose pause is over: what they do now, they do late."""
        for plane in self.planes:
            if plane.asleep is not None and plane.wakes_at <= turn:
                plane.fate.wake()
                await plane.asleep
                plane.asleep = None

    async def shift(self, plane: Plane) -> None:
        """Work until all is done; look what Redis lost at the start, and when it shows later."""
        for _ in range(50):
            try:
                if not plane.looked:
                    if await plane.process.recovery.look():
                        await self.office.count()
                        await plane.process.recovery.run()
                    await plane.process.recovery.compare()
                    plane.looked = True
                await plane.process.work()
                await plane.process.recovery.compare()
            except Retry:
                continue
            except FellBack:
                plane.looked = False
                continue
            return
        raise AssertionError("it never comes to an end")

    def held(self, partition: int) -> tuple[Any, Any]:
        """Return all that Redis holds of a partition."""
        counters = self.office.world.store.partitions.get(partition)
        return self.office.dossiers.shelves[partition], counters

    def lose(self) -> None:
        """Let a replica that was behind take over, of one partition or both; or empty Redis."""
        self.losses += 1
        if self.chance.random() < 0.2:
            self.office.flush()
            return
        older = deepcopy(self.chance.choice(self.past))
        for partition in self.chance.choice([(0,), (1,), (0, 1)]):
            shelf, counters = older[partition]
            if counters is not None:
                self.office.dossiers.shelves[partition] = shelf
                self.office.world.store.partitions[partition] = counters

    async def end(self) -> None:
        """Let all that sleep go on, and one control plane do what is left."""
        await self.wake(1 << 30)
        await self.office.count()
        plane = self.new_plane()
        await self.shift(plane)
        for _ in range(2):
            await plane.process.recovery.compare()
        await self.office.count()
        for client in self.clients[-1:]:  # for who judges the end
            async for some in client.scan():
                for video, document in some.items():
                    home = partition_of(video.encode(), 2)
                    self.office.dossiers.shelves[home].documents[video] = document
        for client in self.clients:
            await client.close()

    def latest(self) -> dict[str, Review]:
        """Return the word that counts of each video: a reject, or the latest one."""
        return {
            video: max(some, key=lambda one: (one.verdict == "reject", one.ts))
            for video, some in self.said.items()
        }


def copies_of(office: Office) -> dict[str, list[Document]]:
    """Return the copies of each video in the order of the topic."""
    copies: dict[str, list[Document]] = {}
    for record in office.world.sent("dossiers"):
        read = read_copy(record)
        assert read is not None
        copies.setdefault(read[0], []).append(read[1])
    return copies


def verdicts(documents: Mapping[str, Document]) -> dict[str, Review | None]:
    return {video: dossier.decode(one.text).verdict for video, one in documents.items()}


@pytest.mark.parametrize("forgets", [False, True], ids=["kills and pauses", "and Redis forgets"])
async def test_no_verdict_of_a_thousand_is_lost(forgets: bool) -> None:
    story = Story(2, forgets)
    await story.play()
    await story.end()
    assert min(story.ends.values()) > 20
    assert story.losses > 5 or not forgets
    judge_the_end(story)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 13))
@pytest.mark.parametrize("forgets", [False, True], ids=["kills and pauses", "and Redis forgets"])
async def test_no_verdict_of_many_thousands_is_lost(seed: int, forgets: bool) -> None:
    story = Story(seed, forgets)
    await story.play()
    await story.end()
    judge_the_end(story)


@pytest.mark.real
@pytest.mark.slow
async def test_no_verdict_of_a_thousand_is_lost_with_dossiers_in_a_real_redis(
    fresh_redis_url: str,
) -> None:
    story = Story(2, forgets=False, url=fresh_redis_url)
    await story.play()
    await story.end()
    judge_the_end(story)


def judge_the_end(story: Story) -> None:
    office, latest = story.office, story.latest()
    stages = {video: office.row(video).stage for video in latest}
    assert stages == {video: STAGES[one.verdict] for video, one in latest.items()}
    known = office.documents()
    assert {v: one for v, one in verdicts(known).items() if one is not None} == latest
    copies = copies_of(office)
    last = {video: some[-1] for video, some in copies.items()}
    greatest = {video: max(some) for video, some in copies.items()}
    assert {v: one.revision for v, one in last.items()} == {
        v: one.revision for v, one in greatest.items()
    }
    assert {v: one for v, one in verdicts(last).items() if one is not None} == latest

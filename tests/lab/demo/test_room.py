"""The live room of the demo: who comes, what lags, and that it is off once it ended."""

import asyncio
import json
import time
from collections.abc import Mapping
from random import Random
from typing import Any, cast

from kit.events import Logged, record
from kit.twins import World, settings_of

from streams.core.serving import Entry
from streams.core.units import is_slice
from streams.lab.demo.room import FANS, PUBLIC, ROOM, Lags, LiveRoom, Scene, Visitors
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.memory import MemoryLog, MemoryProducer, MemoryServingIndex
from streams.runtime.worker import Worker

NOW_MS = 1_700_000_000_000
BEGAN_S = time.monotonic()


def acted(minutes: int = 2, viewers: int = 400) -> list[dict[str, Any]]:
    """All that so many visitors do, in steps of a second."""
    visitors = Visitors(Random(3))
    events = visitors.act(NOW_MS, viewers)
    for second in range(60 * minutes):
        events += visitors.act(NOW_MS + 1_000 * second, 0)
    assert not visitors.are_there
    assert visitors.events == len(events)
    return [json.loads(event) for event in events]


def test_every_visit_has_its_view_of_at_most_thirty_seconds() -> None:
    events = acted()
    came = [event["viewer"] for event in events if event["type"] == "impression"]
    views = {event["viewer"]: event for event in events if event["type"] == "view"}
    assert len(came) == len(set(came)) == 400
    assert views.keys() == set(came)
    assert max(view["watch_ms"] for view in views.values()) == 30_000
    assert all(view["ts"] == NOW_MS + view["watch_ms"] for view in views.values())


def test_followers_come_by_push() -> None:
    came = [event for event in acted() if event["type"] == "impression"]
    by_slice = {event["slice"]: (event["via"], event.get("follower", False)) for event in came}
    assert by_slice == {FANS: ("push", True), PUBLIC: ("rank", False)}
    assert all(is_slice(name) for name in by_slice)


def test_the_pipeline_takes_all_that_they_do() -> None:
    visitors = Visitors(Random(3))
    events = [*visitors.act(NOW_MS, 50), *visitors.act(NOW_MS + 60_000, 0)]
    logged: Logged = record(b"[" + b",".join(events) + b"]", timestamp=NOW_MS + 60_000)
    taken = decode_log([logged], None, Spelling(1 << 20))
    assert (len(taken.events), taken.refusals, taken.unknown_fields) == (len(events), [], 0)


def test_the_same_chance_gives_the_same_visitors() -> None:
    assert acted() == acted()


def test_lags_are_told_for_the_worst_of_some_partitions() -> None:
    lags = Lags()
    for second in range(5):
        lags.note(float(second), {0: (10 * second, 10 * second - 1), 1: (10 + second, 3)})
    assert lags.told([0]) == {"median": 0.0, "most": 0.0}
    assert lags.told([0, 1]) == {"median": 2.0, "most": 4.0}
    assert lags.told([]) == {"median": 0.0, "most": 0.0}


class Counting:
    """A worker that keeps up, and tells feeds of the room as its uploads say."""

    def __init__(self, log: MemoryLog, index: MemoryServingIndex) -> None:
        self._log, self._index = log, index
        self._told = 0

    async def backlog(self) -> Mapping[int, tuple[int, int]]:
        """Tell feeds what was published since; nothing is behind."""
        records = [r for p in range(4) for r in self._log.records("uploads", p)]
        for known in records[self._told :]:
            kind = json.loads(known.value or b"{}")["type"]
            score = 400_000 if kind == "upload" else None
            for slice_id in (FANS, PUBLIC):
                entry = Entry(ROOM, self._told, score, 100)
                await self._index.apply(slice_id, {0: self._told}, [entry])
            self._told += 1
        return dict.fromkeys(range(4), (1, 0))  # one record is on its way


class Hurried(Scene):
    """A scene whose minutes last two seconds."""

    def now_ms(self) -> int:
        return NOW_MS + int(30_000 * (time.monotonic() - BEGAN_S))


async def test_a_room_opens_is_visited_and_is_off_the_index_after_its_end() -> None:
    log, index = MemoryLog(now_ms=lambda: NOW_MS), MemoryServingIndex(lambda: NOW_MS)
    for topic in ("uploads", "interactions"):
        log.create(topic, 4)
    producer, settings = MemoryProducer(log), settings_of(partitions=4)
    worker = Counting(log, index)
    scene = Hurried(producer, index, cast(Worker, worker), settings)

    async def keep_up() -> None:
        while True:
            await worker.backlog()
            await asyncio.sleep(0.01)

    keeping = asyncio.create_task(keep_up())
    room = LiveRoom(300, seconds=1)
    await room.hold(scene)
    keeping.cancel()
    report = room.report
    assert (report["viewers"], report["partition"]) == (300, scene.partition)
    assert report["off_index_s"] is not None
    sent = [json.loads(r.value or b"[]") for r in log.records("interactions", scene.partition)]
    assert sum(event["type"] == "view" for array in sent for event in array) == 300


async def test_what_was_counted_is_compared_with_who_came() -> None:
    world = World()
    room = LiveRoom(2)
    room.report = {"partition": 0, "viewers": 0}
    await room.count(world.store)
    assert room.is_exact
    room.report["viewers"] = 1
    assert not room.is_exact

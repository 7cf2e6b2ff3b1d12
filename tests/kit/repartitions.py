"""Logs that go over to another partition count, over the twins in memory."""

import inspect
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from kit.events import (
    FIXED,
    FOOTBALL,
    NOW,
    Logged,
    signed_record,
    synthetic_log,
)
from kit.keys import SIGNER, SPELLING
from kit.serving import entry
from kit.twins import LOG, Dead, World, counted
from streams.core.events import ControlRecord
from streams.core.generations import read_generations
from streams.core.partition_control import Lead
from streams.core.partitioner import partition_of
from streams.core.ticks import read_stored
from streams.core.traffic import decode as decode_tick
from streams.core.window import FrozenWindow, Window
from streams.ops.recount_traffic import spread_out
from streams.ops.repartition import Repartitioner
from streams.ops.repartition_ends import (
    Holding,
)
from streams.ops.repartition_tail import dealt
from streams.runtime.codec import COUNTED, decode_log
from streams.runtime.installation import (
    Installation,
)
from streams.runtime.memory import (
    MemoryDossiers,
    MemoryProducer,
    MemoryReader,
    MemoryServingIndex,
)
from streams.runtime.ports import Document, DossierChange, Outgoing

CUT: Final = 150
TABLES: Final = ("policies", "mix")
DEALT: Final = ("uploads", "recognitions", "reviews", "dossiers")


def world_of(partitions: int, generation_records: int = 100_000) -> World:
    """Return brokers with every topic of an installation, and a store."""
    made = World(partitions, generation_records=generation_records)
    for topic in TABLES:
        made.log.create(topic, 1)
    for topic in DEALT:
        made.log.create(topic, partitions)
    return made


def log_of(partition: int, partitions: int, events: int = 500) -> list[Logged]:
    """Return a partition's log that begins as those of all others do; ids are its own."""
    crowd = synthetic_log(partition + 1, 6, events, partition, partitions, led=True)
    shared = [signed_record(Lead("lead-1", NOW, 1, "me")), signed_record(FIXED_IN_TERM, 1)]
    at = len(shared)
    return [
        *(one._replace(partition=partition) for one in shared),
        *(_own(one, partition)._replace(offset=one.offset + at) for one in crowd),
    ]


FIXED_IN_TERM: Final = msgspec.structs.replace(FIXED, term=1)


def _own(record: Logged, partition: int) -> Logged:
    """Return a record with ids that no other partition has, and no two videos."""
    if record.headers or record.value is None:
        return record
    value = record.value.replace(b'"id":"x"', b'"id":"x%d"' % record.offset)
    return record._replace(value=value.replace(b'"id":"', b'"id":"p%d-' % partition))


class Move:
    """A world that was counted, and one of another partition count beside it."""

    def __init__(self, before: World, after: World, folder: Path) -> None:
        self.before, self.after, self.folder = before, after, folder
        self.old_dossiers, self.new_dossiers = MemoryDossiers(), MemoryDossiers()
        self.index = MemoryServingIndex()

    def repartitioner(self, dead: Dead | None = None, store: Any = None) -> Repartitioner:
        """Return a run of its own; every call that leaves it is two steps of `dead`.

        `store` is its view of the other store, if it has one of its own.
        """
        living = (lambda port: port) if dead is None else (lambda port: Mortal(port, dead))
        old = self.before.counted_log()._replace(reader=living(MemoryReader(self.before.log)))
        new = self.after.counted_log(self.folder)
        new = new._replace(reader=living(MemoryReader(self.after.log)))
        stores = living(self.before.store), store or living(self.after.store)
        return Repartitioner(
            Holding(old._replace(store=stores[0]), stores[0], living(self.old_dossiers)),
            Holding(new._replace(store=stores[1]), stores[1], living(self.new_dossiers)),
            living(self.index),
            living(MemoryProducer(self.after.log)),
            SIGNER,
            lambda: NOW,
        )

    async def run(self) -> Installation:
        """Take everything over."""
        made = await self.repartitioner().run()
        self.after.installation = made
        return made

    def holding(self) -> Holding:
        """Return what goes over."""
        return Holding(self.before.counted_log(), self.before.store, self.old_dossiers)


class Mortal:
    """A port of which every call is two steps."""

    def __init__(self, port: Any, dead: Dead) -> None:
        self._port, self._dead = port, dead

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._port, name)
        if not inspect.iscoroutinefunction(called):
            return called
        return lambda *arguments: self._dead.call(called(*arguments))


async def moving(
    before: int, after: int, folder: Path, *, generation: int = 100_000, cut: int = CUT
) -> Move:
    """Return a log that was counted up to a cut, and the place that it goes over to."""
    made = world_of(before, generation)
    for partition in range(before):
        made.put(log_of(partition, before)[:cut])
    return Move(await counted(made), world_of(after, generation), folder)


def later(before: int, cut: int = CUT) -> list[Logged]:
    """Return what comes behind the cut."""
    return [one for p in range(before) for one in log_of(p, before)[cut:]]


def feed(world: World, records: Sequence[Logged], before: int) -> None:
    """Write records of a log with `before` partitions to a world, as producers would."""
    for one in records:
        out = dealt([one], LOG, (before, world.partitions), SPELLING)
        if any(name == "streams-signature" for name, _ in one.headers) and one.key:
            home = partition_of(one.key, world.partitions)
            out = iter([Outgoing(LOG, one.value, one.key, one.headers, home, one.timestamp)])
        for each in out:
            mine = [header for header in each.headers if header[0] != COUNTED]
            world.log.append(replace(each, headers=mine))


def videos_in(world: World) -> dict[str, dict[str, bytes]]:
    """Return every video's rows; no video is in two partitions, or in one that is not its own."""
    found: dict[str, dict[str, bytes]] = {}
    for partition, stored in world.store.partitions.items():
        for video, fields in stored.rows.items():
            assert partition_of(video.encode(), world.partitions) == partition
            assert video not in found
            found[video] = dict(fields)
    return found


def timeless(videos: dict[str, dict[str, bytes]]) -> dict[str, dict[str, Any]]:
    """Return all rows, of live rooms their counters: minutes of their partition judge them."""
    found: dict[str, dict[str, Any]] = {}
    for video, fields in videos.items():
        rows = {name: json.loads(raw) for name, raw in fields.items()}
        is_live = "live" in rows.get("video", ())
        kept = {name: row[:2] for name, row in rows.items() if name != "video"}
        found[video] = kept if is_live else rows
    return found


def traffic_of(*worlds: World) -> Counter[tuple[str, str, str]]:
    """Return all that was summed, in closed minutes (each once) and open ones."""
    ticks = {
        tick.id: tick
        for w in worlds
        for one in w.sent("traffic")
        if (tick := decode_tick(one.value or b""))
    }
    total: Counter[tuple[str, str, str]] = Counter()
    for tick in ticks.values():
        for sums in tick.sums:
            total.update(spread_out(sums))
    for stored in worlds[-1].store.partitions.values():
        for sums in read_stored(stored.meta.traffic).sums:
            total.update(spread_out(sums))
    return Counter({key: count for key, count in total.items() if count})


async def small_move(folder: Path) -> Move:
    """Return a move of few records, with dossiers and an index."""
    before = world_of(2, 20)
    for partition in range(2):
        before.put(log_of(partition, 2, 60)[:50])
    move = Move(await counted(before), world_of(4, 20), folder)
    await move.old_dossiers.put(0, "old", [DossierChange("v1", 0, Document(3, b"{}"))], {})
    await move.index.apply(FOOTBALL, {0: 1}, [entry("v1")])
    return move


def turned(window: Window, following: int) -> FrozenWindow:
    """Return what a window remembers for an event at an offset."""
    if following >= window.end:
        window.turn(following)
    return window.frozen()


def remembered(world: World, partition: int) -> FrozenWindow:
    """Return what the window of a counted partition remembers of its own videos."""
    generations = read_generations(
        world.meta(partition).generations, world.settings.generation_records
    )
    window, following = Window(1), world.watermark(partition) + 1
    window.generations = generations
    decoded = decode_log(world.log.records(LOG, partition), None, SPELLING)
    for event, offset in zip(decoded.events, decoded.offsets, strict=True):
        if not isinstance(event, ControlRecord) and offset >= generations.back(following, 3):
            video = event.video.encode()  # type: ignore[union-attr]
            if partition_of(video, world.partitions) == partition:
                window.repeats(event, offset)  # type: ignore[arg-type]
    return turned(window, following)


def together(windows: Iterable[FrozenWindow]) -> list[list[Any]]:
    """Return what windows remember, by generation; one id may be of two videos."""
    found: list[list[Any]] = [[] for _ in range(10)]
    for window in windows:
        likes = [(one.states, one.met) for one in window.likes]
        parts = [window.current, window.previous, *(part for both in likes for part in both)]
        for place, part in enumerate(parts):
            found[place] += part
    return [sorted(set(each)) for each in found]

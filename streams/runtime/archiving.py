"""Videos that nothing happened to for days leave Redis, a few with each flush of their owner.

A slow sweep over the stored rows names them. A flush then reads their rows at its own watermark,
writes those to the topic `archive`, and drops them in the guarded call that puts a pointer in their
place. Whatever fails before that call leaves the rows where they are, and at most a record that
nobody points to.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streams.core.counters import read_video
from streams.core.quiet import DAY_MS, is_quiet
from streams.core.rule import open_slices
from streams.core.serving import Entry
from streams.core.state import Archived, Changes, PartitionState
from streams.errors import StreamsError
from streams.runtime.archive import TOPIC, ArchiveWriter
from streams.runtime.ports import Clock, Loaded, Outgoing, Producer
from streams.runtime.whole import PointingStore, WholeStore
from streams.settings import Settings

EVERY_S: Final = 6 * 3600.0
PAUSE_S: Final = 0.2
"""Between two pages of a sweep."""
AT_ONCE: Final = 50
"""Videos that are looked at before others get their turn."""
WITH_A_FLUSH: Final = 100
"""Videos that leave with one flush."""
WAITING_MOST: Final = 5_000
"""Videos that a sweep names before it waits for flushes to take them."""
log: Final = logging.getLogger("streams.worker")


@dataclass(frozen=True)
class Archiving:
    """Which videos leave which bare store: those to which nothing happened for `quiet_ms`.

    In the event time of their partition. They are looked for every `every_s`; rows of more than
    `most_bytes` stay. `topic` is the full name of the archive.
    """

    store: PointingStore
    producer: Producer
    topic: str
    quiet_ms: int
    most_bytes: int
    clock: Clock = time.monotonic
    every_s: float = EVERY_S


def archiving_of(store: WholeStore, producer: Producer, settings: Settings) -> Archiving | None:
    """Return who leaves by these settings, None if nobody does."""
    if not settings.archive_days:
        return None
    quiet_ms = settings.archive_days * DAY_MS
    return Archiving(store.bare, producer, settings.topic(TOPIC), quiet_ms, settings.record_bytes)


class Archiver:
    """Has videos of one owned partition leave, until `release`."""

    def __init__(self, archiving: Archiving, state: PartitionState) -> None:
        self._rules: Final = archiving
        self._store: Final = archiving.store
        self._state: Final = state
        self._writer: Final = ArchiveWriter(archiving.producer, archiving.topic, state.partition)
        self._names: Final[deque[str]] = deque()
        self._taken: Final = asyncio.Event()
        self._untold: Final[defaultdict[str, list[Entry]]] = defaultdict(list)  # by slice, who left
        self._sweeping: asyncio.Task[None] | None = None
        self._swept_at = float("-inf")
        self._since = 0  # the epoch in which the sweep before this one began

    def turn(self) -> None:
        """Begin a sweep if one is due."""
        if self._sweeping is not None and not self._sweeping.done():
            return
        now = self._rules.clock()
        if self._state.trust.upgraded and now - self._swept_at >= self._rules.every_s:
            self._swept_at = now
            since, self._since = self._since, self._state.epoch
            name = f"archive-{self._state.partition}"
            self._sweeping = asyncio.create_task(self._sweep(since), name=name)

    def release(self) -> None:
        """Have nothing leave any more."""
        self._names.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def leaving(self, watermark: int, upto: int, changes: Changes) -> Changes:
        """Return the changes of a flush with the videos that leave, their rows being durable.

        `watermark` is the one that is stored: nobody else flushes meanwhile. Feeds are told by
        `told`. Nothing leaves where the store or the topic does not answer.
        """
        names = [self._names.popleft() for _ in range(min(len(self._names), WITH_A_FLUSH))]
        self._taken.set()
        if not names:
            return changes
        try:
            loaded = await self._store.load(self._state.partition, names)
        except StreamsError as error:
            log.warning("partition %d: nothing leaves: %s", self._state.partition, error)
            return changes
        if loaded.watermark != watermark:
            return changes
        rows = self._quiet(loaded, changes)
        made = {video: self._writer.record_of(video, upto, rows[video]) for video in rows}
        most = self._rules.most_bytes
        records = {video: one for video, one in made.items() if len(one.value or b"") <= most}
        kept = await self._writer.write(rows, records)
        if records and not kept:
            self._names.clear()  # the next sweep tries again: no other flush is to wait for it
        # From here on whatever changes them stores all of their rows, also if it was loaded before.
        self._state.archived.update((video, each.archived) for video, each in kept.items())
        return changes._replace(departed={video: each.pointer for video, each in kept.items()})

    @property
    def untold(self) -> bool:
        """Whether feeds are to be told of anything that left."""
        return bool(self._untold)

    def note(self, departed: Iterable[str], upto: int) -> None:
        """Note that videos left with a flush up to an offset: they are nowhere to be shown."""
        outlook = self._state.outlook
        if outlook is None:
            return
        for video in departed:
            known = self._state.videos.get(video)
            before = () if known is None or known.told is None else known.told.slices
            shown = open_slices(outlook, read_video(self._state.archived[video].rows))
            for slice_id in dict.fromkeys([*before, *shown]):
                self._untold[slice_id].append(Entry(video, upto, None))

    def told(self, entries: Mapping[str, Sequence[Entry]]) -> Mapping[str, Sequence[Entry]]:
        """Return what left by slice and then these entries: what returned since stands again.

        Feeds hear of both at once: their position tells that they know all up to it.
        """
        if not self._untold:
            return entries
        gone = dict(self._untold)
        self._untold.clear()
        return {name: [*gone.get(name, ()), *entries.get(name, ())] for name in {**gone, **entries}}

    def tombstones(self, returned: Mapping[str, Archived]) -> Sequence[Outgoing]:
        """Return the records that have those go which nobody points to any more."""
        return [self._writer.tombstone_of(archived) for archived in returned.values()]

    def _quiet(self, loaded: Loaded, changes: Changes) -> dict[str, Mapping[str, bytes]]:
        """Return the rows of those videos that leave: all that is known of them is stored."""
        before_ms = changes.meta.event_time - self._rules.quiet_ms
        told = {entry.video for some in changes.entries.values() for entry in some}
        return {
            video: fields
            for video, fields in loaded.videos.items()
            if fields
            and video not in told
            and not self._state.is_moving(video, changes.epoch)
            and is_quiet(fields, before_ms)
        }

    async def _sweep(self, since: int) -> None:
        """Name the quiet videos that are stored, and did not change since the sweep before."""
        partition = self._state.partition
        before_ms = self._state.event_time - self._rules.quiet_ms
        pause_s = 0.0
        try:
            async for rows in self._store.pages(partition):
                await asyncio.sleep(pause_s)
                pause_s = PAUSE_S
                for number, (video, fields) in enumerate(rows.items()):
                    if is_quiet(fields, before_ms) and not self._state.is_moving(video, since):
                        self._names.append(video)
                    if number % AT_ONCE == 0:
                        await asyncio.sleep(0)
                while len(self._names) > WAITING_MOST:
                    self._taken.clear()
                    await self._taken.wait()
        except StreamsError as error:
            log.warning("partition %d: looking for quiet videos waits: %s", partition, error)

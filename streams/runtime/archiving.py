"""Videos that nothing happened to for days leave Redis, a few with each flush of their owner.

A slow sweep over the stored rows names them. A flush then reads their rows at its own watermark,
writes those to the topic `archive`, and drops them in the guarded call that puts a pointer in their
place. Whatever fails before that call leaves the rows where they are, and at most a record that
nobody points to.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
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
from streams.runtime.whole import WholeStore
from streams.settings import Settings

EVERY_S: Final = 6 * 3600.0
PAUSE_S: Final = 1.0
"""Between two pages of a sweep."""
WITH_A_FLUSH: Final = 200
"""Videos that leave with one flush."""
WAITING_MOST: Final = 5_000
"""Videos that a sweep names before it waits for flushes to take them."""
log: Final = logging.getLogger("streams.worker")


@dataclass(frozen=True)
class Archiving:
    """Where videos leave to: the store that they are in, and how often they are looked for."""

    store: WholeStore
    producer: Producer
    settings: Settings
    clock: Clock
    every_s: float = EVERY_S

    def of(self, state: PartitionState) -> "Archiver | None":
        """Return what has videos of a partition leave, None if none are to."""
        return Archiver(self, state) if self.settings.archive_days else None


class Archiver:
    """Has videos of one owned partition leave, until `release`."""

    def __init__(self, archiving: Archiving, state: PartitionState) -> None:
        self._store: Final = archiving.store
        self._settings: Final = archiving.settings
        self._clock: Final = archiving.clock
        self._every_s: Final = archiving.every_s
        self._state: Final = state
        self._writer: Final = ArchiveWriter(
            archiving.producer, archiving.settings.topic(TOPIC), state.partition
        )
        self._names: Final[deque[str]] = deque()
        self._taken: Final = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None
        self._swept_at = float("-inf")
        self._since = 0  # the epoch in which the sweep before this one began

    def turn(self) -> None:
        """Begin a sweep if one is due."""
        if self._sweeping is not None and not self._sweeping.done():
            return
        now = self._clock()
        if self._state.trust.upgraded and now - self._swept_at >= self._every_s:
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
        `entries_of`. Nothing leaves where the store or the topic does not answer.
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
        before_ms = changes.meta.event_time - self._settings.archive_days * DAY_MS
        rows = self._quiet(loaded, before_ms, changes)
        made = {video: self._writer.record_of(video, upto, rows[video]) for video in rows}
        most = self._settings.record_bytes
        records = {video: one for video, one in made.items() if len(one.value or b"") <= most}
        kept = await self._writer.write(rows, records)
        # From here on whatever changes them stores all of their rows, also if it was loaded before.
        self._state.archived.update((video, each.archived) for video, each in kept.items())
        return changes._replace(departed={video: each.pointer for video, each in kept.items()})

    def entries_of(self, departed: Mapping[str, int], upto: int) -> dict[str, list[Entry]]:
        """Return what feeds are to be told of videos that left: they are nowhere to be shown."""
        outlook, told = self._state.outlook, dict[str, list[Entry]]()
        for video in departed if outlook is not None else ():
            archived = self._state.archived.get(video)
            if outlook is not None and archived is not None:
                for slice_id in open_slices(outlook, read_video(archived.rows)):
                    told.setdefault(slice_id, []).append(Entry(video, upto, None))
        return told

    def tombstones(self, returned: Mapping[str, Archived]) -> Sequence[Outgoing]:
        """Return the records that have those go which nobody points to any more."""
        return [self._writer.tombstone_of(archived) for archived in returned.values()]

    def _quiet(
        self, loaded: Loaded, before_ms: int, changes: Changes
    ) -> dict[str, Mapping[str, bytes]]:
        """Return the rows of those videos that leave: all that is known of them is stored."""
        return {
            video: fields
            for video, fields in loaded.videos.items()
            if fields
            and video not in loaded.archived
            and video not in changes.rows
            and not self._state.is_moving(video, changes.epoch)
            and is_quiet(fields, before_ms)
        }

    async def _sweep(self, since: int) -> None:
        """Name the quiet videos that are stored, and did not change since the sweep before."""
        partition = self._state.partition
        before_ms = self._state.event_time - self._settings.archive_days * DAY_MS
        try:
            async for rows in self._store.pages(partition):
                for video in list(rows):
                    if is_quiet(rows[video], before_ms) and not self._state.is_moving(video, since):
                        self._names.append(video)
                while len(self._names) > WAITING_MOST:
                    self._taken.clear()
                    await self._taken.wait()
                await asyncio.sleep(PAUSE_S)
        except StreamsError as error:
            log.warning("partition %d: looking for quiet videos waits: %s", partition, error)

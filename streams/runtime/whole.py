"""A store together with the archive: whoever reads through it sees every row, wherever it is."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

from streams.runtime.archive import Archive
from streams.runtime.labels import LabelStore
from streams.runtime.ports import Loaded

READ_VIDEOS: Final = 1_000
"""Archived videos that are read at once."""


class PointingStore(LabelStore, Protocol):
    """A store that tells what it holds and what left it, apart from one another."""

    def pages(self, partition: int) -> AsyncIterator[Mapping[str, Mapping[str, bytes]]]:
        """Yield the stored videos of a partition with their fields, some at a time.

        None that is archived. What changes meanwhile may be missing or come twice.
        """

    async def pointers(self, partition: int) -> Mapping[str, int]:
        """Return the pointers of the archived videos of a partition."""


class WholeStore:
    """The port `Store`, with the rows of archived videos among the others.

    The calls of the `bare` store, but for `load` and `scan`.
    """

    def __init__(self, store: PointingStore, archive: Archive) -> None:
        self.bare: Final = store
        self._archive: Final = archive
        self.check: Final = store.check
        self.meta: Final = store.meta
        self.watermark: Final = store.watermark
        self.flush: Final = store.flush
        self.begin: Final = store.begin
        self.restore: Final = store.restore
        self.note_halt: Final = store.note_halt
        self.halts: Final = store.halts
        self.erase: Final = store.erase
        self.parts: Final = store.parts
        self.load_part: Final = store.load_part
        self.change_parts: Final = store.change_parts
        self.labelled: Final = store.labelled
        self.relabel: Final = store.relabel
        self.pages: Final = store.pages
        self.pointers: Final = store.pointers

    async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
        """Return the fields of each video, archived or not; see the port."""
        loaded = await self.bare.load(partition, videos)
        if not loaded.pointers:
            return loaded
        archived = await self._archive.read(partition, loaded.pointers)
        rows = {video: one.rows for video, one in archived.items()}
        return Loaded(loaded.watermark, {**loaded.videos, **rows}, archived=archived)

    async def scan(
        self, partition: int, wanted: Callable[[str], bool] | None = None
    ) -> Mapping[str, Mapping[str, bytes]]:
        """Return every video of a partition with its fields, or every `wanted` one."""
        before = await self.bare.pointers(partition)
        rows = dict(await self.bare.scan(partition, wanted))
        pointers = {**before, **await self.bare.pointers(partition)}  # some left meanwhile
        names = (video for video in pointers if video not in rows)
        drawn = (video for video in names if wanted is None or wanted(video))
        while some := list(islice(drawn, READ_VIDEOS)):
            archived = await self._archive.read(partition, {v: pointers[v] for v in some})
            rows |= {video: one.rows for video, one in archived.items()}
        return rows

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self.bare.close()
        await self._archive.close()

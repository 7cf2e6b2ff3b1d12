"""What stored rows have to tell feeds: everything that may be shown, read from the store again."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Mapping
from typing import Final

from streams.core.counters import Told, load_video
from streams.core.outlook import Outlook
from streams.core.serving import Entry, entries
from streams.core.state import PartitionState
from streams.runtime.ports import Store
from streams.runtime.refilling import Page

AT_ONCE: Final = 50
"""Videos that are scored before others get their turn."""
PAGE: Final = 500
"""Entries of a page, about."""
_NOTHING: Final = Told(None, 0, (), array("i"))
"""What an index that is filled anew was told of a video."""


class StoredRows:
    """Reads a partition's rows for `Refilling`; see `RowsOf`.

    Every video of the partition is scored twice: first for its place in the order, then for its
    entries; so no more than a page of entries is held.
    """

    def __init__(self, store: Store, namespace: str, partitions: int) -> None:
        self._store: Final = store
        self._namespace: Final = namespace
        self._partitions: Final = partitions

    async def tell(self, partition: int, slice_id: str | None) -> AsyncIterator[Page]:
        """Yield what a partition has to tell of one slice or of all, best videos first."""
        # before the rows: what a flush between the two changes comes again at a higher offset
        stored = await self._store.meta(partition, self._namespace)
        if stored is None:
            return
        outlook = PartitionState(partition, self._partitions, 1, stored.meta).outlook
        if outlook is None:
            return
        rows = await self._store.scan(partition)
        best = {}
        for number, video in enumerate(rows):
            told = _told(outlook, video, rows[video], slice_id, stored.watermark)
            scores = [entry.score for _, entry in told if entry.score is not None]
            if scores:
                best[video] = max(scores)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        page: list[tuple[str, Entry]] = []
        for video in sorted(best, key=lambda video: (-best[video], video)):
            page += _told(outlook, video, rows[video], slice_id, stored.watermark)
            if len(page) >= PAGE:
                yield page
                page = []
        if page:
            yield page


def _told(
    outlook: Outlook, video: str, fields: Mapping[str, bytes], slice_id: str | None, watermark: int
) -> list[tuple[str, Entry]]:
    """Return what a video has to tell; nothing if its rows cannot be read, which halts the fold."""
    try:
        state = load_video(video, fields)
    except ValueError:
        return []
    state.controlled, state.told = True, _NOTHING
    told = entries(outlook, video, state, (), watermark)
    return [(name, entry) for name, entry in told if slice_id in {None, name}]

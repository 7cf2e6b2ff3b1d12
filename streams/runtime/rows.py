"""What stored rows have to tell feeds: everything that may be shown, read from the store again."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from streams.core.counters import NOTHING_TOLD, read_video
from streams.core.outlook import Outlook
from streams.core.serving import Entry, entries
from streams.core.state import PartitionState
from streams.runtime.refilling import Page
from streams.runtime.whole import PointingStore

AT_ONCE: Final = 50
"""Videos that are scored before others get their turn."""
PAGE: Final = 8_000
"""Entries of a page, about: so many that each of its slices gets a call full of them."""

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(list[Any]).decode


class StoredRows:
    """Reads a partition's rows for `Refilling`; see `RowsOf`. What is archived is not shown.

    Every video of the partition is scored before the first page, for the order: until its turn
    comes, what it has to tell is kept packed, some hundreds of bytes a video.
    """

    def __init__(self, store: PointingStore, namespace: str, partitions: int) -> None:
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
        names = [name for name in outlook.policy.slices if slice_id in {None, name}]
        places = {name: at for at, name in enumerate(names)}
        waiting = await self._scored(partition, outlook, places)
        page: list[tuple[str, Entry]] = []
        for _, video, packed in waiting:
            for place, *numbers in _unpack(packed):
                page.append((names[place], Entry._make((video, stored.watermark, *numbers))))
            if len(page) >= PAGE:
                yield page
                page = []
        if page:
            yield page

    async def _scored(
        self, partition: int, outlook: Outlook, places: Mapping[str, int]
    ) -> list[tuple[int, str, bytes]]:
        """Return videos with what they have to tell of slices, by their places, best first."""
        scored: dict[str, tuple[int, str, bytes]] = {}
        async for rows in self._store.pages(partition):
            for number, (video, fields) in enumerate(rows.items()):
                if told := _told(outlook, video, fields, places):
                    best = max(score for _, score, *_ in told)
                    scored[video] = (-best, video, _pack(told))
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
        return sorted(scored.values())


def _told(
    outlook: Outlook, video: str, fields: Mapping[str, bytes], places: Mapping[str, int]
) -> list[tuple[Any, ...]]:
    """Return the place of each slice that a video may be shown in, and the numbers of its entry.

    Not of one that is frozen, although something may be owed there. Nothing if its rows cannot be
    read, which halts the fold.
    """
    try:
        state = read_video(fields)
    except ValueError:
        return []
    state.controlled, state.told = True, NOTHING_TOLD
    told = entries(outlook, video, state, (), 0)
    return [
        (places[name], *entry[2:])
        for name, entry in told
        if name in places and entry.score is not None
    ]

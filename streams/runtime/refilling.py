"""Fills the serving index again from the rows, and takes out of it what the rows do not tell.

The rows are the truth, the index is a view of them: whatever it lost, or kept by mistake, is right
again after one filling. Pages come best first, so the best videos of a partition are there first.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final, Literal, NamedTuple, TypeVar

from streams.core.partitioner import partition_of
from streams.core.serving import Entry
from streams.errors import StreamsError
from streams.runtime.leases import ServingIndex
from streams.runtime.metrics import Metrics
from streams.runtime.ports import Clock

Page = Sequence[tuple[str, Entry]]
"""Slices and entries."""
RowsOf = Callable[[int, str | None], AsyncIterator[Page]]
"""Yields what a partition has to tell of one slice or of all, best first, page by page.

All that may be shown, each pair at the watermark that its rows were read at, or at a later one.
`Retry` if the rows cannot be read for now: they are asked for again from the beginning.
"""


class Filled(NamedTuple):
    """What a filling told: slices that had any, and the least offset of its entries, if any."""

    slices: frozenset[str]
    offset: int | None


Cause = Literal["opened", "lost", "sweep"]

AT_ONCE: Final = 4
"""Pages of a worker on their way at once; partitions take turns."""
PAUSE_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
SWEEP_PAUSE_S: Final = 15.0
"""Between two pages of the slow sweep."""
TELL_S: Final = 10.0
log: Final = logging.getLogger("streams.index")
_Result = TypeVar("_Result")


class Refilling:
    """Fills one index from the rows of any partitions.

    `begin` returns when a slice knows how far a partition is stored: if it loses anything that it
    is told from then on, that shows. `Retry` if it does not answer.
    """

    def __init__(
        self,
        index: ServingIndex,
        metrics: Metrics,
        rows_of: RowsOf,
        begin: Callable[[int, str], Awaitable[None]],
        clock: Clock = time.monotonic,
    ) -> None:
        self._index: Final = index
        self._begin: Final = begin
        self._metrics: Final = metrics
        self._rows_of: Final = rows_of
        self._clock: Final = clock
        self._turns: Final = asyncio.Semaphore(AT_ONCE)

    async def fill(self, partition: int, slice_id: str | None, cause: Cause) -> Filled:
        """Tell the index all that the rows of a partition have.

        However long rows or index do not answer.
        """
        self._metrics.index_refills.labels(cause).inc()
        what = f"partition {partition}: its rows do not come"
        return await _until_done(what, logging.WARNING, self._fill, partition, slice_id, cause)

    async def prune(self, slice_id: str, marks: Mapping[int, int], partitions: int) -> None:
        """Remove the pairs of partitions that were told of last before a partition's mark.

        An index that fell back meanwhile is filled once more from the same rows: what is told as of
        the mark stands again.
        """
        latest = max(marks.values())  # whose a pair is costs more to ask than its offset
        async for page in self._index.pairs(slice_id):
            old = [(video, offset) for video, offset in page if offset < latest]
            owners = [partition_of(video.encode(), partitions) for video, _ in old]
            gone = [
                Entry(video, marks[owner], None)
                for owner, (video, offset) in zip(owners, old, strict=True)
                if offset < marks.get(owner, -1)
            ]
            if gone:
                await self._apply(slice_id, gone)

    async def _fill(self, partition: int, slice_id: str | None, cause: Cause) -> Filled:
        filled = Filled(frozenset(), None)
        entries, told_at = 0, self._clock()
        pages = self._rows_of(partition, slice_id)
        while True:
            async with self._turns:
                page = await anext(pages, None)
                if page is None:
                    return filled
            filled = _joined(filled, page)
            await self._put(partition, page)
            entries += len(page)
            if self._clock() - told_at >= TELL_S:
                told_at = self._clock()
                log.info("partition %d: %d entries are in the index again", partition, entries)
            if cause == "sweep":
                await asyncio.sleep(SWEEP_PAUSE_S)

    async def _put(self, partition: int, page: Page) -> None:
        """Put a page in, however often it takes."""
        slices: defaultdict[str, list[Entry]] = defaultdict(list)
        for slice_id, entry in page:
            slices[slice_id].append(entry)
        for slice_id, entries in slices.items():
            what = f"partition {partition}: filling {slice_id} waits"
            await _until_done(what, logging.DEBUG, self._tell, partition, slice_id, entries)

    async def _tell(self, partition: int, slice_id: str, entries: Sequence[Entry]) -> None:
        await self._begin(partition, slice_id)
        await self._apply(slice_id, entries)

    async def _apply(self, slice_id: str, entries: Sequence[Entry]) -> None:
        async with self._turns:
            applied = await self._index.apply(slice_id, {}, entries)
        self._metrics.index_entries.inc(applied.written)


def _joined(filled: Filled, page: Page) -> Filled:
    offsets = [entry.offset for _, entry in page]
    if filled.offset is not None:
        offsets.append(filled.offset)
    slices = filled.slices | {slice_id for slice_id, _ in page}
    return Filled(slices, min(offsets, default=None))


async def _until_done(
    what: str, level: int, step: Callable[..., Awaitable[_Result]], *arguments: Any
) -> _Result:
    """Do something again and again until it is done; the first failure is logged."""
    for attempt in count():
        try:
            return await step(*arguments)
        except StreamsError as error:
            if not attempt:
                log.log(level, "%s: %s", what, error)
            await asyncio.sleep(PAUSE_S[min(attempt, len(PAUSE_S) - 1)])
    raise AssertionError  # the loop has no end

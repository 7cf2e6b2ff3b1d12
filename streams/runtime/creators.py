"""Every stored video, to be summed by creator: rows are read and decoded a partition at a time."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from streams.core.counters import VideoState, read_video
from streams.core.creators import CreatorTotals, add_videos
from streams.runtime.ports import Store


async def stored_videos(
    store: Store, namespace: str, partitions: int
) -> AsyncIterator[Mapping[str, VideoState]]:
    """Yield the videos of each partition; `Retry` if one does not answer: sums would be too small.

    They are decoded beside the event loop. Rows that cannot be read are left out: they halt the
    fold, which says so.
    """
    for partition in range(partitions):
        if await store.meta(partition, namespace) is not None:
            yield await asyncio.to_thread(_decoded, await store.scan(partition))


async def creator_totals(store: Store, namespace: str, partitions: int) -> dict[str, CreatorTotals]:
    """Return what the videos of each creator came to so far."""
    totals: dict[str, CreatorTotals] = {}
    async for videos in stored_videos(store, namespace, partitions):
        await asyncio.to_thread(add_videos, totals, videos.values())
    return totals


def _decoded(rows: Mapping[str, Mapping[str, bytes]]) -> dict[str, VideoState]:
    known = {}
    for video, fields in rows.items():
        try:
            known[video] = read_video(fields)
        except ValueError:
            continue
    return known

"""Records that go on being written to a rig while something is done to it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from kit.events import Logged, interaction_record, synthetic_log, videos_of, view
from kit.rig import Feed, Rig

PARTITIONS = 4
_MORE = itertools.count()


def whole_log(seed: int, events: int, partitions: int = PARTITIONS) -> list[Logged]:
    """Return a log of all partitions, their records taking turns."""
    logs = [
        synthetic_log(seed + p, 12, events // partitions, p, partitions) for p in range(partitions)
    ]
    turns = itertools.zip_longest(*logs)
    return [one for turn in turns for one in turn if one is not None]


class Load(NamedTuple):
    """Records that go on being written until `end` is called."""

    task: "asyncio.Task[None]"
    stop: asyncio.Event

    async def end(self) -> None:
        """Write what is left at once."""
        self.stop.set()
        await self.task


async def trickle(feed: Feed, records: Sequence[Logged], stop: asyncio.Event, per_s: float) -> None:
    """Write records at about this rate until `stop` is set; then write the rest at once.

    Should they run out before, feedback on the same videos follows: whoever waits for a worker to
    count some more waits for nothing but the worker.
    """
    partitions = sorted({one.partition for one in records})
    at, size = 0, 20
    while not stop.is_set():
        if at >= len(records):
            records, at = _feedback(partitions, feed.partitions), 0
        await feed.send(records[at : at + size])
        at += size
        await asyncio.sleep(size / per_s)
    await feed.send(records[at:])


def _feedback(partitions: Sequence[int], of: int) -> list[Logged]:
    """Return views that nobody sent yet of videos of some partitions, these taking turns."""
    homes = [(one, videos_of(one, of, 4)) for one in partitions]
    return [
        interaction_record(view(f"more-{next(_MORE)}", video=video))._replace(partition=partition)
        for turn in range(40)
        for partition, videos in homes
        for video in [videos[turn % 4]]
    ]


@asynccontextmanager
async def load(feed: Feed, records: Sequence[Logged], per_s: float = 600) -> AsyncIterator[Load]:
    """Write records at about this rate, and what is left at the end of the block."""
    stop = asyncio.Event()
    running = Load(asyncio.create_task(trickle(feed, records, stop, per_s)), stop)
    try:
        yield running
    finally:
        await running.end()


async def moved(rig: Rig) -> None:
    """Return when a watermark has risen."""
    before = sum(rig.watermarks().values())
    await rig.until(lambda: sum(rig.watermarks().values()) > before, rig.logs)

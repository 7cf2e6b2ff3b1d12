"""Records that go on being written to a rig while something is done to it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from kit.events import Logged, synthetic_log
from kit.rig import Feed, Rig

PARTITIONS = 4


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


@asynccontextmanager
async def load(feed: Feed, records: Sequence[Logged], per_s: float = 600) -> AsyncIterator[Load]:
    """Write records at about this rate, and what is left at the end of the block."""
    stop = asyncio.Event()
    running = Load(asyncio.create_task(feed.trickle(records, stop, per_s)), stop)
    try:
        yield running
    finally:
        await running.end()


async def moved(rig: Rig, patience_s: float = 30.0) -> None:
    """Return when a watermark has risen."""
    before = sum(rig.watermarks().values())
    await rig.until(lambda: sum(rig.watermarks().values()) > before, rig.logs, patience_s)

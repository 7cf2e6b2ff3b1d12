"""Who may lead: whoever owns partition 0 of the topic `traffic` in the keeper's group.

The group's coordinator sees to it that this is one member and that another one follows. It is a
wish and no proof: an owner that slept does not know yet that it is none. So an owner takes a term
before it writes anything (`terms`), and that the log alone decides.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from streams.errors import StreamsError
from streams.runtime.ending import end
from streams.runtime.ports import LogConsumer

log: Final = logging.getLogger("streams.control")

TOPIC: Final = "traffic"
FETCH_MS: Final = 1_000
AGAIN_S: Final = 1.0


class Election:
    """One member of the keeper's group, through a consumer of its own; reads and keeps nothing."""

    def __init__(self, join: Callable[[], LogConsumer]) -> None:
        self._join: Final = join
        self._consumer: LogConsumer | None = None
        self._dealt: Final = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.owns = False

    async def start(self) -> None:
        """Join the group; `Unreachable` if no broker answers."""
        consumer = self._consumer = self._join()
        await consumer.start(self)
        self._task = asyncio.create_task(self._stay(consumer), name="control-election")

    async def stop(self) -> None:
        """Leave the group, so that another member leads at once. Idempotent."""
        self.owns = False
        task, self._task = self._task, None
        if task is not None:
            await end(task)
        if self._consumer is not None:
            await self._consumer.stop()

    async def dealt(self, timeout_s: float) -> bool:
        """Return once the group gave out its partitions; False if it does not in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._dealt.wait()
        return self._dealt.is_set()

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        """Take partitions over, and read nothing of them."""
        assert self._consumer is not None
        self._consumer.pause(partitions)
        self.owns = 0 in partitions
        self._dealt.set()

    async def on_revoked(self, partitions: Sequence[int]) -> None:
        """Let partitions go."""
        self.owns = self.owns and 0 not in partitions

    async def _stay(self, consumer: LogConsumer) -> None:
        """Ask on: a member that asks for nothing is taken for dead."""
        while True:
            try:
                await consumer.fetch(FETCH_MS, 1)
            except StreamsError as error:
                log.warning("the keeper's group: again in %.0f s: %s", AGAIN_S, error)
                await asyncio.sleep(AGAIN_S)

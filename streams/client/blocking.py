"""The library for producers without an event loop: a publisher that any thread may use."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Final

from streams.client.intake import PublicEvent, Taken
from streams.client.outbox import Limits
from streams.client.publisher import Publisher
from streams.client.threads import Blocking, LoopThread
from streams.errors import Retry

WAITING_MAX: Final = 10_000
"""Events that wait for the publisher's thread at most; then whoever brings more waits."""


class NoRoom(Retry):
    """Events were not taken: brokers are slow or away, and as many as memory allows wait."""


class BlockingPublisher(Blocking):
    """A `Publisher` on a thread of its own; every method may be called from any thread.

    Make it in the process that uses it: threads do not survive a fork.
    """

    def __init__(
        self,
        brokers: str,
        name: str,
        *,
        topic_prefix: str = "",
        limits: Limits | None = None,
        security: Mapping[str, str] | None = None,
    ) -> None:
        self._publisher = Publisher(
            brokers, name, topic_prefix=topic_prefix, limits=limits, security=security
        )
        self._thread = LoopThread("publisher", f"publisher {name}")
        self._change = threading.Condition()
        self._waiting: list[Taken] = []
        self._brought = self._moved = 0
        self._moving: asyncio.Task[None] | None = None
        self._idle = True
        self._closed = False

    def start(self) -> None:
        """Connect; `Unreachable` if no broker answers, `Halt` if there is no topic."""
        self._thread.start()
        try:
            self._thread.call(self._publisher.start())
        except BaseException:
            self._thread.end()
            raise

    def put(self, *events: PublicEvent, timeout_s: float = 30.0) -> None:
        """Take events to be written; `NoRoom` if there is none for them in time.

        Otherwise as `Publisher.put`.
        """
        checked = [self._publisher.check(event) for event in events]
        self._publisher.tell_lost(checked)
        with self._change:
            if self._closed:
                raise RuntimeError("the publisher is closed")
            loop = self._thread.require()
            if not self._change.wait_for(lambda: len(self._waiting) < WAITING_MAX, timeout_s):
                raise NoRoom(f"{WAITING_MAX:,} events wait to be written: brokers are slow or away")
            self._waiting += checked
            self._brought += len(checked)
            if self._idle:
                self._idle = False
                loop.call_soon_threadsafe(self._begin)

    def flush(self) -> None:
        """Return when every event that was put is written; `NotPublished` if one was given up."""
        with self._change:
            goal = self._brought
            self._change.wait_for(lambda: self._moved >= goal)
        self._thread.call(self._publisher.flush())

    def close(self) -> None:
        """Flush and disconnect; `NotPublished` as in `flush`. Idempotent."""
        with self._change:
            if self._closed or not self._thread.runs:
                return
            self._closed = True
        try:
            self.flush()
        finally:
            try:
                self._thread.call(self._publisher.close())
            finally:
                self._thread.end()

    def _begin(self) -> None:
        self._moving = asyncio.ensure_future(self._move())

    async def _move(self) -> None:
        """Hand what waits to the publisher, until nothing does."""
        moved = 0
        while batch := self._next_batch(moved):
            for taken in batch:
                await self._publisher.accept(taken)
            moved = len(batch)

    def _next_batch(self, moved: int) -> list[Taken]:
        with self._change:
            self._moved += moved
            batch, self._waiting = self._waiting, []
            self._idle = not batch
            self._change.notify_all()
        return batch

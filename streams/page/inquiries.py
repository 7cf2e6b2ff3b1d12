"""Inquiries that are asked again and again, once for everybody who looks."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

from streams.errors import StreamsError
from streams.runtime.ending import end

log = logging.getLogger("streams.page")

SOON_S: Final = 0.25
"""The second answer comes after so long, the next ones after twice as long each, up to the pace:
what is read in the background becomes known meanwhile."""

REST: Final = 4.0
"""An inquiry that takes long is asked again only after so many times as long."""
MOST: Final = 32
"""Different views at a time; each costs brokers and Redis something."""

Ask = Callable[[], Awaitable[Any]]
"""An inquiry, whose answer goes to JSON."""


class Inquiry:
    """The latest answer, or why there is none."""

    def __init__(self, ask: Ask, every_s: float) -> None:
        self.value: Any = None
        self.why: str | None = "not read yet"
        self._ask: Final = ask
        self._every_s: Final = every_s
        self._number = 0
        self._news: Final = asyncio.Condition()

    async def run(self) -> None:
        """Ask until it is cancelled.

        What is asked may swallow that: `asyncio.wait_for` of Python 3.11 does, where answer and
        cancellation come at once.
        """
        pause_s, me = SOON_S / 2, asyncio.current_task()
        while True:
            began = time.monotonic()
            try:
                self.value, self.why = await self._ask(), None
            except StreamsError as error:
                self.why = str(error)
            except Exception as error:
                log.exception("a view cannot be read")
                self.why = f"{type(error).__name__}: see the page's log"
            async with self._news:
                self._number += 1
                self._news.notify_all()
            if me is not None and me.cancelling():
                return
            pause_s = min(2 * pause_s, self._every_s)
            await asyncio.sleep(max(pause_s, REST * (time.monotonic() - began)))

    async def known(self) -> None:
        """Return once it was asked."""
        async with self._news:
            await self._news.wait_for(lambda: self._number > 0)

    async def answers(self) -> AsyncIterator[tuple[Any, str | None]]:
        """Yield the answer that there is, and each later one; who is slow misses some."""
        seen = 0
        while True:
            async with self._news:
                await self._news.wait_for(lambda: self._number > seen)  # noqa: B023 - at once
                seen = self._number
            yield self.value, self.why


@asynccontextmanager
async def asking(inquiries: Iterable[Inquiry]) -> AsyncIterator[None]:
    """Ask these inquiries until the end of the block."""
    tasks = [asyncio.create_task(one.run()) for one in inquiries]
    try:
        yield
    finally:
        await end(*tasks)


async def all_known(inquiries: Iterable[Inquiry], patience_s: float) -> None:
    """Return once each was asked, or after so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            for one in inquiries:
                await one.known()


class Crowded(Exception):
    """Too many different views are looked at."""


class Shared:
    """Views that somebody looks at: each is asked once, and only while somebody looks."""

    def __init__(self, every_s: float) -> None:
        self._every_s: Final = every_s
        self._running: Final[dict[tuple[str, str], _Running]] = {}
        self._ending: Final[set[asyncio.Task[None]]] = set()

    @asynccontextmanager
    async def looking(
        self, key: tuple[str, str], view: Callable[[], AbstractAsyncContextManager[Ask]]
    ) -> AsyncIterator[Inquiry]:
        """Give a view's answers to one more who looks; `Crowded` if it were one too many."""
        running = self._running.get(key)
        if running is None:
            if len(self._running) >= MOST:
                raise Crowded
            running = self._running[key] = _Running(view, self._every_s)
        running.looking += 1
        try:
            yield await asyncio.shield(running.inquiry)
        finally:
            running.looking -= 1
            if not running.looking:
                del self._running[key]
                self._end(running.task)

    async def close(self) -> None:
        """Return when all that nobody looks at any more has ended."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _end(self, task: asyncio.Task[None]) -> None:
        """End a view in the background: its clients may take seconds to leave."""
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Running:
    """One view and its resources, from the first who looks to the last.

    One and the same task enters and leaves the resources.
    """

    def __init__(
        self, view: Callable[[], AbstractAsyncContextManager[Ask]], every_s: float
    ) -> None:
        self.looking = 0
        self.inquiry: Final[asyncio.Future[Inquiry]] = asyncio.get_running_loop().create_future()
        self.task: Final = asyncio.create_task(self._run(view, every_s))

    async def _run(
        self, view: Callable[[], AbstractAsyncContextManager[Ask]], every_s: float
    ) -> None:
        async with view() as ask:
            inquiry = Inquiry(ask, every_s)
            self.inquiry.set_result(inquiry)
            await inquiry.run()

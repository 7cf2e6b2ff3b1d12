"""The library for feed servers without an event loop: leases that any thread may take."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from streams.client.blocking import BlockingPublisher
from streams.client.leases import Leased, Leases, Seen, impression
from streams.client.mixes import Mixes
from streams.client.threads import Blocking, LoopThread
from streams.core.events import Impression
from streams.runtime.leases import ServingIndex

BlockingSeen = Callable[[Sequence[str]], Collection[str]]
"""Returns those of some videos that a viewer is not to be shown; called on a thread of its own."""


class BlockingLeases(Blocking):
    """`Leases` on a thread of its own; every method may be called from any thread.

    Make it in the process that uses it: threads do not survive a fork.
    """

    def __init__(
        self,
        redis: str | ServingIndex,
        publisher: BlockingPublisher | None = None,
        mixes: Mixes | None = None,
        *,
        timeout_s: float = 1.0,
    ) -> None:
        self._mixes = mixes
        self._leases = Leases(redis, mixes=mixes, timeout_s=timeout_s)
        self._publisher = publisher
        self._thread = LoopThread("leases", "leases")

    def start(self) -> None:
        """Start the thread, and have the mix followed there; connects with the first call."""
        self._thread.start()
        if self._mixes is not None:
            try:
                self._thread.call(self._mixes.start())
            except BaseException:
                self._thread.end()
                raise

    def take(
        self,
        slices: str | Iterable[str],
        count: int,
        *,
        most_each: int = 1,
        seen: BlockingSeen | None = None,
    ) -> list[Leased]:
        """Take impressions as `Leases.take` does."""
        hook = None if seen is None else _awaited(seen)
        return self._thread.call(self._leases.take(slices, count, most_each=most_each, seen=hook))

    def shown(self, leased: Leased, viewer: str, *, event_id: str = "") -> Impression:
        """Report an impression as `Leases.shown` does."""
        if self._publisher is None:
            raise RuntimeError("nothing can be reported: BlockingLeases was given no publisher")
        event = impression(leased, viewer, event_id)
        self._publisher.put(event)
        return event

    def give_back(self, *leased: Leased) -> int:
        """Return impressions that were not shown; how many of them were still leased."""
        return self._thread.call(self._leases.give_back(*leased))

    def close(self) -> None:
        """Disconnect; gives nothing back. Idempotent."""
        if self._thread.runs:
            if self._mixes is not None:
                self._thread.call(self._mixes.close())
            self._thread.call(self._leases.close())
            self._thread.end()


def _awaited(seen: BlockingSeen) -> Seen:
    async def hook(videos: Sequence[str]) -> Collection[str]:
        return await asyncio.to_thread(seen, videos)

    return hook

"""A question that many have and that is asked once at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from streams.runtime.ending import heard

Answer = TypeVar("Answer")


class SharedQuestion(Generic[Answer]):
    """One question; whoever asks while it is being asked waits for the same answer."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, Answer]]) -> None:
        self._ask: Final = ask
        self._asking: asyncio.Task[Answer] | None = None

    async def answer(self, patience_s: float) -> Answer:
        """Return the answer, or raise what asking ends with; `TimeoutError` after so long.

        It is asked on then: who comes later may have the answer at once.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(heard)
        asking = self._asking  # whoever hears the answer first may ask again already
        done, _ = await asyncio.wait([asking], timeout=patience_s)
        if not done:
            raise TimeoutError
        return asking.result()

    def stop(self) -> None:
        """Ask nobody any more."""
        if self._asking is not None:
            self._asking.cancel()

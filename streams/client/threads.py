"""An event loop on a thread of its own, for applications that have none."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class LoopThread:
    """Runs coroutines of one object; `what` names that object in errors.

    Make it in the process that uses it: threads do not survive a fork.
    """

    def __init__(self, what: str, name: str) -> None:
        self._what = what
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop

    @property
    def runs(self) -> bool:
        """Whether it was started, has not ended and is of this process."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, once."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def require(self) -> asyncio.AbstractEventLoop:
        """Return the loop; `RuntimeError` unless it runs."""
        if not self.runs:
            raise RuntimeError(f"the {self._what} is not started, or closed, or of another process")
        return self._loop

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine there and return what it does; from any other thread."""
        try:
            loop = self.require()
        except RuntimeError:
            work.close()
            raise
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    def end(self) -> None:
        """Stop the loop and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


class Blocking(ABC):
    """What is started and closed by `with`."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def start(self) -> None:
        """Start the thread, and connect."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect, and end the thread. Idempotent."""

"""An event loop whose time passes only when everybody waits, and the one chance of a life."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Final


class Stuck(AssertionError):
    """Everybody waits for somebody else, and nothing is ever going to happen."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop without files and sockets; what would sleep lets the time pass at once.

    What was to run in a thread runs at once, so a life has one order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = self

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        """Let time pass up to the next timer, as a selector would."""
        if timeout is None:
            raise Stuck("nobody waits for a time: the life stands still")
        if timeout > 0:
            self.now = self._scheduled[0]._when  # type: ignore[attr-defined]
        return []

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            done.set_exception(error)
        return done

    def _process_events(self, _events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def outside(loop: asyncio.AbstractEventLoop, delay: float, call: Callable[[], object]) -> None:
    """Have something happen that belongs to no process."""
    loop.call_later(delay, call, context=Context())


@contextmanager
def only_chance(
    drawn: Callable[[int], bytes], wall_ns: Callable[[], int], loop: VirtualLoop
) -> Iterator[None]:
    """Let nothing in this process tell the time or draw anything, but what a life has."""
    began: Final = loop.time
    replaced: dict[tuple[Any, str], Callable[..., Any]] = {
        (time, "time_ns"): wall_ns,
        (time, "time"): lambda: wall_ns() / 1e9,
        (time, "monotonic"): began,
        (secrets, "token_hex"): lambda count=16: drawn(count).hex(),
    }
    before = {place: getattr(*place) for place in replaced}
    for (module, name), instead in replaced.items():
        setattr(module, name, instead)
    try:
        yield
    finally:
        for (module, name), real in before.items():
            setattr(module, name, real)

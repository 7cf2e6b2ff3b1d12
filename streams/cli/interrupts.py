"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from streams.runtime.ports import Clock

SAME_S: Final = 0.5
"""Signals this close are one: wrappers pass on what the terminal sent to all of them."""
_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR: Final = "\x1b[?25h"  # a progress bar hides it


class Stop:
    """Whether an orderly end was asked for; `then` is called at that moment.

    `leave` ends the process at once, with an exit code.
    """

    def __init__(
        self,
        then: Callable[[], object] = lambda: None,
        *,
        clock: Clock = time.monotonic,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._then: Final = then
        self._clock: Final = clock
        self._leave: Final = leave
        self._first: float | None = None

    def __call__(self) -> bool:
        """Tell whether an end was asked for."""
        return self._first is not None

    def ask(self) -> None:
        """Ask for an orderly end."""
        if self._first is None:
            self._first = self._clock()
            self._then()

    def hear(self, number: int, _frame: FrameType | None = None) -> None:
        """Take a signal: the first asks, a later one ends the process at once."""
        if self._first is None:
            under = "\n" if sys.stderr.isatty() else ""  # where the terminal shows the ^C
            _say(f"{under}streams: stopping in order; Ctrl-C again stops at once\n")
            self.ask()
        elif self._clock() - self._first > SAME_S:
            shown = _SHOW_CURSOR if sys.stderr.isatty() else ""
            _say(f"{shown}streams: stopped at once\n")
            self._leave(128 + number)


@contextmanager
def orderly_stop(then: Callable[[], object] = lambda: None) -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM of the block into a request to stop."""
    stop = Stop(then)
    before = [signal.signal(number, stop.hear) for number in _NUMBERS]
    try:
        yield stop
    finally:
        for number, handler in zip(_NUMBERS, before, strict=True):
            signal.signal(number, handler)


def stop_on_signals(then: Callable[[], object]) -> None:
    """Call `then` in the running loop at the first SIGINT or SIGTERM; the second ends at once."""
    stop = Stop(then)
    loop = asyncio.get_running_loop()
    for number in _NUMBERS:
        loop.add_signal_handler(number, stop.hear, number)


def _say(text: str) -> None:
    """Write past Python's buffers: a handler may have interrupted a write to them."""
    with suppress(OSError):
        os.write(2, text.encode())

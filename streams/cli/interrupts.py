"""Ctrl-C: the first asks for an orderly end, the second ends at once."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether an orderly end was asked for."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Tell whether an end was asked for."""
        return self._asked

    def ask(self) -> None:
        """Ask for an orderly end."""
        self._asked = True


@contextmanager
def orderly_stop() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM of the block into a request to stop."""
    stop = Stop()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop():
            raise KeyboardInterrupt
        stop.ask()
        sys.stderr.write("\nstopping; Ctrl-C again stops at once\n")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

"""Python's cyclic collector, kept away from the hot path, which makes no cycles, and the heap."""

import asyncio
import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


def tame_gc() -> None:
    """Let the collector run seldom in a process that stays.

    Walking a million live objects again and again cost 40 % of the throughput; what exists at
    start is frozen, and what lives long is looked at seldom. What is young is looked at often
    enough: the clients leave cycles behind with each fault, and what these hold is memory.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 1_000)


SOON_S: Final = 10.0
_TRIM: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's; other C libraries give back by themselves, or never."""


class Heap:
    """What this process holds of the machine's memory."""

    def __init__(self) -> None:
        self._coming: asyncio.TimerHandle | None = None

    def give_back_soon(self) -> None:
        """Have memory that was freed given back to the machine, once what comes next is done.

        Faults leave cycles behind, and the C library keeps what is free between what is not. It
        takes up to a tenth of a second where gigabytes are held, so once for all that was freed by
        then.
        """
        if self._coming is not None:
            self._coming.cancel()
        self._coming = asyncio.get_running_loop().call_later(SOON_S, _give_back)


def _give_back() -> None:
    gc.collect(1)
    if _TRIM is not None:
        _TRIM(0)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep the collector from walking live objects for the time of the block."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

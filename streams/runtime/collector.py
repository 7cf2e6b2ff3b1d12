"""Python's cyclic collector, kept away from the hot path, which makes no cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def tame_gc() -> None:
    """Let the collector run seldom in a process that stays.

    Walking a million live objects again and again cost 40 % of the throughput; what exists at
    start is frozen, and what lives long is looked at seldom. What is young is looked at often
    enough: the clients leave cycles behind with each fault, and what these hold is memory.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 1_000)


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

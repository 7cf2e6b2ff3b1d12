"""Disks that are full for one process: what it writes to its files fails, until there is room."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def full_disk(pid: int, used: int = 0) -> Iterator[None]:
    """Let no file of a process grow beyond `used` bytes for the time of the block.

    The process must ignore SIGXFSZ, as Python and Java do; others are started by `UNHURT`.
    """
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (used, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have died of it
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


UNHURT = ("env", "--ignore-signal=XFSZ")
"""What a command is started by that would die of a full disk instead of hearing of it."""

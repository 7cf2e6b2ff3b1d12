"""Figures that are small enough for a life of seconds and a few hundred records."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

SMALL = {
    "streams.core.ticks.RUN": 7,
    "streams.ops.recount_traffic.RUN": 7,
    "streams.runtime.bad_input.LEAST_RECORDS": 8,
}


@contextmanager
def small(part_records: int) -> Iterator[None]:
    """Let these figures, and the length of a window's part, hold until the end of the block."""
    with ExitStack() as stack:
        for place, figure in (
            SMALL | {"streams.core.generations.PART_RECORDS": part_records}
        ).items():
            stack.enter_context(patch(place, figure))
        yield

"""What processes log with a traceback: nobody foresaw it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from streams.errors import StreamsError

log: Final = logging.getLogger("simulation")


class _Mistakes(logging.Handler):
    """Takes note of what processes log with a traceback: nobody foresaw it."""

    def __init__(self, flaws: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._flaws = flaws

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, StreamsError):
            self._flaws.append(f"{record.getMessage()}: {error!r}")


@contextmanager
def mistakes(flaws: list[str]) -> Iterator[None]:
    """Have what nobody foresaw noted as flaws; unless it is wanted, nothing else is logged."""
    logger, handler = logging.getLogger("streams"), _Mistakes(flaws)
    level, propagates = logger.level, logger.propagate
    if not log.isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.ERROR)
        logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates

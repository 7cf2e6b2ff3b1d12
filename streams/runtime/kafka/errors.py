"""aiokafka's errors, sorted by what the caller must do."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from aiokafka.errors import IllegalStateError, KafkaConnectionError, KafkaError

from streams.errors import Retry, Unreachable

STOP_SECONDS: Final = 2.0
"""A client that cannot say goodbye to its brokers in this time is dropped."""


@contextmanager
def retryable(what: str, brokers: str) -> Iterator[None]:
    """Turn what a broker may do to a call into `Retry` or `Unreachable`, in one line."""
    try:
        yield
    except KafkaConnectionError as error:
        raise Unreachable(f"no Kafka broker at {brokers}: {what}; check --brokers") from error
    except (KafkaError, IllegalStateError, TimeoutError) as error:
        raise Retry(f"Kafka at {brokers}: {what}: {type(error).__name__}: {error}") from error


async def within_stop(closing: Coroutine[Any, Any, None]) -> None:
    """Await a client's stop, at most `STOP_SECONDS`: brokers may be gone.

    Without brokers aiokafka lets out the cancellation of its own tasks; it is not the caller's.
    """
    stopping = asyncio.ensure_future(closing)
    try:
        await asyncio.wait([stopping], timeout=STOP_SECONDS)
    finally:
        stopping.cancel()
    with suppress(KafkaError, TimeoutError, asyncio.CancelledError):
        if stopping.done():
            stopping.result()

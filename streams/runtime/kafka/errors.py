"""aiokafka's errors, sorted by what the caller must do."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from aiokafka.errors import IllegalStateError, KafkaConnectionError, KafkaError

from streams.errors import Retry, Unreachable

Result = TypeVar("Result")
STOP_SECONDS = 2.0
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


async def within_stop(closing: Awaitable[Result]) -> None:
    """Await a client's stop, at most `STOP_SECONDS`: brokers may be gone."""
    try:
        await asyncio.wait_for(closing, STOP_SECONDS)
    except (KafkaError, TimeoutError):
        return

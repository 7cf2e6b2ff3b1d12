"""aiokafka's errors, sorted by what the caller must do."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from streams.errors import Denied, Halt, Retry, Unreachable
from streams.runtime.ending import heard
from streams.security import KafkaAddress

STOP_SECONDS: Final = 2.0
"""A client that cannot say goodbye to its brokers in this time is dropped."""
RECONNECT_S: Final = 10.0
"""Longest time that a new client may take to connect in place of another; then one more may."""
PASSING: Final = (KafkaError, IllegalStateError, OSError, RuntimeError)
"""What a call of aiokafka may raise while brokers come and go.

It promises `KafkaError`, and time limits are an `OSError`. But between the moment when a connection
breaks and the moment when the client learns of it, a request is written to a dead transport:
uvloop's raises `RuntimeError` then, a socket `OSError`, and aiokafka hands either on as it is.
"""

FORBIDDEN: Final = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    ClusterAuthorizationFailedError,
)
"""What a broker answers to a client that has not the right: it may be given."""

CORRUPT_TRIES: Final = 3
"""A batch may be damaged on its way: read it this often before it counts as corrupt."""


@contextmanager
def retryable(what: str, brokers: KafkaAddress) -> Iterator[None]:
    """Turn what a broker or its client may do to a call into our own errors, in one line."""
    try:
        yield
    except KafkaConnectionError as error:
        raise Unreachable(f"no Kafka broker at {brokers}: {what}; check --brokers") from error
    except UnicodeEncodeError as error:
        raise Halt(f"{what}: a header's name that is not UTF-8", code="header") from error
    except FORBIDDEN as error:
        raise no_right(f"{what}{_named(error)}", brokers) from error
    except PASSING as error:
        raise Retry(f"Kafka at {brokers}: {what}: {type(error).__name__}: {error}") from error


def no_right(what: str, brokers: KafkaAddress) -> Denied:
    """Return what to raise for a call that is not for this client to make."""
    who = brokers.security.username or "this client"
    rights = f"{who} has not the right: `streams topics acls` tells what each role needs"
    return Denied(f"Kafka at {brokers}: {what}: {rights}")


def partition_in(message: str) -> int:
    """Return the partition that aiokafka names in its message, -1 if it does not."""
    _, _, text = message.partition("partition=")
    digits = text.split(")")[0]
    return int(digits) if digits.isdigit() else -1


def unreadable(topic: str, partition: int, position: int | None) -> Halt:
    """Return the halt of a partition whose next batch is damaged, however often it is read."""
    return Halt(
        f"{topic}[{partition}]: the record batch at offset {position} fails its checksum: restore "
        f"the replica, or lose it with `streams partition skip {partition} --offset {position}`",
        code="corrupt",
        partition=partition,
    )


def _named(error: KafkaError) -> str:
    """Return the topics or the group that a right is lacking for, as far as aiokafka says."""
    named = error.args[0] if error.args else None
    names = [named] if isinstance(named, str) else list(named or ())
    return "" if any(" " in name for name in names) else f" ({', '.join(sorted(names))})"


async def within_stop(closing: Coroutine[Any, Any, None]) -> None:
    """Await a client's stop, at most `STOP_SECONDS`: brokers may be gone.

    Without brokers aiokafka lets out the cancellation of its own tasks, which is not the caller's,
    and whatever a task of it failed with; for a client that goes away that is no news.
    """
    stopping = asyncio.create_task(closing)
    stopping.add_done_callback(heard)
    try:
        await asyncio.wait([stopping], timeout=STOP_SECONDS)
    finally:
        stopping.cancel()

"""How this process talks to Redis: one client, scripts by name, errors sorted by what to do.

What is not guarded by a watermark is never repeated by the client itself: a lost reply would
count it twice.
"""

import re
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry as Attempts
from redis.backoff import NoBackoff

from streams.errors import Halt, Retry, StreamsError, Unreachable
from streams.runtime.dependencies import REDIS
from streams.runtime.namespace import corrupt

Word = str | int | bytes
"""One part of a command."""


CONNECTIONS: Final = 1_000
"""At most; each partition of a worker may have two calls on their way."""


class Script:
    """Lua files of this package, one behind the other, and the name that Redis keeps them by."""

    def __init__(self, *names: str) -> None:
        folder = files("streams.runtime.redis")
        self.body: Final = b"\n".join(folder.joinpath(name).read_bytes() for name in names)
        self.sha: Final = sha1(self.body, usedforsecurity=False).hexdigest()


def connect(url: str, timeout_s: float) -> Redis:
    """Return a client that repeats nothing by itself; `Halt` if `url` is not an address.

    RESP2: with RESP3 the client accepts maintenance messages at any time, and therefore no
    longer throws away a connection that holds unread bytes.
    """
    try:
        return Redis.from_url(
            url,
            protocol=2,
            retry=Attempts(NoBackoff(), 0),
            max_connections=CONNECTIONS,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
    except ValueError as error:
        raise Halt(f"the address of Redis cannot be used: {error}") from None


async def pipelined(client: Redis, commands: Sequence[Sequence[Word]]) -> list[Any]:
    """Send commands in one round trip; raises the first error after all were answered."""
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute()
    return replies


def call(client: Redis, *command: Word) -> Awaitable[Any]:
    """Send one command; what comes back is as wide as Redis' own replies."""
    reply: Awaitable[Any] = client.execute_command(*command)  # type: ignore[no-untyped-call]
    return reply


async def evaluated(
    client: Redis, script: Script, keys: Sequence[str], words: Sequence[Word]
) -> Any:
    """Return what a script returns; its text is sent only where Redis does not have it."""
    try:
        return await call(client, "EVALSHA", script.sha, len(keys), *keys, *words)
    except exceptions.NoScriptError:
        return await call(client, "EVAL", script.body, len(keys), *keys, *words)


_LOST: Final = (exceptions.ConnectionError, exceptions.TimeoutError)
_REFUSED: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError)
_TRANSIENT: Final = (
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.NoScriptError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
)
# Redis 6.2 wraps what stopped a script into "ERR Error running script (...): -OOM ..."
_TRANSIENT_WORDS: Final = re.compile(
    r"\b(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN)\b"
)


@contextmanager
def sorted_errors(partition: int | None = None) -> Iterator[None]:
    """Raise what Redis or its client raises as `Retry` or `Halt`."""
    try:
        yield
    except exceptions.RedisError as error:
        raise _sort(error, partition) from error
    except ValueError as error:
        raise _unreadable(partition, str(error)) from error
    REDIS.answered()


def _sort(error: exceptions.RedisError, partition: int | None) -> StreamsError:
    text = str(error)
    if isinstance(error, _REFUSED):
        return Halt(f"Redis refuses this client: {text}", code="redis_refuses")
    if isinstance(error, _TRANSIENT) or _TRANSIENT_WORDS.search(text):
        return Retry(f"Redis cannot do this now: {text}")
    if isinstance(error, _LOST):
        REDIS.failed(text.rstrip("."))
        return Unreachable(f"Redis does not answer: {text.rstrip('.')}; check --redis")
    if "WRONGTYPE" in text:
        return _unreadable(partition, text)
    return Halt(f"Redis refuses a command: {text}", code="redis_refuses", partition=partition)


def _unreadable(partition: int | None, why: str) -> Halt:
    if partition is not None:
        return corrupt(partition, f"a key in s:{{{partition}}}:", why)
    return Halt(f"a key in Redis cannot be read: {why}", code="store_corrupt")

"""How this process talks to Redis: one client, scripts by name, errors sorted by what to do.

One Redis, a Redis Cluster, or the master that sentinels name: the drivers see no difference. What
is not guarded by a watermark is never repeated by the client itself: a lost reply would count it
twice.
"""

import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha1
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry as Attempts
from redis.backoff import NoBackoff

from streams.addresses import TLS_FILES, RedisAddress, RedisParts
from streams.errors import Halt, Retry, StreamsError, Unreachable
from streams.runtime.dependencies import REDIS
from streams.runtime.namespace import corrupt
from streams.runtime.redis.causes import cause_of, refusal_of
from streams.runtime.redis.sentinels import master_of
from streams.runtime.redis.shards import Shards, Word, call

Client = Redis | Shards

CONNECTIONS: Final = 1_000
"""At most, to each node; each partition of a worker may have two calls on their way."""
_TAGGED: Final = re.compile(r"\{[^{}*?\[]+\}")  # a pattern that one slot's keys match
_SCAN: Final = 1_000  # keys that one SCAN step looks at


class Script:
    """Lua files of this package, one behind the other, and the name that Redis keeps them by."""

    def __init__(self, *names: str) -> None:
        folder = files("streams.runtime.redis")
        self.body: Final = b"\n".join(folder.joinpath(name).read_bytes() for name in names)
        self.sha: Final = sha1(self.body, usedforsecurity=False).hexdigest()


def connect(url: str, timeout_s: float) -> Client:
    """Return a client that repeats nothing by itself; `Halt` if `url` is not an address.

    RESP2: with RESP3 the client accepts maintenance messages at any time, and therefore no
    longer throws away a connection that holds unread bytes.
    """
    try:
        parts = RedisAddress(url).parts
    except ValueError as error:
        raise Halt(f"the address of Redis cannot be used: {error}") from None
    ways = _transport(parts, timeout_s)
    user = ways | parts.login._asdict()
    match parts.kind:
        case "cluster":
            return Shards(parts.hosts, lambda host, port: Redis(host=host, port=port, **user))
        case "sentinel":
            known = ways | parts.sentinels._asdict()
            return master_of(parts.service, parts.hosts, known, {"db": parts.database, **user})
        case "socket":
            return Redis(unix_socket_path=parts.path, db=parts.database, **user)
        case "single":
            host, port = parts.hosts[0]
            return Redis(host=host, port=port, db=parts.database, **user)


def _transport(parts: RedisParts, timeout_s: float) -> dict[str, Any]:
    """Return how to talk to any node of an address; `Halt` if a file of it cannot be read."""
    ways: dict[str, Any] = {
        "protocol": 2,
        "retry": Attempts(NoBackoff(), 0),
        "max_connections": CONNECTIONS,
        "driver_info": None,  # it would be two commands more a connection, and rights for them
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
    }
    if parts.tls:
        files = {name: parts.options[name] for name in TLS_FILES if name in parts.options}
        for name, path in files.items():
            _require_readable(name, path)
        checked = parts.options.get("ssl_check_hostname") != "false"
        ways |= {"ssl": True, "ssl_check_hostname": checked, **files}
    return ways


def _require_readable(name: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise Halt(f"{name} of the address of Redis: {path}: {error.strerror}") from None


async def pipelined(
    client: Client, commands: Sequence[Sequence[Word]], at: Word | None = None
) -> list[Any]:
    """Send commands in one round trip; raises the first error after all were answered.

    In a cluster it is one round trip a node, or one to the node of the key `at`, and a command may
    be done twice: they should be such that read.
    """
    if isinstance(client, Shards):
        replies = await client.pipelined(commands, at)
    else:
        async with client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies = await pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def words_of(fields: Mapping[Any, Any]) -> list[Any]:
    """Return field, value, ... as a command takes them."""
    return [word for field in fields.items() for word in field]


async def everywhere(client: Client, *command: Word) -> list[Any]:
    """Return what each node with keys answers, if one does: of those that do not, the error."""
    if not isinstance(client, Shards):
        return [await call(client, *command)]
    replies = await client.everywhere(*command)
    if all(isinstance(reply, exceptions.RedisError) for reply in replies):
        raise replies[0]
    return replies


async def slots_of_masters(url: str, timeout_s: float = 5.0) -> Mapping[str, Collection[int]]:
    """Return the slots of each master of a cluster, those too that have none; else `Halt`."""
    client = connect(url, timeout_s)
    try:
        if not isinstance(client, Shards):
            raise Halt("this is the address of no cluster: name one with --redis redis+cluster://")
        with sorted_errors():
            return await client.slots()
    finally:
        await client.aclose()


async def scanned(client: Client, pattern: str) -> AsyncIterator[list[bytes]]:
    """Yield the keys that match in groups, none of them empty; a key may come twice.

    In a cluster a pattern with a hash tag is looked for where that is, any other on every node.
    """
    if not isinstance(client, Shards):
        nodes = _each([client])
    elif _TAGGED.search(pattern):
        nodes = client.homes(pattern.rstrip("*"))
    else:
        nodes = _each(await client.masters())
    async for node in nodes:
        cursor: int | bytes = 0
        while True:
            cursor, keys = await call(node, "SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)
            if keys:
                yield keys
            if int(cursor) == 0:
                break


async def _each(nodes: Sequence[Redis]) -> AsyncIterator[Redis]:
    for node in nodes:
        yield node


async def evaluated(
    client: Client, script: Script, keys: Sequence[str], words: Sequence[Word]
) -> Any:
    """Return what a script returns; its text is sent only where Redis does not have it."""
    try:
        return await call(client, "EVALSHA", script.sha, len(keys), *keys, *words)
    except exceptions.NoScriptError as error:
        _let_go(error)
    return await call(client, "EVAL", script.body, len(keys), *keys, *words)


_LOST: Final = (exceptions.ConnectionError, exceptions.TimeoutError)
_REFUSED: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError)
_TRANSIENT: Final = (
    exceptions.BusyLoadingError,
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
        _let_go(error)
        raise _sort(error, partition) from error
    except ValueError as error:
        raise _unreadable(partition, str(error)) from error
    REDIS.answered()


def _let_go(error: BaseException) -> None:
    """Part an error, and those it came of, from the frames that it came through.

    The client's frames hold it too: together they would hold all that was in work, a flush's rows
    for one, until the collector comes, which it seldom does.
    """
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__context__


def _sort(error: exceptions.RedisError, partition: int | None) -> StreamsError:
    text = str(error)
    if isinstance(error, _REFUSED):
        return Halt(f"Redis refuses this client: {refusal_of(text)}", code="redis_refuses")
    if isinstance(error, exceptions.ClusterDownError):
        REDIS.failed(text)
        return Unreachable(f"the Redis Cluster is down: {text}; check its nodes")
    if isinstance(error, _TRANSIENT) or _TRANSIENT_WORDS.search(text):
        return Retry(f"Redis cannot do this now: {text}")
    if isinstance(error, _LOST):
        why = cause_of(text, at_first=not REDIS.watched)
        REDIS.failed(why)
        return Unreachable(f"Redis does not answer: {why}; check --redis")
    if "WRONGTYPE" in text:
        return _unreadable(partition, text)
    refused = f"Redis refuses a command: {refusal_of(text)}"
    return Halt(refused, code="redis_refuses", partition=partition)


def _unreadable(partition: int | None, why: str) -> Halt:
    if partition is not None:
        return corrupt(partition, f"a key in s:{{{partition}}}:", why)
    return Halt(f"a key in Redis cannot be read: {why}", code="store_corrupt")


__all__ = [
    "Client",
    "Script",
    "Word",
    "call",
    "connect",
    "evaluated",
    "everywhere",
    "pipelined",
    "scanned",
    "slots_of_masters",
    "sorted_errors",
]

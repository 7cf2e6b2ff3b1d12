"""Redis: the guarded store of counters, the serving index and the dossiers.

Keys: `s:{p}:meta` and `s:{p}:v:<video>` hashes (the hash tag keeps a partition in one slot),
`s:slice:<slice>` zset and `s:slice:<slice>:grants` hash, `s:dossier:<video>` string.
What is not guarded by a watermark is never repeated by the client itself: a lost reply would
count it twice.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

import msgspec
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry as Attempts
from redis.backoff import NoBackoff

from streams.core.receipts import Receipt
from streams.core.state import Changes, Meta
from streams.errors import Halt, Retry, StreamsError, Unreachable
from streams.runtime.namespace import other_namespace
from streams.runtime.ports import Candidate, Conflict, FlushResult, Loaded

Word = str | int | bytes
"""One part of a command."""

MINIMUM_VERSION: Final = (6, 2)
PACKED_HASH_BYTES: Final = 256
"""Rows up to this long keep a video's hash in Redis' compact form."""
REBUILD: Final = "rebuild it from the log with `streams counters rebuild`"

_BATCH: Final = 500  # keys per round trip: a reply stays below a megabyte
_SCAN: Final = 1_000  # keys that one SCAN step looks at
_FLUSH_ATTEMPTS: Final = 2
_LOAD_ATTEMPTS: Final = 5
_META: Final = ("namespace", "watermark", "event_time", "digest", "policy")


class _Script:
    """A Lua file of this package and the name under which Redis keeps it."""

    def __init__(self, name: str) -> None:
        self.body: Final = files("streams.runtime").joinpath(name).read_bytes()
        self.sha: Final = sha1(self.body, usedforsecurity=False).hexdigest()


_FLUSH: Final = _Script("flush.lua")
_SERVE: Final = _Script("serve.lua")


class RedisStore:
    """The port `Store` on one Redis; every flush is one script call for one partition.

    `timeout_s` bounds connecting and every reply. Connections are opened when first needed.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._client: Final = connect(url, timeout_s)
        self._flushing: Final[set[asyncio.Task[FlushResult]]] = set()

    async def check(self) -> None:
        """Raise `Halt` if Redis is too old or may evict, `Unreachable` if it does not answer."""
        with _sorted_errors():
            info = await self._run("INFO")
        version = str(info["redis_version"])
        if tuple(map(int, version.split(".")[:2])) < MINIMUM_VERSION:
            raise Halt(f"Redis is version {version}: 6.2 or later is needed", code="redis_version")
        if info.get("redis_mode") == "cluster":
            message = "this Redis is a node of a Redis Cluster: name a Redis that stands alone"
            raise Halt(message, code="redis_cluster")
        policy = info.get("maxmemory_policy", "unknown")
        if policy != "noeviction":
            raise Halt(
                f"Redis may evict counters (maxmemory-policy is {policy}): "
                "run `redis-cli CONFIG SET maxmemory-policy noeviction`",
                code="redis_evicts",
            )

    async def warnings(self) -> list[str]:
        """Return one line for each setting of Redis that costs memory or safety."""
        try:
            with _sorted_errors():
                sizes = await self._config("hash-max-*-value")
                durable = await self._config("appendonly")
        except Halt as refusal:
            return [f"the settings of Redis cannot be read: {refusal}"]
        lines = [
            f"{name} is {value}, so rows cost about three times the memory: "
            f"run `redis-cli CONFIG SET {name} {PACKED_HASH_BYTES}`"
            for name, value in sorted(sizes.items())[:1]
            if int(value) < PACKED_HASH_BYTES
        ]
        if durable.get("appendonly") == "no":
            lines.append("appendonly is no: after a crash Redis is filled again from the log")
        return lines

    async def meta(self, partition: int, namespace: str) -> tuple[int, Meta] | None:
        """Return watermark and meta of a partition; see the port."""
        with _sorted_errors(partition):
            command = ("HMGET", _meta_key(partition), *_META)
            stored, watermark, event_time, digest, policy = await self._run(*command)
        if stored is None and watermark is None:
            await self._refuse_orphans(partition)
            return None
        if (stored or b"").decode() != namespace:
            raise other_namespace(partition, (stored or b"").decode(), namespace)
        if None in (watermark, event_time, digest, policy):
            raise _watermark_missing(partition)
        with _sorted_errors(partition):
            return int(watermark), Meta(int(event_time), digest.decode(), policy)

    async def watermark(self, partition: int) -> int | None:
        """Return the stored watermark alone, None if there is none."""
        with _sorted_errors(partition):
            stored = await self._run("HGET", _meta_key(partition), "watermark")
            return None if stored is None else int(stored)

    async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
        """Return the stored fields of each video and their watermark.

        The watermark is read before and behind the rows, and all again if it moved meanwhile; a
        transaction would do as well, but Redis refuses one, even to read, while its memory is full.
        """
        prefix, mark = _rows_prefix(partition), ("HGET", _meta_key(partition), "watermark")
        rows = [("HGETALL", f"{prefix}{video}") for video in videos]
        for _ in range(_LOAD_ATTEMPTS):
            with _sorted_errors(partition):
                replies = await _pipelined(self._client, [mark, *rows, mark])
            before, *found, behind = replies
            if before == behind:
                hashes = dict(zip(videos, map(_hash, found), strict=True))
                return Loaded(None if before is None else int(before), hashes)
        raise Retry(f"partition {partition}: its watermark moves while its rows are read")

    async def flush(
        self, partition: int, namespace: str, expected: int, new: int, changes: Changes
    ) -> FlushResult:
        """Write rows, meta and watermark, all or nothing; see the port.

        Whoever awaits this may be cancelled: the call on its way still ends by itself.
        """
        meta = changes.meta
        rows = [part for video, row in changes.rows.items() for part in (video, _flat(row))]
        arguments = (
            *(namespace, expected, new),
            *(meta.event_time, meta.digest, meta.policy, msgspec.msgpack.encode(rows)),
        )
        task = asyncio.ensure_future(self._flush(partition, namespace, arguments))
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)
        return await asyncio.shield(task)

    async def scan(self, partition: int) -> Mapping[str, Mapping[str, bytes]]:
        """Return every stored video of a partition with its fields."""
        prefix = _rows_prefix(partition)
        found: dict[str, Mapping[str, bytes]] = {}
        with _sorted_errors(partition):
            async for keys in self._keys(f"{prefix}*"):
                hashes = await self._hashes(keys)
                names = (key.decode().removeprefix(prefix) for key in keys)
                found.update(zip(names, hashes, strict=True))
        return found

    async def erase(self, partition: int) -> int:
        """Delete whatever is stored of a partition; return how many keys that were.

        The meta goes first: an erasure cut short leaves rows without a watermark, which halts,
        and not a watermark without its rows, which would not.
        """
        with _sorted_errors(partition):
            erased = int(await self._run("UNLINK", _meta_key(partition)))
            async for keys in self._keys(f"s:{{{partition}}}:*"):
                erased += int(await self._run("UNLINK", *keys))
        return erased

    async def close(self) -> None:
        """Let flushes on their way end, then disconnect. Idempotent."""
        await asyncio.gather(*self._flushing, return_exceptions=True)
        await self._client.aclose()

    async def _flush(
        self, partition: int, namespace: str, arguments: Sequence[Word]
    ) -> FlushResult:
        with _sorted_errors(partition):
            answer = await self._call_flush(_meta_key(partition), arguments)
        match answer:
            case [b"ok"]:
                return "ok"
            case [b"noop"]:
                return "noop"
            case [b"conflict", stored]:
                return Conflict(int(stored))
            case _:
                raise other_namespace(partition, answer[1].decode(), namespace)

    async def _call_flush(self, key: str, arguments: Sequence[Word]) -> list[bytes]:
        """Call the script, again if the connection was lost: if it was done, that is a no-op."""
        command: tuple[str, str | bytes] = ("EVALSHA", _FLUSH.sha)
        for left in reversed(range(_FLUSH_ATTEMPTS)):
            try:
                return await self._evaluate(command, key, arguments)
            except exceptions.ConnectionError:
                if not left:
                    raise
        raise AssertionError  # the last attempt returns or raises

    async def _evaluate(
        self, command: tuple[str, str | bytes], key: str, arguments: Sequence[Word]
    ) -> list[bytes]:
        try:
            answer: list[bytes] = await self._run(*command, 1, key, *arguments)
        except exceptions.NoScriptError:
            answer = await self._run("EVAL", _FLUSH.body, 1, key, *arguments)
        return answer

    async def _refuse_orphans(self, partition: int) -> None:
        with _sorted_errors(partition):
            async for _ in self._keys(f"{_rows_prefix(partition)}*"):
                raise _watermark_missing(partition)

    async def _keys(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Yield the keys that match in groups, none of them empty; a key may come twice."""
        cursor: int | bytes = 0
        while True:
            command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)
            cursor, keys = await self._run(*command)
            if keys:
                yield keys
            if int(cursor) == 0:
                return

    async def _hashes(self, keys: Sequence[str | bytes]) -> list[dict[str, bytes]]:
        found = await _pipelined(self._client, [("HGETALL", key) for key in keys])
        return [_hash(row) for row in found]

    async def _config(self, pattern: str) -> dict[str, str]:
        found: dict[str, str] = await self._run("CONFIG GET", pattern)
        return found

    def _run(self, *command: Word) -> Awaitable[Any]:
        return _call(self._client, *command)


class RedisServingIndex:
    """The port `ServingIndex`: candidates in a zset per slice, grants in a hash beside it."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._client: Final = connect(url, timeout_s)

    async def apply(self, receipts: Sequence[Receipt]) -> int:
        """Apply receipts in order, one call per slice in one round trip; return the new ones."""
        slices: dict[str, list[Word]] = {}
        for receipt in receipts:
            stop = receipt.action == "stop"
            said = ("", 0) if stop else (receipt.index, receipt.allowance)
            slices.setdefault(receipt.slice, []).extend((receipt.video, receipt.n, *said))
        calls: list[Sequence[Word]] = [
            ("EVALSHA", _SERVE.sha, 2, _slice_key(name), _grants_key(name), *arguments)
            for name, arguments in slices.items()
        ]
        with _sorted_errors():
            _, *new = await _pipelined(self._client, [("SCRIPT LOAD", _SERVE.body), *calls])
        return sum(new)

    async def top(self, slice_id: str, count: int) -> Sequence[Candidate]:
        """Return the `count` best candidates of a slice; equal ranks by id, backwards."""
        if count < 1:
            return []
        with _sorted_errors():
            best = ("ZRANGE", _slice_key(slice_id), 0, count - 1, "REV", "WITHSCORES")
            ranked: list[bytes] = await _call(self._client, *best)
            videos, scores = ranked[::2], ranked[1::2]
            if not videos:
                return []
            grants = await _call(self._client, "HMGET", _grants_key(slice_id), *videos)
        return [
            Candidate(video.decode(), int(float(score)), int(grant.partition(b":")[2]))
            for video, score, grant in zip(videos, scores, grants, strict=True)
            if grant is not None and not grant.endswith(b":0")  # stopped between the two reads
        ]

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._client.aclose()


class RedisDossiers:
    """The port `Dossiers`: one string per video."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._client: Final = connect(url, timeout_s)

    async def get(self, video: str) -> bytes | None:
        """Return a video's document, None if there is none."""
        with _sorted_errors():
            document: bytes | None = await _call(self._client, "GET", _dossier_key(video))
        return document

    async def put(self, video: str, document: bytes) -> None:
        """Keep a video's document."""
        with _sorted_errors():
            await _call(self._client, "SET", _dossier_key(video), document)

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._client.aclose()


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
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
    except ValueError as error:
        raise Halt(f"the address of Redis cannot be used: {error}") from None


def _hash(reply: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in reply.items()}


async def _pipelined(client: Redis, commands: Sequence[Sequence[Word]]) -> list[Any]:
    """Send commands in one round trip; raises the first error after all were answered."""
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute()
    return replies


def _call(client: Redis, *command: Word) -> Awaitable[Any]:
    """Send one command; what comes back is as wide as Redis' own replies."""
    reply: Awaitable[Any] = client.execute_command(*command)  # type: ignore[no-untyped-call]
    return reply


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
def _sorted_errors(partition: int | None = None) -> Iterator[None]:
    """Raise what Redis or its client raises as `Retry` or `Halt`."""
    try:
        yield
    except exceptions.RedisError as error:
        raise _sort(error, partition) from error
    except ValueError as error:
        message = f"a number in {_place(partition)} cannot be read"
        raise Halt(f"{message}: {REBUILD}", code="store_corrupt", partition=partition) from error


def _sort(error: exceptions.RedisError, partition: int | None) -> StreamsError:
    text = str(error)
    if isinstance(error, _REFUSED):
        return Halt(f"Redis refuses this client: {text}", code="redis_refuses")
    if isinstance(error, _TRANSIENT) or _TRANSIENT_WORDS.search(text):
        return Retry(f"Redis cannot do this now: {text}")
    if isinstance(error, _LOST):
        return Unreachable(f"Redis does not answer: {text.rstrip('.')}; check --redis")
    if "WRONGTYPE" in text:
        message = f"a key in {_place(partition)} is not of its type, something else wrote there"
        return Halt(f"{message}: {REBUILD}", code="store_corrupt", partition=partition)
    return Halt(f"Redis refuses a command: {text}", code="redis_refuses", partition=partition)


def _place(partition: int | None) -> str:
    return "Redis" if partition is None else f"s:{{{partition}}}:"


def _watermark_missing(partition: int) -> Halt:
    return Halt(
        f"partition {partition} has counters in Redis but no watermark: {REBUILD}",
        code="watermark_missing",
        partition=partition,
    )


def _flat(row: Mapping[str, bytes]) -> list[str]:
    """Return field, value, ... as text: Redis' MessagePack does not know byte strings."""
    return [part for field, value in row.items() for part in (field, value.decode())]


def _meta_key(partition: int) -> str:
    return f"s:{{{partition}}}:meta"


def _rows_prefix(partition: int) -> str:
    return f"s:{{{partition}}}:v:"


def _slice_key(slice_id: str) -> str:
    return f"s:slice:{slice_id}"


def _grants_key(slice_id: str) -> str:
    return f"s:slice:{slice_id}:grants"


def _dossier_key(video: str) -> str:
    return f"s:dossier:{video}"

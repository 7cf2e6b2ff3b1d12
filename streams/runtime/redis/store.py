"""Counters, state and watermark in Redis: the guarded store.

Keys: `s:{p}:meta` and `s:{p}:v:<video>` hashes, `s:{p}:a:<bucket>` hashes of pointers to rows in
the archive, `s:{p}:halt` while the partition is halted, of full parts of the window the hash
`s:{p}:window` and strings `s:{p}:w:<first offset>`; the hash tag keeps a partition in one slot.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import islice
from typing import Any, Final
from zlib import crc32

import msgspec
from redis import exceptions

from streams.core.state import FRESH, Changes, Meta
from streams.errors import Halt, Retry
from streams.runtime.labels import Labelled
from streams.runtime.namespace import (
    corrupt,
    counter_keys,
    halt_key,
    meta_key,
    other_namespace,
    part_key,
    pointer_key,
    rebuild_of,
    video_key,
    window_key,
)
from streams.runtime.part_store import PartGuard, PartsChange, StoredPart
from streams.runtime.ports import Conflict, FlushResult, HaltNote, Loaded, Stored
from streams.runtime.redis.connection import (
    Script,
    Word,
    call,
    connect,
    evaluated,
    everywhere,
    pipelined,
    scanned,
    sorted_errors,
    words_of,
)
from streams.runtime.redis.shards import Shards

MINIMUM_VERSION: Final = (6, 2)
POINTER_BUCKETS: Final = 8_192
"""Hashes for the pointers of a partition: compact up to four million videos, with the usual
`hash-max-listpack-entries` of 512."""
PACKED_HASH_BYTES: Final = 256
"""Rows up to this long keep a video's hash in Redis' compact form."""

_FLUSH_ATTEMPTS: Final = 2
_LOAD_ATTEMPTS: Final = 5
RESTORED_VIDEOS: Final = 500
"""Written with one round trip."""
_BUCKETS_READ: Final = 1_024
_META: Final = ("namespace", "watermark", *Meta._fields)

_COVERAGE: Final = "cluster-require-full-coverage"
_AS_STORED: Final = b"="
"""In place of a policy: the one that is stored; no JSON."""

_FLUSH: Final = Script("flush.lua")
_RELABEL: Final = Script("relabel.lua")
_PARTS: Final = Script("parts.lua")


class RedisStore:
    """The port `Store` on one Redis, or a cluster; a flush is one script call for one partition.

    `timeout_s` bounds connecting and every reply. Connections are opened when first needed.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._client: Final = connect(url, timeout_s)
        self._flushing: Final[set[asyncio.Task[FlushResult]]] = set()
        self._policies: Final[dict[int, tuple[int, bytes]]] = {}  # at the watermark last flushed

    async def check(self) -> None:
        """Raise `Halt` if Redis is too old or may evict, `Unreachable` if it does not answer.

        Of a cluster, if no node answers: the partitions of one that does not wait by themselves.
        """
        with sorted_errors():
            infos = await everywhere(self._client, "INFO")
        for info in infos:
            if not isinstance(info, Exception):
                _require_trust(info, alone=not isinstance(self._client, Shards))

    async def warnings(self) -> list[str]:
        """Return one line for each setting of Redis that costs memory or safety."""
        try:
            with sorted_errors():
                nodes = await self._settings("hash-max-*-value", "appendonly", _COVERAGE)
        except Halt as refusal:
            return [f"the settings of Redis cannot be read: {refusal}"]
        in_cluster = isinstance(self._client, Shards)
        lines = (line for node in nodes for line in _warnings(node, in_cluster=in_cluster))
        return list(dict.fromkeys(lines))

    async def meta(self, partition: int, namespace: str) -> Stored | None:
        """Return watermark and meta of a partition; see the port."""
        with sorted_errors(partition):
            command = ("HMGET", meta_key(partition), *_META)
            stored, watermark, *fields = await self._run(*command)
        event_time, digest, policy, mark, *others = fields
        if stored is None and watermark is None:
            if await self._flushed_meanwhile(partition):
                return await self.meta(partition, namespace)
            return None
        if stored != namespace.encode():
            raise other_namespace(partition, (stored or b"").decode(errors="replace"), namespace)
        if None in (watermark, event_time, digest, policy):
            raise _watermark_missing(partition)
        try:
            text = (mark or b"").decode()
            kept = (raw or b"" for raw in others)
            meta = Meta(int(event_time), digest.decode(), policy, text, *kept)
            return Stored(int(watermark), meta)
        except ValueError as error:
            raise corrupt(partition, meta_key(partition), str(error)) from None

    async def labelled(self, partition: int) -> Labelled | None:
        """Return what is stored of a partition, whosever counters they are; see the port."""
        with sorted_errors(partition):
            namespace = await self._run("HGET", meta_key(partition), "namespace")
        if namespace is None:
            return None
        name = namespace.decode(errors="replace")
        stored = await self.meta(partition, name)
        return None if stored is None else Labelled(name, stored)

    async def relabel(self, partition: int, before: Labelled, after: Labelled) -> bool:
        """Put other namespace and meta in the place of `before`; see the port."""
        assert before.stored.watermark == after.stored.watermark, "rows stay, so does their place"
        expected = (before.namespace, before.stored.watermark, before.stored.meta.digest)
        fields = {**after.stored.meta._asdict(), "namespace": after.namespace}
        words = [word for field in fields.items() for word in field]
        with sorted_errors(partition):
            keys = [meta_key(partition)]
            done = await evaluated(
                self._client, _RELABEL, keys, [*expected, after.namespace, *words]
            )
        return bool(done)

    async def watermark(self, partition: int) -> int | None:
        """Return the stored watermark alone, None if there is none."""
        with sorted_errors(partition):
            stored = await self._run("HGET", meta_key(partition), "watermark")
            return None if stored is None else int(stored)

    async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
        """Return the stored fields of each video and their watermark.

        The watermark is read before and behind the rows, and all again if it moved meanwhile; a
        transaction would do as well, but Redis refuses one, even to read, while its memory is full.
        """
        prefix = video_key(partition, "")
        mark = ("HMGET", meta_key(partition), "watermark", "archived")
        rows = [("HGETALL", f"{prefix}{video}") for video in videos]
        for _ in range(_LOAD_ATTEMPTS):
            with sorted_errors(partition):
                replies = await pipelined(self._client, [mark, *rows, mark], at=mark[1])
                before, *found, behind = replies
                if before != behind:
                    continue
                hashes = dict(zip(videos, map(_hash, found), strict=True))
                watermark, archived = (None if text is None else int(text) for text in before)
                if not archived or all(hashes.values()):
                    return Loaded(watermark, hashes)
                absent = [video for video, fields in hashes.items() if not fields]
                places = [("HGET", _bucket_of(partition, video), video) for video in absent]
                *found, behind = await pipelined(self._client, [*places, mark], at=mark[1])
                if before == behind:
                    return Loaded(watermark, hashes, _pointers(absent, found))
        raise Retry(f"partition {partition}: its watermark moves while its rows are read")

    async def flush(
        self, partition: int, namespace: str, expected: int, new: int, changes: Changes
    ) -> FlushResult:
        """Write rows, meta and watermark, all or nothing; see the port.

        Whoever awaits this may be cancelled: the call on its way still ends by itself. A policy
        that the flush before this one stored is not sent again: it is larger than most flushes.
        """
        meta = changes.meta
        if self._policies.get(partition) == (expected, meta.policy):
            meta = meta._replace(policy=_AS_STORED)
        prefix, departed = video_key(partition, ""), changes.departed
        returned = sorted(changes.returned)
        keys = [meta_key(partition), *(f"{prefix}{video}" for video in changes.rows)]
        keys += [f"{prefix}{video}" for video in departed]
        keys += [_bucket_of(partition, video) for video in (*departed, *returned)]
        rows = [_flat(row) for row in changes.rows.values()]
        moved: Word = b""
        if departed or returned:
            pointers = [[video, str(pointer)] for video, pointer in departed.items()]
            moved = msgspec.msgpack.encode((pointers, returned))
        words = (namespace, expected, new, *meta, msgspec.msgpack.encode(rows), moved)
        result = await asyncio.shield(self._begin(self._flush(partition, namespace, keys, words)))
        if result in {"ok", "noop"}:
            self._policies[partition] = (new, changes.meta.policy)
        return result

    async def parts(self, partition: int) -> Sequence[int]:
        """Return the first offsets of the parts that are stored, sorted."""
        with sorted_errors(partition):
            return sorted(map(int, await self._run("HKEYS", window_key(partition))))

    async def load_part(self, partition: int, start: int) -> StoredPart | None:
        """Return a part, None if it is not stored; see the port."""
        key = window_key(partition)
        commands: list[tuple[Word, ...]] = [
            ("HGET", key, start),
            ("GET", part_key(partition, start)),
        ]
        with sorted_errors(partition):
            entry, ids = await pipelined(self._client, commands, at=key)
        return None if entry is None else StoredPart(entry, ids or b"")

    async def change_parts(self, partition: int, guard: PartGuard, change: PartsChange) -> bool:
        """Store and drop parts, all or nothing; see the port."""
        parts = [word for start, part in change.kept.items() for word in (start, *part)]
        starts = [*change.kept, *change.bare, *change.dropped]
        keys = [meta_key(partition), window_key(partition)]
        keys += [part_key(partition, start) for start in starts]
        words: list[Word] = [*guard, len(change.kept), *parts, *change.dropped]
        with sorted_errors(partition):
            return bool(await evaluated(self._client, _PARTS, keys, words))

    async def begin(self, partition: int, namespace: str) -> None:
        """Store that nothing of a partition is counted yet; see the port."""
        meta = FRESH._asdict() | {"namespace": namespace, "watermark": -1}
        with sorted_errors(partition):
            await self._run("HSET", meta_key(partition), *words_of(meta))

    async def restore(
        self,
        partition: int,
        namespace: str,
        stored: Stored,
        rows: Mapping[str, Mapping[str, bytes]],
    ) -> None:
        """Put rows, meta and watermark into an erased partition; see the port."""
        prefix, rest = video_key(partition, ""), iter(rows.items())
        fields = stored.meta._asdict() | {"namespace": namespace, "watermark": stored.watermark}
        with sorted_errors(partition):
            while some := list(islice(rest, RESTORED_VIDEOS)):
                commands = [("HSET", f"{prefix}{video}", *words_of(row)) for video, row in some]
                await pipelined(self._client, commands, at=prefix)
            await self._run("HSET", meta_key(partition), *words_of(fields))

    async def note_halt(self, partition: int, note: HaltNote | None) -> None:
        """Leave word that a partition halted, or take it back."""
        key = halt_key(partition)
        with sorted_errors(partition):
            if note is None:
                await self._run("DEL", key)
            else:
                await self._run("SET", key, msgspec.json.encode(note))

    async def halts(self, partitions: Sequence[int]) -> Mapping[int, HaltNote]:
        """Return the halts noted of these partitions."""
        with sorted_errors():
            texts = await pipelined(self._client, [("GET", halt_key(p)) for p in partitions])
            return {
                partition: msgspec.json.decode(text, type=HaltNote)
                for partition, text in zip(partitions, texts, strict=True)
                if text is not None
            }

    async def scan(
        self, partition: int, wanted: Callable[[str], bool] | None = None
    ) -> Mapping[str, Mapping[str, bytes]]:
        """Return every stored video of a partition with its fields, or every `wanted` one."""
        found: dict[str, Mapping[str, bytes]] = {}
        async for rows in self._pages(partition, wanted):
            found.update(rows)
        return found

    def pages(self, partition: int) -> AsyncIterator[Mapping[str, Mapping[str, bytes]]]:
        """Yield the stored videos of a partition with their fields; see `PointingStore`."""
        return self._pages(partition, None)

    async def pointers(self, partition: int) -> Mapping[str, int]:
        """Return the pointers of the archived videos of a partition."""
        found: dict[str, int] = {}
        with sorted_errors(partition):
            if not int(await self._run("HGET", meta_key(partition), "archived") or 0):
                return found
            buckets = [pointer_key(partition, number) for number in range(POINTER_BUCKETS)]
            for first in range(0, POINTER_BUCKETS, _BUCKETS_READ):
                commands = [("HGETALL", key) for key in buckets[first : first + _BUCKETS_READ]]
                for reply in await pipelined(self._client, commands, at=buckets[0]):
                    found.update((name.decode(), int(text)) for name, text in reply.items())
        return found

    async def erase(self, partition: int) -> int:
        """Delete all counters of a partition; return how many keys that were.

        The meta goes first: an erasure cut short leaves rows without a watermark, which halts,
        and not a watermark without its rows, which would not.
        """
        with sorted_errors(partition):
            erased = int(await self._run("UNLINK", meta_key(partition)))
            async for keys in scanned(self._client, counter_keys(partition)):
                erased += int(await self._run("UNLINK", *keys))
        return erased

    async def close(self) -> None:
        """Let flushes on their way end, then disconnect. Idempotent."""
        await asyncio.gather(*self._flushing, return_exceptions=True)
        await self._client.aclose()

    async def _pages(
        self, partition: int, wanted: Callable[[str], bool] | None
    ) -> AsyncIterator[dict[str, Mapping[str, bytes]]]:
        """Yield stored videos with their fields, or every wanted one, keys of a step at a time."""
        prefix = video_key(partition, "")
        with sorted_errors(partition):
            async for keys in scanned(self._client, f"{prefix}*"):
                names = [key.decode().removeprefix(prefix) for key in keys]
                drawn = [name for name in names if wanted is None or wanted(name)]
                rows = [("HGETALL", f"{prefix}{name}") for name in drawn]
                hashes = await pipelined(self._client, rows, at=prefix)
                yield dict(zip(drawn, map(_hash, hashes), strict=True))

    def _begin(self, flush: Coroutine[Any, Any, FlushResult]) -> asyncio.Task[FlushResult]:
        task = asyncio.create_task(flush)
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)
        return task

    async def _flush(
        self, partition: int, namespace: str, keys: Sequence[str], words: Sequence[Word]
    ) -> FlushResult:
        with sorted_errors(partition):
            answer = await self._call_flush(keys, words)
        match answer:
            case [b"ok"]:
                return "ok"
            case [b"noop"]:
                return "noop"
            case [b"conflict", stored]:
                return Conflict(int(stored))
            case _:
                raise other_namespace(partition, answer[1].decode(), namespace)

    async def _call_flush(self, keys: Sequence[str], words: Sequence[Word]) -> list[bytes]:
        """Call the script, again if the connection was lost: if it was done, that is a no-op."""
        for left in reversed(range(_FLUSH_ATTEMPTS)):
            try:
                answer: list[bytes] = await evaluated(self._client, _FLUSH, keys, words)
            except exceptions.ConnectionError:
                if not left:
                    raise
            else:
                return answer
        raise AssertionError  # the last attempt returns or raises

    async def _flushed_meanwhile(self, partition: int) -> bool:
        """Tell whether a first flush came after no watermark was found; `Halt` for rows alone."""
        with sorted_errors(partition):
            async for _ in scanned(self._client, f"{video_key(partition, '')}*"):
                if await self._run("HEXISTS", meta_key(partition), "watermark"):
                    return True
                raise _watermark_missing(partition)
        return False

    async def _settings(self, *patterns: str) -> list[dict[str, str]]:
        """Return settings of every node that answers."""
        told = [await everywhere(self._client, "CONFIG GET", pattern) for pattern in patterns]
        nodes = zip(*told, strict=True)
        return [
            {name: value for some in node for name, value in some.items()}
            for node in nodes
            if not any(isinstance(some, Exception) for some in node)
        ]

    def _run(self, *command: Word) -> Awaitable[Any]:
        return call(self._client, *command)


def _warnings(settings: Mapping[str, str], *, in_cluster: bool) -> Iterator[str]:
    """Yield a line for each of a node's settings that costs memory or safety."""
    for name, value in sorted(settings.items()):
        if name.startswith("hash-max-") and int(value) < PACKED_HASH_BYTES:
            yield (
                f"{name} is {value}, so rows cost about three times the memory: "
                f"run `redis-cli CONFIG SET {name} {PACKED_HASH_BYTES}`"
            )
            break
    if settings.get("appendonly") == "no":
        yield "appendonly is no: after a crash Redis is filled again from the log"
    if in_cluster and settings.get(_COVERAGE) == "yes":
        yield (
            f"{_COVERAGE} is yes, so all partitions stop with one shard: "
            f"run `redis-cli CONFIG SET {_COVERAGE} no` on every node"
        )


def _require_trust(info: Mapping[str, Any], *, alone: bool) -> None:
    """Raise `Halt` if counters are not safe with the Redis that told this of itself."""
    version = str(info["redis_version"])
    if tuple(map(int, version.split(".")[:2])) < MINIMUM_VERSION:
        raise Halt(f"Redis is version {version}: 6.2 or later is needed", code="redis_version")
    if alone and info.get("redis_mode") == "cluster":
        message = "this Redis is a node of a Redis Cluster: name it as redis+cluster://HOST:PORT"
        raise Halt(message, code="redis_cluster")
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        raise Halt(
            f"Redis may evict counters (maxmemory-policy is {policy}): "
            "run `redis-cli CONFIG SET maxmemory-policy noeviction`",
            code="redis_evicts",
        )


def _hash(reply: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in reply.items()}


def _watermark_missing(partition: int) -> Halt:
    return Halt(
        f"partition {partition} has counters in Redis but no watermark: count it again with "
        f"{rebuild_of(partition)}",
        code="watermark_missing",
        partition=partition,
    )


def _flat(row: Mapping[str, bytes]) -> list[str]:
    """Return field, value, ... as text: Redis' MessagePack does not know byte strings."""
    return [part for field, value in row.items() for part in (field, value.decode())]


def _bucket_of(partition: int, video: str) -> str:
    """Return the key of the hash that holds a video's pointer."""
    return pointer_key(partition, crc32(video.encode()) % POINTER_BUCKETS)


def _pointers(videos: Sequence[str], replies: Sequence[bytes | None]) -> dict[str, int]:
    pairs = zip(videos, replies, strict=True)
    return {video: int(text) for video, text in pairs if text is not None}

"""The serving index in Redis: what each slice may show, leased by scripts.

Keys of a slice: `s:slice:{<slice>}:` and then `entries`, `leases`, `removed`, `at`, `prices`,
`slots`, `meta`, `fresh` and `ranked:<class>`, as `index.lua` tells; the hash tag keeps them in one
slot.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec

from streams.core.serving import Entry
from streams.runtime.leases import (
    CLASSES,
    MINUTES,
    NEWCOMERS_MOST,
    OPEN,
    Applied,
    Candidate,
    Footing,
    IndexBounds,
    Lease,
    Newcomers,
    PolicyOrder,
    Slots,
    require_classes,
    share_of,
    slots_of,
)
from streams.runtime.redis.connection import (
    Script,
    Word,
    call,
    connect,
    evaluated,
    pipelined,
    scanned,
    sorted_errors,
    words_of,
)
from streams.runtime.redis.shards import Shards

ENTRIES_AT_ONCE: Final = 250
"""Entries of one call: a longer one would keep feed servers waiting."""
CALLS_AT_ONCE: Final = 4
"""Such calls on their way to one Redis: a flush that comes behind them waits for all of them, and
with sixteen it waited four times as long. More would bring nothing: Redis takes one at a time."""
RETURNED_AT_ONCE: Final = 1_000
TOP_MOST: Final = 10_000
_APPLY: Final = Script("index.lua", "apply.lua")
_LEASE: Final = Script("index.lua", "lease.lua")
_GIVE_BACK: Final = Script("index.lua", "give_back.lua")
_TOP: Final = Script("index.lua", "top.lua")
_PRICES: Final = Script("prices.lua")
_NAMES: Final = (
    *("entries", "leases", "removed", "at", "prices", "slots", "meta", "fresh"),
    *(f"ranked:{kind}" for kind in CLASSES),
)
PAGE: Final = 1_000
TIE_LENGTH: Final = 8
_DEADLINE, _DUE = 6, 7
"""Places in an entry, as `index.lua` tells them, counted from 0."""
_unpack: Final = msgspec.msgpack.Decoder().decode
_pack: Final = msgspec.msgpack.Encoder().encode


class RedisServingIndex:
    """The port `ServingIndex`: one script a call, all keys of a slice in one slot."""

    def __init__(
        self, url: str, *, timeout_s: float = 5.0, bounds: IndexBounds | None = None
    ) -> None:
        self._client: Final = connect(url, timeout_s)
        self._bounds: Final = bounds or IndexBounds()
        # In a cluster slices are spread, and one node that is silent must not keep the others.
        self._turn: Final[AbstractAsyncContextManager[object]] = (
            nullcontext() if isinstance(self._client, Shards) else asyncio.Semaphore(CALLS_AT_ONCE)
        )

    async def apply(
        self, slice_id: str, partitions_at: Mapping[int, int], entries: Sequence[Entry]
    ) -> Applied:
        """Put entries in, so many a call; positions follow the last of them."""
        starts = range(0, max(len(entries), 1), ENTRIES_AT_ONCE)
        written, before = 0, list[int]()
        for start in starts:
            positions = partitions_at if start == starts[-1] else {}
            flat = [number for pair in positions.items() for number in pair]
            some = entries[start : start + ENTRIES_AT_ONCE]
            bounds = (self._bounds.removed_s, self._bounds.new_key())
            words = (*bounds, _pack(flat), _pack(some))
            async with self._turn:
                new, *before = await self._run(_APPLY, slice_id, *words)
            written += new
        return Applied(written, dict(zip(before[::2], before[1::2], strict=True)))

    async def set_prices(
        self, slice_id: str, order: PolicyOrder, prices: Mapping[str, int], footing: Footing = OPEN
    ) -> bool:
        """Put prices and a footing in force unless a later policy's stand."""
        require_classes(prices)
        words: tuple[Word, ...] = (*order, *words_of(prices))
        words += ("fresh", share_of(footing.fresh_share), "frozen", int(footing.frozen))
        key = keys_of(slice_id)[_NAMES.index("prices")]
        return bool(await self._eval(_PRICES, [key], words))

    async def is_frozen(self, slice_id: str) -> bool:
        """Tell whether the slice is frozen, by the policy whose prices are in force."""
        key = keys_of(slice_id)[_NAMES.index("prices")]
        with sorted_errors():
            return bool(await call(self._client, "HGET", key, "frozen") == b"1")

    async def lease(
        self,
        slice_id: str,
        count: int,
        most_each: int,
        fresh_share: int | None = 0,
        tilts: Mapping[str, int] = MappingProxyType({}),
        without: Collection[str] = (),
    ) -> Sequence[Lease]:
        """Take impressions for up to `count` slots, at most `most_each` of a video."""
        require_classes(tilts)
        slots = slots_of(count)
        if not slots or most_each < 1:
            return []
        share = "" if fresh_share is None else share_of(fresh_share)
        words = (self._bounds.lease_s, slots, min(most_each, slots), share)
        lists = _packed(words_of(tilts)), _packed(list(without))
        leased = await self._run(_LEASE, slice_id, *words, *lists)
        return [
            Lease(video.decode(), impressions, net, via.decode(), until, score, factor)
            for video, impressions, net, via, until, score, factor in _in_rows(leased, 7)
        ]

    async def give_back(self, slice_id: str, leases: Sequence[Lease]) -> int:
        """Return impressions that were not shown."""
        returned = 0
        given = [one for one in leases if one.impressions > 0]
        for start in range(0, len(given), RETURNED_AT_ONCE):
            some = given[start : start + RETURNED_AT_ONCE]
            words = [word for one in some for word in (one.video, one.impressions, one.until)]
            returned += await self._run(_GIVE_BACK, slice_id, *words)
        return returned

    async def top(
        self, slice_id: str, count: int, tilts: Mapping[str, int] = MappingProxyType({})
    ) -> Sequence[Candidate]:
        """Return the `count` best candidates as a lease with these tilts takes them by rank."""
        require_classes(tilts)
        if count < 1:
            return []
        best = await self._run(_TOP, slice_id, min(count, TOP_MOST), _packed(words_of(tilts)))
        return [
            Candidate(video.decode(), net, left, allowance, kind.decode())
            for video, net, left, allowance, kind in _in_rows(best, 5)
        ]

    async def newcomers(self, slice_id: str) -> Newcomers:
        """Return what is owed to newcomers here."""
        entries, fresh = (keys_of(slice_id)[_NAMES.index(name)] for name in ("entries", "fresh"))
        first: list[Sequence[Word]] = [
            ("ZCARD", fresh),
            ("ZRANGE", fresh, 0, NEWCOMERS_MOST - 1),
        ]
        with sorted_errors():
            pairs, members = await pipelined(self._client, first)
            if not members:
                return Newcomers(0)
            videos = [member[TIE_LENGTH:] for member in members]
            stored = await call(self._client, "HMGET", entries, *videos)
        known = [_unpack(raw) for raw in stored if raw is not None]
        return Newcomers(pairs, [(pair[_DEADLINE], max(pair[_DUE], 0)) for pair in known])

    async def positions(self, slice_id: str) -> Mapping[int, int]:
        """Return up to which offset each partition has told the slice everything."""
        with sorted_errors():
            stored = await call(self._client, "HGETALL", keys_of(slice_id)[_NAMES.index("at")])
        return {int(partition): int(offset) for partition, offset in stored.items()}

    async def pairs(self, slice_id: str) -> AsyncIterator[Sequence[tuple[str, int]]]:
        """Yield pages of the videos that are not removed, with the offset of each one's entry."""
        key, cursor = keys_of(slice_id)[_NAMES.index("entries")], 0
        while True:
            with sorted_errors():
                cursor, page = await call(self._client, "HSCAN", key, cursor, "COUNT", PAGE)
                read = [(video.decode(), _unpack(raw)) for video, raw in page.items()]
            yield [(video, offset) for video, (offset, score, *_) in read if score is not False]
            if not cursor:
                return

    async def slots(self, slice_id: str, minutes: int) -> Sequence[Slots]:
        """Return the slots of the latest minutes in which any were asked for, oldest first."""
        key = keys_of(slice_id)[_NAMES.index("slots")]
        with sorted_errors():
            (seconds, _), *stored = await pipelined(self._client, [("TIME",), ("HVALS", key)], key)
        first = int(seconds) // 60 - min(max(minutes, 0), MINUTES)
        counts = [Slots(*map(int, value.split(b":"))) for value in stored[0]]
        return sorted(count for count in counts if count.minute > first)

    async def clear(self, slice_id: str) -> None:
        """Forget all of a slice."""
        with sorted_errors():
            await call(self._client, "UNLINK", *keys_of(slice_id))

    async def forget_first(self) -> int:
        """Delete the candidates that 0.1.0 kept; return how many keys that were."""
        gone = 0
        with sorted_errors():
            async for keys in scanned(self._client, "s:slice:*"):
                for key in keys:
                    if not key.startswith(b"s:slice:{"):
                        gone += await call(self._client, "UNLINK", key)
        return gone

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._client.aclose()

    async def _run(self, script: Script, slice_id: str, *words: Word) -> Any:
        return await self._eval(script, keys_of(slice_id), (self._bounds.ranked, *words))

    async def _eval(self, script: Script, keys: Sequence[str], words: Sequence[Word]) -> Any:
        with sorted_errors():
            return await evaluated(self._client, script, keys, words)


def keys_of(slice_id: str) -> list[str]:
    """Return all keys of a slice in the order of the scripts."""
    return [f"s:slice:{{{slice_id}}}:{name}" for name in _NAMES]


def _packed(words: list[Any]) -> bytes:
    """Return words as a script takes them; nothing for none."""
    return _pack(words) if words else b""


def _in_rows(flat: Sequence[Any], width: int) -> Iterable[tuple[Any, ...]]:
    return cast(Iterable[tuple[Any, ...]], zip(*[iter(flat)] * width, strict=True))

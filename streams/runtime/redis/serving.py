"""Candidates of each slice in Redis, kept from receipts: a sorted set and the grants beside it.

Keys: `s:slice:<slice>` zset and `s:slice:<slice>:grants` hash.
"""

from collections.abc import Sequence
from typing import Final

from streams.core.receipts import Receipt
from streams.runtime.ports import Candidate
from streams.runtime.redis.connection import Script, Word, call, connect, pipelined, sorted_errors

_SERVE: Final = Script("serve.lua")


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
        with sorted_errors():
            _, *new = await pipelined(self._client, [("SCRIPT LOAD", _SERVE.body), *calls])
        return sum(new)

    async def top(self, slice_id: str, count: int) -> Sequence[Candidate]:
        """Return the `count` best candidates of a slice; equal ranks by id, backwards."""
        if count < 1:
            return []
        with sorted_errors():
            best = ("ZRANGE", _slice_key(slice_id), 0, count - 1, "REV", "WITHSCORES")
            ranked: list[bytes] = await call(self._client, *best)
            videos, scores = ranked[::2], ranked[1::2]
            if not videos:
                return []
            grants = await call(self._client, "HMGET", _grants_key(slice_id), *videos)
        return [
            Candidate(video.decode(), int(float(score)), int(grant.partition(b":")[2]))
            for video, score, grant in zip(videos, scores, grants, strict=True)
            if grant is not None and not grant.endswith(b":0")  # stopped between the two reads
        ]

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._client.aclose()


def _slice_key(slice_id: str) -> str:
    return f"s:slice:{slice_id}"


def _grants_key(slice_id: str) -> str:
    return f"s:slice:{slice_id}:grants"

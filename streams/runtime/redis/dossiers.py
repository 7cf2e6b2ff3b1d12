"""The control plane's memory in Redis: one string per video and the offsets that they hold.

Keys of a partition, all in one slot: `s:{p}:d:<video>` string, as `documents` tells, and
`s:{p}:dmeta` hash: `<log> <topic>` -> offset, `<log> claims` -> how many were taken. By a creator's
partition `s:{p}:dclaims:<creator>` hash: video -> day, of those with a full guarantee; it ends by
itself. `s:creators:<day>` hash: creator -> public and private impressions when the day began, and
the minute of it, written last.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Literal

from streams.core.creators import DayStart
from streams.core.partitioner import partition_of
from streams.runtime.documents import CLAIM_DAYS, CLAIM_S, CLAIMS, from_stored, stored_form
from streams.runtime.namespace import claims_key, day_key, dossier_key, dossier_meta_key
from streams.runtime.ports import Claim, Document, DossierChange, Kept, Move
from streams.runtime.redis.connection import (
    Script,
    Word,
    call,
    connect,
    evaluated,
    pipelined,
    scanned,
    sorted_errors,
)

_PUT: Final = Script("dossiers.lua")
_CLAIM: Final = Script("claims.lua")
_MINUTE: Final = b"minute of the day"
"""The field that says when a day's beginning was looked at; no creator can be called so."""
_AT_ONCE: Final = 1_000
_DAY_S: Final = 5 * 86_400
"""So long days are kept."""
_FIRST: Final = ("s:dossier:", "s:dossiers:held")
"""Before the video, and the whole of, keys that 0.1.0 kept dossiers in."""


class RedisDossiers:
    """The port `Dossiers`: per partition one string per video and one hash of positions."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._client: Final = connect(url, timeout_s)

    async def read(self, partition: int, log: str, videos: Sequence[str]) -> Kept:
        """Return all positions and the documents of these videos."""
        commands: list[Sequence[Word]] = [("HGETALL", dossier_meta_key(partition))]
        if videos:
            commands.append(("MGET", *(dossier_key(partition, video) for video in videos)))
        with sorted_errors():
            held, *found = await pipelined(self._client, commands)
            prefix = _field(log, "").encode()
            positions = {
                field.removeprefix(prefix).decode(): int(offset)
                for field, offset in held.items()
                if field.startswith(prefix)
            }
        stored = zip(videos, found[0] if found else (), strict=True)
        return Kept(
            positions, {video: from_stored(raw) for video, raw in stored if raw is not None}
        )

    async def put(
        self,
        partition: int,
        log: str,
        changes: Sequence[DossierChange],
        moves: Mapping[str, Move],
    ) -> Literal["ok", "conflict", "behind"]:
        """Write documents and positions in one script, all or nothing; see the port."""
        documents = [dossier_key(partition, change.video) for change in changes]
        moved = [w for topic, move in moves.items() for w in (_field(log, topic), *move)]
        texts = [w for change in changes for w in (change.before, stored_form(change.document))]
        keys, words = [dossier_meta_key(partition), *documents], [len(moves), *moved, *texts]
        with sorted_errors():
            answer = await evaluated(self._client, _PUT, keys, words)
        return _ANSWERS[answer]

    async def hold(self, partition: int, log: str, positions: Mapping[str, int]) -> None:
        """Set positions, whatever they were."""
        fields = [w for topic, at in positions.items() for w in (_field(log, topic), at)]
        if fields:
            with sorted_errors():
                await call(self._client, "HSET", dossier_meta_key(partition), *fields)

    async def claim(self, log: str, claims: Sequence[Claim], most: int) -> Sequence[int | None]:
        """Take full guarantees of creators' days while there are any; see the port.

        One script a claim, with its text: a repeat finds the claim taken by its own video.
        """
        if not claims:
            return []
        bounds = (most, CLAIM_DAYS, CLAIM_S, _field(log, CLAIMS))
        commands = [
            ("EVAL", _CLAIM.body, 2, *_claim_keys(each), each.video, each.day, *bounds, each.known)
            for each in claims
        ]
        with sorted_errors():
            return await pipelined(self._client, commands)

    async def keep_day(self, day: int, start: DayStart) -> None:
        """Keep a day's beginning, unless there is a whole one."""
        key, totals = day_key(day), list(start.totals.items())
        with sorted_errors():
            if await call(self._client, "HEXISTS", key, _MINUTE):
                return
            for first in range(0, len(totals), _AT_ONCE):
                some = totals[first : first + _AT_ONCE]
                words = [w for creator, sums in some for w in (creator, "{} {}".format(*sums))]
                await call(self._client, "HSET", key, *words)
                await call(self._client, "EXPIRE", key, _DAY_S)
            await call(self._client, "HSET", key, _MINUTE, start.minute)
            await call(self._client, "EXPIRE", key, _DAY_S)

    async def days(self, days: Sequence[int]) -> Mapping[int, DayStart]:
        """Return the beginnings of these days, of those that are whole."""
        with sorted_errors():
            kept = [await call(self._client, "HGETALL", day_key(day)) for day in days]
        pairs = zip(days, kept, strict=True)
        return {day: _day_start(fields) for day, fields in pairs if _MINUTE in fields}

    async def scan(self) -> AsyncIterator[Mapping[str, Document]]:
        """Yield every document, as many as a step of Redis' own scan finds."""
        with sorted_errors():
            async for keys in scanned(self._client, "s:{*}:d:*"):
                found = await pipelined(self._client, [("GET", key) for key in keys])
                names = (key.rpartition(b":")[2].decode() for key in keys)
                stored = zip(names, found, strict=True)
                yield {name: from_stored(raw) for name, raw in stored if raw is not None}

    async def forget(self, partition: int) -> int:
        """Drop the positions of every log; return how many there were."""
        key = dossier_meta_key(partition)
        with sorted_errors():
            count, _ = await pipelined(self._client, [("HLEN", key), ("DEL", key)])
        return int(count)

    async def take_first(self, partitions: int) -> int:
        """Take over the documents that 0.1.0 kept, where there are none of today; return how many.

        Their positions are of 0.1.0's log and are dropped.
        """
        taken = 0
        prefix, held = _FIRST
        with sorted_errors():
            async for keys in scanned(self._client, f"{prefix}*"):
                texts = await pipelined(self._client, [("GET", key) for key in keys])
                for key, text in zip(keys, texts, strict=True):
                    video = key.decode().removeprefix(prefix)
                    home = dossier_key(partition_of(video.encode(), partitions), video)
                    stored = stored_form(Document(1, text or b""))
                    taken += bool(text and await call(self._client, "SET", home, stored, "NX"))
                    await call(self._client, "UNLINK", key)
            await call(self._client, "UNLINK", held)
        return taken

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._client.aclose()


_ANSWERS: Final[Mapping[bytes, Literal["ok", "conflict", "behind"]]] = {
    b"ok": "ok",
    b"conflict": "conflict",
    b"behind": "behind",
}


def _claim_keys(claim: Claim) -> tuple[str, str]:
    return claims_key(claim.partition, claim.creator), dossier_meta_key(claim.partition)


def _field(log: str, topic: str) -> str:
    return f"{log} {topic}"


def _day_start(fields: Mapping[bytes, bytes]) -> DayStart:
    totals = {}
    for creator, raw in fields.items():
        if creator != _MINUTE:
            public, _, private = raw.partition(b" ")
            totals[creator.decode()] = (int(public), int(private))
    return DayStart(int(fields[_MINUTE]), totals)

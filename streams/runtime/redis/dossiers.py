"""The control plane's memory in Redis: one string per video and the offsets that they hold.

Keys: `s:dossier:<video>` string, `s:dossiers:held` hash: `<log> <partition> <topic>` -> offset.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Literal

from redis import exceptions

from streams.runtime.ports import DossierChange, Kept, Move, Place
from streams.runtime.redis.connection import Script, Word, call, connect, pipelined, sorted_errors

_HELD: Final = "s:dossiers:held"
_PUT: Final = Script("dossiers.lua")
_SCAN: Final = 2_000
"""Keys that one step of a scan looks at: counters are among them."""


class RedisDossiers:
    """The port `Dossiers`: one string per video, one hash of positions."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._client: Final = connect(url, timeout_s)

    async def read(self, log: str, videos: Sequence[str]) -> Kept:
        """Return all positions and the documents of these videos."""
        commands: list[Sequence[Word]] = [("HGETALL", _HELD)]
        if videos:
            commands.append(("MGET", *map(_key, videos)))
        with sorted_errors():
            held, *found = await pipelined(self._client, commands)
            positions = dict(_position(*entry) for entry in held.items() if _of(log, entry[0]))
        stored = zip(videos, found[0] if found else (), strict=True)
        return Kept(positions, {video: text for video, text in stored if text is not None})

    async def put(
        self, log: str, changes: Sequence[DossierChange], moves: Mapping[Place, Move]
    ) -> Literal["ok", "conflict", "behind"]:
        """Write documents and positions in one script, all or nothing; see the port."""
        keys = [_HELD, *(_key(change.video) for change in changes)]
        moved = [w for place, move in moves.items() for w in (_field(log, place), *move)]
        documents = [w for change in changes for w in (change.before or b"", change.after)]
        words: list[Word] = [len(keys), *keys, len(moves), *moved, *documents]
        with sorted_errors():
            try:
                answer = await call(self._client, "EVALSHA", _PUT.sha, *words)
            except exceptions.NoScriptError:
                answer = await call(self._client, "EVAL", _PUT.body, *words)
        return _ANSWERS[answer]

    async def hold(self, log: str, positions: Mapping[Place, int]) -> None:
        """Set positions, whatever they were."""
        fields = [w for place, at in positions.items() for w in (_field(log, place), at)]
        if fields:
            with sorted_errors():
                await call(self._client, "HSET", _HELD, *fields)

    async def scan(self) -> AsyncIterator[Mapping[str, bytes]]:
        """Yield every document, as many as a step of Redis' own scan finds."""
        prefix = _key("")
        cursor: int | bytes = 0
        with sorted_errors():
            while True:
                command = ("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", _SCAN)
                cursor, keys = await call(self._client, *command)
                if keys:
                    found = await call(self._client, "MGET", *keys)
                    names = (key.decode().removeprefix(prefix) for key in keys)
                    stored = zip(names, found, strict=True)
                    yield {name: text for name, text in stored if text is not None}
                if int(cursor) == 0:
                    return

    async def forget(self) -> int:
        """Drop the positions of every log; return how many there were."""
        with sorted_errors():
            count, _ = await pipelined(self._client, [("HLEN", _HELD), ("DEL", _HELD)])
        return int(count)

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._client.aclose()


_ANSWERS: Final[Mapping[bytes, Literal["ok", "conflict", "behind"]]] = {
    b"ok": "ok",
    b"conflict": "conflict",
    b"behind": "behind",
}


def _key(video: str) -> str:
    return f"s:dossier:{video}"


def _field(log: str, place: Place) -> str:
    topic, partition = place
    return f"{log} {partition} {topic}"


def _of(log: str, field: bytes) -> bool:
    return field.startswith(log.encode() + b" ")


def _position(field: bytes, offset: bytes) -> tuple[Place, int]:
    _, partition, topic = field.decode().split(" ", 2)
    return (topic, int(partition)), int(offset)

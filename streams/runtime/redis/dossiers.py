"""The control plane's memory in Redis: one string per video, `s:dossier:<video>`."""

from typing import Final

from streams.runtime.redis.connection import call, connect, sorted_errors


class RedisDossiers:
    """The port `Dossiers`: one string per video."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._client: Final = connect(url, timeout_s)

    async def get(self, video: str) -> bytes | None:
        """Return a video's document, None if there is none."""
        with sorted_errors():
            document: bytes | None = await call(self._client, "GET", _dossier_key(video))
        return document

    async def put(self, video: str, document: bytes) -> None:
        """Keep a video's document."""
        with sorted_errors():
            await call(self._client, "SET", _dossier_key(video), document)

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._client.aclose()


def _dossier_key(video: str) -> str:
    return f"s:dossier:{video}"

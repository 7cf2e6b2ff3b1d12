"""The port `Dossiers` in memory."""

from typing import Final


class MemoryDossiers:
    """The port `Dossiers`."""

    def __init__(self) -> None:
        self._documents: Final[dict[str, bytes]] = {}

    async def get(self, video: str) -> bytes | None:
        """Return a video's document, None if there is none."""
        return self._documents.get(video)

    async def put(self, video: str, document: bytes) -> None:
        """Keep a video's document."""
        self._documents[video] = document

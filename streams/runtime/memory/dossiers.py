"""The port `Dossiers` in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Literal

from streams.runtime.ports import DossierChange, Kept, Move, Place


class MemoryDossiers:
    """The port `Dossiers`; documents and positions are open to whoever owns it."""

    def __init__(self) -> None:
        self.documents: Final[dict[str, bytes]] = {}
        self.positions: Final[dict[str, dict[Place, int]]] = {}

    async def read(self, log: str, videos: Sequence[str]) -> Kept:
        """Return all positions and the documents of these videos."""
        documents = {video: self.documents[video] for video in videos if video in self.documents}
        return Kept(dict(self.positions.get(log, {})), documents)

    async def put(
        self, log: str, changes: Sequence[DossierChange], moves: Mapping[Place, Move]
    ) -> Literal["ok", "conflict", "behind"]:
        """Write documents and positions, all or nothing; see the port."""
        positions = self.positions.setdefault(log, {})
        if any(positions.get(place, 0) < move.known for place, move in moves.items()):
            return "behind"
        stored = self.documents.get
        if any(stored(c.video) not in {c.before, c.after} for c in changes):
            return "conflict"
        self.documents.update((change.video, change.after) for change in changes)
        for place, move in moves.items():
            positions[place] = max(positions.get(place, 0), move.now)
        return "ok"

    async def hold(self, log: str, positions: Mapping[Place, int]) -> None:
        """Set positions, whatever they were."""
        self.positions.setdefault(log, {}).update(positions)

    async def scan(self) -> AsyncIterator[Mapping[str, bytes]]:
        """Yield every document, all at once."""
        yield dict(self.documents)

    async def forget(self) -> int:
        """Drop the positions of every log; return how many there were."""
        count = sum(map(len, self.positions.values()))
        self.positions.clear()
        return count

"""The port `Dossiers` in memory."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, Literal

from streams.core.creators import DayStart
from streams.runtime.documents import CLAIM_DAYS, CLAIM_S, CLAIMS
from streams.runtime.ports import Claim, Clock, Document, DossierChange, Kept, Move


@dataclass
class DossierShelf:
    """What is kept of one partition: documents by video, positions by log and topic.

    And by creator the videos with a full guarantee, each with its day, and until when that is
    kept; who had one last stands last.
    """

    documents: dict[str, Document] = field(default_factory=dict)
    positions: dict[str, dict[str, int]] = field(default_factory=dict)
    claims: dict[str, dict[str, int]] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)

    def let_end(self, now: float) -> None:
        """Drop what is kept of creators no longer."""
        for creator in list(takewhile(lambda each: self.ends[each] <= now, self.ends)):
            del self.ends[creator], self.claims[creator]


class MemoryDossiers:
    """The port `Dossiers`; its shelves are open to whoever owns it."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock: Final = clock
        self.shelves: Final[defaultdict[int, DossierShelf]] = defaultdict(DossierShelf)
        self.day_starts: Final[dict[int, DayStart]] = {}

    async def read(self, partition: int, log: str, videos: Sequence[str]) -> Kept:
        """Return all positions and the documents of these videos."""
        shelf = self.shelves[partition]
        stored = shelf.documents
        documents = {video: stored[video] for video in videos if video in stored}
        return Kept(dict(shelf.positions.get(log, {})), documents)

    async def put(
        self,
        partition: int,
        log: str,
        changes: Sequence[DossierChange],
        moves: Mapping[str, Move],
    ) -> Literal["ok", "conflict", "behind"]:
        """Write documents and positions, all or nothing; see the port."""
        shelf = self.shelves[partition]
        positions = shelf.positions.setdefault(log, {})
        if any(positions.get(topic, 0) < move.known for topic, move in moves.items()):
            return "behind"
        if not all(_fits(shelf.documents.get(change.video), change) for change in changes):
            return "conflict"
        shelf.documents.update((change.video, change.document) for change in changes)
        for topic, move in moves.items():
            positions[topic] = max(positions.get(topic, 0), move.now)
        return "ok"

    async def hold(self, partition: int, log: str, positions: Mapping[str, int]) -> None:
        """Set positions, whatever they were."""
        self.shelves[partition].positions.setdefault(log, {}).update(positions)

    async def claim(self, log: str, claims: Sequence[Claim], most: int) -> Sequence[int | None]:
        """Take full guarantees of creators' days while there are any; see the port."""
        return [self._take(log, claim, most) for claim in claims]

    def _take(self, log: str, claim: Claim, most: int) -> int | None:
        shelf, now = self.shelves[claim.partition], self._clock()
        shelf.let_end(now)
        positions = shelf.positions.setdefault(log, {})
        count, held = positions.get(CLAIMS, 0), shelf.claims.get(claim.creator, {})
        if count < claim.known:
            return -1 - count
        if claim.video in held:
            return 0
        last = max([claim.day, *held.values()])
        taken = sum(day == claim.day for day in held.values())
        if taken >= most or claim.day <= last - CLAIM_DAYS:
            return None
        kept = {video: day for video, day in held.items() if day > last - CLAIM_DAYS}
        shelf.claims[claim.creator] = kept | {claim.video: claim.day}
        shelf.ends.pop(claim.creator, None)
        shelf.ends[claim.creator] = now + CLAIM_S
        positions[CLAIMS] = count + 1
        return count + 1

    async def keep_day(self, day: int, start: DayStart) -> None:
        """Keep a day's beginning, unless there is one."""
        self.day_starts.setdefault(day, start)

    async def days(self, days: Sequence[int]) -> Mapping[int, DayStart]:
        """Return the beginnings of these days."""
        return {day: self.day_starts[day] for day in days if day in self.day_starts}

    async def scan(self) -> AsyncIterator[Mapping[str, Document]]:
        """Yield every document, a partition at a time."""
        for shelf in list(self.shelves.values()):
            yield dict(shelf.documents)

    async def forget(self, partition: int) -> int:
        """Drop the positions of every log; return how many there were."""
        positions = self.shelves[partition].positions
        count = sum(map(len, positions.values()))
        positions.clear()
        return count


def _fits(stored: Document | None, change: DossierChange) -> bool:
    """Tell whether a change was made from what is stored, or is stored already."""
    revision = 0 if stored is None else stored.revision
    return revision == change.before or stored == change.document

"""Counts a partition's log a second time, as far as it is asked to; beside that, folds it anew.

What is verified needs the recount alone. What is kept for the time when the log's beginning is
gone needs the rows too, which only the fold has: both go over the same records side by side, so
that what they agree on can be gone on from.
"""

from collections.abc import Callable, Sequence
from typing import Final

from streams.core.keys import Trust, read_trust
from streams.core.state import Meta, PartitionState
from streams.ops.recount import Recount, ResumePoint
from streams.runtime.codec import Decoded, Spelling, decode_log
from streams.runtime.folding import Rows, fold_run, prepare
from streams.runtime.ledger import Skips
from streams.runtime.opening import mark_of
from streams.runtime.ports import LogReader, Offsets, Place, Record
from streams.runtime.reading import batches_of

VIDEOS_IN_MEMORY: Final = 200_000
"""Of a fold; of those that did not change for long it keeps the stored rows alone."""


class LogFold:
    """The fold of one partition's log, its rows kept in memory."""

    def __init__(
        self, state: PartitionState, meta: Meta, rows: Rows, ledger: Skips | None = None
    ) -> None:
        self._state: Final = state
        self._rows: Final = {video: dict(fields) for video, fields in rows.items()}
        self._meta = meta
        self._ledger: Final = ledger or Skips()
        self._last: Record | None = None  # folded since it was settled
        self.changed: Final[set[str]] = set()  # videos that changed

    async def take(self, records: Sequence[Record], spelling: Spelling) -> Decoded:
        """Fold records, and return what they were decoded to."""
        decoded = await prepare(self._state, records, spelling, self)
        fold_run(self._state, decoded, 0, len(decoded.events))
        self._last = records[-1]
        if len(self._state.videos) > VIDEOS_IN_MEMORY:
            self._settle()
            self._state.evict(VIDEOS_IN_MEMORY // 2)
        return decoded

    def point(self, watermark: int, begins: int | None = None) -> ResumePoint:
        """Return all that counting goes on from behind a watermark, that of the last record."""
        rows, window = self.rows(), self._state.window.frozen()
        return ResumePoint(watermark, self._meta, rows, window, begins)

    def rows(self) -> Rows:
        """Return the rows as they would be stored by now."""
        self._settle()
        return self._rows

    async def load(self, videos: Sequence[str]) -> Rows:
        """Return the rows of videos, so far as there are any."""
        return {video: self._rows[video] for video in videos if video in self._rows}

    async def scan(self) -> Rows:
        """Return all rows."""
        return self._rows

    def _settle(self) -> None:
        """Bring the rows and the meta up to what is folded."""
        if self._last is None:
            return
        changes = self._state.take_changes()
        self._state.stored(changes.epoch)
        kept = self._ledger.kept(self._state.partition, self._last.offset)
        self._meta = changes.meta._replace(mark=mark_of(self._last), skips=kept)
        for video, fields in changes.rows.items():
            self._rows.setdefault(video, {}).update(fields)
            self.changed.add(video)
        self._last = None


class Counting:
    """A recount, and how far it has read; `fold`, where there is one, goes with it.

    `at` is the offset up to which everything is counted, `records` how many were read for that.
    """

    def __init__(self, place: Place, recount: Recount, trust: Trust, spelling: Spelling) -> None:
        self.recount: Final = recount
        self.fold: LogFold | None = None
        self.at = -1
        self.records = 0
        self._place: Final = place
        self._trust = trust
        self._spelling: Final = spelling

    @classmethod
    def resumed(
        cls, place: Place, recount: Recount, at: ResumePoint, spelling: Spelling
    ) -> "Counting":
        """Return a counting behind a point."""
        counting = cls(place, recount, read_trust(at.meta.keys), spelling)
        counting.at = at.watermark
        return counting

    async def upto(self, reader: LogReader, watermark: int, tell: Callable[[int], None]) -> None:
        """Count every event up to a watermark; `tell` hears how many records were read.

        `Retry` if the partition has lost its leader.
        """
        if watermark <= self.at:
            return
        async for batch in batches_of(reader, {self._place: Offsets(self.at + 1, watermark + 1)}):
            await self._count(batch)
            tell(self.records)
        self.at = watermark

    async def _count(self, batch: Sequence[Record]) -> None:
        if self.fold is None:
            decoded = decode_log(batch, self._trust, self._spelling)
        else:
            decoded = await self.fold.take(batch, self._spelling)
        self._trust = decoded.trust
        self.records += len(batch)
        for event, offset in zip(decoded.events, decoded.offsets, strict=True):
            self.recount.add(event, offset)

"""Adds up the reports of each video a second time, as simply as it can be said.

As the recount, of which it is a part, it shares nothing with the fold of how reports add up.
"""

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from streams.core.counters import Video
from streams.core.events import (
    Clear,
    Control,
    End,
    Impression,
    InteractionRecord,
    Policy,
    Report,
    Takedown,
)
from streams.core.units import MICROS

ADDED_UP: Final = ("sum", "impressions", "reporters", "since", "looked", "verdicts")
"""What is compared of a video's reports, in the order in which its row has it."""


@dataclass
class _Pile:
    """The reports of one video."""

    sum: int = 0
    impressions: int = 0
    marks: set[int] = field(default_factory=set)
    since: int = 0
    looked: int = 0
    verdicts: int = 0

    def numbers(self) -> dict[str, int]:
        marks = sum(2**mark for mark in self.marks)
        values = (self.sum, self.impressions, marks, self.since, self.looked, self.verdicts)
        return dict(zip(ADDED_UP, values, strict=True))


class ReportsRecount:
    """The reports of one partition's videos, and whether moderation is asked about one."""

    def __init__(self) -> None:
        self._piles: Final[defaultdict[str, _Pile]] = defaultdict(_Pile)
        self._shown: Final[Counter[str]] = Counter()
        self._seqs: Final[Counter[str]] = Counter()
        self._ended: Final[set[str]] = set()
        self._policy: Policy | None = None

    def put_in_force(self, policy: Policy) -> None:
        """Go by another policy."""
        self._policy = policy

    def numbers(self, video: str) -> dict[str, int]:
        """Return what adds up of a video, {} if nothing does."""
        return self._piles[video].numbers() if video in self._piles else {}

    @property
    def videos(self) -> Collection[str]:
        """Those of which anything adds up."""
        return self._piles.keys()

    def resume(self, video: str, own: Video, shown: int) -> None:
        """Go on from what was stored of a video that was shown so often."""
        self._seqs[video], self._shown[video] = own.seq, shown
        if own.stage in {"removed", "ended"}:
            self._ended.add(video)
        if (known := own.reported) is not None:
            marks = {bit for bit in range(53) if known.reporters & 2**bit}
            self._piles[video] = _Pile(
                *(known.sum, known.impressions, marks),
                *(known.since, known.looked, known.verdicts),
            )

    def obey(self, record: Control) -> None:
        """Take over what a person said of a video."""
        if record.seq <= self._seqs[record.video]:
            return
        self._seqs[record.video] = record.seq
        if isinstance(record, Takedown | End):
            self._ended.add(record.video)
            if record.video in self._piles:
                self._piles[record.video].since = 0
        elif isinstance(record, Clear) and self._policy is not None:
            pile = self._piles[record.video]
            if record.looked > pile.looked:
                pile.sum, pile.marks, pile.since = 0, set(), 0
                pile.looked, pile.verdicts = record.looked, pile.verdicts + 1

    def count(self, event: InteractionRecord, seen: int, *, first: bool) -> None:
        """Count an event that counts, in a slice whose viewers set the bits `seen`.

        `first` of its viewer and kind.
        """
        self._shown[event.video] += isinstance(event, Impression)
        if not (first and isinstance(event, Report)) or event.video in self._ended:
            return
        code, policy = crc32(event.viewer.encode()), self._policy
        if policy is not None and policy.report_bar and seen & 2 ** (code % 127):
            self._add(event, code % 53, policy)

    def _add(self, event: Report, mark: int, policy: Policy) -> None:
        pile, shown = self._piles[event.video], self._shown[event.video]
        left = max(pile.sum - (shown - pile.impressions) * policy.report_drain, 0)
        marks = pile.marks if left else set()
        if mark in marks and len(marks) < 50:
            return
        pile.sum, pile.impressions, pile.marks = left + MICROS, shown, {*marks, mark}
        bar = policy.report_bar * 2 ** min(pile.verdicts, 10)
        if pile.sum >= bar and not pile.since:
            pile.since = event.ts

"""The ceiling of one creator, held: what the leader's look at creators says becomes records.

What the videos' rows have is what counts, so nothing is remembered here: a handicap that a record
did not bring about is said again at the next look, and one that stands is not said twice.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from streams.control.admission.announced import control_id
from streams.control.shares.ceiling import (
    Above,
    CeilingRules,
    ceiling_of,
    handicaps,
    public_of_day,
)
from streams.control.shares.due import MINUTE_MS
from streams.core.counters import VideoState
from streams.core.creators import GONE, CreatorTotals, DayStart
from streams.core.events import Revise
from streams.core.units import MICROS
from streams.runtime.creators import stored_videos
from streams.runtime.mixes import Ceiling, Mix
from streams.runtime.ports import Store

AT_ONCE: Final = 200
"""So many videos are revised at a time."""

Revising = Callable[[Mapping[str, Revise]], Awaitable[None]]
"""Says records, one a video; they get their numbers then."""


class CreatorsSeen(NamedTuple):
    """What one look found: totals by creator, what they were when days began, and its minute."""

    minute: int  # since 1970, of the log's time
    totals: Mapping[str, CreatorTotals]
    days: Mapping[int, DayStart]


class Handicaps:
    """Writes what is to be taken off the scores of creators' videos.

    `rules` gives those of the files in force; `place` is namespace and partitions. `standing` is
    how creators stood at the last look, None before any.
    """

    def __init__(
        self,
        store: Store,
        place: tuple[str, int],
        rules: Callable[[], CeilingRules],
        revise: Revising,
    ) -> None:
        self.standing: Ceiling | None = None
        self._store: Final = store
        self._place: Final = place
        self._rules: Final = rules
        self._revise: Final = revise

    async def follow(self, seen: CreatorsSeen, term: int, mix: Mix | None) -> None:
        """Write what a look asks for, in a leader's term, under the mix that it wrote last.

        Where partitions are unmeasured, shares would be of a part of the traffic: nobody's are
        known then. `Retry` if something does not answer; some are said then, and come no more.
        """
        rules, known = self._rules(), mix is not None and not mix.unmeasured
        public = public_of_day(seen.minute, seen.days, seen.totals) if known else None
        promises = () if mix is None else mix.promises
        short = any(each.name == "ordinary" and each.short for each in promises)
        after = handicaps(rules, seen.totals, public, seen.minute, ordinary_first=short)
        ceiling = ceiling_of(rules, (public or {}).values())
        self.standing = _standing(after, seen.minute, ceiling if public else None)
        if not after:
            return
        said: dict[str, Revise] = {}
        async for videos in stored_videos(self._store, *self._place):
            for video, state in videos.items():
                above = after.get(state.row.creator)
                if above is not None and _moves(state, above):
                    said[video] = _record(video, above, ceiling, seen.minute, term)
            while said:
                some = [said.popitem() for _ in range(min(AT_ONCE, len(said)))]
                await self._revise(dict(some))

    def rest(self) -> None:
        """Forget how creators stood: another control plane leads."""
        self.standing = None


def _moves(state: VideoState, above: Above) -> bool:
    return state.row.handicap != above.handicap and state.row.stage not in GONE


def _record(video: str, above: Above, ceiling: int, minute: int, term: int) -> Revise:
    """Return the record for one video; its number is given when it is said."""
    name, note = control_id("handicap", f"{term}-{minute}"), _why(above, ceiling)
    ts = minute * MINUTE_MS
    return Revise(name, video, ts, 1, note=note, handicap=above.handicap, term=term)


def _why(above: Above, ceiling: int) -> str:
    if above.share is None:
        return "the shares of the day are not known, so what was taken goes back"
    share, most = (f"{each * 100 / MICROS:.2f} %" for each in (above.share, ceiling))
    return f"its creator has {share} of the day's public impressions, the ceiling is {most}"


def _standing(after: Mapping[str, Above], minute: int, ceiling: int | None) -> Ceiling:
    shares = [each.share for each in after.values() if each.share is not None]
    return Ceiling(
        minute,
        share=ceiling,
        above=sum(1 for share in shares if ceiling is not None and share > ceiling),
        lowered=sum(1 for each in after.values() if each.handicap),
        most=max((each.handicap for each in after.values()), default=0),
    )

"""Totals by creator: what all the videos of one came to, over every partition.

Pure, and made anew each time from what is stored: each video's row says what it came to in all, so
that looking twice counts nothing twice. No fold holds these sums: a creator's videos lie in many
partitions.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from streams.core.counters import VideoState
from streams.core.units import MICROS, surface_of

TOP: Final = 100
"""The top are one creator of so many, at least one."""
FEW: Final = 100
"""A day with fewer private impressions before it says nothing of a fall."""
ON_TIME_MINUTES: Final = 60
"""A day's beginning that was looked at later than that bounds no day."""
DAY_MINUTES: Final = 1_440
GONE: Final = frozenset(("removed", "ended"))
"""Stages of a video that nobody is shown any more."""


class CreatorTotals(Struct):
    """What the videos of a creator, or of many creators, came to."""

    band: int = 0  # of the latest admission
    admitted: int = 0  # ms, of that
    videos: int = 0
    public: int = 0  # impressions
    private: int = 0  # impressions in the feeds of those who follow
    strangers: int = 0  # impressions, wherever, of those who do not follow the creator
    watched: int = 0  # views to the end
    profiles: int = 0
    follows: int = 0
    orders: int = 0
    handicaps: int = 0  # videos that may be shown, with any handicap
    handicap: int = 0  # micro-units off the scores of their videos, as it was set last
    handicapped: int = 0  # ms, when that was

    @property
    def shown(self) -> int:
        """Impressions, wherever."""
        return self.public + self.private

    @property
    def conversion(self) -> int | None:
        """Follows of those who did not follow yet, micro-units of what they were shown."""
        return self.follows * MICROS // self.strangers if self.strangers else None

    def add(self, other: "CreatorTotals") -> None:
        """Add what others came to."""
        if other.admitted > self.admitted:
            self.band, self.admitted = other.band, other.admitted
        set_last = (self.handicapped, self.handicap), (other.handicapped, other.handicap)
        self.handicapped, self.handicap = max(set_last)
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


SUMS: Final = CreatorTotals.__struct_fields__[2:-2]
"""The fields that add up."""


class DayStart(Struct, frozen=True):
    """When a day's beginning was looked at, and the totals by creator then: public and private."""

    minute: int  # since 1970, of the log's time
    totals: Mapping[str, tuple[int, int]]


def is_on_time(day: int, start: DayStart) -> bool:
    """Tell whether a day's beginning was looked at early enough to bound it."""
    return start.minute <= day * DAY_MINUTES + ON_TIME_MINUTES


def totals_of(state: VideoState) -> CreatorTotals:
    """Return what one video came to."""
    own = state.row
    totals = CreatorTotals(own.band, own.admitted, videos=1)
    totals.handicap, totals.handicapped = own.handicap, own.handicapped
    totals.handicaps = int(own.handicap > 0 and own.stage not in GONE)
    for slice_id, row in state.slices.items():
        if surface_of(slice_id) == "following":
            totals.private += row.impressions
        else:
            totals.public += row.impressions
            totals.strangers += max(row.impressions - row.follower_impressions, 0)
        totals.watched += row.completes
        totals.profiles += row.profiles
        totals.follows += row.follows
        totals.orders += row.orders
    return totals


def add_videos(totals: dict[str, CreatorTotals], videos: Iterable[VideoState]) -> None:
    """Add what videos came to; those that nobody admitted yet have no creator."""
    for state in videos:
        if state.row.creator:
            totals.setdefault(state.row.creator, CreatorTotals()).add(totals_of(state))


def by_band(creators: Iterable[CreatorTotals]) -> dict[int, CreatorTotals]:
    """Return what creators of each band came to, where there are any."""
    bands: defaultdict[int, CreatorTotals] = defaultdict(CreatorTotals)
    for each in creators:
        bands[each.band].add(each)
        bands[each.band].band = each.band
    return dict(sorted(bands.items()))


def gini_micros(amounts: Iterable[int]) -> int | None:
    """Return how unequal amounts are, micro-units: 0 all equal, towards one whole one has all.

    None where there is nothing. Half the mean difference of two of them, over their mean.

    >>> gini_micros([5, 5, 5]), gini_micros([0, 9]), gini_micros([0])
    (0, 500000, None)
    """
    ordered = sorted(amounts)
    count, whole = len(ordered), sum(ordered)
    if not whole:
        return None
    ranked = sum((2 * at - count - 1) * amount for at, amount in enumerate(ordered, start=1))
    return ranked * MICROS // (count * whole)


def top_micros(amounts: Iterable[int]) -> int | None:
    """Return the share that the top has, micro-units; None of nothing.

    >>> top_micros([9] + [1] * 91), top_micros([0])
    (90000, None)
    """
    ordered = sorted(amounts, reverse=True)
    whole = sum(ordered)
    top = ordered[: max(len(ordered) // TOP, 1)]
    return sum(top) * MICROS // whole if whole else None


def within(day: int, days: Mapping[int, DayStart], creator: str = "") -> tuple[int, int] | None:
    """Return public and private impressions of a whole day, of one creator or of all.

    None where its beginning or its end was not looked at in time.

    >>> days = {7: DayStart(10_080, {"c1": (5, 2)}), 8: DayStart(11_520, {"c1": (9, 3)})}
    >>> within(7, days, "c1"), within(8, days)
    ((4, 1), None)
    """
    sums = []
    for each in (day, day + 1):
        start = days.get(each)
        if start is None or not is_on_time(each, start):
            return None
        sums.append(_sum([start.totals.get(creator, (0, 0))] if creator else start.totals.values()))
    (public, private), (after, fans) = sums
    return max(after - public, 0), max(fans - private, 0)


def private_lost(day: int, days: Mapping[int, DayStart], creator: str = "") -> int | None:
    """Return the share of a day's private impressions that the next day lacked, micro-units.

    Below 0 where it had more, None where it is not known or there were few. Of one creator or of
    all; `day` is the one that lacks them.
    """
    before, after = within(day - 1, days, creator), within(day, days, creator)
    if before is None or after is None or before[1] < FEW:
        return None
    return (before[1] - after[1]) * MICROS // before[1]


def _sum(pairs: Iterable[Sequence[int]]) -> tuple[int, int]:
    public = private = 0
    for pair in pairs:
        public += pair[0]
        private += pair[1]
    return public, private

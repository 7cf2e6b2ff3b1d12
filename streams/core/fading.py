"""How the evidence of a live room fades: what was seen there halves every five minutes.

A room is not what it was an hour ago. So of the counters that weigh (`FADING`) a part weighs no
more, which only grows: `faded` of a row, in parts of 1 / `PARTS`. The counters themselves stay
exact, and what is granted follows them. Every `HALF_LIFE_TICKS` minutes of the partition's clock
(`core.ticks`: made of the times of its events) half of what still weighs joins that part, in all
slices of the room at once, when the next event of the room is folded. A row of a video has none of
it.

What still weighs is spelled as a row (`evidence_of`), for whoever weighs it. Views are rounded
once, when they are asked for, and the rest in their proportion: so a mean does not wander while
small counts halve. What the allowance did not cover fades never: it counts as shown just now.
"""

from operator import attrgetter
from typing import Any, Final

from streams.core.counters import FADING, Slice

HALF_LIFE_TICKS: Final = 5
"""Minutes after which what was seen of a live room weighs half as much."""
PARTS: Final = 64
"""Parts of one view that are told apart: what halving rounds away is less than that."""
_counts: Final = attrgetter(*FADING)
_SHOWN: Final = FADING.index("impressions")
_VIEWS: Final = FADING.index("views")


def fade(row: Slice, times: int) -> None:
    """Halve what weighs of a row so many times.

    >>> row = Slice(impressions=12, views=10, likes=3)
    >>> fade(row, 1)
    >>> row.views, views_left(row), evidence_of(row).likes
    (10, 5, 2)
    """
    gone = row.faded or [0] * len(FADING)
    row.faded = [
        PARTS * count - (max(PARTS * count - off, 0) >> times)
        for count, off in zip(_counts(row), gone, strict=True)
    ]
    row.weighed = None


def views_left(row: Slice) -> int:
    """Return how many views of a row still weigh, before anything is clipped."""
    if row.faded is None:
        return row.views
    return (PARTS * row.views - row.faded[_VIEWS] + PARTS // 2) // PARTS


def evidence_of(row: Slice) -> Slice:
    """Return what still weighs of a row, as a row; of a video that is all."""
    gone = row.faded
    if gone is None:
        return row
    views = views_left(row)
    parts = PARTS * row.views - gone[_VIEWS]
    kept = [0] * len(FADING)
    if views:
        left = [PARTS * count - off for count, off in zip(_counts(row), gone, strict=True)]
        kept = [(2 * max(each, 0) * views + parts) // (2 * parts) for each in left]
    values: dict[str, Any] = dict(zip(FADING, kept, strict=True))
    return Slice(
        **values,
        allowance=max(row.allowance - gone[_SHOWN] // PARTS, 0),
        young=min(row.young + row.maturing, views),
        viewers=row.viewers,
        likers=row.likers,
        pressers=row.pressers,
    )

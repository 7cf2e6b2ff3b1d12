"""How many different viewers stand behind a row, and what its evidence weighs by that.

Linear counting (Whang, Vander-Zanden & Taylor 1990, A linear-time probabilistic counting algorithm
for database applications): each viewer sets one of `VIEWER_BITS` bits by a hash of the id. Bits
that are set never exceed the viewers who set them, whoever chose the ids; how many viewers there
were about follows from the bits that are not. The same viewer sets the same bit for ever: waiting
for the window of duplicates to pass gains nothing.

Fakes are clipped on totals, when a row is weighed and never when an event comes: views overtake
their impressions.
"""

# ruff: noqa: FURB136, PLR1730 - comparisons take a third of the time of `min`, and rows are many

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from streams.core.boundary import ln
from streams.core.counters import Slice
from streams.core.events import Weights
from streams.core.units import MICROS, NEVER

VIEWER_BITS: Final = 127
BUTTON_BITS: Final = 53
"""Primes: the bits of a CRC alone are linear in those of the id, and ids that only count up share
far too many of them (20 bits of 30 viewers); its remainder spreads them as chance would."""
EVERYONE: Final = (1 << VIEWER_BITS) - 1
"""All bits are set: too many viewers to be counted, so nothing is clipped."""
ALL_PRESSED: Final = (1 << BUTTON_BITS) - 1
"""So many viewers pressed something that nobody counts them."""
BUTTONS: Final = {
    "complete": "completes",
    "like": "likes",
    "comment": "commenters",
    "share": "sharers",
    "follow": "follows",
    "hide": "hides",
    "report": "reporters",
    "order": "buyers",
}
"""Weights of what viewers do beside watching, in the order of `Weights`, and the counters that
weigh."""
assert tuple(BUTTONS) == Weights.__struct_fields__[1:]
MARKS: Final = tuple(1 << place for place in range(VIEWER_BITS))
_FULL_FROM: Final = 16
"""With fewer than one bit in so many left, a count says nothing any more."""


def _estimates(bits: int) -> Sequence[int]:
    """Return about how many viewers set so many of `bits` bits, by how many are set."""
    countable = bits - bits // _FULL_FROM
    return [
        bits * ln(bits * MICROS // (bits - each)) // MICROS if each < countable else NEVER
        for each in range(bits + 1)
    ]


_VIEWERS: Final = _estimates(VIEWER_BITS)
_PRESSED: Final = [each + each // 2 for each in _estimates(BUTTON_BITS)]
"""Half as much again: so few bits tell less."""


def show(row: Slice, viewer: str) -> None:
    """Note who was shown the video; the fold does the same in its loop."""
    row.viewers |= MARKS[crc32(viewer.encode()) % VIEWER_BITS]


def press(row: Slice, viewer: str, *, like: bool) -> None:
    """Note who presses a button, if the viewer was shown the video, as far as the bits tell."""
    code = crc32(viewer.encode())
    if not row.viewers & MARKS[code % VIEWER_BITS]:
        return
    mark = MARKS[code % BUTTON_BITS]
    if like:
        row.likers |= mark
    else:
        row.pressers |= mark


def viewers_of(row: Slice) -> int:
    """Return about how many different viewers were shown the video, `NEVER` if very many.

    >>> viewers_of(Slice(viewers=0b1011)), viewers_of(Slice(viewers=EVERYONE)) == NEVER
    (3, True)
    """
    return _VIEWERS[row.viewers.bit_count()]


def weighing_views(row: Slice) -> int:
    """Return how many of a row's views weigh.

    As many as there are impressions for, within the allowance and a twentieth, and of viewers who
    differ. Beyond that a view does not only weigh nothing: nobody knows which ones are false, so
    each that must be takes five others with it, and a flood leaves nothing that could be judged.
    """
    count, backing = row.views, row.impressions
    viewers = _VIEWERS[row.viewers.bit_count()]
    if viewers < backing:
        backing = viewers
    if count > backing:
        count = _backed(count, backing)
    granted = row.allowance + row.allowance // 20  # `granted_views`
    return granted if granted < count else count


def granted_views(row: Slice) -> int:
    """Return how many views the allowance lets weigh: a twentieth more, for feeds that lag."""
    return row.allowance + row.allowance // 20


def weighing_buttons(row: Slice, annoyed_share: int) -> tuple[int, ...]:
    """Return how often each button weighs, in the order of `BUTTONS`; those left out do not.

    Of each kind at most one a view, and about one a viewer who presses any; hides and reports also
    not beyond a share of the views (micro-units): they weigh most, and honest ones are seldom.
    """
    views, likes = row.views, row.likes
    cap = _PRESSED[row.likers.bit_count()]
    if cap > views:
        cap = views
    if likes > cap:
        likes = cap
    if not row.pressers:
        return row.completes, likes
    others = _PRESSED[row.pressers.bit_count()]
    annoyed = views * annoyed_share // MICROS
    if others > views:
        others = views
    if annoyed > others:
        annoyed = others
    comments, shares, follows = row.commenters, row.sharers, row.follows
    hides, reports, orders = row.hides, row.reporters, row.buyers
    return (
        row.completes,
        likes,
        comments if comments <= others else others,
        shares if shares <= others else others,
        follows if follows <= others else others,
        hides if hides <= annoyed else annoyed,
        reports if reports <= annoyed else annoyed,
        orders if orders <= others else others,
    )


def _backed(count: int, backing: int) -> int:
    """Return what so many weigh if only about `backing` of them can be real."""
    backing += backing // 6 + 1
    weighing = 6 * backing - 5 * count
    if weighing > count:
        return count
    return weighing if weighing > 0 else 0

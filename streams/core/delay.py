"""Buttons come later than the view that they belong to: which views are too young to have theirs.

A row counts its views of the current and the previous bucket of delay (`event time // delay_ms` of
the slice), so an event costs a comparison. Time is that of the row's own views and buttons: what a
row says depends on the row alone.
"""

# ruff: noqa: FURB136 - a comparison takes a third of the time of `max`, and rows are many

from typing import Final

from streams.core.counters import Slice
from streams.core.events import SlicePolicy
from streams.core.units import NEVER

LATE_PRESSES: Final = 3
LATE_SHARE: Final = 20
"""Buttons since the latest judgement that are a reason for another one: more than three, and than a
twentieth of the views; then twice as many, and four times."""
LATE_JUDGEMENTS: Final = 3
"""So often in a row without a view or impression that asks for a judgement."""
_UNKNOWN_MS: Final = 3_600_000


def turn(row: Slice, ts: int, spec: SlicePolicy | None) -> None:
    """Begin the bucket that `ts` lies in, at or behind the end of the row's current one."""
    length = (spec.delay_ms if spec is not None else 0) or _UNKNOWN_MS
    start = ts // length * length
    row.maturing = row.young if start == row.turn_ms else 0
    row.young = 0
    row.turn_ms = start + length


def with_young(row: Slice, spec: SlicePolicy, buttons: int) -> int:
    """Return what a row's buttons are worth with those that are still to come.

    Of the views that are too young `button_mean` each, unless what came is worth more already.
    """
    young, views = row.young + row.maturing, row.views
    if not young or not spec.delay_ms:
        return buttons
    expected = buttons * (views - young) // views + young * spec.button_mean
    return expected if expected > buttons else buttons


def is_late(row: Slice) -> bool:
    """Note a button, and tell whether so many came since the latest judgement as to ask again."""
    row.presses += 1
    return row.presses > LATE_PRESSES and row.presses >= late_from(row)


def late_from(row: Slice) -> int:
    """Return the buttons since the latest judgement that ask for another one; more views raise it.

    >>> [late_from(Slice(views=200, late_judgements=before)) for before in (0, 1, 2)]
    [11, 22, 44]
    >>> late_from(Slice(late_judgements=LATE_JUDGEMENTS)) == NEVER
    True
    """
    if row.late_judgements >= LATE_JUDGEMENTS:
        return NEVER
    return (max(LATE_PRESSES, row.views // LATE_SHARE) + 1) << row.late_judgements

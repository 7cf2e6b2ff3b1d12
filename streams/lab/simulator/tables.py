"""A comparison as tables that people read, and as rows for JSON."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from streams.lab.simulator.comparing import Interval, Summary
from streams.lab.simulator.curves import CurvePoint

COLUMNS: Final = {
    "value_share": "value %",
    "regret_ratio": "regret/ladder",
    "good_tried": "good tried %",
    "wasted": "wasted %",
    "idle_slots": "idle %",
    "false_stops": "false stops %",
    "good_stopped": "good stopped %",
    "bad_stop_impressions": "bad stopped at",
    "decisions": "decisions",
    "gini": "gini",
}
"""Measures that fit a terminal, with their heads; the others are in the JSON."""


def tables(summaries: Sequence[Summary]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Yield the name and the rows of a table for each world and regime."""
    for (world, regime), own in groupby(summaries, key=lambda each: (each.world, each.regime)):
        yield f"{world}, {regime}", [_row(summary) for summary in own]


def as_fields(summary: Summary) -> dict[str, Any]:
    """Return a summary's fields for JSON; what could not be measured is null."""
    known = {
        field: [None if math.isnan(number) else round(number, 6) for number in around]
        for field, around in summary.intervals.items()
    }
    named = {"world": summary.world, "regime": summary.regime, "contender": summary.contender}
    return named | {
        field: {"mean": mean, "half_width_95": half} for field, (mean, half) in known.items()
    }


def point_fields(point: CurvePoint) -> dict[str, Any]:
    """Return a point of a curve with its shares in percent; half widths are of 95 % intervals."""
    return {
        "world": point.world,
        "regime": point.regime,
        "number": point.number,
        "value": point.value,
        "shipped": point.shipped,
        **percent("value_share", point.value_share),
        **percent("false_stops", point.false_stops),
    }


def percent(name: str, around: Interval) -> dict[str, float | None]:
    """Return mean and half width of a share in percent; None where there is none."""
    numbers = {f"{name}_%": around.mean, f"{name}_half_%": around.half}
    return {
        key: None if math.isnan(number) else round(100 * number, 2)
        for key, number in numbers.items()
    }


def _row(summary: Summary) -> dict[str, str]:
    row = {"contender": summary.contender}
    for field, head in COLUMNS.items():
        mean, half = summary.intervals[field]
        row[head] = _spell(mean, half, percent=head.endswith("%"))
    return row


def _spell(mean: float, half: float, *, percent: bool) -> str:
    """Return a mean and its half width as people read them.

    >>> _spell(0.5864, 0.0123, percent=True), _spell(math.nan, math.nan, percent=False)
    ('58.6 ±1.2', '-')
    """
    if math.isnan(mean):
        return "-"
    if percent:
        mean, half = 100 * mean, 100 * half
    places = 0 if abs(mean) >= 1000 else 1 if percent or abs(mean) >= 10 else 2
    around = "" if math.isnan(half) else f" ±{half:,.{places}f}"
    return f"{mean:,.{places}f}{around}"

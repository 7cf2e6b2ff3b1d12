"""The rows of `lag watch`: one a group and partition for each look, the worst first."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from streams.ops.lag import Lag
from streams.ops.lag_collector import LagCollector, LagReport
from streams.ops.lag_history import sparkline
from streams.ops.lag_status import STATUSES

_FEWEST_BARS: Final = 8


def watched_rows(
    collector: LagCollector, report: LagReport, now_ms: int, span_ms: int
) -> list[dict[str, Any]]:  # what goes to JSON
    """Return a look's rows with the time and the lag of the last while as bars."""
    time = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="seconds")
    return [
        {
            "time": time,
            **row.as_row(),
            "history": sparkline(collector.points(row), now_ms, span_ms),
        }
        for row in sorted(report.rows, key=worst_first)
    ]


def as_text(row: Mapping[str, Any], width: int = sys.maxsize) -> str:
    """Return one of these rows as a line; if it is too long, without its oldest bars.

    >>> as_text({"time": "2026-11-27T07:00:00+00:00", "status": "OK", "group": "g", "topic": "t",
    ...          "partition": 3, "lag": 30, "lag_seconds": 1.5, "change_per_second": -2.0,
    ...          "catchup_seconds": 15.0, "reason": None, "history": "▁█"})
    '07:00:00 OK      g t[3]: 30 behind, 1.5 s, -2.0/s, done in 15 s ▁█'
    >>> as_text({"time": "2026-11-27T07:00:00+00:00", "status": "OK", "group": "g", "topic": "t",
    ...          "partition": 3, "lag": 0, "lag_seconds": 0.0, "change_per_second": None,
    ...          "catchup_seconds": None, "reason": None, "history": "▁" * 20 + "█"}, 50)
    '07:00:00 OK      g t[3]: 0 behind, 0.0 s ▁▁▁▁▁▁▁▁█'
    """
    parts = [
        "no leader answers" if row["lag"] is None else f"{row['lag']} behind",
        _number(row["lag_seconds"], ".1f", " s"),
        _number(row["change_per_second"], "+.1f", "/s"),
        _number(row["catchup_seconds"] or None, ".0f", " s", "done in "),
        row["reason"],
    ]
    place = f"{row['group']} {row['topic']}[{row['partition']}]"
    shown = ", ".join(part for part in parts if part)
    line = f"{row['time'][11:19]} {row['status']:7} {place}: {shown}"
    bars = max(_FEWEST_BARS, width - len(line) - 1)
    return f"{line} {row['history'][-bars:]}"


def _number(value: float | None, form: str, unit: str, before: str = "") -> str:
    return "" if value is None else f"{before}{value:{form}}{unit}"


def worst_first(row: Lag) -> tuple[Any, ...]:
    """Return what orders rows: by status, then by lag."""
    return STATUSES.index(row.status), -(row.lag or 0), row.group, row.place

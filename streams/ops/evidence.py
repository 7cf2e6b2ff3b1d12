"""What is known of a video in each crowd: between which bounds its worth lies, beside the price."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from streams.core.receipts import Receipt

WITHIN_PERCENT: Final = 196
"""Of 100 worths 95 lie within so many hundredths of a standard deviation."""


def evidence(counted: Mapping[str, Any], receipts: Sequence[Receipt]) -> list[dict[str, Any]]:
    """Return a row for each crowd: the open ones by score, then those that ended, by receipt.

    `counted` is what `video show` tells of the video; `low` and `high` are the bounds of 95 % of
    the posterior, micro-units a view like mean, score and price.
    """
    judged = {receipt.slice: receipt for receipt in receipts if receipt.slice}
    rows = [_open_row(crowd, judged.get(crowd["slice"])) for crowd in counted["open"]]
    shown = {row["slice"] for row in rows}
    ended = [one for name, one in judged.items() if name not in shown and one.sums]
    rows += [_ended_row(one) for one in sorted(ended, key=lambda one: -one.score)]
    slices = counted["slices"]
    return [{**row, "views": slices.get(row["slice"], {}).get("views", 0)} for row in rows]


def _open_row(crowd: Mapping[str, Any], last: Receipt | None) -> dict[str, Any]:
    fields = ("slice", "score", "price", "impressions", "allowance", "left", "owed")
    return {
        **{name: crowd[name] for name in fields},
        **_bounds(crowd["mean"], crowd["sd"]),
        "action": "open" if last is None else last.action,
    }


def _ended_row(last: Receipt) -> dict[str, Any]:
    fields = ("slice", "score", "price", "impressions", "allowance", "action")
    row = {name: getattr(last, name) for name in fields}
    return {**row, **_bounds(last.mean, last.sd), "left": 0, "owed": 0}


def _bounds(mean: int, sd: int) -> dict[str, int]:
    away = sd * WITHIN_PERCENT // 100
    return {"mean": mean, "low": mean - away, "high": mean + away}

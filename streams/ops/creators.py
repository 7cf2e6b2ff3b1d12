"""Creators as operators see them: what their videos came to, the funnel, how unequal it all is."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from streams.core.creators import (
    DAY_MINUTES,
    CreatorTotals,
    DayStart,
    by_band,
    gini_micros,
    private_lost,
    top_micros,
)
from streams.ops.explain import decimal
from streams.ops.shares_text import percent
from streams.runtime.creators import creator_totals
from streams.runtime.ports import Dossiers, Store

FELL: Final = 500_000
"""A creator whose fans were shown so much less than the day before is marked (micro-units)."""
_FUNNEL: Final = ("shown", "watched", "profiles", "follows", "orders")
_RATIOS: Final = ("conversion", "private_lost", "gini", "top_share")


class CreatorsReport(NamedTuple):
    """All creators, the largest public audience first; bands; and what is said of all of them.

    Shares are micro-units. `private_lost` is what yesterday lacked of the private impressions of
    the day before, None where that is not known.
    """

    creators: Sequence[Mapping[str, Any]]
    bands: Sequence[Mapping[str, Any]]
    known: int  # creators
    gini: int | None  # of the public impressions
    top_share: int | None
    private_lost: int | None
    fallen: Sequence[str]  # creators whose fans were shown less than half of the day before
    lowered: int  # creators whose videos are ranked less on public surfaces


async def report_creators(
    store: Store, dossiers: Dossiers, place: tuple[str, int], now_ms: int, limit: int
) -> CreatorsReport:
    """Sum the stored rows of all videos by creator; `place` is namespace and partitions."""
    totals = await creator_totals(store, *place)
    yesterday = now_ms // 60_000 // DAY_MINUTES - 1
    days = await dossiers.days(range(yesterday - 1, yesterday + 2))
    return as_report(totals, yesterday, days, limit)


def as_report(
    totals: Mapping[str, CreatorTotals], yesterday: int, days: Mapping[int, DayStart], limit: int
) -> CreatorsReport:
    """Return what is to be told of creators, at most `limit` of them by name."""
    public = [each.public for each in totals.values()]
    lost = {creator: private_lost(yesterday, days, creator) for creator in totals}
    largest = sorted(totals, key=lambda creator: (-totals[creator].public, creator))
    return CreatorsReport(
        [_own_row(creator, totals[creator], lost[creator]) for creator in largest[:limit]],
        [_row({}, each) for each in by_band(totals.values()).values()],
        len(totals),
        gini_micros(public),
        top_micros(public),
        private_lost(yesterday, days),
        [creator for creator in largest if (lost[creator] or 0) > FELL],
        sum(1 for each in totals.values() if each.handicaps),
    )


def as_object(report: CreatorsReport) -> dict[str, Any]:
    """Return a report for JSON."""
    return report._asdict()


def at_the_end(report: CreatorsReport) -> dict[str, Any]:
    """Return what is said of all creators, for people."""
    lost = report.private_lost
    change = "not known yet" if lost is None else f"{-lost / 10_000:+.1f} %"
    return {
        "creators": f"{report.known:,}",
        "Gini of public impressions": percent(report.gini),
        "share of the top 1 %": percent(report.top_share),
        "private, yesterday against the day before": change,
        "ranked less for the ceiling": f"{report.lowered:,}",
        "fell by more than half": ", ".join(report.fallen) or "none",
    }


def for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as people read it."""
    shown = {name: f"{n:,}" if isinstance(n, int) else n for name, n in row.items()}
    if "handicap" in row:
        shown["handicap"] = decimal(row["handicap"])
    return shown | {name: percent(row[name]) for name in _RATIOS if name in row}


def _own_row(creator: str, totals: CreatorTotals, lost: int | None) -> dict[str, Any]:
    handicap = totals.handicap if totals.handicaps else 0
    return _row({"creator": creator}, totals, private_lost=lost, handicap=handicap)


def _row(named: Mapping[str, str], totals: CreatorTotals, **more: int | None) -> dict[str, Any]:
    funnel = {name: getattr(totals, name) for name in _FUNNEL}
    counts = {"videos": totals.videos, "public": totals.public, "private": totals.private}
    own = {**named, "band": totals.band, **counts, **funnel}
    return {**own, "conversion": totals.conversion, **more}

"""The shares in words: the mix that feeds go by, and each promise on one line."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from streams.core.units import MICROS
from streams.ops.explain import decimal, moment
from streams.ops.shares import MINUTE_MS, SharesReport
from streams.runtime.mixes import Ceiling, remains

CAUSES: Final[Mapping[str, str]] = {
    "supply": "its class has too little to show",
    "bound": "the tilt is at its bound",
    "surfaces": "viewers choose the surface: it is not the feed's to move",
    "unmeasured": "too little of the traffic is known",
    "yields": "what comes before it is short itself",
}
_PERCENT: Final = ("bound", "minute", "window", "day", "trend", "cost", "share")
_VALUES: Final = ("tilt", "slow")


def percent(share: int | None) -> str | None:
    """Return a share as people read it.

    >>> percent(712_345), percent(None)
    ('71.2 %', None)
    """
    return None if share is None else f"{share * 100 / MICROS:.1f} %"


def for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a promise or a class as people read it."""
    shown = dict(row)
    for name in row.keys() & set(_PERCENT):
        shown[name] = percent(row[name])
    for name in row.keys() & set(_VALUES):
        shown[name] = None if row[name] is None else decimal(row[name])
    if "short" in row:
        shown["short"] = CAUSES.get(row["short"])
    return shown


def mix_facts(report: SharesReport) -> Iterator[tuple[str, str]]:
    """Yield what is to be known of the mix in force, by name."""
    mix = report.mix
    yield (
        "minute",
        moment(report.minute * MINUTE_MS)[:16] if report.minute else "none is closed yet",
    )
    if mix is None or report.age_ms is None:
        yield "mix", f"none: {report.why}"
    else:
        of = moment(mix.seq * MINUTE_MS)[:16]
        age = f"{report.age_ms / 1_000:,.0f} s old"
        yield "mix", f"of {of}, {age}, term {mix.term} by {mix.by}{_fading(report.age_ms)}"
        yield "private slots", f"{mix.private_slots} of 10, where feeds show surfaces apart"
        most = max(mix.due.values(), default=0)
        yield (
            "newcomers",
            f"{percent(most)} of the slots at most"
            + (f"; too few in {', '.join(mix.short)}" if mix.short else ""),
        )
        yield "ceiling", _ceiling(mix.ceiling)
    yield "by no mix", percent(report.unsteered) or "nothing was shown"
    if report.unmeasured:
        yield "unmeasured", f"partitions {', '.join(map(str, report.unmeasured))}"


def _fading(age_ms: int) -> str:
    """Return what is left of a mix that no other one follows.

    >>> _fading(60_000), _fading(3_780_000)
    ('', ': no other one follows, 75.0 % of its tilts are left')
    """
    left = remains(age_ms)
    return (
        "" if left == MICROS else f": no other one follows, {percent(left)} of its tilts are left"
    )


def _ceiling(ceiling: Ceiling | None) -> str:
    """Return how creators stand to the ceiling of one.

    >>> _ceiling(Ceiling(28_333_380, 5_000, above=2, lowered=3, most=20_000))
    '0.5 % for one creator: 2 above, 3 ranked less, by 0.02 at most; looked at 2023-11-14T23:00'
    """
    if ceiling is None:
        return "creators are not looked at yet"
    share = "the shares of the day are not known"
    if ceiling.share is not None:
        share = f"{percent(ceiling.share)} for one creator: {ceiling.above:,} above"
    most = f", by {decimal(ceiling.most)} at most" if ceiling.lowered else ""
    at = moment(ceiling.minute * MINUTE_MS)[:16]
    return f"{share}, {ceiling.lowered:,} ranked less{most}; looked at {at}"


def promise_line(row: Mapping[str, Any]) -> str:
    """Return one promise on a line.

    >>> stands = {"owed": 1_200, "tilt": 9_000, "short": "bound"}
    >>> promise_line({"promise": "ordinary", "bound": 700_000, "window": 684_000, **stands})
    'ordinary 68.4 % of 70.0 %, owed 1,200, tilt 0.009: the tilt is at its bound'
    """
    share = percent(row["window"]) or "nothing"
    if row["bound"] is None:
        return f"{row['promise']} {share}"
    why = f": {CAUSES[row['short']]}" if row["short"] else ""
    stands = f"owed {row['owed']:,}, tilt {decimal(row['tilt'])}{why}"
    return f"{row['promise']} {share} of {percent(row['bound'])}, {stands}"

"""The ceiling of one creator: who has more of a day's public impressions, and what follows. Pure.

Who is above it is ranked less on public surfaces, a step an hour at most; who is well below again
gets that back as slowly. Without counts of a day nobody is ranked less than before, and who is gets
it back too: a handicap stands on evidence. The floor of ordinary people comes first: while that is
short of anything, their handicaps go back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import Struct

from streams.control.figures import micros, ratio_micros
from streams.control.shares.due import MINUTE_MS
from streams.core.creators import DAY_MINUTES, CreatorTotals, DayStart, is_on_time
from streams.core.fields import BANDS, HANDICAP_MOST
from streams.core.units import MICROS
from streams.errors import Misconfigured

STEP: Final = 10_000
"""A handicap moves by so much value at a time (micro-units): feeds are told of no less."""
STEP_MINUTES: Final = 60
BACK: Final = 900_000
"""It goes back below so much of the ceiling (millionths), and stays in between."""
YOUNG_MINUTES: Final = 360
"""A day that is younger is looked at together with the one before."""
FEW: Final = 10_000
"""Fewer public impressions say nothing of anybody's share."""
CREATORS_LEAST: Final = 100
"""Where fewer have any public impressions of a day, a large share of one is no wonder."""
TIMES_MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class CeilingRules:
    """What one creator may have of a day's public impressions (micro-units); 1: however much.

    It is never below so many `times` (micro-units) what each would have if all had the same, and
    however much where there are few. `handicap` is the most that is ever taken off a score.
    """

    share: int
    times: int
    handicap: int


class CeilingTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[ceiling]` of `policy.toml`."""

    share: Decimal = Decimal("0.005")
    times: Decimal = Decimal("1.5")
    handicap: Decimal = Decimal("0.1")


class Above(NamedTuple):
    """What is known of one creator: their share of the day (None: not known), and what follows."""

    share: int | None  # micro-units
    handicap: int


def ceiling_rules(table: CeilingTable, where: str) -> CeilingRules:
    """Return the rules of a file; `Misconfigured` where they could hold nothing, or too much."""
    share = ratio_micros(table.share, f"{where}.share")
    handicap = micros(table.handicap, f"{where}.handicap")
    if not share:
        raise Misconfigured(f"{where}.share: 0 leaves nothing to anybody: use 1 for no ceiling")
    if not 0 <= handicap <= HANDICAP_MOST:
        raise Misconfigured(f"{where}.handicap: {table.handicap} is out of range: use 0 to 0.1")
    if not (table.times.is_finite() and 1 <= table.times <= TIMES_MOST):
        raise Misconfigured(f"{where}.times: {table.times} is out of range: use 1 to {TIMES_MOST}")
    return CeilingRules(share, micros(table.times, f"{where}.times"), handicap)


def public_of_day(
    minute: int, days: Mapping[int, DayStart], totals: Mapping[str, CreatorTotals]
) -> dict[str, int] | None:
    """Return each creator's public impressions since the day began, or in its first hours the last.

    None where that day's beginning was not looked at in time, or there were few.
    """
    day = minute // DAY_MINUTES - (minute % DAY_MINUTES < YOUNG_MINUTES)
    start = days.get(day)
    if start is None or not is_on_time(day, start):
        return None
    before = start.totals
    public = {
        creator: max(each.public - before.get(creator, (0, 0))[0], 0)
        for creator, each in totals.items()
    }
    return public if sum(public.values()) >= FEW else None


def ceiling_of(rules: CeilingRules, public: Iterable[int]) -> int:
    """Return the share that one creator may have, of those who had any of so many impressions.

    >>> rules = CeilingRules(5_000, 1_500_000, 100_000)
    >>> [ceiling_of(rules, [7] * creators) for creators in (40, 200, 100_000)]
    [1000000, 7500, 5000]
    """
    active = sum(1 for count in public if count)
    return MICROS if active < CREATORS_LEAST else max(rules.share, rules.times // active)


def handicaps(
    rules: CeilingRules,
    totals: Mapping[str, CreatorTotals],
    public: Mapping[str, int] | None,
    minute: int,
    *,
    ordinary_first: bool,
) -> dict[str, Above]:
    """Return what is to be off the scores of those who are above, or of whom something is.

    `public` is what each had of the day. `ordinary_first`: the floor of ordinary people is short.
    """
    counts = public or {}
    whole, ceiling = sum(counts.values()), ceiling_of(rules, counts.values())
    after = {}
    for creator, each in totals.items():
        share = counts.get(creator, 0) * MICROS // whole if whole else None
        is_above = share is not None and share > ceiling
        if not (is_above or each.handicaps):
            continue
        yields = ordinary_first and each.band < BANDS - 1
        step = 0 if each.handicapped + STEP_MINUTES * MINUTE_MS > minute * MINUTE_MS else STEP
        if is_above and not yields:
            wanted = each.handicap + step
        elif share is None or yields or share * MICROS < ceiling * BACK:
            wanted = each.handicap - step
        else:
            wanted = each.handicap
        after[creator] = Above(share, min(max(wanted, 0), rules.handicap))
    return after

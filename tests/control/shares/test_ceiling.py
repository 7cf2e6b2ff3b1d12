"""Who is above the ceiling of one creator, and how a handicap moves: the pure law."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from streams.control.shares.ceiling import (
    CREATORS_LEAST,
    FEW,
    STEP,
    STEP_MINUTES,
    YOUNG_MINUTES,
    CeilingRules,
    CeilingTable,
    ceiling_of,
    ceiling_rules,
    handicaps,
    public_of_day,
)
from streams.core.creators import DAY_MINUTES, ON_TIME_MINUTES, CreatorTotals, DayStart
from streams.core.fields import HANDICAP_MOST
from streams.errors import Misconfigured

RULES = ceiling_rules(CeilingTable(), "ceiling")
DAY = 20_000
NOON = DAY * DAY_MINUTES + DAY_MINUTES // 2
MANY = {f"c{number}": 100 for number in range(1_000)}
LARGE = MANY | {"large": 5_000}  # 4.8 % of the day


def after(
    public: Mapping[str, int] | None, minute: int = NOON, *, first: bool = False, **large: Any
) -> Any:
    """Return what follows for the creator called large, None where nothing does."""
    totals = {name: CreatorTotals(band=1) for name in public or {}}
    totals["large"] = CreatorTotals(**({"band": 5} | large))
    return handicaps(RULES, totals, public, minute, ordinary_first=first).get("large")


def standing(handicap: int, hours_ago: int = 2, **more: Any) -> dict[str, Any]:
    """Return what a creator has whose handicap was set so long before noon."""
    ms = (NOON - 60 * hours_ago) * 60_000
    return {"handicap": handicap, "handicapped": ms, "handicaps": 1} | more


# ---------------------------------------------------------------- the ceiling


def test_it_is_half_a_percent_where_creators_are_many() -> None:
    assert ceiling_of(RULES, [3] * 5_000) == 5_000


def test_where_they_are_fewer_it_is_one_and_a_half_times_what_each_would_have() -> None:
    assert ceiling_of(RULES, [3] * 200) == 7_500


def test_where_they_are_few_there_is_none() -> None:
    few = [3] * (CREATORS_LEAST - 1)
    assert ceiling_of(RULES, few) == 1_000_000
    assert ceiling_of(RULES, [*few, 3]) == 15_000


def test_who_was_shown_to_nobody_is_not_counted() -> None:
    assert ceiling_of(RULES, [3] * 40 + [0] * 1_000_000) == 1_000_000


def test_on_a_platform_of_forty_nobody_is_above_it() -> None:
    demo = {f"c{number}": 1_000 * (number + 1) for number in range(39)} | {"large": 400_000}
    assert after(demo) is None


def test_a_ceiling_of_one_is_none() -> None:
    rules = CeilingRules(1_000_000, 2_000_000, 100_000)
    totals = {name: CreatorTotals() for name in LARGE}
    assert handicaps(rules, totals, LARGE, NOON, ordinary_first=False) == {}


# ---------------------------------------------------------------- the day


def seen(minute: int, starts: Mapping[int, int], now: int = 2 * FEW) -> dict[str, int] | None:
    """Return a day's impressions of a creator who has `now`, and had `starts` as days began."""
    days = {
        day: DayStart(day * DAY_MINUTES + 1, {"c1": (before, 0)}) for day, before in starts.items()
    }
    return public_of_day(minute, days, {"c1": CreatorTotals(public=now)})


def test_impressions_are_those_since_the_day_began() -> None:
    assert seen(NOON, {DAY - 1: 0, DAY: 5_000}) == {"c1": 2 * FEW - 5_000}


def test_a_young_day_is_looked_at_with_the_one_before() -> None:
    starts = {DAY - 1: 1_000, DAY: 5_000}
    young = DAY * DAY_MINUTES + YOUNG_MINUTES
    assert seen(young - 1, starts) == {"c1": 2 * FEW - 1_000}
    assert seen(young, starts) == {"c1": 2 * FEW - 5_000}


def test_a_day_whose_beginning_nobody_saw_in_time_says_nothing() -> None:
    totals = {"c1": CreatorTotals(public=2 * FEW)}
    for late, known in ((ON_TIME_MINUTES, True), (ON_TIME_MINUTES + 1, False)):
        start = DayStart(DAY * DAY_MINUTES + late, {})
        assert (public_of_day(NOON, {DAY: start}, totals) is not None) == known
    assert seen(NOON, {DAY - 1: 0}) is None
    assert seen(NOON, {}) is None


def test_few_impressions_say_nothing() -> None:
    assert seen(NOON, {DAY: 1}, now=FEW) is None
    assert seen(NOON, {DAY: 0}, now=FEW) is not None


def test_what_went_out_of_the_rows_is_not_counted_below_nothing() -> None:
    days = {DAY: DayStart(DAY * DAY_MINUTES, {"c1": (9, 0), "c2": (0, 0)})}
    totals = {"c1": CreatorTotals(public=4), "c2": CreatorTotals(public=FEW)}
    assert public_of_day(NOON, days, totals) == {"c1": 0, "c2": FEW}


# ---------------------------------------------------------------- steps


def test_who_is_above_goes_down_a_step() -> None:
    assert after(LARGE).handicap == STEP
    assert after(LARGE).share == 5_000 * 1_000_000 // 105_000
    assert after(LARGE, **standing(30_000)).handicap == 30_000 + STEP


def test_a_step_is_taken_once_an_hour_whoever_leads() -> None:
    assert STEP_MINUTES == 60
    for minute, handicap in ((NOON, 40_000), (NOON - 1, 30_000), (NOON + 1, 40_000)):
        assert after(LARGE, minute, **standing(30_000, hours_ago=1)).handicap == handicap
    assert after(MANY, NOON - 1, **standing(30_000, hours_ago=1)).handicap == 30_000


def test_it_never_passes_what_the_file_allows() -> None:
    assert after(LARGE, **standing(RULES.handicap)).handicap == RULES.handicap == HANDICAP_MOST
    assert after(LARGE, **standing(RULES.handicap + 5)).handicap == RULES.handicap


def test_who_is_below_again_gets_it_back_by_steps() -> None:
    assert after(MANY | {"large": 100}, **standing(30_000)).handicap == 20_000
    assert after(MANY, **standing(5_000)).handicap == 0
    assert after(MANY, **standing(0, handicaps=0)) is None


def test_just_below_the_ceiling_it_stays() -> None:
    others = {f"c{number}": 1_000 for number in range(1_000)}
    for large, handicap in ((4_600, 30_000), (4_400, 20_000), (5_100, 40_000)):
        public = others | {"large": large}
        assert after(public, **standing(30_000)).handicap == handicap


def test_without_a_day_nobody_goes_down_and_who_was_comes_back() -> None:
    assert after(None) is None
    assert after(None, **standing(30_000)) == (None, 20_000)


def test_ordinary_people_come_first_while_their_floor_is_short() -> None:
    ordinary = standing(30_000, band=4)
    assert after(LARGE, first=True, **ordinary).handicap == 20_000
    assert after(LARGE, first=True, band=4).handicap == 0
    assert after(LARGE, first=False, **ordinary).handicap == 40_000
    assert after(LARGE, first=True, **standing(30_000, band=5)).handicap == 40_000


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"share": 0}, "share"),
        ({"share": 1.5}, "share"),
        ({"times": 0.5}, "times"),
        ({"times": 1001}, "times"),
        ({"handicap": 0.11}, "handicap"),
        ({"handicap": -0.01}, "handicap"),
        ({"share": 0.0050001}, "share"),
    ],
)
def test_numbers_that_hold_nothing_or_too_much_are_refused(
    table: dict[str, float], key: str
) -> None:
    given = CeilingTable(**{name: Decimal(str(value)) for name, value in table.items()})
    with pytest.raises(Misconfigured, match=f"ceiling.{key}: "):
        ceiling_rules(given, "ceiling")

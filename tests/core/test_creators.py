"""Totals by creator: sums of what videos came to, and how unequal they are."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import FANS, FIXED, FOOTBALL, MUSIC, NOW, admit, impression, view
from kit.folding import folded

from streams.core.counters import VideoState, read_video
from streams.core.creators import (
    DAY_MINUTES,
    FEW,
    ON_TIME_MINUTES,
    CreatorTotals,
    DayStart,
    add_videos,
    by_band,
    gini_micros,
    private_lost,
    top_micros,
    totals_of,
    within,
)
from streams.core.events import Follow, LogRecord, Order, Profile
from streams.core.units import MICROS

DAY = NOW // 60_000 // DAY_MINUTES


def shown(count: int, slice_id: str, video: str = "v1", **more: bool) -> list[LogRecord]:
    names = [f"{video}-{slice_id[:3]}{len(more)}-{n}" for n in range(count)]
    return [impression(name, video=video, slice_id=slice_id, **more) for name in names]


def videos(*events: LogRecord) -> dict[str, VideoState]:
    return folded([FIXED, *events]).state.videos


def summed(*events: LogRecord) -> dict[str, CreatorTotals]:
    totals: dict[str, CreatorTotals] = {}
    add_videos(totals, videos(*events).values())
    return totals


def test_a_videos_impressions_are_public_or_private_and_to_followers_or_not() -> None:
    events = [admit(band=2), *shown(5, FOOTBALL), *shown(2, MUSIC, follower=True), *shown(3, FANS)]
    totals = totals_of(videos(*events)["v1"])
    assert (totals.videos, totals.band) == (1, 2)
    assert (totals.public, totals.private, totals.shown) == (7, 3, 10)
    assert totals.strangers == 5


def test_the_funnel_goes_from_shown_to_ordered() -> None:
    buttons = [
        Profile("p1", "v1", "u1", FOOTBALL, NOW),
        Profile("p2", "v1", "u2", FOOTBALL, NOW),
        Follow("f1", "v1", "u1", FOOTBALL, NOW),
        Order("o1", "v1", "u1", FOOTBALL, NOW),
    ]
    ends = [view(f"w{n}", viewer=f"u{n}", watch_ms=ms) for n, ms in enumerate((9_900, 10))]
    totals = totals_of(videos(admit(), *shown(4, FOOTBALL), *ends, *buttons)["v1"])
    counts = (totals.shown, totals.watched, totals.profiles, totals.follows, totals.orders)
    assert counts == (4, 1, 2, 1, 1)
    assert totals.conversion == MICROS // 4
    assert CreatorTotals().conversion is None


def test_a_creators_videos_add_up_and_the_latest_admission_has_the_band() -> None:
    early = admit(video="v1", band=1)
    late = admit("a2", video="v2", band=4)
    totals = CreatorTotals(1, 10, 1, 5, 2)
    totals.add(CreatorTotals(4, 20, 1, 1, 1))
    totals.add(CreatorTotals(0, 15, 1, 0, 0))
    assert (totals.band, totals.videos, totals.public, totals.private) == (4, 3, 6, 3)
    both = summed(early, late, *shown(3, FOOTBALL), *shown(4, FOOTBALL, "v2"))
    assert [(name, each.videos, each.public) for name, each in both.items()] == [("c1", 2, 7)]


def test_what_nobody_admitted_has_no_creator() -> None:
    assert summed(*shown(3, FOOTBALL)) == {}


def test_what_is_stored_sums_to_the_same_as_what_is_in_memory() -> None:
    whole = folded([FIXED, admit(), *shown(30, FOOTBALL), *shown(4, FANS)]).flush()
    totals: dict[str, CreatorTotals] = {}
    add_videos(totals, [read_video(fields) for fields in whole.rows.values()])
    assert totals == summed(admit(), *shown(30, FOOTBALL), *shown(4, FANS))
    assert (totals["c1"].public, totals["c1"].private) == (30, 4)


def test_bands_sum_their_creators() -> None:
    some = [CreatorTotals(3, 1, 1, 5), CreatorTotals(0, 9, 2, 7), CreatorTotals(3, 2, 1, 1)]
    bands = by_band(some).items()
    assert [(band, each.band, each.public) for band, each in bands] == [(0, 0, 7), (3, 3, 6)]


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=20))
def test_the_gini_is_half_the_mean_difference_over_the_mean(amounts: list[int]) -> None:
    known = gini_micros(amounts)
    if not sum(amounts):
        assert known is None
        return
    count = len(amounts)
    differences = sum(abs(one - other) for one in amounts for other in amounts)
    exact = Fraction(differences, 2 * count * sum(amounts))
    assert known == int(exact * MICROS)


def test_the_top_is_one_in_a_hundred_and_one_at_least() -> None:
    assert top_micros([100] * 2 + [1] * 198) == 200 * MICROS // 398
    assert top_micros([3, 1]) == 750_000


def start(day: int, late: int = 0, **totals: tuple[int, int]) -> DayStart:
    return DayStart(day * DAY_MINUTES + late, totals)


def test_a_days_impressions_lie_between_its_beginning_and_the_next() -> None:
    days = {DAY: start(DAY, c1=(5, 2), c2=(1, 1)), DAY + 1: start(DAY + 1, c1=(9, 3), c3=(2, 0))}
    assert within(DAY, days, "c1") == (4, 1)
    assert within(DAY, days, "c3") == (2, 0)
    assert within(DAY, days) == (5, 0)
    assert within(DAY + 1, days) is None


@pytest.mark.parametrize("late", [ON_TIME_MINUTES, ON_TIME_MINUTES + 1])
def test_a_beginning_that_was_looked_at_late_bounds_no_day(late: int) -> None:
    days = {DAY: start(DAY, c1=(5, 2)), DAY + 1: start(DAY + 1, late, c1=(9, 3))}
    assert (within(DAY, days) is None) == (late > ON_TIME_MINUTES)


def test_private_impressions_are_compared_from_day_to_day() -> None:
    days = {
        DAY: start(DAY, c1=(0, 0)),
        DAY + 1: start(DAY + 1, c1=(0, 4 * FEW), c2=(0, FEW - 1)),
        DAY + 2: start(DAY + 2, c1=(0, 5 * FEW), c2=(0, FEW - 1)),
    }
    assert private_lost(DAY + 1, days, "c1") == 750_000
    assert private_lost(DAY + 1, days, "c2") is None  # too few to fall
    assert private_lost(DAY + 1, days) == (4 * FEW - 1) * MICROS // (5 * FEW - 1)
    assert private_lost(DAY + 2, days, "c1") is None


def test_a_creator_is_ranked_less_by_what_was_set_last() -> None:
    totals = CreatorTotals()
    for handicap, set_ms in ((20_000, 7), (10_000, 9), (0, 0), (30_000, 8)):
        totals.add(CreatorTotals(handicaps=handicap > 0, handicap=handicap, handicapped=set_ms))
    assert (totals.handicap, totals.handicapped, totals.handicaps) == (10_000, 9, 3)


def test_a_video_that_nobody_is_shown_any_more_has_no_handicap_to_take_back() -> None:
    for stage, count in (("public", 1), ("limited", 1), ("removed", 0), ("ended", 0)):
        state = VideoState()
        state.row.handicap, state.row.stage = 10_000, stage  # type: ignore[assignment]
        assert totals_of(state).handicaps == count

"""Evidence halves in proportion, whatever is counted meanwhile; counters stay exact."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kit.events import FIXED, FOOTBALL, policy
from msgspec.structs import astuple

from streams.core.counters import COUNTERS, FADING, Slice
from streams.core.fading import PARTS, evidence_of, fade, views_left
from streams.core.posterior import weigh, weighed

views = st.integers(0, 1_000_000)


@st.composite
def rows(draw: st.DrawFn) -> Slice:
    """A row whose views have watched something and press now and then."""
    seen = draw(views)
    row = Slice(impressions=seen + draw(st.integers(0, 50)), views=seen)
    row.ratio_sum = draw(st.integers(0, seen * 1_000_000))
    row.ratio_sq = row.ratio_sum * 3 // 4
    row.completes, row.likes = draw(st.integers(0, seen)), draw(st.integers(0, seen))
    row.follows, row.commenters = draw(st.integers(0, seen)), draw(st.integers(0, seen))
    return row


def counters(row: Slice) -> tuple[int, ...]:
    return tuple(getattr(row, name) for name in COUNTERS)


def test_all_that_was_seen_of_a_video_weighs() -> None:
    row = Slice(impressions=9, views=7, likes=2)
    assert evidence_of(row) is row
    assert views_left(row) == 7


@given(rows(), st.integers(0, 20))
def test_fading_leaves_the_counters_exact(row: Slice, times: int) -> None:
    before = counters(row)
    fade(row, times)
    assert counters(row) == before


@given(rows(), st.integers(0, 9), st.integers(0, 9))
def test_halving_at_once_is_halving_one_after_the_other(row: Slice, one: int, other: int) -> None:
    apart = replace(row)
    fade(row, one + other)
    fade(apart, one)
    fade(apart, other)
    assert row.faded == apart.faded


@given(rows(), st.integers(1, 12))
def test_what_weighs_halves(row: Slice, times: int) -> None:
    fade(row, times)
    assert abs(views_left(row) - row.views / 2**times) <= 0.5 + 1 / PARTS


@given(rows(), st.integers(1, 12))
def test_a_mean_does_not_wander_while_its_views_halve(row: Slice, times: int) -> None:
    fade(row, times)
    seen = evidence_of(row)
    assume(seen.views >= 8)
    for name in ("ratio_sum", "likes", "follows", "commenters"):
        mean, kept = getattr(row, name) / row.views, getattr(seen, name) / seen.views
        rounding = 0.5 / seen.views
        assert abs(kept - mean) <= mean / 100 + rounding + 2 / PARTS / seen.views


@given(rows(), rows(), st.integers(1, 5))
def test_what_comes_after_weighs_whole(row: Slice, more: Slice, times: int) -> None:
    fade(row, times)
    left = views_left(row)
    row.views += more.views
    assert views_left(row) == left + more.views


def test_of_nothing_left_nothing_is_said() -> None:
    row = Slice(impressions=20, views=20, ratio_sum=20_000_000, likes=9, viewers=1, allowance=20)
    fade(row, 30)
    assert evidence_of(row).views == 0
    spec = FIXED.slices[FOOTBALL]
    known = weighed(FIXED, FOOTBALL, row, {})
    assert (known.views, known.value, known.weight, known.pull) == (0, 0, 0, 0)
    assert (known.noise, known.scale) == (spec.noise_variance, spec.noise_variance)


def test_what_is_taken_back_of_what_faded_never_leaves_less_than_nothing() -> None:
    row = Slice(views=64, likes=4)
    fade(row, 1)
    row.likes = 0
    assert evidence_of(row).likes == 0
    fade(row, 1)
    row.likes = 6
    assert evidence_of(row).likes == 6


def test_a_faded_row_is_weighed_as_one_of_half_as_many() -> None:
    whole = Slice(
        *(200, 100, 0, 40, 20),
        ratio_sum=60_000_000,
        ratio_sq=45_000_000,
        allowance=200,
        viewers=(1 << 127) - 1,
        likers=(1 << 53) - 1,
    )
    half = replace(whole, impressions=100, views=50, completes=20, likes=10, allowance=100)
    half.ratio_sum, half.ratio_sq = 30_000_000, 22_500_000
    fade(whole, 1)
    alike = policy(noise_views=1)
    assert astuple(weigh(alike, alike.slices[FOOTBALL], evidence_of(whole), 0)) == astuple(
        weigh(alike, alike.slices[FOOTBALL], half, 0)
    )


def test_what_no_allowance_covered_counts_as_shown_just_now() -> None:
    row = Slice(impressions=1_300, views=1_300, allowance=1_000)
    fade(row, 2)
    seen = evidence_of(row)
    assert (seen.impressions, seen.allowance) == (325, 25)


def test_what_was_not_shown_yet_of_an_allowance_does_not_fade() -> None:
    row = Slice(impressions=400, views=400, allowance=1_000)
    fade(row, 2)
    assert evidence_of(row).allowance == 100 + 600


def test_views_are_young_as_far_as_they_weigh() -> None:
    row = Slice(views=100, young=30, maturing=30)
    fade(row, 1)
    assert evidence_of(row).young == 50


@pytest.mark.parametrize("name", FADING)
def test_all_that_fades_weighs_or_backs_what_weighs(name: str) -> None:
    row = Slice(**{name: 64, "views": 64})
    fade(row, 1)
    assert getattr(evidence_of(row), name) == 32

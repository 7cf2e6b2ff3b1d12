"""The truth behind the crowd: rates within what was measured, tastes that carry over."""

from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.events import SlicePolicy
from streams.core.rule import DEFAULT_WEIGHTS
from streams.core.units import MICROS
from streams.lab.taste import Fortune, appeal_for, draw_appeals, rates_at, worth

HOME, NEAR, FAR = "discover:cooking", "discover:food", "discover:gaming"


def spec(**neighbours: int) -> SlicePolicy:
    return SlicePolicy(
        reach=1_000_000,
        prior_mean=380_000,
        prior_variance=20_000,
        noise_variance=100_000,
        price=350_000,
        neighbours={f"discover:{name}": weight for name, weight in neighbours.items()},
    )


SLICES = {HOME: spec(food=800_000), NEAR: spec(), FAR: spec(), "following:fans": spec()}


@given(st.floats(0, 1))
def test_rates_are_probabilities_within_the_measured_spans(appeal: float) -> None:
    rates = rates_at(appeal)
    assert all(0 <= rate <= 1 for rate in rates)
    assert 0.02 <= rates.complete <= 0.31
    assert 0.005 <= rates.like <= 0.22
    assert rates.order == 0
    assert rates.watched > rates.complete


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_appeal_is_worth_more(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert worth(rates_at(low), DEFAULT_WEIGHTS) <= worth(rates_at(high), DEFAULT_WEIGHTS)


@given(st.floats(70_000, 600_000))
def test_the_appeal_for_a_value_is_worth_that_value(value: float) -> None:
    assert worth(rates_at(appeal_for(value, DEFAULT_WEIGHTS)), DEFAULT_WEIGHTS) == pytest.approx(
        value, abs=10
    )


def mean_value(fortune: Fortune, slice_id: str) -> float:
    drawn = (
        draw_appeals(Random(seed), HOME, fortune, SLICES, DEFAULT_WEIGHTS) for seed in range(200)
    )
    return fmean(worth(rates_at(appeals[slice_id]), DEFAULT_WEIGHTS) for appeals in drawn)


def test_a_loved_video_is_loved_by_its_neighbours_too() -> None:
    assert mean_value("loved", HOME) > mean_value("loved", NEAR) > mean_value("loved", FAR)
    assert mean_value("loved", FAR) == pytest.approx(380_000, abs=0.02 * MICROS)


def test_a_misplaced_video_is_better_off_elsewhere() -> None:
    assert mean_value("misplaced", HOME) < 200_000
    assert mean_value("misplaced", FAR) > 380_000


def test_a_dull_video_is_dull_to_everyone() -> None:
    assert all(mean_value("dull", slice_id) < 300_000 for slice_id in SLICES)

"""Viewers: one draws what the rates say."""

from random import Random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import WEIGHTS

from streams.lab.viewers import (
    ANNOYED,
    PLEASED,
    Style,
    appeal_for,
    draw_buttons,
    draw_watch,
    rates_at,
    rates_in,
    worth,
)

APPEALS = st.floats(0, 1).map(lambda appeal: round(appeal, 9))
"""To the thousand-millionth: the square of a smaller one is lost in a float."""


@given(APPEALS, st.booleans())
def test_rates_are_probabilities_within_the_published_spans(
    appeal: float, commercial: bool
) -> None:
    rates = rates_at(appeal, commercial=commercial)
    assert all(0 <= rate <= 1 for rate in rates)
    assert 0.03 - 1e-9 <= rates.skip <= 0.85 + 1e-9
    assert 0.01 - 1e-9 <= rates.complete <= 0.69 + 1e-9
    assert 0.003 - 1e-9 <= rates.like <= 0.30 + 1e-9
    assert rates.skip + rates.complete < 1
    assert bool(rates.order) == (commercial and appeal > 0)


@given(APPEALS, APPEALS)
def test_more_appeal_is_worth_more(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert worth(rates_at(low), WEIGHTS) <= worth(rates_at(high), WEIGHTS)


@given(st.floats(60_000, 700_000))
def test_the_appeal_for_a_value_is_worth_that_value(value: float) -> None:
    assert worth(rates_at(appeal_for(value, WEIGHTS)), WEIGHTS) == pytest.approx(value, abs=10)


@pytest.mark.parametrize("appeal", [0.1, 0.5, 0.64, 0.95])
def test_one_viewer_after_the_other_does_what_the_rates_say(appeal: float) -> None:
    chance, rates = Random(1), rates_at(appeal, commercial=True)
    watched = [draw_watch(chance, rates) for _ in range(20_000)]
    assert fmean(share for share, _ in watched) == pytest.approx(rates.watched, abs=0.01)
    assert fmean(share == 1 for share, _ in watched) == pytest.approx(rates.complete, abs=0.015)
    assert all(share < 0.95 or share == 1 for share, _ in watched)
    pressed = [draw_buttons(chance, rates, skipped=skipped) for _, skipped in watched]
    for name in (*PLEASED, *ANNOYED):
        rate = fmean(name in each for each in pressed)
        assert rate == pytest.approx(getattr(rates, name), abs=0.01), name


def test_who_skips_is_never_pleased() -> None:
    chance, rates = Random(1), rates_at(0.9, commercial=True)
    for _ in range(2_000):
        assert set(draw_buttons(chance, rates, skipped=True)) <= set(ANNOYED)


def test_rates_of_many_are_those_of_each() -> None:
    appeals = np.linspace(0, 1, 7)
    plain = Style(*(np.ones(7) for _ in range(3)))
    many = rates_in(appeals, plain, np.zeros(7))
    for place, appeal in enumerate(appeals.tolist()):
        assert [rate[place] for rate in many] == pytest.approx(list(rates_at(appeal)))

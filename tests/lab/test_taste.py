"""The truth behind the crowd: rates within what was measured, tastes that carry over."""

from random import Random
from statistics import fmean

import pytest
from kit.events import WEIGHTS, policy, slice_policy

from streams.core.units import MICROS
from streams.lab.taste import Fortune, draw_appeals
from streams.lab.viewers import rates_at, worth

HOME, NEAR, FAR = "discover:cooking", "discover:food", "discover:gaming"
SLICES = {name: slice_policy(prior_mean=380_000) for name in (HOME, NEAR, FAR, "following:fans")}
POLICY = policy(slices=SLICES)
ALIKE = {(HOME, NEAR): 0.8, (NEAR, HOME): 0.8}


def mean_value(fortune: Fortune, slice_id: str) -> float:
    drawn = (draw_appeals(Random(seed), HOME, fortune, POLICY, ALIKE) for seed in range(200))
    return fmean(worth(rates_at(appeals[slice_id]), WEIGHTS) for appeals in drawn)


def test_a_loved_video_is_loved_by_its_neighbours_too() -> None:
    assert mean_value("loved", HOME) > mean_value("loved", NEAR) > mean_value("loved", FAR)
    assert mean_value("loved", FAR) == pytest.approx(380_000, abs=0.02 * MICROS)


def test_a_misplaced_video_is_better_off_elsewhere() -> None:
    assert mean_value("misplaced", HOME) < 200_000
    assert mean_value("misplaced", FAR) > 380_000


def test_a_dull_video_is_dull_to_everyone() -> None:
    assert all(mean_value("dull", slice_id) < 300_000 for slice_id in SLICES)

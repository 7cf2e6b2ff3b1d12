"""A minute's slots go to the best offers under the tilts, and traffic tells their scores."""

import numpy as np
import pytest

from streams.control.shares.gain import estimate_gain
from streams.core.shares import Bar
from streams.core.traffic import GAPS, ClassSums
from streams.core.units import MICROS
from streams.lab.shares.market import (
    CLASSES,
    FAMOUS,
    FANS,
    ORDINARY,
    PUBLIC,
    FilledSlots,
    Market,
)
from streams.lab.shares.worlds import ROOMS_LAST, STEP_AT, ShareWorld

SLOTS = 100_000
LEVEL = np.zeros(len(CLASSES))
RAISED = np.array([0, 0.01, 0, 0, 0])
FLOOR = Bar("ordinary", 700_000)


def filled(
    world: ShareWorld, tilts: np.ndarray = LEVEL, leans: np.ndarray = LEVEL, slots: int = SLOTS
) -> FilledSlots:
    market = Market(world, np.random.default_rng(1))
    market.next_minute(1)
    return market.fill(slots, tilts, leans)


def ordinary(minute: FilledSlots) -> float:
    public = {name: count for name, count in minute.impressions.items() if name[0] == PUBLIC}
    return minute.impressions[PUBLIC, ORDINARY] / sum(public.values())


def test_all_slots_are_filled_while_offers_beat_the_price() -> None:
    assert sum(filled(ShareWorld("even")).impressions.values()) == pytest.approx(SLOTS, rel=0.01)
    many = filled(ShareWorld("even"), slots=10 * SLOTS)
    assert sum(many.impressions.values()) < 5 * SLOTS


def test_a_tilt_brings_a_class_more_and_costs_value() -> None:
    level, raised = (filled(ShareWorld("even"), tilts) for tilts in (LEVEL, 5 * RAISED))
    assert ordinary(raised) > ordinary(level) + 0.05
    assert raised.worth < level.worth
    assert filled(ShareWorld("even"), LEVEL, 5 * RAISED).impressions == raised.impressions


def test_surfaces_compete_where_feeds_blend_them_and_not_as_tabs() -> None:
    fans = [
        [filled(ShareWorld("x", feeds=feeds), tilts).impressions[FANS, ORDINARY]
         for tilts in (LEVEL, 5 * RAISED)]
        for feeds in ("blend", "tabs")
    ]  # fmt: skip
    assert fans[0][1] < fans[0][0]
    assert fans[1] == pytest.approx([SLOTS // 5] * 2, rel=0.01)


@pytest.mark.parametrize("share", [0.4, 0.55, 0.7])
def test_the_scores_tell_what_a_tilt_moves_within_a_half(share: float) -> None:
    world = ShareWorld("x", ordinary=share)
    level = filled(world)
    true = (ordinary(filled(world, RAISED)) - ordinary(level)) / RAISED[1]
    sums = {
        name: ClassSums(*name, impressions=count, gaps=level.gaps[name])
        for name, count in level.impressions.items()
    }
    assert {len(gaps) for gaps in level.gaps.values()} == {GAPS}
    estimate = estimate_gain(FLOOR, sums)
    assert estimate is not None
    assert estimate / MICROS == pytest.approx(true, rel=0.5)


def test_live_rooms_of_famous_people_push_others_out_for_an_hour() -> None:
    world = ShareWorld("x", rooms=0.6)
    market = Market(world, np.random.default_rng(1))
    shown = {}
    for minute in (STEP_AT - 1, STEP_AT, STEP_AT + ROOMS_LAST):
        market.next_minute(minute)
        shown[minute] = market.fill(SLOTS, LEVEL, LEVEL)
    before, during, after = shown.values()
    for name in ((PUBLIC, FAMOUS), (FANS, ORDINARY)):
        assert during.impressions[name] > 1.2 * before.impressions[name]
        assert after.impressions[name] == pytest.approx(before.impressions[name], rel=0.1)
    assert ordinary(during) < ordinary(before) - 0.05

"""Measures of runs whose outcome is known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.lab.simulator.contenders import Oracle, StoppedPair
from streams.lab.simulator.lanes import TrafficPools
from streams.lab.simulator.loop import Course, run
from streams.lab.simulator.measures import CLEARLY, Measures, cuts, gini, measure
from streams.lab.simulator.serving import KnowingServers
from streams.lab.simulator.world import World

BuildWorld = Callable[..., World]
Courses = tuple[World, Course, Course]


@pytest.fixture(scope="module")
def courses(a_world: BuildWorld) -> Courses:
    """A world, and what the oracle and the ladder make of it."""
    world = a_world()
    oracle = run(world, Oracle(world, KnowingServers(), 1), 1)
    ladder = run(world, TrafficPools(world, KnowingServers()), 1)
    return world, oracle, ladder


def measured(courses: Courses, **changes: object) -> Measures:
    world, oracle, ladder = courses
    return measure(world, replace(oracle, **changes), oracle, ladder)  # type: ignore[arg-type]


def test_the_oracle_has_all_of_its_value_and_no_regret(courses: Courses) -> None:
    measures = measured(courses)
    assert measures.value_share == 1
    assert measures.regret_ratio == measures.wasted == measures.overdrawn == 0


def test_the_ladder_has_its_own_regret(courses: Courses) -> None:
    world, oracle, ladder = courses
    assert measure(world, ladder, oracle, ladder).regret_ratio == 1


def test_value_of_followers_is_nobodys_choice(courses: Courses) -> None:
    value = courses[1].value.copy()
    value[~courses[0].public] += 1e6
    assert measured(courses, value=value).value_share == 1


def test_half_the_value_is_half_the_share(courses: Courses) -> None:
    assert measured(courses, value=courses[1].value / 2).value_share == pytest.approx(0.5)


def test_a_stop_above_the_price_is_false_and_one_below_has_its_impressions(
    courses: Courses,
) -> None:
    world = courses[0]
    gains = (world.means[0] - world.prices[:, None]).ravel()
    good, bad = int(gains.argmax()), int(np.where(world.reachable.ravel(), gains, 1).argmin())
    stops = (StoppedPair(good, 5, 400), StoppedPair(bad, 5, 70), StoppedPair(bad, 6, 90))
    measures = measured(courses, stops=stops)
    assert measures.false_stops == pytest.approx(1 / 3)
    assert measures.bad_stop_impressions == 80


def test_clearly_good_pairs_that_stand_stopped_are_counted(courses: Courses) -> None:
    world, oracle, _ = courses
    clearly = world.means[0] >= (cuts(world, oracle) + CLEARLY)[:, None]
    clearly &= world.reachable & world.public[:, None]
    assert clearly.any()
    stop = (StoppedPair(0, 0, 1),)
    assert measured(courses, stopped=clearly, stops=stop).good_stopped == 1
    assert measured(courses, stopped=~clearly, stops=stop).good_stopped == 0


def test_the_cut_is_the_worst_that_the_oracle_shows_where_slots_are_full(
    courses: Courses,
) -> None:
    world, oracle, _ = courses
    least = cuts(world, oracle)
    assert (least >= world.prices).all()
    full = oracle.last.sum(axis=1) >= np.maximum(world.slots_at(world.ticks - 1), 1)
    for place in np.flatnonzero(full):
        shown = world.means[0][place][oracle.last[place] > 0]
        assert least[place] == pytest.approx(shown.min())


def test_who_is_shown_nothing_has_zero_exposure(courses: Courses) -> None:
    nothing = np.zeros_like(courses[1].shown)
    measures = measured(courses, shown=nothing)
    assert measures.zero_exposure == 1
    assert measures.idle_slots == 1
    assert measures.good_tried == 0


def test_bands_share_all_impressions(courses: Courses) -> None:
    assert sum(measured(courses)[-5:]) == pytest.approx(1)


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=30))
def test_the_gini_is_half_the_mean_difference_over_the_mean(amounts: list[int]) -> None:
    many = np.array(amounts)
    apart = np.abs(many[:, None] - many).mean()
    expected = apart / (2 * many.mean()) if many.sum() else 0
    assert gini(many) == pytest.approx(expected)

"""The goals of the ceiling are measured as they are worded."""

from pathlib import Path

import pytest

from streams.lab.shares import creators
from streams.lab.shares.creators import CeilingCourse, cost, play_creators, verdicts
from streams.lab.simulator.admission import Platform, load_platform


@pytest.fixture(scope="module")
def platform() -> Platform:
    return load_platform(Path("config"))


def test_it_costs_the_value_that_is_given_up() -> None:
    assert cost(CeilingCourse(0.4, 95.0, 0.6, 100.0)) == pytest.approx(5)


def test_the_same_seed_is_played_with_and_without(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creators, "REGIME", "scarce")
    few = play_creators(platform, 1, size=0.005)
    assert few.gini == few.free_gini
    assert few.value == few.free_value


def test_a_goal_is_missed_by_the_worst_seed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = {1: CeilingCourse(0.49, 98, 0.6, 100), 2: CeilingCourse(0.52, 97, 0.61, 100)}
    monkeypatch.setattr(creators, "play_creators", lambda _, seed, _size: played[seed])
    told = {each.goal: each for each in verdicts(platform, range(1, 3))}
    assert (told["Gini of creators"].worst, told["Gini of creators"].passed) == (0.52, False)
    assert told["cost of their ceiling"].worst == pytest.approx(3)

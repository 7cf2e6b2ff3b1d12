"""Goals are measured as they are worded, and a picture is drawn of what was measured."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from kit.control import RULES

from streams.core.shares import Bar
from streams.lab.shares import goals
from streams.lab.shares.course import Minute, SharesCourse
from streams.lab.shares.drawing import draw_courses
from streams.lab.shares.market import FAMOUS, FANS, ORDINARY, PUBLIC
from streams.lab.shares.worlds import DAY, SHARE_WORLDS, STEP_AT
from streams.runtime.mixes import Promise

OF = 1_000
BINDS = Promise("ordinary", 700_000, owed=5, short="bound")
HELD = Promise("ordinary", 700_000)


def course(world: str, shares: Sequence[float], stands: Promise = HELD) -> SharesCourse:
    """Return a course in which ordinary people had these shares, minute by minute."""
    others = {"private": Promise("private", 300_000), "commercial": Promise("commercial", 150_000)}
    minutes = []
    for share in shares:
        own = round(OF * share)
        counts = {(FANS, ORDINARY): OF, (PUBLIC, ORDINARY): own, (PUBLIC, FAMOUS): OF - own}
        promises = {**others, "ordinary": stands}
        minutes.append(Minute(counts, promises, 98.0, counts, 100.0, 10, is_tilted=False))  # type: ignore[arg-type]
    return SharesCourse(SHARE_WORLDS[world], 1, RULES.policy.shares, minutes, due=1_000, missed=1)


def test_a_day_is_held_by_the_promise_that_is_nearest_to_be_missed() -> None:
    assert goals.day_margin(course("even", [0.72] * DAY)) == pytest.approx(2.0)
    assert goals.day_margin(course("even", [0.6] * DAY)) == pytest.approx(-10.0)


def test_windows_may_be_a_point_off() -> None:
    shares = [0.2] * goals.WARM + [0.695] * 100 + [0.6] * 100
    assert goals.windows_held(course("even", shares)) == pytest.approx(50, abs=2)


def test_a_step_is_settled_when_the_share_is_back_to_stay() -> None:
    before = [0.8] * (STEP_AT - 1)
    settled = goals.settled_after(course("step", [*before, *[0.4] * 10, *[0.71] * 40]))
    assert settled == 10 + goals.WINDOW
    assert goals.settled_after(course("step", [*before, *[0.4] * 40])) == math.inf


def test_only_what_comes_after_the_way_back_overshoots() -> None:
    before, way = [0.9] * (STEP_AT - 1), [0.4] * 10
    assert goals.overshoot(course("step", [*before, *way, *[0.71] * 40])) == pytest.approx(0)
    assert goals.overshoot(course("step", [*before, *way, *[0.74] * 40])) == pytest.approx(3)


def test_without_a_step_it_is_told_how_high_one_of_twenty_windows_comes() -> None:
    calm, one = [0.71] * goals.WARM, [*[0.71] * 15, *[0.73] * 5]
    assert goals.swing(course("few-ordinary", [*calm, *[0.71] * 400])) == pytest.approx(0)
    assert goals.swing(course("few-ordinary", [*calm, *one * 20])) == pytest.approx(2)


def test_what_is_short_is_said_and_what_is_owed_unwinds() -> None:
    shares = [0.1] * 300
    assert goals.said_after(course("none-left", shares, BINDS)) == 1
    assert goals.said_after(course("none-left", shares)) == math.inf
    assert goals.unwound_after(course("none-left", shares)) == 1
    assert goals.unwound_after(course("none-left", shares, BINDS)) == math.inf


def test_cost_first_audiences_and_tilts_are_shares_of_all() -> None:
    day = course("even", [0.72] * DAY)
    assert goals.cost(day) == pytest.approx(2)
    assert goals.audiences(day) == pytest.approx(99.9)
    assert goals.fresh_slots(day) == pytest.approx(0.5)
    assert goals.tilted(day) == 0
    assert goals.furthest_off(day) == pytest.approx(-2)


def test_a_verdict_is_that_of_the_worst_seed() -> None:
    days = [course("even", [share] * DAY) for share in (0.72, 0.69)]
    first = next(goals.verdicts(days))
    assert (first.world, first.passed, first.limit) == ("even", False, ">= 0")
    assert (first.worst, first.mean) == (pytest.approx(-1), pytest.approx(0.5))
    fields = goals.as_fields(first)
    assert (fields["passed"], fields["worst"]) == ("no", -1.0)


def test_as_tabs_the_private_share_is_not_ours_to_hold() -> None:
    names = [bar.name for bar in goals.bars_of(course("tabs", [0.7]))]
    assert names == ["ordinary", "commercial"]
    assert np.allclose(goals.share_of(Bar("private", 300_000), course("tabs", [0.7])), 0.5)


def test_a_course_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    drawn = [
        path.read_bytes()
        for folder in ("one", "two")
        for path in draw_courses([course("step", [0.7] * 9)], tmp_path / folder)
    ]
    assert len(drawn) == 2
    assert drawn[0] == drawn[1]
    assert b"impressions owed" in drawn[0]

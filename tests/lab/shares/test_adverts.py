"""Adverts are played one by one by the pipeline's own code, and measured as goals are worded."""

import pytest
from kit.control import RULES

from streams.lab.shares import advert_goals
from streams.lab.shares.adverts import AdvertCourse, AdvertWorld, ShownAdvert, play_adverts
from streams.lab.simulator.admission import START_MS

WORLD = AdvertWorld("short", 0.6, 100, grown=70)
POLICY = RULES.policy.record(1, START_MS)


def played(seed: int = 1, world: AdvertWorld = WORLD) -> AdvertCourse:
    return play_adverts(world, POLICY, RULES.policy.shares, seed)


@pytest.fixture(scope="module")
def course() -> AdvertCourse:
    return played()


def of(adverts: list[ShownAdvert], minutes: list[tuple[int, int]]) -> AdvertCourse:
    return AdvertCourse(WORLD, adverts, minutes)


def test_the_same_seed_is_the_same_course() -> None:
    short = AdvertWorld("short", 0.6, 12)
    assert played(1, short) == played(1, short)
    assert played(1, short).minutes != played(2, short).minutes


def test_every_kind_of_advert_has_its_first_audience(course: AdvertCourse) -> None:
    assert {advert.kind for advert in course.adverts} == {"bad", "neutral", "good"}
    assert min(advert.impressions for advert in course.adverts) >= 40
    assert 150 < max(shown for _, shown in course.minutes) <= 240


def test_bad_adverts_are_shown_least(course: AdvertCourse) -> None:
    bad = [advert.impressions for advert in course.adverts if advert.kind == "bad"]
    good = [advert.impressions for advert in course.adverts if advert.kind == "good"]
    assert max(bad) <= 140
    assert max(good) > max(bad)


def test_goals_are_of_all_seeds_together() -> None:
    one = of([ShownAdvert("bad", 60, False), ShownAdvert("neutral", 100, True)], [(10, 100)])
    other = of(
        [
            ShownAdvert("bad", 80, False),
            ShownAdvert("bad", 200, True),
            ShownAdvert("good", 150, True),
        ],
        [(30, 100)],
    )
    rows = {row.goal: row for row in advert_goals.advert_verdicts([one, other])}
    assert {row.world for row in rows.values()} == {"short"}
    off, up, good, share = rows.values()
    assert (off.worst, off.passed) == (80, True)
    assert (up.worst, up.passed) == (pytest.approx(100 / 3), None)
    assert (good.worst, good.passed) == (1.5, True)
    assert (share.worst, share.passed) == (20, False)

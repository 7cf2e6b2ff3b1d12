"""What must hold of adverts, and what was measured: all seeds of a world together, they are few."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, median_high
from typing import Final

from streams.lab.shares.adverts import AdvertCourse
from streams.lab.shares.goals import Goal, GoalVerdict, verdict


def pooled(courses: Sequence[AdvertCourse]) -> AdvertCourse:
    """Return courses of one world as one."""
    return AdvertCourse(
        courses[0].world,
        [advert for each in courses for advert in each.adverts],
        [minute for each in courses for minute in each.minutes],
    )


def impressions_until_off(course: AdvertCourse) -> float:
    """Return the impressions that the median bad advert came to."""
    return _of(course, "bad", median_high)


def bad_still_up(course: AdvertCourse) -> float:
    """Return the percentage of bad adverts that might still be shown, if others were worth less."""
    return 100 * fmean(each.is_up for each in course.adverts if each.kind == "bad")


def good_over_neutral(course: AdvertCourse) -> float:
    """Return how many impressions good adverts had for each one of the neutral ones."""
    return _of(course, "good", fmean) / max(_of(course, "neutral", fmean), 1.0)


def share_of_adverts(course: AdvertCourse) -> float:
    """Return the percentage of the public impressions that were of adverts."""
    own = sum(adverts for adverts, _ in course.minutes)
    return 100 * own / sum(shown for _, shown in course.minutes)


ADVERT_GOALS: Final = (
    Goal(
        "impressions of a bad advert, in all", (), impressions_until_off, "in the median", most=80
    ),
    Goal("bad ones that only better ones keep off", (), bad_still_up, "%"),
    Goal("a good one, times those of a neutral one", (), good_over_neutral, "times", least=1.2),
    Goal("share of adverts", (), share_of_adverts, "% of public", most=15),
)


def advert_verdicts(courses: Sequence[AdvertCourse]) -> Iterator[GoalVerdict]:
    """Yield what was measured of each goal in each world that was played."""
    worlds = {course.world.name: course.world for course in courses}
    for goal in ADVERT_GOALS:
        for name in worlds:
            whole = pooled([each for each in courses if each.world.name == name])
            yield verdict(goal, name, [goal.measure(whole)])


def _of(course: AdvertCourse, kind: str, middle: Callable[[list[int]], float]) -> float:
    return float(middle([each.impressions for each in course.adverts if each.kind == kind]))

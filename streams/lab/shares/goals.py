"""What must hold of the shares, and what was measured: the worst of the seeds, beside its limit."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np

from streams.core.shares import Bar
from streams.core.units import MICROS
from streams.lab.shares.course import FIRST, SharesCourse
from streams.lab.shares.market import ClassName, Floats
from streams.lab.shares.worlds import DAY, STEP_AT

WINDOW: Final = 5
"""Minutes over which a share is judged."""
TOLERATED: Final = 0.01
WARM: Final = 60
"""Minutes until the gains are known: windows and costs are counted from then on."""
STAYS: Final = 10
"""A step is settled once so many windows in a row are."""
SWINGS: Final = 20
"""Minutes from when a share is back within which it may overshoot: later, tastes wander."""
ONE_IN: Final = 1 / 20
"""Part of all windows that may be as high by chance."""
FEASIBLE: Final = 0.1
"""A floor this near to the unforced share must be cheap."""

Played = TypeVar("Played")


class Goal(NamedTuple, Generic[Played]):
    """One goal in some worlds; `least` or `most` is its limit, of neither it is only told."""

    text: str
    worlds: Sequence[str]
    measure: Callable[[Played], float]
    unit: str
    least: float = -math.inf
    most: float = math.inf


class GoalVerdict(NamedTuple):
    """What was measured of a goal: the worst seed and the mean; None of what is only told."""

    goal: str
    world: str
    limit: str
    worst: float
    mean: float
    unit: str
    passed: bool | None


def share_of(bar: Bar, course: SharesCourse, *, forced: bool = True) -> Floats:
    """Return a share minute by minute; not `forced`: what it would have been without tilts."""
    counts = [each.impressions if forced else each.unforced for each in course.minutes]
    own, of = np.array([_count(bar, each) for each in counts], float).T
    return np.asarray(own / np.maximum(of, 1))


def bars_of(course: SharesCourse) -> list[Bar]:
    """Return the promises that are ours to hold in a world."""
    tabs = course.world.feeds == "tabs"
    return [bar for bar in course.rules.bars if bar.is_on and not (tabs and bar.name == "private")]


def day_margin(course: SharesCourse) -> float:
    """Return by how many points the worst promise of the worst day is held, below 0: missed."""
    margins = []
    for bar in bars_of(course):
        counts = [_count(bar, each.impressions) for each in course.minutes]
        for first in range(0, len(counts) - DAY + 1, DAY):
            own, of = np.sum(counts[first : first + DAY], axis=0)
            margins.append(_margin(bar, own / of))
    return 100 * float(min(margins))


def windows_held(course: SharesCourse) -> float:
    """Return the percentage of windows in which a share is at most a point off, of the worst."""
    held = []
    for bar in bars_of(course):
        share = _means(share_of(bar, course)[WARM:], WINDOW)
        held.append(np.mean([_margin(bar, each) >= -TOLERATED for each in share]))
    return 100 * float(min(held))


def settled_after(course: SharesCourse) -> float:
    """Return after how many minutes from the step on ordinary people have their share to stay.

    As windows are judged: at most a point off.
    """
    bar, share = _stepped(course)
    near = share >= bar.bound / MICROS - TOLERATED
    for at in range(len(near) - STAYS):
        if near[at : at + STAYS].all():
            return float(at + WINDOW)
    return math.inf


def overshoot(course: SharesCourse) -> float:
    """Return by how many points a window came above the target, once the share was back."""
    bar, share = _stepped(course)
    target = bar.target / MICROS
    low = int(np.argmax(share < target))
    back = low + int(np.argmax(share[low:] >= target))
    return 100 * max(float(np.max(share[back : back + SWINGS])) - target, 0.0)


def swing(course: SharesCourse) -> float:
    """Return how many points above the target the highest window of twenty minutes lies.

    Of one in twenty such: what no step, but tastes that wander and chance, come to.
    """
    bar = next(each for each in course.rules.bars if each.name == "ordinary")
    share = _means(share_of(bar, course)[WARM:], WINDOW)
    highest = share[: len(share) // SWINGS * SWINGS].reshape(-1, SWINGS).max(axis=1)
    return 100 * (float(np.quantile(highest, 1 - ONE_IN)) - bar.target / MICROS)


def said_after(course: SharesCourse) -> float:
    """Return after how many minutes it was said that ordinary people can't have their share."""
    since = course.minutes[STEP_AT - FIRST :]
    return _minutes_until(bool(minute.promises["ordinary"].short) for minute in since)


def unwound_after(course: SharesCourse) -> float:
    """Return after how many minutes of supply nothing is owed any more."""
    assert course.world.until is not None
    since = course.minutes[course.world.until - FIRST :]
    return _minutes_until(not minute.promises["ordinary"].owed for minute in since)


def cost(course: SharesCourse) -> float:
    """Return the percentage of the value of all views that holding the shares cost."""
    minutes = course.minutes[WARM:]
    free = sum(each.unforced_worth for each in minutes)
    return 100 * (1 - sum(each.worth for each in minutes) / free)


def furthest_off(course: SharesCourse) -> float:
    """Return how many points the unforced share of the worst promise lies off its bound."""
    means = [(bar, share_of(bar, course, forced=False)[WARM:].mean()) for bar in bars_of(course)]
    return 100 * max(-_margin(bar, float(mean)) for bar, mean in means)


def tilted(course: SharesCourse) -> float:
    """Return the percentage of minutes under any tilt."""
    return 100 * float(np.mean([each.is_tilted for each in course.minutes]))


def audiences(course: SharesCourse) -> float:
    """Return the percentage of first audiences that came in time."""
    return 100 * (1 - course.missed / course.due) if course.due else math.nan


def fresh_slots(course: SharesCourse) -> float:
    """Return the percentage of all slots that went to first audiences."""
    shown = sum(sum(each.impressions.values()) for each in course.minutes)
    return 100 * sum(each.fresh for each in course.minutes) / shown


_DAYS: Final = ("even", "few-ordinary", "all-ordinary", "adverts", "tabs", "night", "rooms", "spam")
_STEPS: Final = ("step", "gain-above", "gain-below")
_STILL: Final = ("still", "still-above", "still-below")
_WRONG: Final = ("gain-4x", "gain-quarter")
GOALS: Final = (
    Goal("every day each share is held", _DAYS, day_margin, "points", least=0),
    Goal("5-minute windows at most a point off", _DAYS, windows_held, "%", least=95),
    Goal("the same with faults", ("dead", "gaps"), windows_held, "%", least=95),
    Goal("a step from 85 to 40 % settles", _STEPS, settled_after, "minutes", most=20),
    Goal("and overshoots, where tastes stand still", _STILL, overshoot, "points", most=1),
    Goal("and overshoots, where tastes wander", _STEPS, overshoot, "points", most=1),
    Goal("without a step, 1 of 20 times", ("few-ordinary",), swing, "points"),
    Goal("with a gain 4x off it settles", _WRONG, settled_after, "minutes", most=100),
    Goal("and overshoots", _WRONG, overshoot, "points"),
    Goal("what can't be held is said", ("none-left", "wide"), said_after, "minutes", most=3),
    Goal("and nothing is wound up", ("none-left",), unwound_after, "minutes", most=20),
    Goal("unforced share off its bound", ("even", "few-ordinary"), furthest_off, "points"),
    Goal("cost of holding, where within 10", ("even",), cost, "% of value", most=2),
    Goal("cost of holding, beyond", ("few-ordinary", "step"), cost, "% of value"),
    Goal("nothing binds: minutes with a tilt", ("all-ordinary",), tilted, "%", most=0),
    Goal("first audiences in time", ("night", "spam"), audiences, "%", least=99.9),
    Goal("slots they take", ("night", "spam"), fresh_slots, "%", most=1.5),
)


def verdicts(courses: Sequence[SharesCourse]) -> Iterator[GoalVerdict]:
    """Yield what was measured of each goal in each world that was played."""
    for goal in GOALS:
        for world in goal.worlds:
            values = [goal.measure(each) for each in courses if each.world.name == world]
            if values:
                yield verdict(goal, world, values)


def as_fields(verdict: GoalVerdict) -> dict[str, Any]:
    """Return a verdict's fields for people and JSON; what never came is null."""
    fields = verdict._asdict()
    for name in ("worst", "mean"):
        fields[name] = round(fields[name], 2) if math.isfinite(fields[name]) else None
    if fields["passed"] is not None:
        fields["passed"] = "yes" if verdict.passed else "no"
    return fields


def verdict(goal: Goal[Any], world: str, values: Sequence[float]) -> GoalVerdict:
    """Return what was measured of a goal in a world, by seed."""
    is_least = goal.least > -math.inf
    worst = min(values) if is_least else max(values)
    limit = f">= {goal.least:g}" if is_least else f"<= {goal.most:g}"
    told = not is_least and goal.most == math.inf
    passed = None if told else bool(goal.least <= worst <= goal.most)
    mean = float(np.mean(values))
    return GoalVerdict(goal.text, world, "" if told else limit, worst, mean, goal.unit, passed)


def _minutes_until(came: Iterable[bool]) -> float:
    return next((float(number) for number, one in enumerate(came, start=1) if one), math.inf)


def _stepped(course: SharesCourse) -> tuple[Bar, Floats]:
    """Return the promise to ordinary people, and its share by windows from the step on."""
    bar = next(each for each in course.rules.bars if each.name == "ordinary")
    return bar, _means(share_of(bar, course)[STEP_AT - FIRST :], WINDOW)


def _count(bar: Bar, counts: Mapping[ClassName, int]) -> tuple[int, int]:
    own = sum(count for name, count in counts.items() if bar.has(*name))
    return own, sum(count for (name, _), count in counts.items() if bar.is_of(name))


def _margin(bar: Bar, share: float) -> float:
    """Return how far a share is on the right side of what was promised."""
    off = share - bar.bound / MICROS
    return -off if bar.ceiling else off


def _means(values: Floats, over: int) -> Floats:
    return np.convolve(values, np.ones(over) / over, "valid")

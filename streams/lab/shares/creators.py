"""What the ceiling of one creator does to how unequal audiences are, and what it costs.

The world `mixture` of the simulator, video by video: better-known creators are a little better. It
has 200 creators, so the ceiling is one and a half times what each would have if all had the same,
0.75 %.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from streams.lab.shares.goals import Goal, GoalVerdict, verdict
from streams.lab.simulator.admission import Platform
from streams.lab.simulator.building import build_world
from streams.lab.simulator.capping import CappedRule
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.loop import run
from streams.lab.simulator.measures import gini
from streams.lab.simulator.names import Regime
from streams.lab.simulator.serving import KnowingServers

WORLD: Final = "mixture"
REGIME: Final[Regime] = "middle"
SIZE: Final = 0.1


class CeilingCourse(NamedTuple):
    """The same world with the ceiling and without: Gini of public impressions, and value."""

    gini: float
    value: float
    free_gini: float
    free_value: float


def play_creators(platform: Platform, seed: int, size: float) -> CeilingCourse:
    """Play the world twice."""
    world = build_world(platform, WORLD, REGIME, size, seed)
    numbers: list[float] = []
    for contender in (CappedRule, FoldedRule):
        course = run(world, contender(world, KnowingServers()), seed)
        numbers.append(gini(course.shown[world.public].sum(axis=0)))
        numbers.append(float(course.value[world.public].sum()))
    return CeilingCourse(*numbers)


def cost(course: CeilingCourse) -> float:
    """Return the percentage of value that the ceiling costs."""
    return 100 * (1 - course.value / course.free_value)


GOALS: Final = (
    Goal[CeilingCourse]("Gini of creators without a ceiling", (), lambda one: one.free_gini, ""),
    Goal[CeilingCourse]("Gini of creators", (), lambda one: one.gini, "", most=0.5),
    Goal[CeilingCourse]("cost of their ceiling", (), cost, "% of value"),
)


def verdicts(platform: Platform, seeds: range) -> Iterator[GoalVerdict]:
    """Yield what was measured of each goal, with these seeds."""
    courses = [play_creators(platform, seed, SIZE) for seed in seeds]
    for goal in GOALS:
        yield verdict(goal, WORLD, [goal.measure(course) for course in courses])

"""What a run is worth, in numbers that people compare. Shares are fractions from 0 to 1.

Value, impressions and pairs are those of the public slices: delivery to followers is nobody's
choice.
"""

from typing import Final, NamedTuple

import numpy as np

from streams.lab.simulator.arrays import Bools, Floats, Ints
from streams.lab.simulator.loop import Course
from streams.lab.simulator.world import World

CLEARLY: Final = 0.03
"""So much above price and cut a pair is clearly good."""
BANDS: Final = (100, 1_000, 10_000, 100_000)
"""Followers at which the next band of creators begins."""


class Measures(NamedTuple):
    """One run of one contender; NaN where there is nothing to measure."""

    value_share: float  # of the oracle's value
    regret_ratio: float  # value lost, over what the ladder loses
    false_stops: float  # share of the stops that hit a pair worth more than its price
    good_stopped: float  # share of the clearly good pairs that stand stopped at the end
    wasted: float  # share of the impressions that went to pairs below their price
    bad_stop_impressions: float  # median impressions of a pair below its price when stopped
    good_tried: float  # share of the pairs above their price that were ever shown
    idle_slots: float  # share of the slots that stayed empty
    overdrawn: float  # share of the impressions beyond the allowance
    decisions: float
    zero_exposure: float  # share of the videos that nobody of the public was shown
    gini: float  # of the videos' public impressions
    band_0: float  # share of public impressions: creators below 100 followers
    band_1: float  # below 1,000
    band_2: float  # below 10,000
    band_3: float  # below 100,000
    band_4: float  # the others


def measure(world: World, course: Course, oracle: Course, ladder: Course) -> Measures:
    """Return the measures of a run beside those of the oracle and the ladder in the same world."""
    public = world.public
    shown = course.shown[public]
    total = int(shown.sum())
    best, worst = _value(world, oracle), _value(world, ladder)
    value = _value(world, course)
    by_video = shown.sum(axis=0)
    good = _live(world) & (world.means_at(world.ticks) > world.prices[:, None])
    return Measures(
        value / best,
        (best - value) / (best - worst),
        *_stops(world, course, oracle),
        int(course.wasted[public].sum()) / max(total, 1),
        _bad_stop_impressions(world, course),
        _share(course.shown > 0, good),
        1 - total / max(int(world.slots[public].sum()), 1),
        course.overdrawn / max(int(course.shown.sum()), 1),
        course.decisions,
        float((by_video == 0).mean()),
        gini(by_video),
        *_bands(world, by_video),
    )


def gini(amounts: Ints) -> float:
    """Return how unequal amounts are: 0 all equal, towards 1 one has all.

    >>> gini(np.array([5, 5, 5])), gini(np.array([0, 9]))
    (0.0, 0.5)
    """
    count, total = len(amounts), int(amounts.sum())
    if not total:
        return 0.0
    ranks = 2 * np.arange(1, count + 1) - count - 1
    return float((ranks * np.sort(amounts)).sum() / (count * total))


def _value(world: World, course: Course) -> float:
    return float(course.value[world.public].sum())


def _live(world: World) -> Bools:
    return np.asarray(world.reachable & world.public[:, None])


def _share(mask: Bools, among: Bools) -> float:
    return float(mask[among].mean()) if among.any() else float("nan")


def _stops(world: World, course: Course, oracle: Course) -> tuple[float, float]:
    """Return the share of false stops, and of clearly good pairs that stand stopped."""
    if not course.stops:
        return float("nan"), float("nan")
    false = np.mean([_gain(world, stop.pair, stop.tick) > 0 for stop in course.stops])
    clearly = _live(world) & (world.means_at(world.ticks) >= cuts(world, oracle)[:, None] + CLEARLY)
    return float(false), _share(course.stopped, clearly)


def cuts(world: World, oracle: Course) -> Floats:
    """Return the least mean that the oracle shows at the end, at least the price, by slice."""
    means = np.where(oracle.last > 0, world.means_at(world.ticks), np.inf)
    full = oracle.last.sum(axis=1) >= world.slots_at(world.ticks - 1)
    least = np.where(full & (oracle.last.sum(axis=1) > 0), means.min(axis=1), world.prices)
    return np.asarray(np.maximum(least, world.prices))


def _gain(world: World, pair: int, tick: int) -> float:
    place, video = divmod(pair, len(world.videos))
    phase = int(world.phases(tick)[video])
    return float(world.means[phase, place, video] - world.prices[place])


def _bad_stop_impressions(world: World, course: Course) -> float:
    counts = [stop.impressions for stop in course.stops if _gain(world, stop.pair, stop.tick) < 0]
    return float(np.median(counts)) if counts else float("nan")


def _bands(world: World, by_video: Ints) -> tuple[float, ...]:
    band = np.searchsorted(np.array(BANDS), world.followers, side="right")
    sums = np.bincount(band, by_video, minlength=len(BANDS) + 1)
    return tuple((sums / max(by_video.sum(), 1)).tolist())

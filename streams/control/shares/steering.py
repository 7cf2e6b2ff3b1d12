"""All promises together: one tick of traffic in, what feeds are to go by out. Integers, pure.

The leader and the simulator both steer by this; what it needs of the world beyond the traffic is
handed in.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from streams.control.shares.gain import estimate_gain
from streams.control.shares.law import advance, is_missing, is_out_of_reach, with_gain
from streams.control.shares.rules import ShareRules
from streams.core.events import Weights
from streams.core.shares import ORDINARY, Bar, is_commercial
from streams.core.traffic import ClassSums
from streams.core.units import MICROS, SURFACES
from streams.runtime.leases import CLASSES
from streams.runtime.mixes import Promise, Shortness

GAIN_TICKS: Final = 10
"""So often gains are estimated again, from the ticks since."""
SUPPLY_PART: Final = 20
"""A class that could fill less than this part of a tick's impressions has nothing left to show."""
LEAN_STEP: Final = 5_000
"""The prices follow the slow means in steps of so much value, micro-units."""
DAY_TICKS: Final = 1_440

Sums = Mapping[tuple[str, str], ClassSums]
Promises = tuple[Promise, ...]


def begin(rules: ShareRules, known: Promises) -> Promises:
    """Return the promises of these rules as they are known to stand, or as nothing is owed."""
    before = {each.name: each for each in known}
    fresh = [Promise(bar.name, bar.bound, gain=rules.gain) for bar in rules.bars if bar.is_on]
    return tuple(replace(before.get(each.name, each), bound=each.bound) for each in fresh)


def take_tick(rules: ShareRules, promises: Promises, sums: Sums) -> Promises:
    """Return the promises after the impressions of one tick more."""
    after = []
    for bar, promise in _each(rules, promises):
        before = replace(promise, short="surfaces") if _is_apart(rules, bar) else promise
        after.append(advance(bar, before, *bar.count(sums), rules))
    return tuple(after)


def take_gains(rules: ShareRules, promises: Promises, sums: Sums) -> Promises:
    """Return the promises with gains as the scores of some ticks tell them."""
    after = []
    for bar, promise in _each(rules, promises):
        gain = estimate_gain(bar, sums)
        after.append(promise if gain is None else with_gain(promise, gain))
    return tuple(after)


def missing(rules: ShareRules, promises: Promises) -> Sequence[Bar]:
    """Return the promises that were not held in the last tick: what they lack is to be found."""
    return [bar for bar, promise in _each(rules, promises) if is_missing(bar, promise)]


def judged(
    rules: ShareRules, promises: Promises, supply: Mapping[str, int], *, measured: bool
) -> Promises:
    """Return the promises, each with why it is not held, "" where it is or soon will be.

    `supply` tells how many impressions what raises a share could still fill, by its name;
    `measured`, whether most of the traffic is known.
    """
    after: list[Promise] = []
    for bar, promise in _each(rules, promises):
        short: Shortness = ""
        if is_missing(bar, promise):
            before_it = any(each.short == "bound" for each in after)
            left = supply.get(bar.name)
            short = _cause(rules, bar, promise, left, measured=measured, before_it=before_it)
        after.append(replace(promise, short=short))
    return tuple(after)


def tilts_of(promises: Promises, leans: Mapping[str, int]) -> dict[str, int]:
    """Return what is added to each class, beside what the policy's prices lean by."""
    wanted = _by_class({promise.name: promise.tilt for promise in promises})
    names = dict.fromkeys((*wanted, *leans))
    tilts = {name: wanted.get(name, 0) - leans.get(name, 0) for name in names}
    return {name: tilt for name, tilt in tilts.items() if tilt}


def leans_of(promises: Promises, leans: Mapping[str, int]) -> dict[str, int]:
    """Return what the prices should lean by, which is what they do until it is a step off."""
    wanted = _by_class({each.name: each.slow // LEAN_STEP * LEAN_STEP for each in promises})
    slow = _by_class({each.name: each.slow for each in promises})
    names = dict.fromkeys((*slow, *leans))
    off = max((abs(slow.get(name, 0) - leans.get(name, 0)) for name in names), default=0)
    return {name: lean for name, lean in wanted.items() if lean} if off > LEAN_STEP else {**leans}


def private_slots(promises: Promises) -> int:
    """Return how many of ten slots should be of creators that the viewer follows.

    What is promised, and more the longer it is owed: advice where feeds do not blend surfaces.
    """
    private = next((each for each in promises if each.name == "private"), None)
    if private is None:
        return 0
    behind = max(private.bound - private.share, 0)
    return min(-(-10 * (private.bound + behind) // MICROS), 10)


def worth_of(weights: Weights, sums: Sums) -> int:
    """Return what views were worth to their viewers, micro-units."""
    total = 0
    for each in sums.values():
        total += weights.watch * each.ratio_sum // MICROS + weights.complete * each.completes
        for name in ("like", "comment", "share", "follow", "hide", "report", "order"):
            total += getattr(weights, name) * getattr(each, f"{name}s")
    return max(total, 0)


def _each(rules: ShareRules, promises: Promises) -> Iterator[tuple[Bar, Promise]]:
    bars = {bar.name: bar for bar in rules.bars}
    for promise in promises:
        yield bars[promise.name], promise


def _is_apart(rules: ShareRules, bar: Bar) -> bool:
    """Tell whether a share is not ours to move: where viewers choose the surface themselves."""
    return bar.name == "private" and rules.feeds == "tabs"


def _cause(
    rules: ShareRules,
    bar: Bar,
    promise: Promise,
    left: int | None,
    *,
    measured: bool,
    before_it: bool,
) -> Shortness:
    if not measured:
        return "unmeasured"
    if _is_apart(rules, bar):
        return "surfaces"
    if left is not None and left * SUPPLY_PART < promise.pace:
        return "supply"
    if before_it and not bar.ceiling:
        return "yields"
    return "bound" if is_out_of_reach(bar, promise, rules) else ""


def _by_class(tilts: Mapping[str, int]) -> dict[str, int]:
    """Return what each class on each surface is raised by, given what each promise is."""
    by_class: dict[str, int] = {}
    for surface in SURFACES:
        for kind in CLASSES:
            if surface == "following":
                tilt = tilts.get("private", 0)
            else:
                tilt = tilts.get("ordinary", 0) if kind in ORDINARY else 0
                tilt -= tilts.get("commercial", 0) if is_commercial(kind) else 0
            if tilt:
                by_class[f"{surface}:{kind}"] = tilt
    return by_class

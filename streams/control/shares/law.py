"""The control law of one promise: what is owed, and the tilt that it asks for. Integers, pure.

Theory of operation. A tick adds to what is owed the impressions that are missing at the target,
and takes off those above it: an accumulated deficit, which falls as one over time (FairCo: Morik,
Singh, Hong, Joachims 2020, arXiv:2005.14713). The tilt is proportional to it, so it is the
multiplier of dual ascent, written as a debt (Balseiro, Lu, Mirrokni 2020, arXiv:2007.00514); with
floors, what is feasible has to be told apart from what is not (arXiv:2112.13964): a promise that
cannot be held stops owing more, and says why.

With `g` the share that a unit of tilt moves, and d ticks from an impression to the feed that knows
of it, one tick is x' = x - K x(t - d): stable if 0 < K < 2 sin(pi / (2 (2 d + 1))) (Levin & May
1976), which is 0.618 for d = 2. `LOOP` is what does not overshoot, so a `g` that is four times what
was thought is stable still.
"""

from typing import Final

from msgspec.structs import replace

from streams.control.shares.rules import ShareRules
from streams.core.shares import Bar
from streams.core.units import MICROS
from streams.runtime.mixes import Promise

LOOP: Final = 148_000
"""K: part of a deviation that one tick undoes, in millionths."""
DEAD_BAND: Final = 5_000
"""A share that is nearer to its target is let be (micro-units of share)."""
STEP: Final = 300_000
"""One tick owes at most this part of its impressions, in millionths: chance is no trend."""
PACE_TICKS: Final = 8
"""Impressions a tick are a mean of about so many."""
SLOW_TICKS: Final = 240
"""The slow mean is one of about so many ticks: it moves twenty times slower than the loop."""


def advance(bar: Bar, before: Promise, own: int, of: int, rules: ShareRules) -> Promise:
    """Return how a promise stands after one tick more, with `own` of `of` impressions.

    `before.short` is what keeps it from being held, found out before this tick: while it stands no
    more is owed, and at the bound no more than the greatest tilt asks for.

    >>> from decimal import Decimal
    >>> rules = ShareRules((), tilt_max=100_000, term_max=50_000, gain=3_000_000, feeds="blend")
    >>> floor = Bar("ordinary", 700_000)
    >>> after = advance(floor, Promise("ordinary", 700_000), own=600, of=1_000, rules=rules)
    >>> after.share, after.owed, after.tilt
    (600000, 110, 5426)
    """
    if of <= 0:
        return before
    pace = before.pace + (of - before.pace) // PACE_TICKS if before.pace else of
    pace = max(pace, 1)
    owed = _at_pace(before, pace)
    error = _error(bar, own, of)
    if before.short not in {"", "bound"} and error > 0:
        error = 0
    most = rules.tilt_max * pace * before.gain // (LOOP * MICROS) + 1
    owed = min(max(owed + error, 0), most)
    tilt = tilt_of(owed, pace, before.gain, rules.tilt_max)
    return replace(
        before,
        bound=bar.bound,
        share=own * MICROS // of,
        owed=owed,
        tilt=tilt,
        slow=_slow(before.slow, tilt, rules.term_max),
        pace=pace,
        cost=before.cost + cost_of(tilt, before.gain, of),
    )


def tilt_of(owed: int, pace: int, gain: int, most: int) -> int:
    """Return the tilt that a debt asks for, micro-units of value."""
    return min(owed * LOOP * MICROS // (max(pace, 1) * gain), most)


def cost_of(tilt: int, gain: int, of: int) -> int:
    """Return what a tilt costs in value over so many impressions, micro-units.

    It moves `gain` x tilt of them, from some worth no more than the cut to some worth up to the
    tilt less: half of it on the mean.
    """
    moved = of * min(gain * tilt // MICROS, MICROS) // MICROS
    return moved * tilt // 2


def with_gain(promise: Promise, gain: int) -> Promise:
    """Return a promise under another gain, at most four times what it was, or a fourth.

    The tilt stays: what is owed is said anew.
    """
    within = min(max(gain, promise.gain // 4, 1), promise.gain * 4)
    return replace(promise, gain=within, owed=promise.owed * within // promise.gain)


def is_missing(bar: Bar, promise: Promise) -> bool:
    """Tell whether the last tick was so far off the target that it counts."""
    return bar.off(promise.share) > DEAD_BAND


def is_out_of_reach(bar: Bar, promise: Promise, rules: ShareRules) -> bool:
    """Tell whether the tilt that would hold a promise lies beyond the bound, by its gain."""
    off = abs(bar.target - promise.share)
    return promise.tilt + off * MICROS // promise.gain > rules.tilt_max


def _at_pace(before: Promise, pace: int) -> int:
    """Return what is owed at another pace, so that the tilt stays.

    Minutes that come late, or in lumps, change the pace that is measured, and nights the true one;
    neither changes what a class must be raised by.
    """
    if not before.pace:
        return before.owed
    return (before.owed * pace + before.pace // 2) // before.pace


def _error(bar: Bar, own: int, of: int) -> int:
    """Return the impressions that a tick adds to what is owed."""
    error = (bar.target * of - own * MICROS) // MICROS
    error = -error if bar.ceiling else error
    if abs(error) * MICROS <= DEAD_BAND * of:
        return 0
    step = STEP * of // MICROS
    return min(max(error, -step), step)


def _slow(slow: int, tilt: int, most: int) -> int:
    """Return the slow mean one tick later; in integers it must not stand still before the end."""
    way = tilt - slow
    step = way // SLOW_TICKS if way >= 0 else -(-way // SLOW_TICKS)
    if not step and way:
        step = 1 if way > 0 else -1
    return min(max(slow + step, 0), most)

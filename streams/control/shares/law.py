"""The control law of one promise: what is owed, and the tilt that it asks for. Integers, pure.

Theory of operation. A tick adds to what is owed the impressions that are missing at the target,
and takes off those above it: an accumulated deficit, which falls as one over time (FairCo: Morik,
Singh, Hong, Joachims 2020, arXiv:2005.14713). The tilt is proportional to it, so it is the
multiplier of dual ascent, written as a debt (Balseiro, Lu, Mirrokni 2020, arXiv:2007.00514); with
floors, what is feasible has to be told apart from what is not (arXiv:2112.13964): a promise that
cannot be held stops owing more, and says why.

What a tick misses was shown under the tilt of some mixes ago. What tilts moved since then is under
way and is not asked for again (Smith 1957: a model of the dead time takes it out of the loop). With
`g` the share that a unit of tilt moves, r times what it is thought to be, and d = 2 ticks from a
mix to the first tick that went by it, a deviation goes by z^3 - (1 - K) z^2 + K (r - 1) = 0: by
Jury's criterion it dies out if K (r - 1) < (sqrt((1 - K)^2 + 4) - (1 - K)) / 2, and does not swing
where K (r - 1) <= 4 (1 - K)^3 / 27. `LOOP` is the greatest K, to a hundredth, that is stable with a
`g` four times what was thought; up to 1.3 times it does not overshoot. A tick that is less late
than that makes it slower, not less stable.

Tastes wander and chance draws meanwhile. Of that no loop removes what comes within its own delay.
"""

from typing import Final

from msgspec.structs import replace

from streams.control.shares.due import MINUTE_MS
from streams.control.shares.rules import ShareRules
from streams.core.shares import Bar
from streams.core.units import MICROS
from streams.runtime.mixes import FADED_MS, PAST, Promise

LOOP: Final = 220_000
"""K: part of a deviation that one tick undoes, in millionths."""
DEAD_BAND: Final = 5_000
"""A share that is nearer to its target is let be (micro-units of share)."""
STEP: Final = 300_000
"""One tick owes at most this part of its impressions, in millionths: chance is no trend."""
PACE_TICKS: Final = 8
"""Impressions a tick are a mean of about so many."""
SLOW_TICKS: Final = FADED_MS // MINUTE_MS
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
    (600000, 110, 8066)
    """
    if of <= 0:
        return before
    pace = before.pace + (of - before.pace) // PACE_TICKS if before.pace else of
    pace = max(pace, 1)
    owed = _at_pace(before, pace)
    error = _error(bar, own, of, _under_way(before, of))
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
        past=(before.tilt, *before.past)[:PAST],
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
    under = promise.past[-1] if promise.past else promise.tilt
    return under + off * MICROS // promise.gain > rules.tilt_max


def _at_pace(before: Promise, pace: int) -> int:
    """Return what is owed at another pace, so that the tilt stays.

    Minutes that come late, or in lumps, change the pace that is measured, and nights the true one;
    neither changes what a class must be raised by.
    """
    if not before.pace:
        return before.owed
    return (before.owed * pace + before.pace // 2) // before.pace


def _under_way(promise: Promise, of: int) -> int:
    """Return the impressions of a tick that tilts move which the tick did not go by yet."""
    past = promise.past[: PAST - 1]
    under = past[-1] if past else promise.tilt
    return (promise.tilt - under) * promise.gain * of // MICROS**2


def _error(bar: Bar, own: int, of: int, under_way: int) -> int:
    """Return the impressions that a tick adds to what is owed, without those under way."""
    error = (bar.target * of - own * MICROS) // MICROS
    error = (-error if bar.ceiling else error) - under_way
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

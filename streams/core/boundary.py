"""The stopping boundary of learning, and the natural logarithm, in integers.

All arguments and results are integers in micro-units, and so is the arithmetic between: the same
inputs give the same bytes on every machine. Rounding is towards minus infinity.
"""

from math import isqrt
from typing import Final

from streams.core.units import MICROS

_LN_16_PI: Final = 3_917_318  # ln(16 pi), micro-units


def psi(s: int) -> int:
    """Return the closed-form approximation of the stopping boundary (Brezzi & Lai 2002).

    >>> [psi(s) for s in (20_000, 500_000, 4_000_000, 10_000_000, 2_000_000_000)]
    [100000, 334437, 500000, 586589, 3042403]
    """
    if s <= 200_000:
        return isqrt(s * MICROS // 2)
    if s <= 15_000_000:
        inverse_root = MICROS * MICROS // isqrt(s * MICROS)
        if s <= 1_000_000:
            return 490_000 - 110_000 * inverse_root // MICROS
        if s <= 5_000_000:
            return 630_000 - 260_000 * inverse_root // MICROS
        return 770_000 - 580_000 * inverse_root // MICROS
    log = ln(s)
    return isqrt((2 * log - ln(log) - _LN_16_PI) * MICROS)


def ln(x: int) -> int:
    """Return the natural logarithm of a positive `x`, rounded down.

    ln x = k ln 2 + ln c + ln(1 + d) with x = m 2**k, 1 <= m < 2, c the multiple of 1/1024 below m,
    and d = (m - c) / c, so small that two terms of its series do.

    >>> ln(1_000_000), ln(2_718_282), ln(15_000_000), ln(500_000)
    (0, 1000000, 2708050, -693148)
    """
    return (_ln(x) - _LN_MICROS) * MICROS >> _BITS


def _ln(x: int) -> int:
    """Return the logarithm of a positive integer at a scale of 2**_BITS."""
    k = x.bit_length() - 1
    m = x << _BITS - k if k <= _BITS else x >> k - _BITS
    step = (m >> _BITS - _STEP_BITS) - _STEPS
    c = _STEPS + step << _BITS - _STEP_BITS
    d = (m - c << _BITS) // c
    return k * _LN_2 + _LN_OF_STEPS[step] + d - (d * d >> _BITS + 1)


def _twice_atanh(part: int, whole: int) -> int:
    """Return 2 atanh(part / whole) by its series, at a scale of 2**_BITS."""
    t = (part << _BITS) // whole
    square = t * t >> _BITS
    total, odd = 0, 1
    while t:
        total += t // odd
        t = t * square >> _BITS
        odd += 2
    return 2 * total


_BITS: Final = 48
_STEP_BITS: Final = 10
_STEPS: Final = 1 << _STEP_BITS
_LN_2: Final = _twice_atanh(1, 3)  # ln((1 + t) / (1 - t)) = 2 atanh t
_LN_OF_STEPS: Final = [_twice_atanh(step, 2 * _STEPS + step) for step in range(_STEPS)]
_LN_MICROS: Final = _ln(MICROS)

"""The stopping boundary of learning, and the natural logarithm, in integers.

All arguments and results are integers in micro-units, and so is the arithmetic between: the same
inputs give the same bytes on every machine. Rounding is towards minus infinity.
"""

from math import isqrt
from typing import Final

from streams.core.units import MICROS

_LN_SCALE = 10**12
_MICROS_BITS = MICROS.bit_length()
_LN_2 = 693_147_180_560  # ln 2 at _LN_SCALE
_LN_16_PI = 3_917_318  # ln(16 pi), micro-units


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

    ln x = k ln 2 + ln c + 2 atanh((m - c) / (m + c)) with x = m 2**k, 1 <= m < 2, and c the
    multiple of 1/32 below m.

    >>> ln(1_000_000), ln(2_718_282), ln(15_000_000), ln(500_000)
    (0, 1000000, 2708050, -693148)
    """
    k = x.bit_length() - _MICROS_BITS
    m = x * _LN_SCALE // MICROS
    m = m >> k if k >= 0 else m << -k
    if m < _LN_SCALE:
        k, m = k - 1, 2 * m
    step = m // _STEP - _STEPS
    return (k * _LN_2 + _LN_OF_STEPS[step] + _atanh_of(m, _LN_SCALE + step * _STEP)) // _LN_MICROS


def _atanh_of(m: int, c: int) -> int:
    """Return 2 atanh((m - c) / (m + c)), which is ln(m / c), by its series."""
    t = (m - c) * _LN_SCALE // (m + c)
    square = t * t // _LN_SCALE
    total, power, odd = 0, t, 1
    while power:
        total += power // odd
        power = power * square // _LN_SCALE
        odd += 2
    return 2 * total


_STEPS: Final = 32
_STEP: Final = _LN_SCALE // _STEPS
_LN_OF_STEPS: Final = [_atanh_of(_LN_SCALE + step * _STEP, _LN_SCALE) for step in range(_STEPS)]
_LN_MICROS: Final = _LN_SCALE // MICROS

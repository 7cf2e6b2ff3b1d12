"""What a slice's evidence says: posterior of the mean value per view, and its index.

All arguments and results are integers in micro-units, and so is the arithmetic between: the same
inputs give the same bytes on every machine. Rounding is towards minus infinity.
"""

from math import isqrt
from typing import NamedTuple

from msgspec import Struct

from streams.core.units import MICROS

_LN_SCALE = 10**12
_MICROS_BITS = MICROS.bit_length()
_LN_2 = 693_147_180_560  # ln 2 at _LN_SCALE
_LN_16_PI = 3_917_318  # ln(16 pi), micro-units


class Prior(NamedTuple):
    """Normal prior of the mean value per view, and the noise of one view around that mean."""

    mean: int
    variance: int
    noise_variance: int


class Evidence(NamedTuple):
    """Views, their summed value, and their summed squared value (value**2 // MICROS each)."""

    views: int
    value_sum: int
    value_sq: int


class Estimate(Struct, frozen=True, gc=False):
    """Posterior mean and standard deviation, index, and the noise variance they rest on."""

    mean: int
    sd: int
    index: int
    noise_variance: int


def estimate(
    prior: Prior, evidence: Evidence, reach_left: int, noise_views: int, noise_floor: int
) -> Estimate:
    """Return posterior and index of the mean value per view.

    With noise variance s2 and prior N(m, v), n views of summed value S give the posterior
    N((m s2 + v S) / (s2 + n v), v s2 / (s2 + n v)) (conjugate normal, e.g. Gelman et al.,
    Bayesian Data Analysis, 2.5). The index is that of a one-armed bandit with `reach_left`
    impressions to come: mean + sd * psi(sd**2 * reach_left / s2) (Brezzi & Lai 2002, Optimal
    learning and experimentation in bandit problems, J. Economic Dynamics & Control 27, with the
    horizon 1 / -ln(discount) replaced by the reach).

    Before any view the index stands far above the prior mean, it pays to learn; after 1,000 views
    of mean value 0.30 hardly:

    >>> prior = Prior(mean=350_000, variance=20_000, noise_variance=100_000)
    >>> estimate(prior, Evidence(0, 0, 0), 100_000, 10, 1_000)
    Estimate(mean=350000, sd=141421, index=871472, noise_variance=100000)
    >>> estimate(prior, Evidence(1_000, 300_000_000, 190_000_000), 99_000, 10, 1_000)
    Estimate(mean=300248, sd=9975, index=319536, noise_variance=100000)
    """
    views, value_sum, _ = evidence
    noise = noise_variance(prior, evidence, noise_views, noise_floor)
    scale = noise + views * prior.variance
    mean = (prior.mean * noise + prior.variance * value_sum) // scale
    sd = isqrt(prior.variance * noise * MICROS // scale)
    left = max(reach_left, 0)
    index = mean + sd * psi(prior.variance * left * MICROS // scale) // MICROS
    return Estimate(mean, sd, index, noise)


def noise_variance(prior: Prior, evidence: Evidence, noise_views: int, noise_floor: int) -> int:
    """Return the variance of one view's value: sample variance shrunk towards the prior's.

    `noise_views` is the weight of the prior's noise in views (mean of a scaled inverse chi
    square, Gelman et al. 2.6); at least `noise_floor`. The parts of a view's value (watching,
    liking, ...) arrive apart and are squared apart: what they share is not in `value_sq`.

    >>> noise_variance(Prior(0, 1, 100_000), Evidence(90, 45_000_000, 45_000_000), 10, 1)
    235000
    """
    views, value_sum, value_sq = evidence
    if not views:
        return max(prior.noise_variance, noise_floor)
    spread = max(value_sq - value_sum * value_sum // (views * MICROS), 0)
    return max((noise_views * prior.noise_variance + spread) // (noise_views + views), noise_floor)


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

    ln x = k ln 2 + 2 atanh((m - 1) / (m + 1)) with x = m 2**k and 1 <= m < 2.

    >>> ln(1_000_000), ln(2_718_282), ln(15_000_000), ln(500_000)
    (0, 1000000, 2708050, -693148)
    """
    k = x.bit_length() - _MICROS_BITS
    m = x * _LN_SCALE // MICROS
    m = m >> k if k >= 0 else m << -k
    if m < _LN_SCALE:
        k, m = k - 1, 2 * m
    t = (m - _LN_SCALE) * _LN_SCALE // (m + _LN_SCALE)
    square = t * t // _LN_SCALE
    total, power, odd = 0, t, 1
    while power:
        total += power // odd
        power = power * square // _LN_SCALE
        odd += 2
    return (k * _LN_2 + 2 * total) // (_LN_SCALE // MICROS)

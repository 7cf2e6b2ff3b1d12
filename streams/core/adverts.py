"""Adverts: what one is worth to its viewers, whatever they bought, and what it gains by that.

In a slice, u is the posterior mean of a view as if nobody had ordered anything; r says how many
standard deviations of what videos are truly worth there (own variance and loadings together) u lies
above the mean of the slice's organic traffic, which the policy has (`organic`). The bid factor is
q = 1 + r / 2, between a half and two: an ad system ranks its adverts by bid x action rate x q. The
rank of an advert among all videos moves by log2 q, as `RANK_MOST` has it. Nothing else is moved: it
is widened and stopped as every video is.

Orders are paid for: an advert could buy what they raise. So they are left out of u. Who orders is
one more viewer who pressed something, as who comments is; nothing else of an order is left.

All of it is integers, micro-units.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import isqrt
from typing import Final, NamedTuple

from streams.core.boundary import ln
from streams.core.counters import VideoState
from streams.core.events import Policy, SlicePolicy
from streams.core.posterior import expected, solve, sum_factors
from streams.core.rule import estimate_in
from streams.core.units import MICROS

FORMULA: Final = 1
"""Version of what q is made of."""
FACTOR_LEAST: Final = MICROS // 2
FACTOR_MOST: Final = 2 * MICROS
RANK_MOST: Final = 50_000
"""The score of an advert moves by so much value at most, up or down."""
_LN_2: Final = ln(2 * MICROS)


class AdvertWorth(NamedTuple):
    """What a view of an advert is worth in one slice, its orders apart, and what that makes of q.

    `usual` is the mean of the slice's organic traffic.
    """

    mean: int
    usual: int
    factor: int


def advert_worth(
    policy: Policy, video: VideoState, slices: Iterable[str]
) -> dict[str, AdvertWorth]:
    """Return what an advert is worth in slices of the policy, whether it was shown there or not."""
    if not video.views:
        fits = video.row.fits
        means = {name: expected(policy, policy.slices[name], fits.get(name, 0)) for name in slices}
    else:
        bare = without_orders(video)
        tastes = solve(sum_factors(policy, bare))
        means = {name: estimate_in(policy, bare, name, tastes).mean for name in slices}
    worth = {}
    for name, mean in means.items():
        spec = policy.slices[name]
        usual = policy.organic.get(name, spec.prior_mean)
        worth[name] = AdvertWorth(mean, usual, bid_factor(mean - usual, spec))
    return worth


def bid_factor(above: int, spec: SlicePolicy) -> int:
    """Return q of an advert whose u lies so far above the mean of the organic traffic.

    >>> spec = SlicePolicy(9, 9, 380_000, 6_400, 100_000, 350_000, loadings=(60_000, 0, 0))
    >>> [bid_factor(above, spec) for above in (-500_000, -20_000, 0, 100_000, 300_000)]
    [500000, 900000, 1000000, 1500000, 2000000]
    """
    spread = isqrt(spec.own_variance * MICROS + sum(load * load for load in spec.loadings))
    factor = MICROS + above * MICROS // (2 * max(spread, 1))
    return min(max(factor, FACTOR_LEAST), FACTOR_MOST)


def rank_move(factor: int) -> int:
    """Return what a bid factor adds to the score.

    >>> [rank_move(factor) for factor in (500_000, 1_000_000, 1_500_000, 2_000_000)]
    [-50000, 0, 29248, 50000]
    """
    return max(RANK_MOST * ln(factor) // _LN_2, -RANK_MOST)


def without_orders(video: VideoState) -> VideoState:
    """Return a video as if nobody had ordered anything; the video itself where nobody did."""
    if not any(row.buyers for row in video.slices.values()):
        return video
    bare = VideoState()
    bare.row = video.row
    bare.slices = {
        name: replace(row, buyers=0, weighed=None if row.buyers else row.weighed, summed=None)
        for name, row in video.slices.items()
    }
    return bare

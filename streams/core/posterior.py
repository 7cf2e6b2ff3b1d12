"""What feedback says: one posterior of a video's value over all slices, and the index of each pair.

A video is worth different things to different crowds, but not independently: three unknown tastes
of the video, each of unit variance, move all slices by the policy's loadings, and each slice has a
part of its own (a factor model). So what one crowd thinks moves what is expected of the others.

All arguments and results are integers, and so is the arithmetic between: the same inputs give the
same bytes on every machine. Values, means and standard deviations are micro-units of value per
view, variances micro-units of value squared. Rounding is towards minus infinity.
"""

# ruff: noqa: PLR1730 - comparisons take a third of the time of `max`, and rows are many

from collections.abc import Mapping
from math import isqrt
from typing import Final, NamedTuple

from msgspec.structs import astuple, replace

from streams.core.boundary import psi
from streams.core.counters import Slice, Totals, VideoState, Weighed
from streams.core.delay import with_young
from streams.core.distinct import (
    granted_views,
    weighing_buttons,
    weighing_views,
)
from streams.core.events import Policy, SlicePolicy
from streams.core.fading import evidence_of
from streams.core.units import MICROS

UNIT: Final = 10**12
"""One, in the scale of factor sums: fine enough for 2 micro-units in any mean."""


class Sums(NamedTuple):
    """Factor sums of a video: everything that its slices say about its three tastes.

    The symmetric matrix `A = I + sum of w L L'` by rows of its upper triangle, and
    `b = sum of w (y - m) L`, both in units of 10^-12; `w` is views / (noise + views x own variance)
    of a slice, `L` its loadings, `y` the mean value of its views and `m` what was expected before.
    """

    a11: int = UNIT
    a12: int = 0
    a13: int = 0
    a22: int = UNIT
    a23: int = 0
    a33: int = UNIT
    b1: int = 0
    b2: int = 0
    b3: int = 0


class Posterior(NamedTuple):
    """Posterior of a video's three tastes, unreduced: cofactors of A, determinant, and g = cof b.

    Their mean is g / det, their covariance the cofactors / det.
    """

    c11: int
    c12: int
    c13: int
    c22: int
    c23: int
    c33: int
    det: int
    g1: int
    g2: int
    g3: int


class Estimate(NamedTuple):
    """Posterior mean and standard deviation, the index, and the noise variance they rest on."""

    mean: int
    sd: int
    score: int  # the index
    noise: int


def weigh(policy: Policy, spec: SlicePolicy, row: Slice, fit: int) -> Weighed:
    """Return what the views of one slice say, as far as they weigh; nothing without a view.

    `fit` is how well the video's tags match the slice, micro-units. The noise is the variance of
    one view's value: that of these views, shrunk towards the slice's, which weighs `noise_views`
    views (mean of a scaled inverse chi square, Gelman et al., Bayesian Data Analysis, 2.6). Among
    these views it is that of watching, plus w^2 p (1 - p) of each button, pressed by a share p of
    the views, as if apart from each other, plus twice `noise_cross` times the means of both: who
    watches on presses more.
    """
    if not row.views:
        return Weighed(policy, 0, 0, spec.noise_variance, spec.noise_variance, 0, 0)
    seen, ratio, views = row.views, row.ratio_sum // row.views, weighing_views(row)
    watch, *weights = astuple(policy.weights)
    buttons = apart = 0
    for weight, count in zip(weights, weighing_buttons(row, policy.annoyed_share), strict=False):
        if count:
            worth = weight * count
            buttons += worth
            apart += worth * (seen * weight - worth)
    hoped = with_young(row, spec, buttons) - buttons
    buttons += hoped
    value = watch * row.ratio_sum // MICROS + buttons
    spread = watch * watch // MICROS * (row.ratio_sq // seen - ratio * ratio // MICROS) // MICROS
    together = watch * ratio // MICROS * (buttons // seen) // MICROS
    spread += apart // (MICROS * seen * seen) + 2 * policy.noise_cross * together // MICROS
    if views != seen:
        value = value * views // seen
        hoped = hoped * views // seen
    noise = policy.noise_views * spec.noise_variance + (views * spread if spread > 0 else 0)
    noise //= policy.noise_views + views
    if noise < policy.noise_floor:
        noise = policy.noise_floor
    scale = noise + views * spec.own_variance
    weight = views * UNIT // scale
    pull = UNIT * (value - views * expected(policy, spec, fit)) // scale
    return Weighed(policy, views, value, noise, scale, weight, pull, hoped)


def expected(policy: Policy, spec: SlicePolicy, fit: int) -> int:
    """Return the mean before any view: the slice's, raised by how well the tags fit."""
    return spec.prior_mean + policy.fit_value * fit // MICROS


def weighed(policy: Policy, slice_id: str, row: Slice, fits: Mapping[str, int]) -> Weighed:
    """Return `weigh` of what still weighs of a row, computed once for what it holds.

    Where the next impression may let more of its views weigh, that is known for so long only.
    """
    known = row.weighed
    if known is not None and (
        known.policy is policy or (known.waiting is policy and known.impressions == row.impressions)
    ):
        return known
    seen = evidence_of(row)
    known = weigh(policy, policy.slices[slice_id], seen, fits.get(slice_id, 0))
    if known.views != seen.views and known.views != granted_views(seen):
        known = replace(known, policy=None, waiting=policy, impressions=row.impressions)
    row.weighed = known
    return known


def sum_factors(policy: Policy, video: VideoState) -> Sums:
    """Return the factor sums of a video over all its slices with views; their order is nothing.

    Only what changed since the last time is summed anew: integers forget nothing and gain nothing.
    """
    totals = video.totals
    if totals is None or totals.policy is not policy:
        totals = video.totals = Totals(policy)
        for row in video.slices.values():
            row.summed = None
    _sum_anew(totals, policy, video)
    a11, a12, a13, a22, a23, a33, b1, b2, b3 = totals.sums
    return Sums(
        UNIT + a11 // MICROS,
        a12 // MICROS,
        a13 // MICROS,
        UNIT + a22 // MICROS,
        a23 // MICROS,
        UNIT + a33 // MICROS,
        b1 // MICROS,
        b2 // MICROS,
        b3 // MICROS,
    )


def solve(sums: Sums) -> Posterior:
    """Return the posterior of the tastes, by cofactors: no fraction is rounded on the way."""
    a11, a12, a13, a22, a23, a33, b1, b2, b3 = sums
    c11 = a22 * a33 - a23 * a23
    c12 = a13 * a23 - a12 * a33
    c13 = a12 * a23 - a13 * a22
    c22 = a11 * a33 - a13 * a13
    c23 = a12 * a13 - a11 * a23
    c33 = a11 * a22 - a12 * a12
    return Posterior(
        c11,
        c12,
        c13,
        c22,
        c23,
        c33,
        a11 * c11 + a12 * c12 + a13 * c13,
        c11 * b1 + c12 * b2 + c13 * b3,
        c12 * b1 + c22 * b2 + c23 * b3,
        c13 * b1 + c23 * b2 + c33 * b3,
    )


def estimate(spec: SlicePolicy, base: int, seen: Weighed | None, tastes: Posterior) -> Estimate:
    """Return posterior and index of the mean value per view of a video in one slice.

    `base` is the mean before any view (`expected`), `seen` what the slice's own views say.

    With f and V = A^-1 the mean and covariance of the tastes, n own / (noise + n own) = h:
    mean = base + L f + h (y - base - L f), variance = own (1 - h) + (1 - h)^2 L' V L (the
    conditional normal of a factor model, e.g. Rasmussen & Williams 2006, 2.7, by the matrix
    inversion lemma). The index is that of a one-armed bandit with `horizon` impressions to come:
    mean + sd psi(variance horizon / noise) (Brezzi & Lai 2002, Optimal learning and
    experimentation in bandit problems, J. Economic Dynamics & Control 27, with the horizon
    1 / -ln(discount) replaced by the policy's). Variances have the scale of squared micro-units
    here: in millionths, that of a thousand views would be a few units.
    """
    l1, l2, l3 = spec.loadings
    c11, c12, c13, c22, c23, c33, det, g1, g2, g3 = tastes
    shift = (l1 * g1 + l2 * g2 + l3 * g3) // det
    c1 = l1 * c11 + 2 * (l2 * c12 + l3 * c13)
    common = (l1 * c1 + l2 * (l2 * c22 + 2 * l3 * c23) + l3 * l3 * c33) * UNIT // det
    mean, own = base + shift, spec.own_variance
    if seen is None:
        noise, variance = spec.noise_variance, own * MICROS + common
    else:
        noise, scale = seen.noise, seen.scale
        mean += own * (seen.value - seen.views * mean) // scale
        variance = own * noise * MICROS // scale + noise * noise * common // (scale * scale)
    sd = isqrt(variance)
    score = mean + sd * psi(variance * spec.horizon // noise) // MICROS
    return Estimate(mean, sd, score, noise)


def _sum_anew(totals: Totals, policy: Policy, video: VideoState) -> None:
    """Put what slices say in the place of what they said before."""
    a11, a12, a13, a22, a23, a33, b1, b2, b3 = totals.sums
    fits = video.row.fits
    for slice_id, row in video.slices.items():
        known, before = row.weighed, row.summed
        if known is not None and known is before and known.policy is not None:
            continue
        if not row.views or slice_id not in policy.slices:
            continue
        known = weighed(policy, slice_id, row, fits)
        if known is before:
            continue
        row.summed = known
        w, pull = known.weight, known.pull
        if before is not None:
            w -= before.weight
            pull -= before.pull
        l1, l2, l3 = policy.slices[slice_id].loadings
        w1, w2 = w * l1, w * l2
        a11 += w1 * l1
        a12 += w1 * l2
        a13 += w1 * l3
        a22 += w2 * l2
        a23 += w2 * l3
        a33 += w * l3 * l3
        b1 += pull * l1
        b2 += pull * l2
        b3 += pull * l3
    totals.sums = a11, a12, a13, a22, a23, a33, b1, b2, b3

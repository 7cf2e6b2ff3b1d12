"""The decision of 0.1.0: what a slice's evidence is worth, and which slice a video tries next.

Reads rows and the policy in force, changes nothing. Integers in micro-units, rounded down.
"""

from math import isqrt
from typing import Final, NamedTuple

from streams.core.boundary import psi
from streams.core.counters import IDLE, VideoState
from streams.core.events import FirstPolicy, FirstSlicePolicy
from streams.core.first_rows import FirstSlice, FirstVideo, own_row, rows_of
from streams.core.units import MICROS, NEVER, surface_of

FIRST_CHECKPOINT: Final = 10
"""Views before the first judgement, and between judgements until 5 % is more."""
_LN_SCALE: Final = 10**12
_LN_2: Final = 693_147_180_560  # at _LN_SCALE
_LN_16_PI: Final = 3_917_318


class FirstAssessment(NamedTuple):
    """What evidence says of one (video, slice) against its price."""

    prior_mean: int
    prior_variance: int
    noise_variance: int
    mean: int
    sd: int
    score: int  # its index
    price: int
    z: int  # posterior standard deviations of the mean above the price
    reach_left: int  # impressions


class FirstRuling(NamedTuple):
    """One decision to take: `tranche` impressions are granted with it."""

    action: str
    reason: str
    tranche: int


def assess(
    policy: FirstPolicy, spec: FirstSlicePolicy, video_row: FirstVideo, row: FirstSlice
) -> FirstAssessment:
    """Return posterior, index and price of one (video, slice).

    A conjugate normal posterior; the index is that of a one-armed bandit with the slice's reach
    left to come.
    """
    left = max(spec.reach - row.impressions, 0)
    noise = _noise(policy, spec, row)
    variance = spec.prior_variance
    scale = noise + row.views * variance
    mean = (row.prior_mean * noise + variance * row.value_sum) // scale
    sd = isqrt(variance * noise * MICROS // scale)
    index = mean + sd * _psi(variance * left * MICROS // scale) // MICROS
    price = price_of(policy, spec, video_row)
    z = (mean - price) * MICROS // max(sd, 1)
    return FirstAssessment(row.prior_mean, variance, noise, mean, sd, index, price, z, left)


def price_of(policy: FirstPolicy, spec: FirstSlicePolicy, video_row: FirstVideo) -> int:
    """Return what an impression of this video must be worth in this slice."""
    price = spec.price
    if video_row.tier == "ordinary":
        price -= policy.ordinary_subsidy
    if video_row.commercial:
        price = price * policy.commercial_price // MICROS
    return price


def rule(
    policy: FirstPolicy,
    slice_id: str,
    video_row: FirstVideo,
    row: FirstSlice,
    assessment: FirstAssessment,
) -> FirstRuling | None:
    """Return what the evidence asks for at a checkpoint of an active slice, None for nothing."""
    spec = policy.slices[slice_id]
    delivered = surface_of(slice_id) == "following"
    if assessment.score < assessment.price and not delivered:
        return FirstRuling("stop", "index_below_price", 0)
    room = room_of(policy, spec, slice_id, video_row, row)
    used = (row.impressions - row.allowance + row.tranche) * MICROS
    if room:
        beats = assessment.z >= policy.widen_z and row.stage < policy.top_stage
        if beats and used >= row.tranche * policy.widen_used:
            tranche = policy.tranche * policy.growth ** (row.stage + 1)
            return FirstRuling("widen", "mean_beats_price", min(tranche, room))
        if used >= row.tranche * policy.nearly_used and row.views > row.granted_views:
            tranche = policy.tranche * policy.growth**row.stage
            return FirstRuling("keep", "allowance_nearly_used", min(tranche, room))
    elif row.impressions >= row.allowance and not delivered:
        reached = max(row.allowance, row.impressions) >= spec.reach
        return FirstRuling("stop", "reach_used" if reached else "budget_spent", 0)
    return None


def room_of(
    policy: FirstPolicy,
    spec: FirstSlicePolicy,
    slice_id: str,
    video_row: FirstVideo,
    row: FirstSlice,
) -> int:
    """Return how many impressions can still be granted: reach left, and budget on the public."""
    room = spec.reach - max(row.allowance, row.impressions)
    if surface_of(slice_id) != "following":
        room = min(room, policy.budget - video_row.granted)
    return max(room, 0)


def set_checkpoints(policy: FirstPolicy, row: FirstSlice) -> None:
    """Set where an active slice is judged next."""
    row.check_views = row.views + max(FIRST_CHECKPOINT, row.views // 20)
    shown = -(-row.tranche * policy.nearly_used // MICROS)
    row.check_impressions = row.allowance - row.tranche + shown
    if row.impressions >= row.check_impressions:
        beyond = row.impressions >= row.allowance
        row.check_impressions = NEVER if beyond else row.allowance
        if row.views == row.granted_views:
            row.check_views = row.views + 1


def predicted_mean(policy: FirstPolicy, video: VideoState, slice_id: str) -> int:
    """Return the expected mean value of a video in a slice before any evidence there.

    The slice's prior mean, raised by the fit of the tags, moved by what the video did beside what
    was expected in the slices tried so far, weighted by their affinity.
    """
    spec, own = policy.slices[slice_id], own_row(video)
    moved = weight_sum = 0
    for tried, row in rows_of(video).items():
        weight = spec.neighbours.get(tried, 0)
        if not weight or row.status == IDLE or not row.views or tried not in policy.slices:
            continue
        mean = assess(policy, policy.slices[tried], own, row).mean
        moved += weight * (mean - policy.slices[tried].prior_mean)
        weight_sum += weight
    fit = policy.fit_value * own.fits.get(slice_id, 0) // MICROS
    return spec.prior_mean + fit + moved // max(weight_sum, MICROS)


def next_slice(policy: FirstPolicy, video: VideoState) -> str | None:
    """Return the public slice to try next: the best predicted gain over its price, if any."""
    own, rows = own_row(video), rows_of(video)
    if own.stage != "public":
        return None
    best: tuple[int, str] | None = None
    for slice_id in sorted(policy.slices):
        spec = policy.slices[slice_id]
        row = rows.get(slice_id) or FirstSlice()
        room = room_of(policy, spec, slice_id, own, row)
        if not _is_reachable(slice_id, own) or row.status != IDLE or not room:
            continue
        mean = predicted_mean(policy, video, slice_id)
        hoped = assess(policy, spec, own, FirstSlice(prior_mean=mean))
        gain = mean - hoped.price
        if hoped.score >= hoped.price and (best is None or gain > best[0]):
            best = (gain, slice_id)
    return best[1] if best else None


def _is_reachable(slice_id: str, video_row: FirstVideo) -> bool:
    surface = surface_of(slice_id)
    return surface == "discover" or (surface == "nearby" and slice_id in video_row.fits)


def _noise(policy: FirstPolicy, spec: FirstSlicePolicy, row: FirstSlice) -> int:
    """Return the variance of one view's value: the sample's, shrunk towards the slice's."""
    views = row.views
    if not views:
        return max(spec.noise_variance, policy.noise_floor)
    spread = max(row.value_sq - row.value_sum * row.value_sum // (views * MICROS), 0)
    noise = policy.noise_views * spec.noise_variance + spread
    return max(noise // (policy.noise_views + views), policy.noise_floor)


def _psi(s: int) -> int:
    if s <= 15_000_000:
        return psi(s)
    log = _ln(s)
    return isqrt((2 * log - _ln(log) - _LN_16_PI) * MICROS)


def _ln(x: int) -> int:
    """Return the natural logarithm as 0.1.0 rounded it: in rare cases one below today's."""
    k = x.bit_length() - MICROS.bit_length()
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

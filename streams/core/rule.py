"""The decision: what a slice's evidence is worth, whether to widen, keep or stop, where to go next.

Reads rows and the policy in force, changes nothing; `fold` writes what is decided here.
"""

from typing import Final, NamedTuple

from streams.core.counters import IDLE, Slice, Video, VideoState
from streams.core.estimate import Estimate, Evidence, Prior, estimate
from streams.core.events import Policy, SlicePolicy, Weights
from streams.core.receipts import Action, Reason
from streams.core.units import MICROS, NEVER, surface_of

DEFAULT_WEIGHTS: Final = Weights(
    watch=600_000,
    complete=100_000,
    like=500_000,
    comment=600_000,
    share=800_000,
    follow=1_000_000,
    hide=-1_000_000,
    report=-2_000_000,
    order=1_000_000,
)
"""What feedback is worth while no policy was ever in force: a video may be watched before."""

FIRST_CHECKPOINT: Final = 10
"""Views before the first judgement, and between judgements until 5 % is more."""


class Assessment(NamedTuple):
    """What evidence says of one (video, slice) against its price; all micro-units."""

    prior: Prior
    estimate: Estimate
    price: int
    z: int  # posterior standard deviations of the mean above the price
    reach_left: int  # impressions


class Ruling(NamedTuple):
    """One decision to take: `tranche` impressions are granted with it."""

    action: Action
    reason: Reason
    tranche: int


def assess(policy: Policy, spec: SlicePolicy, video_row: Video, row: Slice) -> Assessment:
    """Return posterior, index and price of one (video, slice)."""
    prior = Prior(row.prior_mean, spec.prior_variance, spec.noise_variance)
    evidence = Evidence(row.views, row.value_sum, row.value_sq)
    reach_left = max(spec.reach - row.impressions, 0)
    posterior = estimate(prior, evidence, reach_left, policy.noise_views, policy.noise_floor)
    price = price_of(policy, spec, video_row)
    z = (posterior.mean - price) * MICROS // max(posterior.sd, 1)
    return Assessment(prior, posterior, price, z, reach_left)


def price_of(policy: Policy, spec: SlicePolicy, video_row: Video) -> int:
    """Return what an impression of this video must be worth in this slice.

    The slice's price, lower by the subsidy for ordinary creators, times a factor for commercial
    content.
    """
    price = spec.price
    if video_row.tier == "ordinary":
        price -= policy.ordinary_subsidy
    if video_row.commercial:
        price = price * policy.commercial_price // MICROS
    return price


def rule(
    policy: Policy,
    spec: SlicePolicy,
    slice_id: str,
    video_row: Video,
    row: Slice,
    assessment: Assessment,
) -> Ruling | None:
    """Return what the evidence asks for at a checkpoint of an active slice, None for nothing.

    1. stop if the index is below the price (never on `following`: its delivery belongs to the
       followers, it only stops widening);
    2. widen if the mean beats the price with the policy's probability, once `widen_used` of the
       latest tranche was shown: a tranche is there to be learned from;
    3. keep, once `nearly_used` of the latest tranche was shown and there is new evidence;
    4. stop when reach or budget are used up.
    """
    delivered = surface_of(slice_id) == "following"
    if assessment.estimate.index < assessment.price and not delivered:
        return Ruling("stop", "index_below_price", 0)
    room = room_of(policy, spec, slice_id, video_row, row)
    used = (row.impressions - row.allowance + row.tranche) * MICROS
    if room:
        beats = assessment.z >= policy.widen_z and row.stage < policy.top_stage
        if beats and used >= row.tranche * policy.widen_used:
            tranche = policy.tranche * policy.growth ** (row.stage + 1)
            return Ruling("widen", "mean_beats_price", min(tranche, room))
        if used >= row.tranche * policy.nearly_used and row.views > row.granted_views:
            tranche = policy.tranche * policy.growth**row.stage
            return Ruling("keep", "allowance_nearly_used", min(tranche, room))
    elif row.impressions >= row.allowance and not delivered:
        reached = max(row.allowance, row.impressions) >= spec.reach
        return Ruling("stop", "reach_used" if reached else "budget_spent", 0)
    return None


def room_of(policy: Policy, spec: SlicePolicy, slice_id: str, video_row: Video, row: Slice) -> int:
    """Return how many impressions can still be granted: reach left, and budget on the public."""
    room = spec.reach - max(row.allowance, row.impressions)
    if surface_of(slice_id) != "following":
        room = min(room, policy.budget - video_row.granted)
    return max(room, 0)


def set_checkpoints(policy: Policy, row: Slice) -> None:
    """Set where an active slice is judged next.

    By views at 10, 20, 30, ... and then every 5 %; by impressions when the latest tranche is
    nearly used. Past that, without a view since the grant, at the next view: an allowance is
    topped up on evidence only.
    """
    row.check_views = row.views + max(FIRST_CHECKPOINT, row.views // 20)
    row.check_impressions = nearly_used_at(policy, row)
    if row.impressions >= row.check_impressions:
        if row.impressions < row.allowance:
            row.check_impressions = row.allowance
        else:
            row.check_impressions = NEVER
        if row.views == row.granted_views:
            row.check_views = row.views + 1


def nearly_used_at(policy: Policy, row: Slice) -> int:
    """Return the impressions from which on the latest tranche counts as nearly used."""
    shown = -(-row.tranche * policy.nearly_used // MICROS)
    return row.allowance - row.tranche + shown


def predicted_mean(policy: Policy, video: VideoState, slice_id: str) -> int:
    """Return the expected mean value of a video in a slice before any evidence there.

    The slice's prior mean, raised by how well the tags fit, moved by how much the video did
    better or worse than expected in the slices tried so far, weighted by their affinity. Weights
    below one in sum leave the rest of the weight on the prior.
    """
    spec = policy.slices[slice_id]
    moved = weight_sum = 0
    for tried, row in video.slices.items():
        weight = spec.neighbours.get(tried, 0)
        if not weight or row.status == IDLE or not row.views or tried not in policy.slices:
            continue
        assessment = assess(policy, policy.slices[tried], video.row, row)
        moved += weight * (assessment.estimate.mean - policy.slices[tried].prior_mean)
        weight_sum += weight
    fit = policy.fit_value * video.row.fits.get(slice_id, 0) // MICROS
    return spec.prior_mean + fit + moved // max(weight_sum, MICROS)


def next_slice(policy: Policy, video: VideoState) -> str | None:
    """Return the public slice to try next: the best predicted gain over its price.

    Among the slices of `discover` and those that the admission named, not tried yet and worth
    learning about (index at the prediction at least the price). None ends the video.
    """
    if video.row.stage != "public":
        return None
    best: tuple[int, str] | None = None
    for slice_id in sorted(policy.slices):
        spec = policy.slices[slice_id]
        row = video.slices.get(slice_id) or Slice()
        if (
            not _reachable(slice_id, video.row)
            or row.status != IDLE
            or not room_of(policy, spec, slice_id, video.row, row)
        ):
            continue
        mean = predicted_mean(policy, video, slice_id)
        prior = Prior(mean, spec.prior_variance, spec.noise_variance)
        price = price_of(policy, spec, video.row)
        nothing = Evidence(0, 0, 0)
        expected = estimate(prior, nothing, spec.reach, policy.noise_views, policy.noise_floor)
        gain = mean - price
        if expected.index >= price and (best is None or gain > best[0]):
            best = (gain, slice_id)
    return best[1] if best else None


def _reachable(slice_id: str, video_row: Video) -> bool:
    surface = surface_of(slice_id)
    return surface == "discover" or (surface == "nearby" and slice_id in video_row.fits)

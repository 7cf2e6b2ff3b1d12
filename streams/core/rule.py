"""The decision: what a slice's evidence is worth, and whether to widen, keep or stop there.

Reads rows and the policy in force, changes nothing; `distribution` writes what is decided here.
"""

# ruff: noqa: FURB136, PLR1730 - comparisons take a third of the time of `min`, and rooms are many

from typing import Final, NamedTuple

from streams.core.counters import ACTIVE, HELD, IDLE, LAPSED, STOPPED, Slice, Video, VideoState
from streams.core.distinct import granted_views
from streams.core.events import Policy, SlicePolicy, first_tranche
from streams.core.exploration import is_tried
from streams.core.fading import evidence_of, views_left
from streams.core.outlook import Outlook
from streams.core.posterior import (
    Estimate,
    Posterior,
    Sums,
    estimate,
    expected,
    solve,
    sum_factors,
    weighed,
)
from streams.core.receipts import Action, Reason
from streams.core.units import MICROS, NEVER, surface_of

FIRST_CHECKPOINT: Final = 10
"""Views, or impressions, before the first judgement."""
STEP_CHECKPOINT: Final = 15
"""More of them before the next ones, until a quarter is more."""
MOST_RETURNS: Final = 3
"""Second chances of one slice."""
_NOBODY_SAW: Final = Slice()


class Assessment(NamedTuple):
    """What the evidence says of one (video, slice) against its price; micro-units."""

    base: int  # mean before any view
    views: int  # there that weigh
    value: int  # of those, summed
    hoped: int  # of that, for buttons that are still to come
    sums: Sums
    estimate: Estimate
    price: int
    z: int  # posterior standard deviations of the mean above the price, without what is hoped for


class Ruling(NamedTuple):
    """One decision to take: `tranche` impressions are granted with it."""

    action: Action
    reason: Reason
    tranche: int


def assess(
    outlook: Outlook, video: VideoState, slice_id: str, row: Slice, sums: Sums | None = None
) -> Assessment:
    """Return posterior, index and price of one (video, slice) of the policy.

    `sums` are the video's, if they are known.
    """
    policy = outlook.policy
    spec = policy.slices[slice_id]
    fits = video.row.fits
    base = expected(policy, spec, fits.get(slice_id, 0))
    seen = weighed(policy, slice_id, row, fits) if row.views else None
    sums = sums or sum_factors(policy, video)
    posterior = estimate(spec, base, seen, solve(sums))
    price = outlook.price(slice_id, video.row)
    views = value = hoped = 0
    mean = posterior.mean
    if seen is not None:
        views, value, hoped = seen.views, seen.value, seen.hoped
        if hoped:  # it keeps a slice from being stopped, and buys no widening
            mean -= spec.own_variance * hoped // seen.scale
    z = (mean - price) * MICROS // max(posterior.sd, 1)
    return Assessment(base, views, value, hoped, sums, posterior, price, z)


def estimate_in(policy: Policy, video: VideoState, slice_id: str, tastes: Posterior) -> Estimate:
    """Return posterior and index of a video in one slice of the policy, shown there or not."""
    spec, fits = policy.slices[slice_id], video.row.fits
    row = video.slices.get(slice_id)
    seen = weighed(policy, slice_id, row, fits) if row is not None and row.views else None
    return estimate(spec, expected(policy, spec, fits.get(slice_id, 0)), seen, tastes)


def open_slices(outlook: Outlook, video: VideoState) -> list[str]:
    """Return the slices that are open to a video, best before any view first.

    Then those where its own views keep it, although nobody would begin there at today's price.
    """
    rows, outset = video.slices, outlook.outset(video.row).slices
    if not rows:
        return list(outset)
    opened = [name for name in outset if name not in rows or rows[name].status != STOPPED]
    kept = {name for name, row in rows.items() if row.status in {ACTIVE, HELD}}.difference(opened)
    return opened + sorted(name for name in kept if outlook.reaches(name, video.row))


def allowance_of(policy: Policy, video: VideoState, slice_id: str) -> int:
    """Return the impressions granted in a slice that is open: a first tranche before any row."""
    row = video.slices.get(slice_id, _NOBODY_SAW)
    if row.status != IDLE:
        return row.allowance
    room = room_of(policy, policy.slices[slice_id], slice_id, video.row, row)
    if row is _NOBODY_SAW:
        return min(room, first_tranche(policy))
    return max(row.allowance, row.impressions) + min(first_tranche(policy), room)


def rule(
    policy: Policy, slice_id: str, video_row: Video, row: Slice, assessment: Assessment
) -> Ruling | None:
    """Return what the evidence asks for at a checkpoint of an active slice, None for nothing.

    1. stop if the index is below the price (never on `following`: its delivery belongs to the
       followers, it only stops widening), and wait if too few different viewers say so, or if a
       drawn tranche is not shown to its end;
    2. widen if the mean beats the price with the policy's probability and enough different viewers
       were there, once `widen_used` of the latest tranche was shown: a tranche is there to be
       learned from;
    3. keep, once `nearly_used` of the latest tranche was shown and there is new evidence;
    4. stop when reach or budget are used up.
    """
    spec = policy.slices[slice_id]
    delivered = surface_of(slice_id) == "following"
    viewers = row.viewers.bit_count()
    if assessment.estimate.score < assessment.price and not delivered:
        enough = viewers >= policy.stop_viewers and not is_tried(video_row, slice_id, row)
        return Ruling("stop", "index_below_price", 0) if enough else None
    room = room_of(policy, spec, slice_id, video_row, row)
    used = (row.impressions - row.allowance + row.tranche) * MICROS
    if room:
        beats = assessment.z >= policy.widen_z and row.stage < policy.top_stage
        beats = beats and viewers >= _widen_viewers(policy, row.stage)
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


def is_decidable(policy: Policy, slice_id: str, video_row: Video, row: Slice) -> bool:
    """Tell whether `rule` may ask for anything at a checkpoint, whatever the evidence says.

    Where it may not, nothing has to be weighed. So it is at most first checkpoints, where too few
    different viewers were there for a stop or a widening.
    """
    viewers = row.viewers.bit_count()
    delivered = surface_of(slice_id) == "following"
    if viewers >= policy.stop_viewers and not delivered and not is_tried(video_row, slice_id, row):
        return True
    if not room_of(policy, policy.slices[slice_id], slice_id, video_row, row):
        return row.impressions >= row.allowance and not delivered
    used = (row.impressions - row.allowance + row.tranche) * MICROS
    if used >= row.tranche * policy.nearly_used:
        return True
    widens = row.stage < policy.top_stage and viewers >= _widen_viewers(policy, row.stage)
    return widens and used >= row.tranche * policy.widen_used


def comes_back(policy: Policy, row: Slice, assessment: Assessment) -> bool:
    """Tell whether a slice that evidence stopped gets a second chance.

    Its index lies above the price by a margin that doubles each time, it came back less than
    `MOST_RETURNS` times, and most of what was granted still weighs: fakes that leave nothing to
    judge do not bring it back.
    """
    if row.cause != LAPSED or row.returns >= MOST_RETURNS:
        return False
    margin = policy.return_margin << row.returns
    seen = evidence_of(row)
    weighs = 2 * assessment.views >= min(seen.views, granted_views(seen))
    return weighs and assessment.estimate.score >= assessment.price + margin


def next_look(views: int) -> int:
    """Return the views of a video from which on its stopped slices are looked at again."""
    return views + max(FIRST_CHECKPOINT, views // 20)


def room_of(policy: Policy, spec: SlicePolicy, slice_id: str, video_row: Video, row: Slice) -> int:
    """Return how many impressions can still be granted: reach left, and budget on the public."""
    used = row.allowance
    if row.impressions > used:
        used = row.impressions
    room = spec.reach - used
    left = policy.budget - video_row.granted
    if left < room and surface_of(slice_id) != "following":
        room = left
    return room if room > 0 else 0


def set_checkpoints(policy: Policy, row: Slice) -> None:
    """Set where an active slice is judged next.

    By views at 10, 25, 40, 55, 70 and then with every quarter more, in a live room with a quarter
    more than still weigh; by impressions when the latest
    tranche is nearly used. Past that, without a view since the grant, at the next view: an
    allowance is topped up on evidence only.
    """
    row.presses = 0
    row.check_views = _later(row.views) if row.faded is None else _soon(row)
    row.check_impressions = nearly_used_at(policy, row)
    if row.impressions >= row.check_impressions:
        if row.impressions < row.allowance:
            row.check_impressions = row.allowance
        else:
            row.check_impressions = NEVER
        if row.views == row.granted_views:
            row.check_views = row.views + 1


def look_again(row: Slice) -> None:
    """Set when to ask again whether an idle slice that feedback reaches is open by now."""
    row.check_views = _later(row.views)
    row.check_impressions = _later(row.impressions)


def nearly_used_at(policy: Policy, row: Slice) -> int:
    """Return the impressions from which on the latest tranche counts as nearly used."""
    shown = -(-row.tranche * policy.nearly_used // MICROS)
    return row.allowance - row.tranche + shown


def _widen_viewers(policy: Policy, stage: int) -> int:
    bars = policy.widen_viewers
    return bars[stage] if stage < len(bars) else 0


def _later(count: int) -> int:
    if count < FIRST_CHECKPOINT:
        return FIRST_CHECKPOINT
    return count + max(STEP_CHECKPOINT, count // 4)


def _soon(row: Slice) -> int:
    return row.views + max(STEP_CHECKPOINT, views_left(row) // 4)

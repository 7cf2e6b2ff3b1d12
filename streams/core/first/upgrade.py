"""How everything of a partition turns at its `upgrade` record: rows, policy, keys.

What a row of 0.1.0 knows of watching is a sum over its views of what they were worth then,

    value_sum = sum of (watch x ratio + complete, if the view was complete) + sum of the buttons
    value_sq  = sum of the square of each such part

so the watched shares are estimated, with the weights in force at the record (integers, rounded
down; n views, k of them complete; b runs over the buttons):

    ratio_sum = (value_sum - complete k - sum of b's weight x count) / watch
    ratio_sq  = (value_sq - sum of b's weight^2 x count
                 - (complete^2 + 2 watch complete) k) / watch^2

where a complete view counts as watched to its end. Weights that changed meanwhile, or views that
were nearly complete, leave an error; so both are kept where they are possible at all: a complete
view has at least `COMPLETE_PERCENT` of its video and at most all, another one at least nothing and
at most that much; and ratio_sum^2 / n <= ratio_sq <= ratio_sum. A policy that gives watching no
worth says nothing of it: then the middle of what is possible stands for the sum, and the least for
the squares. `estimated` tells how many views of a row are of this kind.

Who the viewers were is not known: where there was any, all bits of viewers are set, so nothing is
clipped, and each comment, share, report and order counts as its viewer's first. Everything else is
taken as it stands: counters, and what was granted and decided.
"""

from typing import Final

from streams.core.counters import (
    COMPLETE_PERCENT,
    COUNTERS,
    DISTRIBUTION,
    IDLE,
    Slice,
    Video,
    VideoState,
)
from streams.core.distinct import ALL_PRESSED, EVERYONE
from streams.core.events import (
    Weights,
)
from streams.core.first.translation import band_of_tier, named_fits, policy_of
from streams.core.first_rows import DEFAULT_WEIGHTS, FirstSlice, FirstVideo, own_row, rows_of
from streams.core.partition_control import Upgrade
from streams.core.rule import look_again
from streams.core.state import PartitionState
from streams.core.units import MICROS

BUTTONS: Final = ("like", "comment", "share", "follow", "hide", "report", "order")
_KEPT: Final = (*COUNTERS, *DISTRIBUTION, "digest", "salt")
_NEARLY: Final = COMPLETE_PERCENT * MICROS // 100


def upgrade(state: PartitionState, record: Upgrade) -> None:
    """Turn a partition; every video that is stored of it is in memory."""
    policy = state.first_policy
    weights = policy.weights if policy else DEFAULT_WEIGHTS
    state.changed.clear()
    state.set_trust(state.trust.after(record))
    if policy is not None:
        state.set_policy(policy_of(policy))
    for name, video in state.videos.items():
        if own_row(video) != FirstVideo():
            video.row_epoch = -1  # taken out of the changes just now
            state.touch_video(name, video)
        turn_video(video, weights)
        for slice_id, row in video.slices.items():
            state.touch_slice(name, video, slice_id, row)


def turn_video(video: VideoState, weights: Weights) -> None:
    """Turn the rows of one video."""
    first, rows = own_row(video), rows_of(video)
    begun = [name for name, row in rows.items() if row.status != IDLE]
    video.row = Video(
        stage=first.stage,
        band=band_of_tier(first.tier),
        commercial=first.commercial,
        seq=first.seq,
        decisions=first.decisions,
        granted=first.granted,
        strays=first.strays,
        fits={**named_fits(begun), **first.fits},
    )
    video.slices = {name: turn_slice(row, weights) for name, row in rows.items()}
    if first.stage != "unknown":
        for row in video.slices.values():
            if row.status == IDLE:
                look_again(row)


def turn_slice(first: FirstSlice, weights: Weights) -> Slice:
    """Return what a slice's row is from the `upgrade` record on.

    >>> row = FirstSlice(views=2, likes=1, value_sum=950_000, value_sq=392_500)
    >>> turned = turn_slice(row, DEFAULT_WEIGHTS)  # two views of 60 % and 15 %, and a like
    >>> turned.ratio_sum, turned.ratio_sq, turned.estimated
    (750000, 395833, 2)
    """
    row = Slice(**{name: getattr(first, name) for name in _KEPT})
    row.ratio_sum = _ratio_sum(first, weights)
    row.ratio_sq = _ratio_sq(first, weights, row.ratio_sum)
    row.estimated = first.views
    row.commenters, row.sharers = first.comments, first.shares
    row.reporters, row.buyers = first.reports, first.orders
    if any(getattr(first, name) for name in COUNTERS):
        row.viewers, row.likers, row.pressers = EVERYONE, ALL_PRESSED, ALL_PRESSED
    return row


def _ratio_sum(row: FirstSlice, weights: Weights) -> int:
    least = row.completes * _NEARLY
    most = row.completes * MICROS + (row.views - row.completes) * _NEARLY
    if not weights.watch:
        return (least + most) // 2
    buttons: int = sum(getattr(weights, name) * getattr(row, f"{name}s") for name in BUTTONS)
    watched = row.value_sum - weights.complete * row.completes - buttons
    return min(max(watched * MICROS // weights.watch, least), most)


def _ratio_sq(row: FirstSlice, weights: Weights, ratio_sum: int) -> int:
    if not row.views:
        return 0
    least = ratio_sum * ratio_sum // (row.views * MICROS)
    if not weights.watch:
        return least
    watched: int = row.value_sq * MICROS
    for name in BUTTONS:
        watched -= getattr(weights, name) ** 2 * getattr(row, f"{name}s")
    bonus = weights.complete * (weights.complete + 2 * weights.watch)
    watched -= bonus * row.completes
    return min(max(watched * MICROS // weights.watch**2, least), ratio_sum)

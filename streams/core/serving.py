"""What feeds are told: the score of each slice that is open to a video, and what may be shown."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from streams.core.counters import ACTIVE, IDLE, Slice, VideoState
from streams.core.outlook import Outlook
from streams.core.posterior import solve, sum_factors
from streams.core.rule import allowance_of, estimate_in
from streams.core.units import surface_of

STEP: Final = 1_000
"""A score that moved by less (micro-units of value) is not said again."""


class Entry(NamedTuple):
    """What is said of one (video, slice).

    `offset` is that of the record up to which its partition was folded. `due` public impressions
    are owed to the video here until `deadline` (ms since 1970); 0 if none are.
    """

    video: str
    offset: int
    score: int | None  # the posterior's index, micro-units; None: not to be shown here
    allowance: int = 0  # impressions granted so far
    impressions: int = 0  # counted so far
    band: int = 0
    commercial: bool = False
    deadline: int = 0
    due: int = 0


def entries(
    outlook: Outlook, video: str, state: VideoState, offset: int
) -> Iterator[tuple[str, Entry]]:
    """Yield slice and entry of everything about a video that feeds were not told yet.

    All open slices are scored again if the video was judged since the last call. Changes
    `state.scores` and `state.judged`, which nothing that is stored depends on.
    """
    told = state.scores
    now = _scores(outlook, state) if state.judged else told
    state.scores, state.judged = now, False
    due = owed(outlook, state)
    row = state.row
    deadline = row.admitted + outlook.policy.guarantee_ms
    for slice_id, score in now.items():
        counted = state.slices.get(slice_id)
        before = told.get(slice_id)
        changed = counted is not None and counted.epoch == state.touched
        if before is not None and abs(score - before) < STEP:
            now[slice_id] = before  # small moves must not add up unsaid
            if not changed:
                continue
        yield (
            slice_id,
            Entry(
                video,
                offset,
                score,
                allowance_of(outlook.policy, state, slice_id),
                counted.impressions if counted else 0,
                row.band,
                row.commercial,
                deadline if slice_id in due else 0,
                due.get(slice_id, 0),
            ),
        )
    for slice_id in told.keys() - now.keys():
        yield slice_id, Entry(video, offset, None)


def owed(outlook: Outlook, state: VideoState) -> dict[str, int]:
    """Return the impressions still owed to a video by slice: its guarantee, in its best crowds.

    Spread evenly over the `guarantee_slices` best-predicted public slices that were not stopped;
    what one was not given there moves on to the next.
    """
    left = state.row.guarantee
    if not left or state.row.stage != "public":
        return {}
    for slice_id, row in state.slices.items():
        if surface_of(slice_id) != "following":
            left -= row.impressions
    due: dict[str, int] = {}
    count = outlook.policy.guarantee_slices
    each = -(-state.row.guarantee // count)
    for prospect in outlook.prospects(state.row):
        row = state.slices.get(prospect.slice) or Slice()
        if left <= 0 or not count:
            break
        if surface_of(prospect.slice) == "following" or row.status not in {IDLE, ACTIVE}:
            continue
        count -= 1
        if (here := min(each - row.impressions, left)) > 0:
            due[prospect.slice] = here
            left -= here
    return due


def _scores(outlook: Outlook, state: VideoState) -> dict[str, int]:
    """Return the score of every slice that is open to a video."""
    policy = outlook.policy
    tastes = solve(sum_factors(policy, state.slices, state.row.fits))
    scores = {}
    for prospect in outlook.prospects(state.row):
        row = state.slices.get(prospect.slice)
        if row is None or row.status in {IDLE, ACTIVE}:
            scores[prospect.slice] = estimate_in(policy, state, prospect.slice, tastes).score
    return scores

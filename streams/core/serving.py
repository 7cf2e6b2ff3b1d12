"""What feeds are told: the score of each slice that is open to a video, and what may be shown."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from streams.core.counters import ACTIVE, IDLE, Told, VideoState
from streams.core.outlook import Outlook
from streams.core.posterior import solve, sum_factors
from streams.core.rule import allowance_of, estimate_in, open_slices
from streams.core.units import surface_of

STEP: Final = 1_000
"""A score that moved by less (micro-units of value) is not said again."""
_MOST: Final = (1 << 31) - 1
_SHOWN: Final = frozenset((IDLE, ACTIVE))


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
    outlook: Outlook, video: str, state: VideoState, touched: Sequence[str], offset: int
) -> Iterator[tuple[str, Entry]]:
    """Yield slice and entry of what feeds were not told yet of a video.

    All open slices are scored again if the video was judged since the last call; beside what moved
    then, the slices in `touched` are told, whose rows changed, and those where something else is
    owed. Changes `state.told`, `state.due`, `state.judged` and `state.controlled`, which nothing
    that is stored depends on.
    """
    due, before = owed(outlook, state), state.due
    if due or before:
        state.due = due
        moved = [name for name in {**before, **due} if due.get(name) != before.get(name)]
        touched = list(dict.fromkeys([*touched, *moved]))
    if state.judged:
        scores, gone = _scored_again(outlook, state, touched)
    else:
        scores, gone = _as_told(outlook, state, touched), []
    for slice_id in gone:
        yield slice_id, Entry(video, offset, None)
    row = state.row
    deadline = row.admitted + outlook.policy.guarantee_ms if due else 0
    for slice_id, score in scores.items():
        counted = state.slices.get(slice_id)
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
            if left <= 0:
                return {}
    count = outlook.policy.guarantee_slices
    each = -(-state.row.guarantee // count)
    rows, best = state.slices, list(islice(_crowds(outlook, state), count))
    due: dict[str, int] = {}
    for slice_id in best:
        shown = rows[slice_id].impressions if slice_id in rows else 0
        if (here := min(each - shown, left)) > 0:
            due[slice_id] = here
            left -= here
    if left and best:  # fewer crowds are open than it is spread over
        due[best[0]] = due.get(best[0], 0) + left
    return due


def _crowds(outlook: Outlook, state: VideoState) -> Iterator[str]:
    """Yield the public slices that may be shown, best before any view first."""
    for slice_id in _opened(outlook, state):
        row = state.slices.get(slice_id)
        if surface_of(slice_id) != "following" and (row is None or row.status in _SHOWN):
            yield slice_id


def _opened(outlook: Outlook, state: VideoState) -> Sequence[str]:
    """Return the slices that are open to a video, best before any view first."""
    told = state.told
    if told is not None and told.outlook is outlook and not state.controlled:
        return told.slices
    return open_slices(outlook, state)


def _scored_again(
    outlook: Outlook, state: VideoState, touched: Sequence[str]
) -> tuple[dict[str, int], Iterable[str]]:
    """Return the scores to tell after a judgement, and the slices that are not open any more."""
    before, slices = state.told, _opened(outlook, state)
    policy, rows = outlook.policy, state.slices
    tastes = solve(sum_factors(policy, rows, state.row.fits))
    told = {} if before is None else dict(zip(before.slices, before.scores, strict=True))
    scores: dict[str, int] = {}
    now = {}
    for slice_id in slices:
        row = rows.get(slice_id)
        if row is not None and row.status not in _SHOWN:
            continue
        score = _bounded(estimate_in(policy, state, slice_id, tastes).score)
        known = told.get(slice_id)
        if known is not None and abs(score - known) < STEP:
            score = known  # small moves must not add up unsaid
            if slice_id not in touched:
                now[slice_id] = score
                continue
        now[slice_id] = scores[slice_id] = score
    gone = {*told, *touched}.difference(now)
    state.told = Told(outlook, tuple(now), array("i", now.values()))
    state.judged = state.controlled = False
    return scores, sorted(gone)


def _as_told(outlook: Outlook, state: VideoState, touched: Sequence[str]) -> dict[str, int]:
    """Return the scores of touched slices that may be shown: as told, or as they are."""
    told, policy, rows = state.told, outlook.policy, state.slices
    if told is not None and told.outlook is outlook:
        known = dict(zip(told.slices, told.scores, strict=True))
        shown = [name for name in touched if name not in rows or rows[name].status in _SHOWN]
        return {name: known[name] for name in shown if name in known}
    tastes = solve(sum_factors(policy, rows, state.row.fits))
    return {
        name: _bounded(estimate_in(policy, state, name, tastes).score)
        for name in touched
        if outlook.reaches(name, state.row)
        and (rows[name].status == ACTIVE if name in rows else name in state.due)
    }


def _bounded(index: int) -> int:
    return max(min(index, _MOST), -_MOST)

"""What feeds are told: the score of each slice that is open to a video, and what may be shown."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from streams.core.counters import ACTIVE, IDLE, Slice, Told, VideoState
from streams.core.outlook import Outlook
from streams.core.posterior import solve, sum_factors
from streams.core.rule import allowance_of, estimate_in
from streams.core.units import surface_of

STEP: Final = 10_000
"""The score of a slice that nothing happened in is said again when it moved by so much
(micro-units of value)."""
GROWN: Final = 5
GROWN_VIEWS: Final = 30
"""All slices of a video are looked at again after a fifth more views, at least so many."""
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

    That is every slice in `touched`, whose row changed, and now and then what moved in the others:
    what one crowd thinks moves what is expected of all. Changes `state.told`, `state.judged` and
    `state.controlled`, which nothing that is stored depends on.
    """
    scores: Mapping[str, int]
    gone: Iterable[str] = ()
    if state.controlled or (state.judged and _grew(outlook, state)):
        scores, gone = _scored_again(outlook, state, touched)
    else:
        scores, gone = _touched_only(outlook, state, touched)
    state.judged = state.controlled = False
    for slice_id in gone:
        yield slice_id, Entry(video, offset, None)
    due = owed(outlook, state)
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
    due: dict[str, int] = {}
    count = outlook.policy.guarantee_slices
    each = -(-state.row.guarantee // count)
    for slice_id in _opened(outlook, state):
        row = state.slices.get(slice_id) or Slice()
        if left <= 0 or not count:
            break
        if surface_of(slice_id) == "following" or row.status not in {IDLE, ACTIVE}:
            continue
        count -= 1
        if (here := min(each - row.impressions, left)) > 0:
            due[slice_id] = here
            left -= here
    return due


def _opened(outlook: Outlook, state: VideoState) -> Sequence[str]:
    """Return the slices that are open to a video, best before any view first."""
    told = state.told
    if told is not None and told.outlook is outlook and not state.controlled:
        return told.slices
    return [prospect.slice for prospect in outlook.prospects(state.row)]


def _grew(outlook: Outlook, state: VideoState) -> bool:
    """Tell whether a video's views grew enough to look at all its slices again."""
    told = state.told
    if told is None or told.outlook is not outlook:
        return True
    return _views(state) >= told.views + max(told.views // GROWN, GROWN_VIEWS)


def _views(state: VideoState) -> int:
    return sum([row.views for row in state.slices.values()])


def _scored_again(
    outlook: Outlook, state: VideoState, touched: Sequence[str]
) -> tuple[dict[str, int], Iterable[str]]:
    """Score all open slices; return what to tell, and the slices that are not open any more."""
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
        if slice_id in touched or known is None or abs(score - known) >= STEP:
            now[slice_id] = scores[slice_id] = score
        else:
            now[slice_id] = known  # small moves must not add up unsaid
    gone = {*told, *touched}.difference(now)
    state.told = Told(outlook, _views(state), tuple(now), array("i", now.values()))
    return scores, sorted(gone)


def _touched_only(
    outlook: Outlook, state: VideoState, touched: Sequence[str]
) -> tuple[dict[str, int], Iterable[str]]:
    """Return the scores of the slices whose rows changed: as told, or scored if judged since."""
    told, policy, rows = state.told, outlook.policy, state.slices
    shown = [name for name in touched if rows[name].status == ACTIVE and name in policy.slices]
    gone = [name for name in touched if rows[name].status not in _SHOWN]
    known = told is not None and told.outlook is outlook
    if told is not None and known and not state.judged:
        places = [told.slices.index(name) for name in shown if name in told.slices]
        return {told.slices[at]: told.scores[at] for at in places}, gone
    tastes = solve(sum_factors(policy, rows, state.row.fits))
    scores = {name: _bounded(estimate_in(policy, state, name, tastes).score) for name in shown}
    if told is not None and known:
        for name in shown:
            if name in told.slices:
                told.scores[told.slices.index(name)] = scores[name]
    return scores, gone


def _bounded(index: int) -> int:
    return max(min(index, _MOST), -_MOST)

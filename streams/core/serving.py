"""What feeds are told: the score of each slice that is open to a video, and what may be shown."""

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from streams.core.adverts import advert_worth, rank_move
from streams.core.counters import ACTIVE, IDLE, Told, Video, VideoState
from streams.core.exploration import tried
from streams.core.outlook import Outlook
from streams.core.posterior import solve, sum_factors
from streams.core.rule import allowance_of, estimate_in, open_slices
from streams.core.units import MICROS, surface_of

STEP: Final = 10_000
"""The score of a slice that nothing happened in is said again when it moved by so much
(micro-units of value)."""
GROWN: Final = 3
GROWN_VIEWS: Final = 60
"""All slices of a video are looked at again after a third more views, at least so many."""
_MOST: Final = (1 << 31) - 1
NOTHING_DUE: Final = (0, 0)
"""Until when how much is owed where nothing is."""
_NOTHING_OWED: Final[dict[str, tuple[int, int]]] = {}  # to nearly every video: never changed
_SHOWN: Final = frozenset((IDLE, ACTIVE))
_PLAIN: Final = frozenset(("unknown", "public"))
"""Stages of a video that moderation closes no crowd to."""
_entry: Final = tuple.__new__  # a third of what `Entry(...)` costs, and an admission says dozens


class Entry(NamedTuple):
    """What is said of one (video, slice).

    `offset` is that of the record up to which its partition was folded. `due` public impressions
    are owed to the video here until `deadline` (ms since 1970); 0 if none are. Those of a draw have
    no deadline (0), and come before all others. `factor` is what the bid of an advert counts by
    (`adverts`); its score is moved by that.
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
    factor: int = MICROS


def entries(
    outlook: Outlook,
    video: str,
    state: VideoState,
    touched: Sequence[str],
    offset: int,
    *,
    unsure: bool = False,
) -> Iterator[tuple[str, Entry]]:
    """Yield slice and entry of what feeds were not told yet of a video.

    That is every slice in `touched`, whose row changed, those where something else is owed, and now
    and then what moved in the others: what one crowd thinks moves what is expected of all. Changes
    `state.told`, `state.due`, `state.factors`, `state.judged` and `state.controlled`, which nothing
    that is stored depends on.
    """
    due, before = due_of(outlook, state), state.due
    if due or before:
        state.due = due
        both = {**before, **due}
        moved = [name for name in both if unsure or due.get(name) != before.get(name)]
        touched = list(dict.fromkeys([*touched, *moved]))
    if state.controlled or (state.judged and _grew(outlook, state)):
        scores, gone = _scored_again(outlook, state, touched, unsure=unsure and state.controlled)
    else:
        scores, gone = _touched_only(outlook, state, touched, before)
    state.judged = state.controlled = False
    for slice_id in gone:
        yield slice_id, Entry(video, offset, None)
    rows, own, factors, firsts = state.slices, state.row, state.factors, outlook.firsts
    band, commercial, whole = own.band, own.commercial, outlook.affords_first(own)
    for slice_id, score in scores.items():
        row = rows.get(slice_id)
        if row is None and whole:
            allowance = firsts[slice_id]
        else:
            allowance = allowance_of(outlook.policy, state, slice_id)
        shown = row.impressions if row is not None else 0
        until, owing = due.get(slice_id, NOTHING_DUE) if due else NOTHING_DUE
        factor = factors.get(slice_id, MICROS) if commercial else MICROS
        words = (video, offset, score, allowance, shown, band, commercial, until, owing, factor)
        yield slice_id, _entry(Entry, words)


def due_of(outlook: Outlook, state: VideoState) -> dict[str, tuple[int, int]]:
    """Return deadline and impressions of what is owed by slice; a draw comes first."""
    if not state.row.guarantee and not state.row.trials:
        return _NOTHING_OWED
    deadline = state.row.owed_since + outlook.policy.guarantee_ms
    due = {slice_id: (deadline, count) for slice_id, count in owed(outlook, state).items()}
    if state.row.trials:
        due.update((slice_id, (0, count)) for slice_id, count in tried(state))
    return due


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


def _grew(outlook: Outlook, state: VideoState) -> bool:
    """Tell whether a video's views grew enough to look at all its slices again."""
    told = state.told
    if told is None or told.outlook is not outlook:
        return True
    return state.views >= told.views + max(told.views // GROWN, GROWN_VIEWS)


def _scored_again(
    outlook: Outlook, state: VideoState, touched: Sequence[str], *, unsure: bool
) -> tuple[Mapping[str, int], Iterable[str]]:
    """Score all open slices; return what to tell, and the slices that are not open any more.

    Of a video that was read from the store nobody knows which crowds were told of it, nor where it
    is `unsure` what they were told: a control record then has all of them told, and so has
    moderation that stands before it.
    """
    before, rows = state.told, state.slices
    is_known = before is not None and not unsure
    own_score = state.row.commercial or state.row.handicap  # and not that of its class
    if is_known and not rows and not (before and before.slices) and not own_score:
        outset = outlook.outset(state.row)  # what follows, sooner
        state.told = Told(outlook, 0, outset.slices, array("i", outset.scores.values()))
        return outset.scores, sorted(set(touched).difference(outset.scores))
    told = dict(zip(before.slices, before.scores, strict=True)) if before and is_known else {}
    shown = [
        name for name in _opened(outlook, state) if name not in rows or rows[name].status in _SHOWN
    ]
    now = _scores(outlook, state, shown)
    scores = dict(now)
    for slice_id, known in told.items():
        score = scores.get(slice_id)
        if score is not None and slice_id not in touched and abs(score - known) < STEP:
            now[slice_id] = known  # small moves must not add up unsaid
            del scores[slice_id]
    is_open = state.row.stage in _PLAIN and not state.controlled
    maybe = () if is_known or is_open else outlook.policy.slices
    gone = {*told, *touched, *maybe}.difference(now)
    state.told = Told(outlook, state.views, tuple(now), array("i", now.values()))
    return scores, sorted(gone)


def _touched_only(
    outlook: Outlook, state: VideoState, touched: Sequence[str], before: Collection[str]
) -> tuple[Mapping[str, int], Iterable[str]]:
    """Return the scores of the slices whose rows changed: as told, or scored if judged since.

    `before` are those where something was owed before that.
    """
    told, rows = state.told, state.slices
    gone: list[str] = []
    open_ones: list[str] = []
    for name in touched:
        row = rows.get(name)
        (open_ones if row is None or row.status in _SHOWN else gone).append(name)
    if told is None or told.outlook is not outlook:
        opened = outlook.outset(state.row).slices
        kept = [n for n in open_ones if n in opened or _is_kept(outlook, state, n)]
        was = {*before, *(told.slices if told is not None else ())}
        return _scores(outlook, state, kept), gone + [n for n in open_ones if n in was - {*kept}]
    known = told.slices
    places = {name: known.index(name) for name in open_ones if name in known}
    if state.judged:
        for name, score in _scores(outlook, state, places).items():
            told.scores[places[name]] = score
    return {name: told.scores[place] for name, place in places.items()}, gone


def _is_kept(outlook: Outlook, state: VideoState, slice_id: str) -> bool:
    """Tell whether a slice that nobody would begin in today is open to a video that is there."""
    row = state.slices.get(slice_id)
    is_there = slice_id in state.due or (row is not None and row.status == ACTIVE)
    return is_there and outlook.reaches(slice_id, state.row)


def _scores(outlook: Outlook, state: VideoState, slice_ids: Iterable[str]) -> dict[str, int]:
    if state.row.commercial:
        scores = _scores_of_advert(outlook, state, list(slice_ids))
    else:
        scores = _indices(outlook, state, slice_ids)
    return _handicapped(outlook, state.row, scores) if state.row.handicap else scores


def _handicapped(outlook: Outlook, own: Video, scores: dict[str, int]) -> dict[str, int]:
    """Return scores as the ceiling of its creator lowers them, on public surfaces alone.

    Never below the price: that would be a stop, and those evidence decides.
    """
    lowered = {}
    for slice_id, score in scores.items():
        price = outlook.price(slice_id, own)
        plain = surface_of(slice_id) == "following" or score <= price
        lowered[slice_id] = score if plain else max(score - own.handicap, price)
    return lowered


def _scores_of_advert(
    outlook: Outlook, state: VideoState, slice_ids: Sequence[str]
) -> dict[str, int]:
    """Return indices as the factors of the bids move them; notes the factors."""
    worth = advert_worth(outlook.policy, state, slice_ids)
    factors = {slice_id: each.factor for slice_id, each in worth.items()}
    state.factors = state.factors | factors
    return {
        slice_id: _bounded(index + rank_move(factors[slice_id]))
        for slice_id, index in _indices(outlook, state, slice_ids).items()
    }


def _indices(outlook: Outlook, state: VideoState, slice_ids: Iterable[str]) -> dict[str, int]:
    policy = outlook.policy
    if not state.views:
        known = outlook.outset(state.row).scores
        return {
            slice_id: known[slice_id] if slice_id in known else outlook.hope(slice_id, state.row)
            for slice_id in slice_ids
        }
    tastes = solve(sum_factors(policy, state))
    return {
        slice_id: _bounded(estimate_in(policy, state, slice_id, tastes).score)
        for slice_id in slice_ids
    }


def _bounded(score: int) -> int:
    return max(min(score, _MOST), -_MOST)

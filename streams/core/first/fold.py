"""The fold of 0.1.0, up to the `upgrade` record; plain, for it is read again but seldom."""

from collections.abc import Sequence

from streams.core.counters import COMPLETE_PERCENT, VideoState
from streams.core.events import (
    EVENT_TYPES,
    Admit,
    FirstPolicy,
    Impression,
    InteractionRecord,
    LogRecord,
    Policy,
    Takedown,
    Unlike,
    View,
    Weightless,
    Weights,
)
from streams.core.first.distribution import FirstControl, FirstDistribution
from streams.core.first_rows import DEFAULT_WEIGHTS, FirstSlice, rows_of
from streams.core.receipts import Effects, Outcome, Refusal
from streams.core.stages import IllegalMove
from streams.core.state import PartitionState
from streams.core.units import SLICES_PER_VIDEO, is_slice
from streams.errors import DeadLetter


def fold_first(
    state: PartitionState,
    events: Sequence[LogRecord],
    offsets: Sequence[int],
    elements: Sequence[int],
) -> Effects:
    """Fold events of 0.1.0 in log order, none of them an `upgrade`; as `core.fold.fold` does."""
    effects = Effects()
    for event, offset, element in zip(events, offsets, elements, strict=True):
        try:
            outcome = _fold_one(state, event, offset, effects)
        except DeadLetter as letter:
            refusal = Refusal(offset, element, letter.reason, str(letter))
        except IllegalMove as illegal:
            refusal = Refusal(offset, element, "illegal_move", str(illegal))
        else:
            effects.outcomes[EVENT_TYPES[type(event)], outcome] += 1
            continue
        effects.rejected.append(refusal)
        effects.outcomes[EVENT_TYPES[type(event)], "invalid"] += 1
    return effects


def _fold_one(state: PartitionState, event: LogRecord, offset: int, effects: Effects) -> Outcome:
    if isinstance(event, InteractionRecord):
        return _interaction(state, event, offset, effects)
    if isinstance(event, FirstPolicy):
        return _policy(state, event)
    if isinstance(event, FirstControl):
        return _control(state, event, effects)
    assert isinstance(event, Policy | Admit), "what changes keys or generations has no old form"
    raise DeadLetter("illegal_move", "a record of this release before the partition's upgrade")


def _interaction(
    state: PartitionState, event: InteractionRecord, offset: int, effects: Effects
) -> Outcome:
    if _is_met(state, event, offset):
        return "duplicate"
    video = state.videos.get(event.video)
    if video is None:
        raise DeadLetter("misrouted", "belongs to another partition")
    if isinstance(event, Weightless):
        raise DeadLetter("type_unknown", "0.1.0 did not know events of this type")
    slice_id = _settle(state, video, event)
    if not slice_id:
        return "duplicate"
    row = rows_of(video).get(slice_id) or _open(state, video, event.video, slice_id)
    policy = state.first_policy
    late = policy is not None and event.ts < state.event_time - policy.late_after_ms
    state.event_time = max(state.event_time, event.ts)
    state.touch_slice(event.video, video, slice_id, row)
    if _count(row, event, policy.weights if policy else DEFAULT_WEIGHTS) and policy is not None:
        FirstDistribution(state, policy, video, event, effects).checkpoint(slice_id, row)
    return "late" if late else "applied"


def _is_met(state: PartitionState, event: InteractionRecord, offset: int) -> bool:
    """Remember an id; tell whether it was met before."""
    window = state.window
    if offset >= window.end:
        window.turn(offset)
    met = event.id in window.current or event.id in window.previous
    window.current.add(event.id)
    if met:
        window.repeat(event)
    return met


def _settle(state: PartitionState, video: VideoState, event: InteractionRecord) -> str:
    """Return the slice whose counters an event changes, "" if it changes none."""
    slice_id = state.window.settle(event)
    if isinstance(event, Unlike):
        row = video.slices.get(slice_id)
        return slice_id if row is not None and row.likes else ""
    return slice_id


def _open(state: PartitionState, video: VideoState, video_id: str, slice_id: str) -> FirstSlice:
    """Return a new row; `DeadLetter` if the video has its maximum of stray ones."""
    policy = state.first_policy
    if policy is None or slice_id not in policy.slices:
        if video.row.strays >= SLICES_PER_VIDEO:
            full = f"has {SLICES_PER_VIDEO} slices outside the policy already"
            raise DeadLetter("slice_limit", full)
        video.row.strays += 1
        state.touch_video(video_id, video)
    row = rows_of(video)[slice_id] = FirstSlice()
    return row


def _count(row: FirstSlice, event: InteractionRecord, weights: Weights) -> bool:
    """Count an event and its worth; tell whether the row is to be judged."""
    if isinstance(event, Impression):
        row.impressions += 1
        return row.impressions >= row.check_impressions
    if isinstance(event, View):
        _view(row, event, weights)
        return row.views >= row.check_views
    if isinstance(event, Unlike):
        row.likes -= 1
        row.take_back_value(weights.like)
    else:
        name = EVENT_TYPES[type(event)]
        setattr(row, f"{name}s", getattr(row, f"{name}s") + 1)
        row.add_value(getattr(weights, name))
    return False


def _view(row: FirstSlice, view: View, weights: Weights) -> None:
    watched, duration = view.watch_ms, view.duration_ms
    row.views += 1
    row.watch_ms += watched
    value = weights.watch * min(watched, duration) // duration
    if watched * 100 >= duration * COMPLETE_PERCENT:
        row.completes += 1
        value += weights.complete
    row.add_value(value)


def _policy(state: PartitionState, record: FirstPolicy) -> Outcome:
    applied = state.first_policy.seq if state.first_policy else -1
    if not _is_new(record.seq, applied):
        return "duplicate"
    if not all(is_slice(name) for name in record.slices):
        raise DeadLetter("slice", "policy names a slice that is not surface:group")
    state.set_first_policy(record)
    return "applied"


def _control(state: PartitionState, record: FirstControl, effects: Effects) -> Outcome:
    video = state.videos.get(record.video)
    if video is None:
        raise DeadLetter("misrouted", "belongs to another partition")
    if not _is_new(record.seq, video.row.seq):
        return "duplicate"
    policy = state.first_policy
    if policy is not None:
        FirstDistribution(state, policy, video, record, effects).control(record)
    elif isinstance(record, Takedown):  # needs no policy: nothing is shown yet
        video.row.stage, video.row.seq = "removed", record.seq
        state.touch_video(record.video, video)
    else:
        raise DeadLetter("illegal_move", "a video's control record before any policy")
    return "applied"


def _is_new(seq: int, applied: int) -> bool:
    if seq < applied:
        raise DeadLetter("stale", f"seq {seq} after {applied}")
    return seq > applied

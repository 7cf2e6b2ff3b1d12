"""The fold: the pure function from (state, records) to (state, receipts).

Whoever folds the same records from the same state gets the same bytes, whatever the batches.
The caller brings the videos into memory first (`PartitionState.missing`, `load`); a video that is
not there when its event comes belongs to another partition.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any, Final
from zlib import crc32

from streams.core.counters import ACTIVE, COMPLETE_PERCENT, STOPPED, Slice, VideoState
from streams.core.delay import is_late, turn
from streams.core.distinct import MARKS, press
from streams.core.distribution import Distribution
from streams.core.events import (
    EVENT_TYPES,
    Comment,
    ControlRecord,
    End,
    Follow,
    Gift,
    Hide,
    Impression,
    InteractionRecord,
    Like,
    LogRecord,
    Order,
    PartitionControl,
    Policy,
    Report,
    Share,
    Stay,
    Takedown,
    Unlike,
    VideoControl,
    View,
    Weightless,
    number_of,
    order_of,
)
from streams.core.first.fold import fold_first
from streams.core.first.upgrade import upgrade
from streams.core.live import enter
from streams.core.partition_control import Generation, Key, Lead, Repartition, TopicMove, Upgrade
from streams.core.receipts import Effects, Refusal
from streams.core.stages import IllegalMove
from streams.core.state import PartitionState
from streams.core.ticks import Place
from streams.core.traffic import ClassSums, note_served
from streams.core.units import MICROS, SLICES_PER_VIDEO, is_slice
from streams.errors import DeadLetter, RejectReason

_time: Final = attrgetter("ts")
_WEIGHTLESS: Final = frozenset(Weightless.__args__)
_STATES: Final = frozenset((Like, Unlike, Follow, Hide))
_JUDGED: Final = frozenset((ACTIVE, STOPPED))
_FIRSTS: Final[dict[type, str]] = {
    Comment: "commenters",
    Share: "sharers",
    Report: "reporters",
    Order: "buyers",
}
"""Counted each time, and once more for the first of a viewer: only that one weighs."""


def fold(
    state: PartitionState,
    events: Sequence[LogRecord],
    offsets: Sequence[int],
    elements: Sequence[int],
) -> Effects:
    """Fold events in log order into `state` and return what that asks for.

    Ids and slices are valid, checked by the codec. `offsets[i]` and `elements[i]` say where in
    the partition `events[i]` stood; offsets rise, the events of one array share theirs. Every
    event has exactly one outcome: applied, duplicate, late (applied too, but older than the
    policy's limit) or invalid (rejected). Raises nothing that depends on the input.
    """
    if not state.trust.upgraded:
        return _fold_until_upgraded(state, events, offsets, elements)
    effects, traffic = Effects(), state.traffic
    newest = max(map(_time, events), default=0)
    start, end = 0, len(events)
    while start < end:
        part = slice(start, min(start + traffic.room(offsets[start], newest), end))
        run = (events, offsets, elements)
        if (part.start, part.stop) != (0, end):
            run = (events[part], offsets[part], elements[part])
        skipped = _fold_run(state, *run, effects)
        if (closed := traffic.read(*run, skipped)) is not None:
            effects.ticks.append(closed)
        start = part.stop
    _tally_applied(effects, events)
    return effects


def _fold_run(  # noqa: C901, PLR0912, PLR0915 - the hot path: a call per event costs a fifth of it
    state: PartitionState,
    events: Sequence[LogRecord],
    offsets: Sequence[int],
    elements: Sequence[int],
    effects: Effects,
) -> Collection[Place]:
    """Fold events of one tick; return the places of those that did not count."""
    window, videos, epoch = state.window, state.videos, state.epoch
    window_end = window.end
    skipped: set[Place] = set()
    skip = skipped.add
    touch, policy = state.changed.append, state.policy
    marks, judged = MARKS, _JUDGED
    current, previous = window.current, window.previous
    newest = state.event_time
    late_before = newest - policy.late_after_ms if policy else 0
    event: Any  # its kind says which: asking `isinstance` here would cost a tenth of the fold
    for event, offset, element in zip(events, offsets, elements, strict=True):
        kind = type(event)
        try:
            slice_id = event.slice
        except AttributeError:  # no interaction, and rare: cheaper to stumble on than to ask for
            _control(state, event, offset, element, effects)
            skip((offset, element))
            policy = state.policy
            late_before = newest - policy.late_after_ms if policy else 0
            window_end = window.end
            continue
        if offset >= window_end:
            window.turn(offset)
            current, previous, window_end = window.current, window.previous, window.end
        key = event.id
        if key in current or key in previous:
            current.add(key)
            if kind is Like:
                window.repeat(event)
            effects.outcomes[EVENT_TYPES[kind], "duplicate"] += 1
            skip((offset, element))
            continue
        current.add(key)
        try:
            video = videos[event.video]
        except KeyError:
            _reject(effects, event, offset, element, "misrouted", "belongs to another partition")
            skip((offset, element))
            continue
        first = False
        if kind is not View and kind is not Impression:
            if kind in _STATES:
                slice_id = _settle(state, video, event)
                if not slice_id:
                    effects.outcomes[EVENT_TYPES[kind], "duplicate"] += 1
                    skip((offset, element))
                    continue
            elif kind in _FIRSTS:
                first = window.is_first(event)
        try:
            row = video.slices[slice_id]
        except KeyError:
            if policy is None or slice_id not in policy.slices:
                if video.row.strays >= SLICES_PER_VIDEO:
                    full = f"has {SLICES_PER_VIDEO} slices outside the policy already"
                    _reject(effects, event, offset, element, "slice_limit", full)
                    skip((offset, element))
                    continue
                video.row.strays += 1
                state.touch_video(event.video, video)
            row = video.slices[slice_id] = Slice()
            if state.outlook is not None:
                Distribution(state, state.outlook, video, event, effects).meet(slice_id, row)
        ts = event.ts
        if ts > newest:
            newest = ts
            late_before = newest - policy.late_after_ms if policy else 0
        elif ts < late_before:
            effects.outcomes[EVENT_TYPES[kind], "late"] += 1
        if row.epoch != epoch:
            row.epoch = video.touched = epoch
            touch((event.video, video, slice_id, row))
        hot: Any = row.hot  # of the class: impressions, views, ratio_sum, completes
        if hot is None:
            hot = state.hot_of(video, slice_id, row)
            if video.row.format == "live":
                event = enter(state, video, event)  # noqa: PLW2901 - the same event, as it counts
        if kind is Impression:
            row.impressions += 1
            row.viewers |= marks[crc32(event.viewer.encode()) % 127]
            hot[0] += 1
            if (
                event.via is not None
                or event.score is not None
                or event.mix is not None
                or event.follower
                or event.amount
            ):
                sums = state.sums_of(video, slice_id, row)
                note_served(sums, event, _price(state, video, slice_id), state.traffic.tick)
                row.follower_impressions += event.follower
                row.spend += event.amount
            if row.impressions < row.check_impressions:
                continue
        elif kind is View:
            watched, duration = event.watch_ms, event.duration_ms
            if ts >= row.turn_ms:
                turn(row, ts, policy.slices.get(slice_id) if policy else None)
            row.views += 1
            row.young += 1
            row.watch_ms += watched
            row.weighed = None
            ratio = watched * MICROS // duration if watched < duration else MICROS
            row.ratio_sum += ratio
            row.ratio_sq += ratio * ratio // MICROS
            hot[1] += 1
            hot[2] += ratio
            if watched * 100 >= duration * COMPLETE_PERCENT:
                row.completes += 1
                hot[3] += 1
            if row.views < row.check_views:
                continue
        elif kind in _WEIGHTLESS:
            _add_weightless(row, state.sums_of(video, slice_id, row), event)
            continue
        else:
            if ts >= row.turn_ms:
                turn(row, ts, policy.slices.get(slice_id) if policy else None)
            _engage(row, state.sums_of(video, slice_id, row), event, first=first)
            if first and kind is Report and state.outlook is not None:
                Distribution(state, state.outlook, video, event, effects).hear(row, event.viewer)
            if not is_late(row) or row.status not in judged:
                continue
            row.late_judgements += 1
        if state.outlook is not None:
            Distribution(state, state.outlook, video, event, effects).checkpoint(slice_id, row)
    state.event_time = newest
    return skipped


def _fold_until_upgraded(
    state: PartitionState,
    events: Sequence[LogRecord],
    offsets: Sequence[int],
    elements: Sequence[int],
) -> Effects:
    """Fold a log that 0.1.0 began: by its own rule up to the `upgrade` record, if there is one.

    What changes keys and generations does so in either time.
    """
    effects = Effects()
    start = 0
    for at, event in enumerate(events):
        if not isinstance(event, PartitionControl) or isinstance(event, Policy):
            continue
        effects.add(fold_first(state, events[start:at], offsets[start:at], elements[start:at]))
        effects.add(_fold_control(state, event, offsets[at], elements[at]))
        start = at + 1
        if state.trust.upgraded:
            effects.add(fold(state, events[start:], offsets[start:], elements[start:]))
            return effects
    effects.add(fold_first(state, events[start:], offsets[start:], elements[start:]))
    return effects


def _fold_control(
    state: PartitionState, record: ControlRecord, offset: int, element: int
) -> Effects:
    effects = Effects()
    _control(state, record, offset, element, effects)
    _tally_applied(effects, [record])
    return effects


def _settle(state: PartitionState, video: VideoState, event: InteractionRecord) -> str:
    """Return the slice whose counters a like, unlike, follow or hide changes, "" if it none."""
    slice_id = state.window.settle(event)
    if isinstance(event, Unlike):
        row = video.slices.get(slice_id)
        if row is None or not row.likes:
            return ""  # its like was refused: the video has its maximum of slices
    return slice_id


def _price(state: PartitionState, video: VideoState, slice_id: str) -> int | None:
    """Return what an impression had to be worth; None of a video or slice without a price."""
    outlook = state.outlook
    if outlook is None or not video.row.admitted or slice_id not in outlook.policy.slices:
        return None
    return outlook.price(slice_id, video.row)


def _engage(row: Slice, sums: ClassSums, event: InteractionRecord, *, first: bool) -> None:
    """Count one engagement."""
    kind = type(event)
    row.weighed = None
    if kind is Unlike:
        row.likes -= 1
        sums.likes -= 1
        return
    _add(row, sums, f"{EVENT_TYPES[kind]}s", 1)
    if isinstance(event, Order) and event.amount:
        _add(row, sums, "order_amount", event.amount)
    if first:
        setattr(row, _FIRSTS[kind], getattr(row, _FIRSTS[kind]) + 1)
    press(row, event.viewer, like=kind is Like)


def _add_weightless(row: Slice, sums: ClassSums, event: Weightless) -> None:
    """Count what weighs nothing."""
    _add(row, sums, f"{EVENT_TYPES[type(event)]}s", 1)
    if isinstance(event, Gift):
        _add(row, sums, "gift_amount", event.amount)
    elif isinstance(event, Stay):
        _add(row, sums, "stay_ms", event.stay_ms)


def _add(row: Slice, sums: ClassSums, counter: str, count: int) -> None:
    setattr(row, counter, getattr(row, counter) + count)
    setattr(sums, counter, getattr(sums, counter) + count)


def _control(
    state: PartitionState,
    record: ControlRecord,
    offset: int,
    element: int,
    effects: Effects,
) -> None:
    """Apply one control record whose signature the codec has checked."""
    try:
        if isinstance(record, Policy):
            _settle_policy(state, record, effects)
            return
        if isinstance(record, PartitionControl):
            _settle_partition(state, record, offset, effects)
            return
        video = state.videos.get(record.video)
        if video is None:
            raise DeadLetter("misrouted", "belongs to another partition")
        if _is_new(record, video.row.seq, effects):
            if state.outlook is not None:
                Distribution(state, state.outlook, video, record, effects).control(record)
            elif isinstance(record, Takedown | End):  # needs no policy: nothing is shown yet
                video.row.stage = "removed" if isinstance(record, Takedown) else "ended"
                video.row.seq = record.seq
                state.touch_video(record.video, video)
            else:
                raise DeadLetter("illegal_move", "a video's control record before any policy")
    except DeadLetter as letter:
        _reject(effects, record, offset, element, letter.reason, str(letter))
    except IllegalMove as illegal:
        _reject(effects, record, offset, element, "illegal_move", str(illegal))


def _settle_policy(state: PartitionState, record: Policy, effects: Effects) -> None:
    """Put a policy in force if its place is above that of the one that is, in a term that lasts."""
    in_force, number = state.policy, number_of(record)
    if in_force is not None and order_of(record) == order_of(in_force):
        if record != in_force:
            raise DeadLetter("stale", f"policy {number} again, with other content")
        effects.outcomes["policy", "duplicate"] += 1
        return
    if record.term < state.trust.term:
        raise DeadLetter("stale", f"policy {number} of an old leader, in term {state.trust.term}")
    if in_force is not None and order_of(record) < order_of(in_force):
        raise DeadLetter("stale", f"policy {number} after {number_of(in_force)}")
    if not all(is_slice(name) for name in record.slices):
        raise DeadLetter("slice", "policy names a slice that is not surface:group")
    if record.explore_probability and not record.explore_key:
        raise DeadLetter("missing", f"policy {number} draws by chance and has no key to draw by")
    state.set_policy(record)


def _settle_partition(
    state: PartitionState,
    record: Key | Upgrade | Lead | Generation | TopicMove | Repartition,
    offset: int,
    effects: Effects,
) -> None:
    """Apply what changes keys, who leads, or how is counted; where the log is changes nothing."""
    if isinstance(record, Upgrade):
        if state.trust.upgraded:
            effects.outcomes["upgrade", "duplicate"] += 1
        else:
            upgrade(state, record)
    elif isinstance(record, Generation):
        _lengthen(state, record, offset, effects)
    elif isinstance(record, Key | Lead):
        _settle_trust(state, record, effects)


def _settle_trust(state: PartitionState, record: Key | Lead, effects: Effects) -> None:
    """Put keys or a term in force: what the codec went by when it read on."""
    trust = state.trust
    if isinstance(record, Key):
        is_new = _is_new(record, trust.seq, effects)
    else:
        is_new = record.term > trust.term
        if record.term < trust.term or (not is_new and record.id != trust.lead):
            raise DeadLetter("stale", f"term {record.term}, and {trust.term} is another's already")
        effects.outcomes["lead", "duplicate"] += not is_new
    if is_new:
        state.set_trust(trust.after(record))


def _lengthen(state: PartitionState, record: Generation, offset: int, effects: Effects) -> None:
    length = state.window.generations.records
    if record.records < length:
        message = f"generations of {record.records} records, they have {length} already"
        raise DeadLetter("stale", message)
    if record.records == length:
        effects.outcomes["generation", "duplicate"] += 1
    else:
        state.window.lengthen(offset, record.records)


def _is_new(record: VideoControl | Key, applied: int, effects: Effects) -> bool:
    """Tell whether the record's `seq` is above the last one applied; lower is a dead letter."""
    if record.seq < applied:
        raise DeadLetter("stale", f"seq {record.seq} after {applied}")
    if record.seq == applied:
        effects.outcomes[EVENT_TYPES[type(record)], "duplicate"] += 1
    return record.seq > applied


def _reject(
    effects: Effects,
    event: LogRecord,
    offset: int,
    element: int,
    reason: RejectReason,
    message: str,
) -> None:
    effects.rejected.append(Refusal(offset, element, reason, message))
    effects.outcomes[EVENT_TYPES[type(event)], "invalid"] += 1


def _tally_applied(effects: Effects, events: Sequence[LogRecord]) -> None:
    """Whatever was neither duplicate, late nor invalid was applied."""
    outcomes = effects.outcomes
    others: Counter[str] = Counter()
    for (kind, _), count in outcomes.items():
        others[kind] += count
    for record_type, count in Counter(map(type, events)).items():
        name = EVENT_TYPES[record_type]
        if count > others[name]:
            outcomes[name, "applied"] = count - others[name]

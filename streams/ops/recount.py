"""Counts the log a second time, as simply as it can be said, and compares every counter.

Shares with the fold how bytes become events and what an id, a slice and a partition are; nothing
of how events become counters. Deliberately slow and plain: dictionaries, no rows, no epochs.
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from streams.core.counters import COUNTERS, VIEWERS, VideoState, read_video
from streams.core.events import (
    Admit,
    Control,
    ControlRecord,
    End,
    FirstAdmit,
    FirstPolicy,
    FirstRecord,
    Impression,
    InteractionRecord,
    Like,
    LogRecord,
    Policy,
    Takedown,
    Unlike,
    View,
    Weightless,
    Weights,
    order_of,
)
from streams.core.first.translation import policy_of
from streams.core.generations import read_generations
from streams.core.keys import read_trust
from streams.core.partition_control import Generation, Lead, Upgrade
from streams.core.partitioner import partition_of
from streams.core.state import Meta
from streams.core.ticks import read_stored
from streams.core.traffic import kind_of
from streams.core.units import MICROS, SLICES_PER_VIDEO, is_slice
from streams.core.window import FrozenWindow
from streams.ops.recount_live import LiveRecount, share_of_view
from streams.ops.recount_reports import ReportsRecount
from streams.ops.recount_traffic import TrafficRecount, extras_of
from streams.ops.recount_window import FIRSTS, WindowRecount

_WEIGHTS: Final = Weights(
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
"""In force under 0.1.0 before any policy."""
_NO_POLICY: Final = (-1, -1)
_BUTTONS: Final = {
    "likes": "like",
    "comments": "comment",
    "shares": "share",
    "follows": "follow",
    "hides": "hide",
    "reports": "report",
    "orders": "order",
}
_FIRST_COUNTERS: Final = (*COUNTERS[: COUNTERS.index("ratio_sum")], "value_sum", "value_sq")
Counts = dict[tuple[str, str], dict[str, int]]  # (video, slice) -> counter -> value
COUNTED: Final = (*COUNTERS, *VIEWERS)
"""All of a row that is the log's alone, whatever any policy decided."""

_decode_policy: Final = msgspec.json.Decoder(Policy).decode


class ResumePoint(NamedTuple):
    """All that counting goes on from behind a watermark: what is stored, and the window.

    `begins` is the offset of the log's first event, None if nobody knows.
    """

    watermark: int
    meta: Meta
    rows: Mapping[str, Mapping[str, bytes]]
    window: FrozenWindow
    begins: int | None = None


class Recount:
    """The recount of one partition: give it every event of the log in order.

    `since` is the offset from which on its traffic was counted, None if it was not. `first` while
    nothing is upgraded yet: counted as 0.1.0 did.
    """

    def __init__(
        self,
        partition: int,
        partitions: int,
        generation_records: int,
        since: int | None = None,
        *,
        first: bool = False,
    ) -> None:
        self.counts: Final[Counts] = {}
        self.slices: Final[dict[str, set[str]]] = {}  # those that are counted, by video
        self.traffic: Final = TrafficRecount(since)
        self.reports: Final = ReportsRecount()
        self.rooms: Final = LiveRecount()
        self.begins: int | None = None  # offset of the first event
        self.first = first
        self.partition: Final = partition
        self._partitions = partitions
        self._window = WindowRecount([(0, generation_records)])
        self._strays: Counter[str] = Counter()  # slices outside the policy, by video
        self._known: Container[str] = ()  # slices of the policy in force
        self._weights = _WEIGHTS
        self._policy_order = _NO_POLICY
        self._term = 0

    @classmethod
    def resumed(
        cls, partition: int, partitions: int, generation_records: int, at: "ResumePoint"
    ) -> "Recount":
        """Return the recount of an upgraded partition behind a point; `ValueError` as of a row."""
        traffic = read_stored(at.meta.traffic)
        since = traffic.since if traffic.since >= 0 else None
        recount = cls(partition, partitions, generation_records, since)
        recount.begins, recount._term = at.begins, read_trust(at.meta.keys).term
        spans = read_generations(at.meta.generations, generation_records).spans
        recount._window = WindowRecount(spans)
        recount._window.thaw(at.window)
        if at.meta.policy:
            policy = _decode_policy(at.meta.policy)
            recount._policy_order = order_of(policy)
            recount._put_in_force(policy)
        kinds: dict[str, str] = {}
        for video, fields in at.rows.items():
            state = read_video(fields)
            recount._resume(video, state)
            own = state.row
            if own.admitted or own.stage in {"removed", "ended"}:
                kinds[video] = kind_of(own.band, own.commercial, own.admitted)
                recount.rooms.resume(video, state)
        recount.traffic.resume(traffic, kinds)
        return recount

    @property
    def names(self) -> Sequence[str]:
        """The counters of a slice, as they are counted by now."""
        return _FIRST_COUNTERS if self.first else COUNTED

    def add(self, event: LogRecord, offset: int) -> None:
        """Count one event."""
        if self.begins is None:
            self.begins = offset
        if isinstance(event, ControlRecord | FirstRecord):
            self._obey(event, offset)
            return
        self._window.enter(offset)
        if isinstance(event, Like):
            self._window.note_like(event)
        if self._window.met(event.id):
            return
        if not self._is_here(event.video) or (self.first and isinstance(event, Weightless)):
            return
        slice_id = self._window.counted_in(event)
        first = self._window.is_first(event)
        if isinstance(event, Unlike) and not self._likes_left(event.video, slice_id):
            return
        if slice_id and self._is_open(event.video, slice_id):
            slices = self.slices.get(event.video, ())
            self.rooms.meet(event, self.traffic.open, slices, self.counts)
            self._count(event, slice_id, first)
            in_room = self.rooms.is_room(event.video)
            self.traffic.count(event, slice_id, offset, in_room=in_room)
            if not self.first:
                shown = self.counts[event.video, slice_id]["viewers"]
                self.reports.count(event, shown, first=bool(first))

    def agrees(self, window: FrozenWindow) -> bool:
        """Tell whether a fold's window remembers the same of the latest generations."""
        return self._window.agrees(window, self._is_here)

    def _is_here(self, video: str) -> bool:
        return partition_of(video.encode(), self._partitions) == self.partition

    def _obey(self, record: ControlRecord | FirstRecord, offset: int) -> None:
        """Take over what a control record changes of the counting."""
        if isinstance(record, Control) and self._is_here(record.video):
            self.reports.obey(record)
        if isinstance(record, Policy | FirstPolicy):
            order = (0, record.seq) if isinstance(record, FirstPolicy) else order_of(record)
            counted = isinstance(record, FirstPolicy) == self.first and order[0] >= self._term
            if counted and order > self._policy_order:
                self._policy_order = order
                self._put_in_force(policy_of(record) if isinstance(record, FirstPolicy) else record)
        elif isinstance(record, Lead):
            self._term = max(self._term, record.term)
        elif isinstance(record, Upgrade) and self.first:
            self.first = False
            for counts in self.counts.values():
                _turn(counts, self._weights)
        elif isinstance(record, Admit | FirstAdmit | Takedown | End):
            self._note_class(record)
        elif isinstance(record, Generation):
            self._window.lengthen(record.records, offset)

    def _put_in_force(self, policy: Policy) -> None:
        self._known, self._weights = policy.slices, policy.weights
        self.traffic.put_in_force(policy)
        self.reports.put_in_force(policy)

    def _resume(self, video: str, state: VideoState) -> None:
        """Go on from what was stored of a video."""
        self._strays[video] = state.row.strays
        self.slices[video] = set(state.slices)
        for slice_id, row in state.slices.items():
            self.counts[video, slice_id] = {name: getattr(row, name) for name in COUNTED}
        self.reports.resume(video, state.row, sum(row.impressions for row in state.slices.values()))

    def _note_class(self, record: Admit | FirstAdmit | Takedown | End) -> None:
        """Note what decides the class of a video's traffic: unknown is one from before."""
        if not self._is_here(record.video):
            return
        if isinstance(record, Admit) and not self.first:
            if _is_sound(record) and self._policy_order != _NO_POLICY:
                self.traffic.admit(record)
                self.rooms.admit(record)
        elif isinstance(record, Takedown | End) or (
            self.first and self._policy_order != _NO_POLICY
        ):
            self.traffic.take_down(record.video)
            self.rooms.take_down(record.video)

    def _likes_left(self, video: str, slice_id: str) -> int:
        return self.counts.get((video, slice_id), {}).get("likes", 0)

    def _is_open(self, video: str, slice_id: str) -> bool:
        if (video, slice_id) in self.counts or slice_id in self._known:
            return True
        self._strays[video] += 1
        return self._strays[video] <= SLICES_PER_VIDEO

    def _count(self, event: InteractionRecord, slice_id: str, first: str) -> None:
        counts = self.counts.setdefault((event.video, slice_id), dict.fromkeys(self.names, 0))
        self.slices.setdefault(event.video, set()).add(slice_id)
        kind = type(event).__name__.lower()
        if first and not self.first:
            counts[first] += 1
        if isinstance(event, View):
            counts["views"] += 1
            counts["watch_ms"] += event.watch_ms
            share, complete = share_of_view(event, in_room=self.rooms.is_room(event.video))
            counts["completes"] += complete
            if self.first:
                worth = self._weights.watch * min(event.watch_ms, event.duration_ms)
                worth = worth // event.duration_ms + complete * self._weights.complete
                _weigh(counts, worth, 1)
            else:
                counts["ratio_sum"] += share
                counts["ratio_sq"] += share * share // MICROS
            return
        step = -1 if isinstance(event, Unlike) else 1
        name = "like" if isinstance(event, Unlike) else kind
        counts[f"{name}s"] += step
        for counter, count in extras_of(event).items():
            if counter in counts:
                counts[counter] += count
        if self.first and kind != "impression":
            _weigh(counts, getattr(self._weights, name), step)
        if not self.first and step > 0 and not isinstance(event, Weightless):
            _mark(counts, event)


def _weigh(counts: dict[str, int], worth: int, step: int) -> None:
    """Add what a view or a button was worth under 0.1.0, or take it back."""
    counts["value_sum"] += step * worth
    counts["value_sq"] += step * (worth * worth // MICROS)


def _turn(counts: dict[str, int], weights: Weights) -> None:
    """Turn what 0.1.0 counted of one slice, as `core.first.upgrade` says."""
    views, completes = counts["views"], counts["completes"]
    worth, squares = counts.pop("value_sum"), MICROS * counts.pop("value_sq")
    for counter, weight in _BUTTONS.items():
        each = getattr(weights, weight)
        worth -= each * counts[counter]
        squares -= each * each * counts[counter]
    worth -= weights.complete * completes
    squares -= (weights.complete + 2 * weights.watch) * weights.complete * completes
    low, high = 950_000 * completes, MICROS * completes + 950_000 * (views - completes)
    total = (low + high) // 2
    if weights.watch:
        total = sorted((low, worth * MICROS // weights.watch, high))[1]
    least = total * total // (views * MICROS) if views else 0
    square = least
    if weights.watch and views:
        square = sorted((least, squares * MICROS // weights.watch**2, total))[1]
    counts.update(ratio_sum=total, ratio_sq=square)
    for name in COUNTERS:
        counts.setdefault(name, 0)
    counts.update({name: counts[f"{kind}s"] for kind, name in FIRSTS.items()})
    every = (2**127 - 1, 2**53 - 1, 2**53 - 1) if any(counts.values()) else (0, 0, 0)
    counts.update(zip(VIEWERS, every, strict=True))


def _is_sound(record: Admit) -> bool:
    return all(map(is_slice, record.fits))


def _mark(counts: dict[str, int], event: InteractionRecord) -> None:
    """Set the bit of a viewer who was shown the video, and of one of them who presses a button."""
    code = crc32(event.viewer.encode())
    seen, pressed = 2 ** (code % 127), 2 ** (code % 53)
    if isinstance(event, Impression):
        counts["viewers"] |= seen
    elif counts["viewers"] & seen:
        counts["likers" if isinstance(event, Like) else "pressers"] |= pressed

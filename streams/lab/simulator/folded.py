"""The real rule as a contender: the real fold gets admissions and feedback, its receipts offer.

The fold judges at checkpoints only, so what lies between two is added to the row in one step
(`bulk`), and the event that reaches a checkpoint goes through the fold itself. Events one by one
give the same receipts; the tests show it in every world.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from streams.core.counters import COMPLETE_PERCENT, EVIDENCE, STOPPED, Slice
from streams.core.delay import late_from, turn
from streams.core.distinct import press, show
from streams.core.events import LogRecord, SlicePolicy
from streams.core.fold import fold
from streams.core.receipts import Receipt
from streams.core.serving import entries
from streams.core.state import PartitionState
from streams.core.units import MICROS
from streams.lab.simulator.admission import START_MS
from streams.lab.simulator.arrays import Bools, Ints
from streams.lab.simulator.contenders import StoppedPair
from streams.lab.simulator.serving import Offer, Question, Servers, beyond, by_rank
from streams.lab.simulator.traffic import (
    IMPRESSION,
    LIKE,
    NAMES,
    VIEW,
    EventBatch,
    record_at,
    viewer_of,
)
from streams.lab.simulator.world import World

_REPORTS: Final = EVIDENCE.index("reports")
_BUTTONS: Final = slice(EVIDENCE.index("likes"), EVIDENCE.index("ratio_sum"))
ONE_GENERATION: Final = 1 << 60
"""Nothing is delivered twice here, so no id needs to be forgotten."""


class FoldedRule:
    """The rule itself. Servers rank by score less price, up to the allowance, as feeds do.

    `receipts` has all of them in order; `tried` what was shown because chance drew it, of each pair
    in all.
    """

    def __init__(self, world: World, servers: Servers, *, bulk: bool = True) -> None:
        self.stops: list[StoppedPair] = []
        self.decisions = 0
        self.overdrawn = 0
        self.receipts: list[Receipt] = []
        self.tried = np.zeros(world.shape, np.int64)
        self._world = world
        self._servers = servers
        self._bulk = bulk
        self._videos = {name: place for place, name in enumerate(world.videos)}
        self._slices = {name: place for place, name in enumerate(world.slices)}
        self._scores = np.full(world.shape, -np.inf)
        self._allowance = np.zeros(world.shape, np.int64)
        self._first = np.zeros(world.shape, np.int64)  # up to where chance has it shown first
        self._fresh_due = np.zeros(len(world.slices), np.int64)  # slots, in millionths
        self._tick = 0
        self._offset = 0
        self._share = world.policy.fresh_share
        self._state = PartitionState(0, 1, ONE_GENERATION)
        self._fold([world.policy])

    def admit(self, video: int) -> None:
        """Fold the video's control records."""
        self._state.load(self._world.videos[video], {})
        self._fold(self._world.admissions[video])
        self._offer({video: []})

    def choose(self, question: Question) -> Ints:
        """Show what chance drew, and then what is open and worth its price."""
        tried = self._try(question)
        self.tried += tried
        question = question.less(tried)
        offer = Offer(self._scores.copy(), self._allowance.copy())
        counts = self._servers.serve(offer, question)
        self.overdrawn += beyond(counts, offer, question)
        return counts + tried

    def _try(self, question: Question) -> Ints:
        """Fill the slots of newcomers with what chance drew, as leases do."""
        self._fresh_due += question.slots * self._share
        left = np.minimum(np.maximum(self._first - question.shown, 0), question.room)
        counts = by_rank(np.zeros(left.shape), left, self._fresh_due // MICROS)
        self._fresh_due %= MICROS  # what nobody is owed is not saved up
        return counts

    def learn(self, batch: EventBatch, tick: int) -> None:
        """Fold what the log got."""
        self._tick = tick
        batch = batch.in_order(tick)
        if self._bulk and len(batch):
            self._learn_in_bulk(batch)
        else:
            self._fold([record_at(self._world, batch, at) for at in range(len(batch))])
        touched: defaultdict[int, list[str]] = defaultdict(list)
        for place, video in zip(
            *np.divmod(np.unique(batch.pair), len(self._world.videos)), strict=True
        ):
            touched[int(video)].append(self._world.slices[place])
        self._offer(touched)

    def stopped(self) -> Bools:
        """Return which pairs stand stopped."""
        standing = np.zeros(self._world.shape, np.bool_)
        for name, video in self._state.videos.items():
            for slice_id, row in video.slices.items():
                if row.status == STOPPED:
                    standing[self._slices[slice_id], self._videos[name]] = True
        return standing

    def _learn_in_bulk(self, batch: EventBatch) -> None:
        """Take each pair's events in one step, or from checkpoint to checkpoint."""
        sums = running_sums(self._world, batch)
        starts = np.flatnonzero(np.diff(batch.pair, prepend=-1))
        ends = np.append(starts[1:], len(batch))
        pairs = batch.pair[starts].tolist()
        for pair, start, end in zip(pairs, starts.tolist(), ends.tolist(), strict=True):
            place, video = divmod(pair, len(self._world.videos))
            slices, name = self._state.videos[self._world.videos[video]].slices, self._world.slices
            at = start
            if name[place] not in slices:
                self._fold([record_at(self._world, batch, start)])  # the row begins
                at = start + 1
            total = (sums[end] - sums[at]).tolist()
            row = slices[name[place]]
            if _passes(row, total):
                _add(row, total)
                _mark(row, self._spec(place), batch, (at, end))
            else:
                self._step(row, self._spec(place), batch, sums, (at, end))

    def _spec(self, place: int) -> SlicePolicy:
        return self._world.policy.slices[self._world.slices[place]]

    def _step(
        self, row: Slice, spec: SlicePolicy, batch: EventBatch, sums: Ints, span: tuple[int, int]
    ) -> None:
        """Go from checkpoint to checkpoint through the events of one pair."""
        at, end = span
        while at < end:
            judged = _checkpoint(row, sums, at, end)
            _add(row, (sums[judged] - sums[at]).tolist())
            _mark(row, spec, batch, (at, judged))
            if judged < end:
                self._fold([record_at(self._world, batch, judged)])
            at = judged + 1

    def _fold(self, events: Sequence[LogRecord]) -> None:
        offsets = range(self._offset, self._offset + len(events))
        self._offset += len(events)
        effects = fold(self._state, events, offsets, [0] * len(events))
        assert not effects.rejected
        for receipt in effects.receipts:
            self._apply(receipt)

    def _apply(self, receipt: Receipt) -> None:
        self.decisions += 1
        self.receipts.append(receipt)
        if receipt.action == "stop" and receipt.slice:
            pair = self._slices[receipt.slice] * len(self._world.videos)
            pair += self._videos[receipt.video]
            self.stops.append(StoppedPair(pair, self._tick, receipt.impressions))

    def _offer(self, touched: Mapping[int, Sequence[str]]) -> None:
        """Take over what feeds are told of these videos, of which so many slices changed."""
        outlook = self._state.outlook
        assert outlook is not None
        for video, slices in touched.items():
            name = self._world.videos[video]
            state = self._state.videos[name]
            if not state.judged:
                continue
            for slice_id, entry in entries(outlook, name, state, slices, self._offset):
                place = self._slices[slice_id], video
                drawn = entry.due and not entry.deadline
                self._first[place] = entry.impressions + entry.due if drawn else 0
                if entry.score is None:
                    self._scores[place], self._allowance[place] = -np.inf, 0
                    continue
                net = entry.score - outlook.price(slice_id, state.row)
                self._scores[place] = net / MICROS
                self._allowance[place] = entry.allowance if net >= 0 else 0


def running_sums(world: World, batch: EventBatch) -> Ints:
    """Return what the events before each place add to `EVIDENCE`, one column a counter."""
    kinds = np.arange(len(NAMES))[:, None] == batch.kind
    durations = world.durations_ms[batch.pair % len(world.videos)]
    viewed = kinds[VIEW]
    completed = viewed & (batch.watch_ms * 100 >= durations * COMPLETE_PERCENT)
    ratio = viewed * (np.minimum(batch.watch_ms, durations) * MICROS // durations)
    feedback = (*kinds[:LIKE], viewed * batch.watch_ms, completed, *kinds[LIKE:])
    firsts = [kinds[NAMES.index(name)] for name in ("comment", "share", "report", "order")]
    columns = (*feedback, ratio, ratio * ratio // MICROS, *firsts)  # nobody does anything twice
    sums = np.zeros((len(batch) + 1, len(EVIDENCE)), np.int64)
    np.cumsum(np.column_stack(columns), axis=0, out=sums[1:])
    return sums


def _passes(row: Slice, total: list[int]) -> bool:
    """Tell whether so much more feedback reaches no checkpoint."""
    impressions, views = total[0], total[1]
    if total[_REPORTS] or row.presses + sum(total[_BUTTONS]) >= late_from(row):
        return False
    return (not impressions or row.impressions + impressions < row.check_impressions) and (
        not views or row.views + views < row.check_views
    )


def _checkpoint(row: Slice, sums: Ints, at: int, end: int) -> int:
    """Return the place of the first event that is judged, or a report, from `at` on; else `end`."""
    first = end
    for counter, count, bar in (
        (sums[:, 0], row.impressions, row.check_impressions),
        (sums[:, 1], row.views, row.check_views),
        (sums[:, _REPORTS], 0, 1),  # each adds up
    ):
        reached = counter[at] + max(bar - count, 1)
        first = min(first, at + int(counter[at + 1 : end + 1].searchsorted(reached)))
    pressed = sums[at : end + 1, _BUTTONS].sum(axis=1)
    reached = pressed[0] + max(late_from(row) - row.presses, 1)
    return min(first, at + int(pressed[1:].searchsorted(reached)))


def _mark(row: Slice, spec: SlicePolicy, batch: EventBatch, span: tuple[int, int]) -> None:
    """Note viewers, delays and buttons of some events, in order."""
    first, end = span
    columns = (batch.kind, batch.serial, batch.when)
    for kind, serial, when in zip(*(each[first:end].tolist() for each in columns), strict=True):
        if kind == IMPRESSION:
            show(row, viewer_of(serial))
            continue
        if START_MS + when >= row.turn_ms:
            turn(row, START_MS + when, spec)
        if kind == VIEW:
            row.young += 1
        else:
            row.presses += 1
            press(row, viewer_of(serial), like=kind == LIKE)


def _add(row: Slice, more: list[int]) -> None:
    row.weighed = None
    for name, count in zip(EVIDENCE, more, strict=True):
        if count:
            setattr(row, name, getattr(row, name) + count)

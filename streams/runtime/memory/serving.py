"""The port `ServingIndex` in memory: the rules of the Lua scripts, word by word, in Python."""

import time
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from heapq import heapify, heappop, heappush
from types import MappingProxyType
from typing import Final

from streams.core.serving import Entry
from streams.core.units import MICROS
from streams.runtime.leases import (
    LEASE_LONGEST_S,
    MINUTES,
    NEWCOMERS_MOST,
    OPEN,
    Applied,
    Candidate,
    Footing,
    IndexBounds,
    Lease,
    Newcomers,
    PolicyOrder,
    Slots,
    Via,
    class_of,
    require_classes,
    share_of,
    slots_of,
)
from streams.runtime.ports import Clock

PAGE: Final = 1_000
_TIE_LENGTH: Final = 8


@dataclass(slots=True)
class _Pair:
    """One (video, slice), and its leases: until, impressions; those of one second together."""

    entry: Entry
    kind: str
    member: str
    leased: int = 0
    leases: list[list[int]] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Impressions that may still be leased."""
        entry = self.entry
        if entry.score is None:
            return 0
        return max(entry.allowance - entry.impressions - self.leased, 0)

    @property
    def is_drawn(self) -> bool:
        """Whether a draw owes it what is due: it has no deadline, and comes first by that."""
        return self.entry.due > 0 and not self.entry.deadline

    def owed(self, now_ms: int) -> int:
        """Impressions that are due and may still be leased."""
        if self.entry.deadline <= now_ms and not self.is_drawn:
            return 0
        return max(min(self.left, self.entry.due - self.leased), 0)

    def settle(self, count: int) -> None:
        """Take up to `count` leased impressions off, the oldest first."""
        while count > 0 and self.leases:
            some = min(count, self.leases[0][1])
            self.leases[0][1] -= some
            self.leased -= some
            count -= some
            if not self.leases[0][1]:
                del self.leases[0]

    def drop(self, is_over: Callable[[int], bool]) -> None:
        """Take the leases off that are over."""
        self.leased -= sum(count for until, count in self.leases if is_over(until))
        self.leases = [lease for lease in self.leases if not is_over(lease[0])]

    def give_back(self, count: int, until: int) -> None:
        """Take a lease off where it stands, and what was settled of it meanwhile off another."""
        for lease in self.leases:
            if lease[0] == until:
                some = min(count, lease[1])
                lease[1] -= some
                self.leased -= some
                count -= some
        self.leases = [lease for lease in self.leases if lease[1]]
        self.settle(count)


class _Ordered:
    """Members by a number, the lowest first; the twin of a sorted set."""

    def __init__(self) -> None:
        self.items: Final[list[tuple[int, str]]] = []
        self._numbers: Final[dict[str, int]] = {}

    def put(self, member: str, number: int | None) -> None:
        """Set a member's number; None takes it out."""
        known = self._numbers.pop(member, None)
        if known is not None:
            del self.items[bisect_left(self.items, (known, member))]
        if number is not None:
            self._numbers[member] = number
            insort(self.items, (number, member))

    def cut(self, start: int, stop: int) -> None:
        """Take out the members of these ranks."""
        for _, member in self.items[start:stop]:
            self.put(member, None)


class _Slice:
    """What is known of one slice."""

    def __init__(self, key: str) -> None:
        self.key: Final = key
        self.pairs: Final[dict[str, _Pair]] = {}
        self.late: Final[list[tuple[int, str]]] = []  # a heap of until and video
        self.looked_at = 0  # when leases were taken back last
        self.removed: Final[dict[str, int]] = {}
        self.at: Final[dict[int, int]] = {}
        self.prices: Mapping[str, int] = {}
        self.footing = OPEN
        self.order: PolicyOrder | None = None
        self.ranked: Final[defaultdict[str, _Ordered]] = defaultdict(_Ordered)
        self.fresh: Final = _Ordered()
        self.fresh_due = 0  # slots, in millionths
        self.slots: Final[dict[int, Slots]] = {}

    def ranking(self, added: Mapping[str, int]) -> Iterator[tuple[_Pair, int]]:
        """Yield the pairs of all lists and their net scores, best first, down to 0."""
        ends = {kind: len(ranked.items) for kind, ranked in self.ranked.items()}
        while True:
            heads = [
                (items[end - 1][0] + added.get(kind, 0), items[end - 1][1], kind)
                for kind, end in ends.items()
                if end and (items := self.ranked[kind].items)
            ]
            net, member, kind = max(heads, default=(-1, "", ""))
            if net < 0:
                return
            ends[kind] -= 1
            yield self.pairs[member[_TIE_LENGTH:]], net


class MemoryServingIndex:
    """The port `ServingIndex`; `clock` tells seconds since 1970."""

    def __init__(self, clock: Clock = time.time, bounds: IndexBounds | None = None) -> None:
        self._slices: Final[dict[str, _Slice]] = {}
        self._clock: Final = clock
        self._bounds: Final = bounds or IndexBounds()

    async def apply(
        self, slice_id: str, partitions_at: Mapping[int, int], entries: Sequence[Entry]
    ) -> Applied:
        """Put entries in, then note positions."""
        if not partitions_at and not entries:
            return Applied(0, {})
        known = self._open(slice_id)
        self._forget(known)
        written = sum(self._put(known, entry) for entry in entries)
        before = {
            partition: known.at[partition] for partition in partitions_at if partition in known.at
        }
        for partition, offset in partitions_at.items():
            known.at[partition] = max(offset, known.at.get(partition, offset))
        return Applied(written, before)

    async def set_prices(
        self, slice_id: str, order: PolicyOrder, prices: Mapping[str, int], footing: Footing = OPEN
    ) -> bool:
        """Put prices and a footing in force unless a later policy's stand."""
        require_classes(prices)
        known = self._open(slice_id)
        if known.order is not None and order <= known.order:
            return False
        known.order, known.prices, known.footing = order, dict(prices), footing
        return True

    async def is_frozen(self, slice_id: str) -> bool:
        """Tell whether the slice is frozen, by the policy whose prices are in force."""
        known = self._slices.get(slice_id)
        return known is not None and known.footing.frozen

    async def lease(
        self,
        slice_id: str,
        count: int,
        most_each: int,
        fresh_share: int | None = 0,
        tilts: Mapping[str, int] = MappingProxyType({}),
        without: Collection[str] = (),
    ) -> Sequence[Lease]:
        """Take impressions for up to `count` slots, at most `most_each` of a video."""
        require_classes(tilts)
        slots = slots_of(count)
        known = self._slices.get(slice_id)
        if known is None or not known.at or not slots or most_each < 1:
            return []
        self._take_back(known)
        if known.footing.frozen:
            self._count(known, slots, 0, 0)
            return []
        added, left_out = self._added(known, tilts), frozenset(without)
        taking = _Taking(known, self._until(), most_each, added, left_out)
        share = share_of(known.footing.fresh_share if fresh_share is None else fresh_share)
        known.fresh_due += slots * share
        quota = min(known.fresh_due // MICROS, slots)
        fresh = self._lease_fresh(taking, quota) if share else 0
        known.fresh_due %= MICROS
        rank = self._lease_ranked(taking, slots - fresh)
        self._count(known, slots, rank, fresh)
        for video in taking.taken:
            self._sort(known, known.pairs[video])
        return taking.leases

    async def give_back(self, slice_id: str, leases: Sequence[Lease]) -> int:
        """Return impressions that were not shown."""
        known, returned = self._slices.get(slice_id), 0
        if known is None:
            return 0
        self._take_back(known)
        for lease in leases:
            pair = known.pairs.get(lease.video)
            over = self._is_over(lease.until)
            if pair is not None and lease.impressions > 0 and not over:
                count = min(lease.impressions, pair.leased)
                pair.give_back(count, lease.until)
                returned += count
                self._sort(known, pair)
        return returned

    async def top(
        self, slice_id: str, count: int, tilts: Mapping[str, int] = MappingProxyType({})
    ) -> Sequence[Candidate]:
        """Return the `count` best candidates as a lease with these tilts takes them by rank."""
        require_classes(tilts)
        known = self._slices.get(slice_id)
        if known is None:
            return []
        self._take_back(known)
        best = () if known.footing.frozen else known.ranking(self._added(known, tilts))
        return [
            Candidate(pair.entry.video, net, pair.left, pair.entry.allowance, pair.kind)
            for _, (pair, net) in zip(range(count), best, strict=False)
        ]

    async def newcomers(self, slice_id: str) -> Newcomers:
        """Return what is owed to newcomers here."""
        known = self._slices.get(slice_id)
        if known is None:
            return Newcomers(0)
        members = [member for _, member in known.fresh.items[:NEWCOMERS_MOST]]
        entries = [known.pairs[member[_TIE_LENGTH:]].entry for member in members]
        dues = [(entry.deadline, max(entry.due, 0)) for entry in entries]
        return Newcomers(len(known.fresh.items), dues)

    async def positions(self, slice_id: str) -> Mapping[int, int]:
        """Return up to which offset each partition has told the slice everything."""
        known = self._slices.get(slice_id)
        return {} if known is None else dict(known.at)

    async def pairs(self, slice_id: str) -> AsyncIterator[Sequence[tuple[str, int]]]:
        """Yield pages of the videos that are not removed, with the offset of each one's entry."""
        known = self._slices.get(slice_id)
        entries = [] if known is None else [pair.entry for pair in known.pairs.values()]
        for start in range(0, len(entries), PAGE):
            page = entries[start : start + PAGE]
            yield [(entry.video, entry.offset) for entry in page if entry.score is not None]

    async def slots(self, slice_id: str, minutes: int) -> Sequence[Slots]:
        """Return the slots of the latest minutes in which any were asked for, oldest first."""
        known = self._slices.get(slice_id)
        if known is None:
            return []
        first = int(self._clock()) // 60 - min(max(minutes, 0), MINUTES)
        return sorted(slots for slots in known.slots.values() if slots.minute > first)

    async def clear(self, slice_id: str) -> None:
        """Forget all of a slice."""
        self._slices.pop(slice_id, None)

    # ------------------------------------------------------------------ entries

    def _open(self, slice_id: str) -> _Slice:
        if slice_id not in self._slices:
            self._slices[slice_id] = _Slice(self._bounds.new_key())
        return self._slices[slice_id]

    def _forget(self, known: _Slice) -> None:
        """Take leases back that nobody settled, and forget pairs removed long ago."""
        self._take_back(known)
        now = int(self._clock())
        for video in [video for video, until in known.removed.items() if until <= now]:
            del known.removed[video]
            self._sort(known, known.pairs.pop(video))

    def _put(self, known: _Slice, entry: Entry) -> int:
        """Put an entry in; return 1 if it was newer, else 0."""
        pair = known.pairs.get(entry.video)
        newer = pair is None or _replaces(entry, pair.entry)
        if pair is None:
            tie = sha1((known.key + entry.video).encode(), usedforsecurity=False).hexdigest()
            pair = _Pair(entry, class_of(entry), tie[:_TIE_LENGTH] + entry.video)
            known.pairs[entry.video] = pair
            if entry.score is None:
                pair.entry = Entry(entry.video, entry.offset, None)
        elif newer and entry.score is None:
            pair.entry = pair.entry._replace(offset=entry.offset, score=None, due=0)
        elif newer:
            pair.settle(entry.impressions - pair.entry.impressions)
            known.ranked[pair.kind].put(pair.member, None)
            pair.entry, pair.kind = entry, class_of(entry)
        if newer:
            known.removed.pop(entry.video, None)
        if newer and entry.score is None:
            known.removed[entry.video] = int(self._clock()) + self._bounds.removed_s
        self._sort(known, pair)
        return int(newer)

    def _sort(self, known: _Slice, pair: _Pair) -> None:
        """Have each list hold what it should, the best of it."""
        most, entry = self._bounds.ranked, pair.entry
        ranked = known.ranked[pair.kind]
        ranked.put(pair.member, entry.score if pair.left else None)
        ranked.cut(0, max(len(ranked.items) - most, 0))
        owed = pair.owed(self._now_ms())
        known.fresh.put(pair.member, entry.deadline if owed else None)
        known.fresh.cut(most, len(known.fresh.items))

    # ------------------------------------------------------------------ leases

    def _take_back(self, known: _Slice) -> None:
        now = int(self._clock())
        if now < known.looked_at:  # the clock was set back
            known.late[:] = [(now if self._is_over(at) else at, video) for at, video in known.late]
            heapify(known.late)
        known.looked_at = now
        while known.late and known.late[0][0] <= now:
            pair = known.pairs.get(heappop(known.late)[1])
            if pair is not None:
                pair.drop(self._is_over)
                self._sort(known, pair)

    def _lease_fresh(self, taking: "_Taking", quota: int) -> int:
        """Lease of pairs that are owed some, by deadline; drop those whose time is over."""
        given = 0
        for _, member in list(taking.known.fresh.items):
            if given >= quota:
                break
            pair = taking.known.pairs[member[_TIE_LENGTH:]]
            if not (owed := pair.owed(self._now_ms())):
                taking.known.fresh.put(member, None)
                continue
            via: Via = "explore" if pair.is_drawn else "fresh"
            given += taking.take(pair, min(owed, quota - given), via)
        return given

    def _lease_ranked(self, taking: "_Taking", wanted: int) -> int:
        """Lease of the best pairs."""
        given = 0
        for pair, _ in taking.known.ranking(taking.added):
            if given >= wanted:
                break
            given += taking.take(pair, min(pair.left, wanted - given), "rank")
        return given

    def _count(self, known: _Slice, asked: int, rank: int, fresh: int) -> None:
        """Count slots asked for and filled in this minute, for a day."""
        minute = int(self._clock()) // 60
        kept = known.slots.get(minute % MINUTES)
        if kept is None or kept.minute != minute:
            kept = Slots(minute, 0, 0, 0)
        filled = (kept.asked + asked, kept.rank + rank, kept.fresh + fresh)
        known.slots[minute % MINUTES] = Slots(minute, *filled)

    def _added(self, known: _Slice, tilts: Mapping[str, int]) -> Mapping[str, int]:
        """Return what is added to the score of each class: its tilt less its price."""
        prices = known.prices
        return defaultdict(
            int, {kind: tilts.get(kind, 0) - prices.get(kind, 0) for kind in {*tilts, *prices}}
        )

    def _until(self) -> int:
        return int(self._clock()) + min(self._bounds.lease_s, LEASE_LONGEST_S) + 1

    def _is_over(self, until: int) -> bool:
        """Tell whether a lease came back; one too far off is of before the clock was set back."""
        now = int(self._clock())
        return until <= now or until > now + LEASE_LONGEST_S + 1

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _replaces(entry: Entry, known: Entry) -> bool:
    """Tell whether an entry takes the place of another one."""
    is_back = entry.score is not None and known.score is None
    return entry.offset > known.offset or (entry.offset == known.offset and is_back)


@dataclass(slots=True)
class _Taking:
    """One lease while it is made: at most `each` of a video, all until the same second."""

    known: _Slice
    until: int
    each: int
    added: Mapping[str, int]
    left_out: frozenset[str]
    leases: list[Lease] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)

    def take(self, pair: _Pair, wanted: int, via: Via) -> int:
        """Lease up to `wanted` impressions of a pair; return how many."""
        video, score = pair.entry.video, pair.entry.score
        assert score is not None, "only what has a score has something left"
        count = min(wanted, self.each - self.taken.get(video, 0))
        if count <= 0 or video in self.left_out:
            return 0
        pair.leased += count
        if pair.leases and pair.leases[-1][0] == self.until:
            pair.leases[-1][1] += count
        else:
            pair.leases.append([self.until, count])
            heappush(self.known.late, (self.until, video))
        self.taken[video] = self.taken.get(video, 0) + count
        net = score + self.added[pair.kind]
        factor = pair.entry.factor
        self.leases.append(Lease(video, count, net, via, self.until, score, factor))
        return count

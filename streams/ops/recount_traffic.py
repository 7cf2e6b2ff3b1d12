"""Counts the traffic of a log a second time, minute by minute, as simply as it can be said.

As the recount, of which it is a part, it shares nothing with the fold of how events become sums.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

from streams.core.events import (
    Admit,
    Gift,
    Impression,
    InteractionRecord,
    Order,
    Policy,
    Stay,
    Unlike,
    View,
)
from streams.core.ticks import StoredTraffic
from streams.core.traffic import GAP_MICROS, GAPS, GAPS_BELOW, UNKNOWN, ClassSums
from streams.core.units import surface_of
from streams.ops.recount_live import share_of_view

TrafficKey = tuple[str, str, str]
"""Slice, class, and what is counted there."""
Sums = Counter[TrafficKey]
RUN: Final = 31
_GRANTS: Final = ("granted", "returned", "trials", "hoped", "found", "apart")
"""What follows from the rule alone, which no recount tells again."""


class TrafficRecount:
    """The minutes of one partition from the offset `since` on (None: nothing of it is counted).

    `ticks` holds them by their number; the open one is the greatest, 0 before there is any.
    """

    def __init__(self, since: int | None) -> None:
        self.ticks: Final[defaultdict[int, Sums]] = defaultdict(Counter)
        self.open = 0
        self._since = since
        self._times: list[int] = []
        self._policy: Policy | None = None
        self._kinds: dict[str, str] = {}  # class of a video, once it is settled

    def put_in_force(self, policy: Policy) -> None:
        """Go by another policy."""
        self._policy = policy

    def admit(self, record: Admit) -> None:
        """Note the class of a video: that of the first admission, if nothing ended it before."""
        kind = f"{record.band}c" if record.commercial else f"{record.band}"
        self._kinds.setdefault(record.video, kind)

    def take_down(self, video: str) -> None:
        """Note that a video that was not admitted by now never will be."""
        self._kinds.setdefault(video, UNKNOWN)

    def resume(self, stored: StoredTraffic, kinds: Mapping[str, str]) -> None:
        """Go on from what was stored, and from the classes that are settled by then."""
        self.ticks[stored.tick] = summed(stored.sums)
        self.open, self._times = stored.tick, list(stored.times)
        self._kinds |= kinds

    def count(
        self, event: InteractionRecord, slice_id: str, offset: int, *, in_room: bool = False
    ) -> None:
        """Count an event that counts in a slice, `in_room` of a live one; let the clock go on."""
        if self._since is None or offset < self._since:
            return
        where = (self._place(slice_id), self._kinds.get(event.video, UNKNOWN))
        sums = self.ticks[self.open]
        kind = type(event).__name__.lower()
        if isinstance(event, View):
            share, complete = share_of_view(event, in_room=in_room)
            sums[*where, "views"] += 1
            sums[*where, "ratio_sum"] += share
            sums[*where, "completes"] += complete
        elif isinstance(event, Unlike):
            sums[*where, "likes"] -= 1
        else:
            sums[*where, f"{kind}s"] += 1
        for counter, count in extras_of(event).items():
            sums[*where, counter] += count
        if isinstance(event, Impression):
            self._count_served(sums, where, event)
        self._pass(event.ts)

    def _count_served(self, sums: Sums, where: tuple[str, str], event: Impression) -> None:
        slice_id, kind = where
        if event.via:
            sums[*where, f"via {event.via}"] += 1
        if event.mix:
            sums[*where, "steered"] += self.open - 5 <= event.mix <= self.open + 5
        named = self._policy is not None and slice_id in self._policy.slices
        if event.score is None or not named or kind == UNKNOWN:
            return
        assert self._policy is not None
        price = self._policy.slices[slice_id].price
        price += self._policy.terms.get(f"{surface_of(slice_id)}:{kind}", 0)
        price -= self._policy.leans.get(f"{surface_of(slice_id)}:{kind}", 0)
        buckets = [low for low in range(1, GAPS) if event.score - price >= _low(low)]
        sums[*where, f"gap {len(buckets)}"] += 1

    def _place(self, slice_id: str) -> str:
        named = self._policy is not None and slice_id in self._policy.slices
        return slice_id if named else f"{surface_of(slice_id)}:"

    def _pass(self, ts: int) -> None:
        self._times.append(ts)
        if len(self._times) < RUN:
            return
        tick = int(median(self._times)) // 60_000
        self._times.clear()
        if tick > self.open:
            if not self.open:
                self.ticks[tick] = self.ticks.pop(0)
            self.open = tick


def extras_of(event: InteractionRecord) -> dict[str, int]:
    """Return what an event adds to counters beside that of its type."""
    match event:
        case Impression(follower=follower, amount=amount):
            return {"follower_impressions": int(follower), "spend": amount}
        case Order(amount=amount):
            return {"order_amount": amount}
        case Gift(amount=amount):
            return {"gift_amount": amount}
        case Stay(stay_ms=stay):
            return {"stay_ms": stay}
        case _:
            return {}


def summed(sums: Iterable[ClassSums]) -> Sums:
    """Return what the worker summed, spelled as the recount does, but for what only rules say."""
    total: Sums = Counter()
    for each in sums:
        total.update(spread_out(each))
    return Counter({key: count for key, count in total.items() if count and key[2] not in _GRANTS})


def spread_out(sums: ClassSums) -> Sums:
    """Return what the worker summed of one slice and class, spelled as the recount does."""
    where = (sums.slice, sums.kind)
    names = [name for name in ClassSums.__struct_fields__ if type(getattr(sums, name)) is int]
    spread: Sums = Counter({(*where, name): getattr(sums, name) for name in names})
    spread.update({(*where, f"via {via}"): count for via, count in sums.via.items()})
    spread.update({(*where, f"gap {place}"): count for place, count in enumerate(sums.gaps)})
    return spread


def _low(bucket: int) -> int:
    """Return the least score less price of a bucket but the first."""
    return (bucket - GAPS_BELOW) * GAP_MICROS

"""Keeps count of what feed servers leased: no more at a time than an allowance has left."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from streams.runtime.leases import Lease
from streams.runtime.memory import MemoryServingIndex


class _Standing(NamedTuple):
    """A lease that nobody gave back: until when, of how many, and what was counted before it."""

    until: int
    count: int
    counted: int


class Watch:
    """Hands the index to feed servers and counts what they take, by its own book.

    Of what stands of a video, whatever was counted since the oldest of it was leased may be
    settled already.
    """

    def __init__(self, clock: Callable[[], float], index: MemoryServingIndex) -> None:
        self._clock: Final = clock
        self._index: Final = index
        self._book: Final[defaultdict[tuple[str, str], list[_Standing]]] = defaultdict(list)
        self._last_s = 0.0
        self.flaws: Final[list[str]] = []
        self.counts: Final = Counter({"leased": 0, "given back": 0})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def forget(self, slice_id: str) -> None:
        """Count anew: Redis does not know of its leases any more."""
        for key in [key for key in self._book if key[0] == slice_id]:
            del self._book[key]

    async def lease(self, slice_id: str, *given: Any) -> Sequence[Lease]:
        """Lease, and compare with what may be leased."""
        leases = await self._index.lease(slice_id, *given)
        now = self._clock()
        if now < self._last_s:  # the clock was set back: what is over by it is another matter
            self._book.clear()
        self._last_s = now
        for lease in leases:
            self.counts["leased"] += lease.impressions
            self._take(slice_id, lease, now)
        return leases

    async def give_back(self, slice_id: str, leases: Sequence[Lease]) -> int:
        """Give back; what of it still stood stands no more."""
        returned = await self._index.give_back(slice_id, leases)
        self.counts["given back"] += returned
        for lease in leases:
            book = self._book[slice_id, lease.video]
            for at, one in enumerate(book):
                if one.until == lease.until and one.count >= lease.impressions:
                    book[at] = one._replace(count=one.count - lease.impressions)
                    break
        return returned

    def _take(self, slice_id: str, lease: Lease, now: float) -> None:
        entry = self._index._slices[slice_id].pairs[lease.video].entry
        key = slice_id, lease.video
        book = [one for one in self._book[key] if one.until > now and one.count]
        if book and entry.impressions < book[0].counted:
            book = []  # the counters fell back, and with them what was settled
        book.append(_Standing(lease.until, lease.impressions, entry.impressions))
        self._book[key] = book
        standing = sum(one.count for one in book)
        settled = entry.impressions - book[0].counted
        if standing - settled > entry.allowance - entry.impressions:
            self.flaws.append(
                f"{lease.video} in {slice_id}: {standing} impressions are leased, {settled} of "
                f"them maybe counted, of {entry.allowance} less {entry.impressions}"
            )

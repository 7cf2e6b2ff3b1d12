"""The clock of a partition, made of its events, and the minute (tick) that is open by it.

Theory of operation: the events that count, one after another, form runs of `RUN`. The clock is the
greatest median so far of the times in a run, so that producers with fewer than half of a run's
events cannot move it, and it never goes back. An event counts in the tick that is open when it is
folded, whatever its own time; until the first run is whole, that tick has no number yet. What is
open is stored with the rows, guarded as they are; a tick that closes is a record of the topic
`traffic`.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import astuple

from streams.core.events import LogRecord
from streams.core.outlook import Outlook
from streams.core.traffic import HOT, ClassSums, Tick
from streams.core.units import surface_of
from streams.errors import UNREADABLE

RUN: Final = 31
"""Events whose median time is one reading of the clock; odd, so that it is one of them."""
TICK_MS: Final = 60_000
Place = tuple[int, int]
"""Offset, and place in the record's array."""


class StoredTraffic(NamedTuple):
    """What a partition stores of its traffic."""

    since: int = -1  # offset of the first event that is summed, -1 before any
    tick: int = 0  # open; 0 before the first run was whole
    times: Sequence[int] = ()  # of the open run, ms
    sums: Sequence[ClassSums] = ()  # of the open tick


class _StoredSums(ClassSums, array_like=True):
    """Sums as they are stored: an array that only grows at its end."""


_encode_stored: Final = msgspec.json.Encoder(order="deterministic").encode
_decode_stored: Final = msgspec.json.Decoder(tuple[int, int, list[int], list[_StoredSums]]).decode


def read_stored(raw: bytes) -> StoredTraffic:
    """Return what `OpenTraffic.stored` spelled, nothing of b""; `ValueError` if it did not."""
    if not raw:
        return StoredTraffic()
    try:
        since, tick, times, sums = _decode_stored(raw)
    except UNREADABLE as error:
        raise ValueError(f"traffic: {error}") from None
    return StoredTraffic(since, tick, times, [ClassSums(*astuple(each)) for each in sums])


class OpenTraffic:
    """The clock of one partition and its open tick; owned by one `PartitionState`."""

    __slots__ = ("_open", "_since", "outlook", "partition", "tick", "times")

    def __init__(self, partition: int, outlook: Outlook | None, stored: StoredTraffic) -> None:
        self.partition: Final = partition
        self.outlook = outlook
        self.tick = stored.tick
        self._since = stored.since
        self.times: list[int] = list(stored.times)  # of the open run
        self._open: Final = {(each.slice, each.kind): (each, _none_hot()) for each in stored.sums}

    def sums_of(self, slice_id: str, kind: str) -> tuple[ClassSums, list[int]]:
        """Return what an event in a slice counts in: the sums, and those of `HOT` in a list.

        The same objects over ticks, until the policy has other slices.
        """
        named = self.outlook is not None and slice_id in self.outlook.policy.slices
        # Anybody may name other slices, and no input may make a tick grow without end.
        key = (slice_id if named else f"{surface_of(slice_id)}:", kind)
        try:
            return self._open[key]
        except KeyError:
            return self._open.setdefault(key, (ClassSums(*key), _none_hot()))

    def room(self, offset: int, newest: int) -> int:
        """Return how many events may be folded before the clock must be read with `read`.

        `offset` is that of the first one, `newest` the greatest time of all that are to be folded.
        Nearly always all of them: no run has a later median than its greatest time.
        """
        if self._since < 0:
            self._since = offset
        if max([newest, *self.times]) < self._end():
            return 1 << 62
        return RUN - len(self.times)

    def read(
        self,
        events: Sequence[LogRecord],
        offsets: Sequence[int],
        elements: Sequence[int],
        skipped: Collection[Place],
    ) -> Tick | None:
        """Read the clock behind events, of which those at the places `skipped` did not count.

        If it opens a later tick, return the one that this closes, if any.
        """
        runs, rest = divmod(len(self.times) + len(events) - len(skipped), RUN)
        # Of more than one run none can move the clock: `room` would have had it read before.
        wanted = rest + RUN * (runs == 1)
        times = self._latest(wanted, events, offsets, elements, skipped)
        run, self.times = times[: wanted - rest], times[wanted - rest :]
        if not run or (median := sorted(run)[RUN // 2]) < self._end():
            return None
        closed, self.tick = self.tick, median // TICK_MS
        if not closed:
            return None  # the tick had no number yet: this is it
        sums = tuple(each.take() for each in self._sorted())
        return Tick(f"{self.partition}.{closed}", self.partition, closed, sums)

    def stored(self) -> bytes:
        """Return what is to be stored with the rows."""
        sums = [astuple(each) for each in self._sorted()]
        return _encode_stored((self._since, self.tick, self.times, sums))

    def _latest(
        self,
        count: int,
        events: Sequence[LogRecord],
        offsets: Sequence[int],
        elements: Sequence[int],
        skipped: Collection[Place],
    ) -> list[int]:
        """Return the latest `count` times of the open run and of the events that count."""
        latest: list[int] = []
        places = zip(reversed(events), reversed(offsets), reversed(elements), strict=True)
        while len(latest) < count:
            event, offset, element = next(places, (None, 0, 0))
            if event is None:
                break
            if (offset, element) not in skipped:
                latest.append(event.ts)
        missing = count - len(latest)
        return self.times[len(self.times) - missing :] + latest[::-1]

    def _end(self) -> int:
        return (self.tick + 1) * TICK_MS

    def _sorted(self) -> list[ClassSums]:
        for sums, hot in self._open.values():
            for place, name in enumerate(HOT):
                setattr(sums, name, getattr(sums, name) + hot[place])
                hot[place] = 0
        sorted_by_key = [self._open[key][0] for key in sorted(self._open)]
        return [sums for sums in sorted_by_key if not sums.is_empty()]


def _none_hot() -> list[int]:
    return [0] * len(HOT)

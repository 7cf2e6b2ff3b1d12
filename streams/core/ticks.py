"""The clock of a partition, made of its events, and the minute (tick) that is open by it.

Theory of operation: the events that count, one after another, form runs of `RUN`. The clock is the
greatest median so far of the times in a run, so that producers with fewer than half of a run's
events cannot move it, and it never goes back. An event counts in the tick that is open when it is
folded, whatever its own time; until the first run is whole, that tick has no number yet. What is
open is stored with the rows, guarded as they are; a tick that closes is a record of the topic
`traffic`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import astuple

from streams.core.outlook import Outlook
from streams.core.traffic import ClassSums, Tick
from streams.core.units import surface_of

RUN: Final = 31
"""Events whose median time is one reading of the clock; odd, so that it is one of them."""
TICK_MS: Final = 60_000


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
    except msgspec.DecodeError as error:
        raise ValueError(f"traffic: {error}") from None
    return StoredTraffic(since, tick, times, [ClassSums(*astuple(each)) for each in sums])


class ClassTraffic(dict[str, ClassSums]):
    """The open tick's sums of one class by slice; a slice that is not there yet begins."""

    __slots__ = ("_kind", "_traffic")

    def __init__(self, traffic: "OpenTraffic", kind: str) -> None:
        self._traffic = traffic
        self._kind = kind

    def __missing__(self, slice_id: str) -> ClassSums:
        outlook = self._traffic.outlook
        if outlook is not None and slice_id in outlook.policy.slices:
            sums = self[slice_id] = self._traffic.sums_of(slice_id, self._kind)
            return sums
        # Anybody may name such slices, and no input may make a tick grow without end.
        return self._traffic.sums_of(f"{surface_of(slice_id)}:", self._kind)


class OpenTraffic:
    """The clock of one partition and its open tick; owned by one `PartitionState`.

    The fold adds the time of each event that counts to `times`, the open run.
    """

    __slots__ = ("_by_kind", "_since", "_sums", "outlook", "partition", "tick", "times")

    def __init__(self, partition: int, outlook: Outlook | None, stored: StoredTraffic) -> None:
        self.partition: Final = partition
        self.outlook = outlook
        self.tick = stored.tick
        self._since = stored.since
        self.times: Final = list(stored.times)
        self._sums = {(each.slice, each.kind): each for each in stored.sums}
        self._by_kind: Final[dict[str, ClassTraffic]] = {}

    def of_kind(self, kind: str) -> ClassTraffic:
        """Return the sums of one class; they stay the same object over ticks and policies."""
        if kind not in self._by_kind:
            self._by_kind[kind] = ClassTraffic(self, kind)
        return self._by_kind[kind]

    def sums_of(self, slice_id: str, kind: str) -> ClassSums:
        """Return the sums of one slice and class."""
        key = (slice_id, kind)
        if key not in self._sums:
            self._sums[key] = ClassSums(slice_id, kind)
        return self._sums[key]

    def set_outlook(self, outlook: Outlook) -> None:
        """Go by another policy: its slices are those that are summed by name."""
        self.outlook = outlook
        self._forget_places()

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

    def read(self) -> Tick | None:
        """Read the clock; if it opens a later tick, return the one that this closes, if any."""
        times = self.times
        whole = len(times) // RUN * RUN
        run = times[:whole]
        del times[:whole]
        if whole != RUN or (median := sorted(run)[RUN // 2]) < self._end():
            return None
        closed, self.tick = self.tick, median // TICK_MS
        if not closed:
            return None  # the tick had no number yet: this is it
        sums = self._sorted()
        self._sums = {}
        self._forget_places()
        return Tick(f"{self.partition}.{closed}", self.partition, closed, tuple(sums))

    def stored(self) -> bytes:
        """Return what is to be stored with the rows."""
        sums = [astuple(each) for each in self._sorted()]
        return _encode_stored((self._since, self.tick, self.times, sums))

    def _end(self) -> int:
        return (self.tick + 1) * TICK_MS

    def _sorted(self) -> list[ClassSums]:
        return [sums for _, sums in sorted(self._sums.items())]

    def _forget_places(self) -> None:
        for places in self._by_kind.values():
            places.clear()

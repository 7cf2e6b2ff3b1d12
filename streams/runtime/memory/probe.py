"""The port `LogProbe` in memory: the ends of a `MemoryLog`, and the first records of spans."""

from collections.abc import Collection, Mapping
from typing import Final

from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import Offsets, Place
from streams.runtime.probing import Ends


class MemoryProbe:
    """Looks at a `MemoryLog`; `reads` counts the spans that were looked into."""

    def __init__(self, log: MemoryLog) -> None:
        self.reads = 0
        self._log: Final = log

    async def start(self) -> None:
        """Connect to nothing."""

    async def stop(self) -> None:
        """Disconnect from nothing."""

    async def ends(self, places: Collection[Place]) -> Mapping[Place, Ends]:
        """Return the bounds of the partitions that have a leader."""
        return {place: self._ends(place) for place in places if self._answers(place)}

    async def first_times(
        self, spans: Mapping[Place, Offsets], *, committed: bool = True
    ) -> Mapping[Place, int | None]:
        """Return the timestamp of the first record in each span, None where it holds none."""
        self.reads += len(spans)
        return {
            place: self._first_time(place, span, committed)
            for place, span in spans.items()
            if self._answers(place)
        }

    def _ends(self, place: Place) -> Ends:
        start, end = self._log.offsets(*place)
        return Ends(start, self._log.transactions.get(place, end), end)

    def _answers(self, place: Place) -> bool:
        return bool(self._log.answering(place[0], [place[1]]))

    def _first_time(self, place: Place, span: Offsets, committed: bool) -> int | None:
        end = min(span.end, self._ends(place).stable) if committed else span.end
        found = self._log.read(*place, span.start, 1)
        return found[0].timestamp if found and found[0].offset < end else None

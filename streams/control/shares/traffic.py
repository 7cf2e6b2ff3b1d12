"""The end of the topic `traffic`, as the leader reads it: what is new, and the latest minutes."""

from collections.abc import Sequence
from typing import Final

from streams.core.traffic import ClassSums, Tick, decode
from streams.core.traffic_view import TrafficView
from streams.errors import Halt
from streams.runtime.ports import LogReader, Record
from streams.runtime.reasons import PARSER_ERRORS
from streams.settings import Settings

TOPIC: Final = "traffic"
KEPT_TICKS: Final = 15
FETCH_MS: Final = 500
SILENT_TRIES: Final = 6


class NewTraffic:
    """The latest minutes, and what of them was not taken yet: it is kept until it is. Pure."""

    def __init__(self, partitions: int) -> None:
        self.view: Final = TrafficView(partitions, KEPT_TICKS)
        self._new: list[Tick] = []

    @property
    def now(self) -> int:
        """The minute by which most partitions go, 0 before any."""
        return self.view.now

    def add(self, tick: Tick) -> None:
        """Add a minute of a partition; what was there before is dropped."""
        if self.view.take(tick):
            self._new.append(tick)

    def take(self, behind: int) -> dict[tuple[str, str], ClassSums]:
        """Return the sums of the minutes behind one that were not taken yet; each is taken once."""
        sums: dict[tuple[str, str], ClassSums] = {}
        new, self._new = self._new, []
        for tick in new:
            for each in tick.sums if tick.tick > behind else ():
                sums.setdefault((each.slice, each.kind), ClassSums(each.slice, each.kind)).add(each)
        return sums


class TrafficTail(NewTraffic):
    """Reads on from the latest minutes."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        super().__init__(partitions)
        self._topic: Final = settings.topic(TOPIC)
        self._partitions: Final = partitions
        self._next: Final[dict[int, int]] = {}

    async def read(self, reader: LogReader) -> None:
        """Take what was written since; a partition that does not answer costs itself alone."""
        bounds = await reader.offsets(self._topic, range(self._partitions))
        starts = {
            partition: min(max(self._next.get(partition, end - KEPT_TICKS), start), end)
            for partition, (start, end) in bounds.items()
        }
        left = {p for p, start in starts.items() if start < bounds[p].end}
        reader.assign({(self._topic, p): starts[p] for p in left})
        silent = 0
        while left and silent < SILENT_TRIES:
            try:
                batches = await reader.fetch(FETCH_MS, 2_000)
            except Halt:  # retention was faster: the bounds are asked for again
                break
            silent = 0 if batches else silent + 1
            for records in batches.values():
                self._take(records)
            positions = {p: await reader.position(self._topic, p) for p in left}
            self._next.update(positions)
            left = {p for p in left if positions[p] < bounds[p].end}
        reader.assign({})

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            try:
                tick = decode(record.value or b"")
            except PARSER_ERRORS:
                continue  # no worker wrote it
            if tick.partition == record.partition:
                self.add(tick)

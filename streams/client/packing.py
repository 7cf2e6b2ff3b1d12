"""Interactions of one partition packed into arrays: one record for many events."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from streams.client.intake import Taken
from streams.core.partitioner import partition_of

ARRAY_BYTES: Final = 512 << 10
"""An array is sent when it has grown to this size, well below any broker's limit."""


@dataclass
class EventArray:
    """Events of one partition that share a record.

    `mark` is what the caller knows the first of them by, `key` that one's video, `ts` the latest
    time among them: a record of that time has no event ahead of it.
    """

    partition: int
    mark: int
    key: bytes
    values: list[bytes] = field(default_factory=list)
    size: int = 2
    ts: int = 0

    @property
    def value(self) -> bytes:
        """The bytes of the record: of an array, or of its only event."""
        return self.values[0] if len(self.values) == 1 else b"[" + b",".join(self.values) + b"]"


class Packed(NamedTuple):
    """The array that took an event, and those that may grow no more, in their order."""

    array: EventArray
    full: list[EventArray]


class Packer:
    """Fills one array a partition, each with `batch` events and `ARRAY_BYTES` at most.

    `partitions` is the partition count of the interactions topic.
    """

    def __init__(self, partitions: int, batch: int) -> None:
        self._batch = batch
        self._open: dict[int, EventArray] = {}
        self.partition: Final = lru_cache(maxsize=65_536)(
            lambda key: partition_of(key, partitions)  # murmur2 in Python costs more than the parse
        )

    @property
    def marks(self) -> list[int]:
        """The marks of the arrays that are not full yet."""
        return [array.mark for array in self._open.values()]

    def add(self, taken: Taken, mark: int) -> Packed:
        """Put an interaction into its partition's array, a new one gets `mark`."""
        key = taken.event.video.encode()
        partition = self.partition(key)
        full = []
        array = self._open.get(partition)
        if array is not None and array.size + len(taken.value) > ARRAY_BYTES:
            full.append(array)
            array = None
        if array is None:
            array = self._open[partition] = EventArray(partition, mark, key)
        array.values.append(taken.value)
        array.size += len(taken.value) + 1
        array.ts = max(array.ts, taken.event.ts)
        if len(array.values) >= self._batch:
            full.append(self._open.pop(partition))
        return Packed(array, full)

    def take_all(self) -> list[EventArray]:
        """Return the arrays as they stand and begin new ones."""
        arrays, self._open = self._open, {}
        return list(arrays.values())

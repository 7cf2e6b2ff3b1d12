"""The port `LogReader` in memory: any partitions of a `MemoryLog`, from any offsets."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from streams.errors import Retry
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import Offsets, Place, Record


class MemoryReader:
    """Reads a `MemoryLog` from positions; `fetches` counts the calls of `fetch`."""

    def __init__(self, log: MemoryLog) -> None:
        self.fetches = 0
        self._log: Final = log
        self._positions: dict[Place, int] = {}
        self._failures: Final[list[Retry]] = []

    def fail_next(self, error: Retry) -> None:
        """Make the next `fetch` raise `error`."""
        self._failures.append(error)

    async def start(self) -> None:
        """Connect to nothing."""

    async def stop(self) -> None:
        """Disconnect from nothing."""

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of the partitions that have a leader."""
        answering = self._log.answering(topic, partitions)
        return {partition: self._log.offsets(topic, partition) for partition in answering}

    async def offsets_at(self, topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        """Return each partition's first offset at or after a time in ms, None if there is none."""
        return {
            partition: next(
                (
                    record.offset
                    for record in self._log.records(topic, partition)
                    if record.timestamp >= times[partition]
                ),
                None,
            )
            for partition in self._log.answering(topic, times)
        }

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        self._positions = dict(positions)

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Return the next records of every assigned partition."""
        self.fetches += 1
        if self._failures:
            raise self._failures.pop(0)
        share = max(max_records // max(len(self._positions), 1), 1)
        batches = {
            place: records
            for place, position in self._positions.items()
            if (records := self._log.read(*place, position, share))
        }
        self._positions.update((place, batches[place][-1].offset + 1) for place in batches)
        await asyncio.sleep(0 if batches else timeout_ms / 1000)
        return batches

    async def position(self, topic: str, partition: int) -> int:
        """Return the next offset that will be read of an assigned partition."""
        return self._positions[topic, partition]

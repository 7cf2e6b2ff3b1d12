"""A reader that passes over what is skipped of the log, for every tool that reads it."""

from collections.abc import Mapping, Sequence
from typing import Final

from streams.runtime.ledger import Skips
from streams.runtime.ports import LogReader, Offsets, Place, Record


class SkippingReader:
    """The port `LogReader`, over another one, that passes over what is skipped of one topic.

    What was read ends where a skipped place begins: so the next position is known before the place
    itself is asked for.
    """

    def __init__(self, reader: LogReader, topic: str, ledger: Skips) -> None:
        self._reader: Final = reader
        self._topic: Final = topic
        self._ledger: Final = ledger
        self._positions: dict[Place, int] = {}  # behind what was handed out

    async def start(self) -> None:
        """Connect."""
        await self._reader.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of the partitions that answer."""
        return await self._reader.offsets(topic, partitions)

    async def offsets_at(self, topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        """Return each partition's first offset at or after a time in ms."""
        return await self._reader.offsets_at(topic, times)

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, or from behind what is skipped there."""
        self._positions = {place: self._following(place, at) for place, at in positions.items()}
        self._reader.assign(self._positions)

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Return the next records; what is skipped behind them will not be asked for."""
        batches = await self._reader.fetch(timeout_ms, max_records)
        reached = {place: records[-1].offset + 1 for place, records in batches.items()}
        passed = {place: self._following(place, at) for place, at in reached.items()}
        self._positions |= passed
        if passed != reached:
            self._reader.assign(self._positions)
        return batches

    async def position(self, topic: str, partition: int) -> int:
        """Return the next offset that will be read of an assigned partition."""
        return await self._reader.position(topic, partition)

    def _following(self, place: Place, position: int) -> int:
        topic, partition = place
        return self._ledger.following(partition, position) if topic == self._topic else position

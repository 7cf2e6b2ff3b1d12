"""The ports of `ports` over a `MemoryLog`: a whole cluster in memory, for benches and tests."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from streams.recording.ports import Place
from streams.runtime.memory import MemoryLog
from streams.runtime.ports import Offsets, Outgoing, Record, TopicIdentity


class MemoryCluster:
    """The ports `LogReader`, `Cluster` and `BatchSink`."""

    def __init__(self, log: MemoryLog, partitions: Mapping[str, int]) -> None:
        """Take a log and the partition counts of its topics."""
        self._log: Final = log
        self.partitions: Final = dict(partitions)
        self._positions: dict[Place, int] = {}

    async def start(self) -> None:
        """Connect to nothing."""

    async def stop(self) -> None:
        """Disconnect from nothing."""

    async def describe(self) -> Mapping[str, int]:
        """Return every topic with its partition count."""
        return self.partitions

    async def identity(self, topic: str) -> TopicIdentity:
        """Return which topic this is; `Halt` if it does not exist."""
        return self._log.identity(topic)

    async def configs(self, topic: str) -> Mapping[str, str]:
        """Return no configuration: memory keeps everything."""
        self._log.identity(topic)
        return {}

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of partitions' logs."""
        return {partition: self._log.offsets(topic, partition) for partition in partitions}

    async def offsets_at(self, topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        """Return each partition's first offset at or after a time in ms, None if there is none."""
        return {
            partition: next(
                (r.offset for r in self._log.records(topic, partition) if r.timestamp >= time), None
            )
            for partition, time in times.items()
        }

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        self._positions = dict(positions)

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Return the next records of every assigned partition."""
        share = max(max_records // max(len(self._positions), 1), 1)
        found = {
            place: records
            for place, position in self._positions.items()
            if (records := self._log.read(*place, position, share))
        }
        self._positions.update((place, found[place][-1].offset + 1) for place in found)
        await asyncio.sleep(0 if found else timeout_ms / 1000)
        return found

    async def position(self, topic: str, partition: int) -> int:
        """Return the next offset that will be read of an assigned partition."""
        return self._positions[topic, partition]

    async def send_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing]
    ) -> Awaitable[None]:
        """Write records to one partition in their order."""
        for record in records:
            assert record.topic == topic  # noqa: S101 - a record goes where its batch goes
            assert record.partition == partition  # noqa: S101
            self._log.append(record)
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

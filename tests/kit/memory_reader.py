"""A reader over the shipped in-memory log, as `runtime.kafka.KafkaReader` is one over Kafka."""

from collections.abc import Mapping, Sequence

from streams.errors import Retry
from streams.ops.lag import At
from streams.runtime.memory import MemoryLog
from streams.runtime.ports import Offsets, Record


class MemoryReader:
    """Reads a `MemoryLog` from positions; `most` bounds the records of one fetch."""

    def __init__(self, log: MemoryLog, most: int = 3) -> None:
        self._log = log
        self._most = most
        self._next: dict[At, int] = {}
        self.fetches = 0
        self.failures: list[Retry] = []

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        return {partition: self._log.offsets(topic, partition) for partition in partitions}

    async def offsets_at(self, topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        return {
            partition: next(
                (
                    record.offset
                    for record in self._log.records(topic, partition)
                    if record.timestamp >= time
                ),
                None,
            )
            for partition, time in times.items()
        }

    def assign(self, positions: Mapping[At, int]) -> None:
        self._next = dict(positions)

    async def position(self, topic: str, partition: int) -> int:
        return self._next[topic, partition]

    async def fetch(
        self,
        timeout_ms: int,  # noqa: ARG002 - memory never waits
        max_records: int,
    ) -> Mapping[At, Sequence[Record]]:
        self.fetches += 1
        if self.failures:
            raise self.failures.pop(0)
        for at, position in self._next.items():
            found = self._log.read(*at, position, min(self._most, max_records))
            if found:
                self._next[at] = found[-1].offset + 1
                return {at: found}
        return {}

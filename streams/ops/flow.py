"""What flows through topics: records a minute, by the brokers' own index of times."""

import asyncio
from collections.abc import Mapping
from typing import Final

from streams.ops.lag_history import MINUTE_MS
from streams.runtime.ports import LogReader


class FlowMeter:
    """Counts the records of topics in the latest whole minutes, by their timestamps.

    It keeps where each minute began, so a further look asks for the new ones alone. Markers of
    transactions are counted too; a partition without a leader counts nothing meanwhile.
    """

    def __init__(self, topics: Mapping[str, int], minutes: int) -> None:
        self._topics: Final = topics
        self._minutes: Final = minutes
        self._begins: dict[tuple[str, int], Mapping[int, int]] = {}

    async def look(self, reader: LogReader, now_ms: int) -> dict[str, list[int]]:
        """Return the records of each whole minute by topic, the newest minute last."""
        last = now_ms // MINUTE_MS
        wanted = range(last - self._minutes, last + 1)
        self._begins = {key: its for key, its in self._begins.items() if key[1] in wanted}
        for topic in self._topics:
            await self._learn(reader, topic, [n for n in wanted if (topic, n) not in self._begins])
        return {
            topic: [self._between(topic, minute) for minute in wanted[:-1]]
            for topic in self._topics
        }

    async def _learn(self, reader: LogReader, topic: str, minutes: list[int]) -> None:
        """Ask where these minutes begin; one after the last record begins at the log's end."""
        partitions = range(self._topics[topic])
        if not minutes:
            return
        ends = await reader.offsets(topic, partitions)
        asked = [dict.fromkeys(partitions, minute * MINUTE_MS) for minute in minutes]
        answers = await asyncio.gather(*(reader.offsets_at(topic, times) for times in asked))
        for minute, begins in zip(minutes, answers, strict=True):
            self._begins[topic, minute] = {
                partition: ends[partition].end if begin is None else begin
                for partition, begin in begins.items()
                if partition in ends
            }

    def _between(self, topic: str, minute: int) -> int:
        first, then = self._begins[topic, minute], self._begins[topic, minute + 1]
        return sum(then[one] - first[one] for one in first.keys() & then.keys())

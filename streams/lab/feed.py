"""Takes what a crowd does to the topics, as a collector would: in arrays, one a partition."""

from collections.abc import Awaitable, Sequence
from functools import lru_cache
from typing import Final

from streams.core.events import (
    InteractionRecord,
    Recognition,
    Upload,
)
from streams.core.partitioner import partition_of
from streams.core.words import Review
from streams.lab.people import CrowdEvent, People
from streams.runtime.ports import Outgoing, Producer
from streams.runtime.signing import encode
from streams.settings import Settings

ARRAY_MAX: Final = 2_000
_TOPICS: Final = {Upload: "uploads", Recognition: "recognitions", Review: "reviews"}


class Feed:
    """Sends one crowd's events; `partitions` is the partition count of the interactions topic.

    `events` counts the interactions that were sent, repeats included.
    """

    def __init__(
        self, crowd: People, producer: Producer, settings: Settings, partitions: int
    ) -> None:
        self.events = 0
        self._now_ms = 0
        self._crowd = crowd
        self._producer = producer
        self._settings = settings
        self._partition = lru_cache(maxsize=4_096)(
            lambda video: partition_of(video.encode(), partitions)
        )
        self._unacknowledged: list[Awaitable[object]] = []

    async def step(self, now_ms: int) -> None:
        """Send what happened up to `now_ms`; `Retry` if an earlier record was not written."""
        await self.settle()
        self._now_ms = max(self._now_ms, now_ms)  # the machine's clock may be set back
        records = self._records(await self._crowd.step(self._now_ms))
        self._unacknowledged = [await self._producer.send(record) for record in records]

    async def settle(self) -> None:
        """Return when everything sent is acknowledged; `Retry` if it cannot be."""
        unacknowledged, self._unacknowledged = self._unacknowledged, []
        for acknowledged in unacknowledged:
            await acknowledged

    def _records(self, events: Sequence[CrowdEvent]) -> list[Outgoing]:
        """Return the records of one step; each video's events stay in their order."""
        records: list[Outgoing] = []
        arrays: dict[int, list[InteractionRecord]] = {}
        for event in events:
            if isinstance(event, Upload | Recognition | Review):
                topic = self._settings.topic(_TOPICS[type(event)])
                records.append(Outgoing(topic, encode(event), event.video.encode()))
            else:
                arrays.setdefault(self._partition(event.video), []).append(event)
        topic = self._settings.topic("interactions")
        for partition, array in arrays.items():
            self.events += len(array)
            for first in range(0, len(array), ARRAY_MAX):
                part = array[first : first + ARRAY_MAX]
                key = part[0].video.encode()
                records.append(Outgoing(topic, encode(part), key, (), partition))
        return records

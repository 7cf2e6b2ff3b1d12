"""The ports `Producer` and `BatchSink` in memory."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from streams.errors import Retry
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import (
    Outgoing,
)


class MemoryProducer:
    """The ports `Producer` and `BatchSink`, writing to a `MemoryLog`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log: Final = log
        self._failures: Final[list[Retry]] = []

    def fail_next(self, error: Retry) -> None:
        """Lose the next record: what `send` returns raises `error`."""
        self._failures.append(error)

    async def start(self) -> None:
        """Connect to nothing."""

    async def stop(self) -> None:
        """Do nothing: every record was written when it was sent."""

    async def describe(self) -> Mapping[str, int]:
        """Return every topic with its partition count."""
        return self._log.topics()

    async def renew(self) -> bool:
        """Replace nothing: no record is lost because another one was."""
        return False

    async def send(self, record: Outgoing) -> Awaitable[int | None]:
        """Write a record; see the port."""
        acknowledged: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        try:
            if self._failures:
                raise self._failures.pop(0)
            written = self._log.append(record)
        except Retry as error:
            acknowledged.set_exception(error)
        else:
            acknowledged.set_result(written.offset)
        return acknowledged

    async def send_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing]
    ) -> Awaitable[None]:
        """Write records to one partition in their order."""
        for record in records:
            assert record.topic == topic, "a record goes where its batch goes"
            assert record.partition == partition, "a record goes where its batch goes"
            self._log.append(record)
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

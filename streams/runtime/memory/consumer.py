"""The port `LogConsumer` in memory: a member of a group of a `MemoryLog`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import (
    AssignmentListener,
    Offsets,
    Record,
    TopicIdentity,
)


class MemoryConsumer:
    """The port `LogConsumer`: a member of `group` reading `topic` of a `MemoryLog`.

    A member that joins or leaves rebalances the group within its own `start` or `stop`. When a
    listener raises, the hand-over goes on and the next `fetch` raises it.
    """

    def __init__(self, log: MemoryLog, topic: str, group: str) -> None:
        self._log: Final = log
        self._topic: Final = topic
        self._group: Final = log.group(group, topic)
        self._listener: AssignmentListener | None = None
        self._assigned: tuple[int, ...] = ()
        self._positions: Final[dict[int, int]] = {}
        self._paused: Final[set[int]] = set()
        self._failure: Exception | None = None  # of the listener
        self._turn = 0  # which partition is read first, so that none starves
        self._wake: Final = asyncio.Event()

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group; `Halt` if the topic does not exist."""
        count = self._log.identity(self._topic).partitions
        self._listener = listener
        self._log.waiting[self._wake] = None
        await self._group.rebalance(count, joined=self)

    async def stop(self) -> None:
        """Leave the group without a call of the listener. Idempotent."""
        self._log.waiting.pop(self._wake, None)
        if self in self._group.members:
            self._group.members.remove(self)
            self._drop()
            await self._group.rebalance(self._log.identity(self._topic).partitions)

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[int, Sequence[Record]]:
        """Return the next records by partition; see the port."""
        deadline = time.monotonic() + timeout_ms / 1000
        await asyncio.sleep(0)  # a loop that only fetches lets the others run
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        while not (found := self._take(max_records)):
            self._wake.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._wake.wait()
            except TimeoutError:
                return {}
        return found

    def seek(self, positions: Mapping[int, int]) -> None:
        """Set the next offset to read of assigned partitions; others are left out."""
        self._positions.update((p, at) for p, at in positions.items() if p in self._assigned)
        self._wake.set()

    def pause(self, partitions: Sequence[int]) -> None:
        """Stop yielding these partitions until `resume`."""
        self._paused.update(partitions)

    def resume(self, partitions: Sequence[int]) -> None:
        """Yield these partitions again."""
        self._paused.difference_update(partitions)
        self._wake.set()

    async def position(self, partition: int) -> int | None:
        """Return the next offset that will be read of a partition, None if none was sought."""
        return self._positions.get(partition)

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Commit positions to the group."""
        self._group.positions.update(positions)

    async def committed(self, partition: int) -> int | None:
        """Return the group's committed position, None if it never committed one."""
        return self._group.positions.get(partition)

    async def offsets(self, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of the partitions that have a leader."""
        answering = self._log.answering(self._topic, partitions)
        return {partition: self._log.offsets(self._topic, partition) for partition in answering}

    async def identity(self) -> TopicIdentity:
        """Return which topic this is; `Halt` if it does not exist."""
        return self._log.identity(self._topic)

    def owned(self) -> Sequence[int]:
        """Return the partitions that it has."""
        return self._assigned

    async def revoke(self) -> None:
        """Let all partitions go; called by the group."""
        if self._assigned and self._listener is not None:
            await self._tell(self._listener.on_revoked)
        self._drop()

    async def assign(self, partitions: Sequence[int]) -> None:
        """Take partitions over; called by the group."""
        self._assigned = tuple(partitions)
        if self._listener is not None:
            await self._tell(self._listener.on_assigned)

    async def _tell(self, call: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        try:
            await call(self._assigned)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next fetch raises it
            self._failure = error

    def _drop(self) -> None:
        self._assigned = ()
        self._positions.clear()
        self._paused.clear()

    def _take(self, max_records: int) -> dict[int, Sequence[Record]]:
        ready = [p for p in self._assigned if p in self._positions and p not in self._paused]
        self._turn += 1
        turn = self._turn % max(len(ready), 1)
        found: dict[int, Sequence[Record]] = {}
        for partition in (*ready[turn:], *ready[:turn]):
            position = self._positions[partition]
            records = self._log.read(self._topic, partition, position, max_records)
            if records:
                found[partition] = records
                max_records -= len(records)
            if max_records <= 0:
                break
        # only now: a partition that halts must not cost the others what was read of them
        self._positions.update((p, records[-1].offset + 1) for p, records in found.items())
        return found

"""Notices a partition that stands still though there is something to count and all servers answer.

Nothing that a new process could not mend either counts as standing still: a halted partition, one
that rests because of bad records, one whose broker is away, and none at all while Kafka or Redis
does not answer. Looks are counted, and not the time between them: a process that was stopped and
goes on has not stood still.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from streams.errors import Halt, Retry
from streams.runtime.dependencies import DEPENDENCIES
from streams.runtime.metrics import Metrics
from streams.runtime.owned import Owned
from streams.runtime.ports import Clock, LogConsumer, Offsets

LOOKS: Final = 10
"""So many a partition may stand still before the worker ends; it is called stuck after half."""
LOOP_S: Final = 0.5
"""How often it is looked how late the event loop runs."""
Assigned = Mapping[int, Owned | None]
"""Partitions that are not halted; None is not open yet."""
log: Final = logging.getLogger("streams.worker")


class _Seen(NamedTuple):
    """A partition that has something to count: its place, what it waits for, looks without move."""

    place: tuple[int, int]
    words: str
    looks: int = 0


class Watchdog:
    """Looks at the partitions of one worker; `stuck_s` is how long one may stand still, 0 for ever.

    `halted` are those that an operator has to look at.
    """

    def __init__(
        self,
        consumer: LogConsumer,
        stuck_s: float,
        assigned: Callable[[], Assigned],
        halted: Mapping[int, Halt],
    ) -> None:
        self._consumer: Final = consumer
        self._stuck_s: Final = stuck_s
        self._assigned: Final = assigned
        self._halted: Final = halted
        self._seen: dict[int, _Seen] = {}

    async def run(self) -> None:
        """Look again and again; `Halt` (`stuck`) when a partition stands still for too long."""
        if not self._stuck_s:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(self._stuck_s / LOOKS)
            await self.look()
            if still := self._still(LOOKS):
                raise Halt(f"STUCK {still[0]}: this worker ends", code="stuck")

    async def look(self) -> None:
        """Look at every partition once."""
        gone = any(dependency.gone for dependency in DEPENDENCIES)
        behind = {} if gone else await self._behind()
        for partition, seen in behind.items():
            before = self._seen.get(partition)
            if before is not None and before.place == seen.place:
                behind[partition] = seen._replace(looks=before.looks + 1)
        self._seen = behind

    def stuck(self) -> Sequence[str]:
        """Return a line for each partition that stands still."""
        return self._still((LOOKS + 1) // 2)

    def unready(self) -> Sequence[str]:
        """Return why not all partitions that should be are counted here.

        A halted one is a reason: whoever rolls out a new version wants it to stop there.
        """
        assigned = self._assigned()
        waiting = sorted(partition for partition, owned in assigned.items() if owned is None)
        lines = [
            f"partition {partition} is halted ({halt.code}): {halt}"
            for partition, halt in sorted(self._halted.items())
        ]
        if waiting:
            lines.append(f"partitions {waiting} are not open yet")
        if not assigned and not lines:
            lines.append("the group has given this worker no partition")
        return lines

    def _still(self, looks: int) -> Sequence[str]:
        return [
            f"partition {partition} {seen.words} for {self._stuck_s * seen.looks / LOOKS:.0f} s"
            for partition, seen in sorted(self._seen.items())
            if seen.looks >= looks
        ]

    async def _behind(self) -> dict[int, _Seen]:
        """Return the partitions that have something to count, by what their brokers say now."""
        assigned = self._assigned()
        try:
            known = await self._consumer.offsets(sorted(assigned))
        except Retry:
            return {}
        behind = {}
        for partition, bounds in known.items():
            owned = assigned[partition]
            if owned is None:
                behind[partition] = _Seen((-1, -1), "has not been opened")
            elif not owned.resting and await self._is_behind(owned, bounds):
                behind[partition] = _Seen(
                    (owned.watermark, owned.remembered), _words(owned, bounds)
                )
        return behind

    async def _is_behind(self, owned: Owned, bounds: Offsets) -> bool:
        """Tell whether something is left to read or to store: markers at the end are nothing."""
        if owned.backlog or owned.folded > owned.watermark:
            return True
        position = await self._consumer.position(owned.partition)
        return (owned.watermark + 1 if position is None else position) < bounds.end


def _words(owned: Owned, bounds: Offsets) -> str:
    why = f" ({owned.trouble})" if owned.trouble else ""
    return f"has stood still at offset {owned.watermark + 1} of {bounds.end}{why}"


async def watch_loop(metrics: Metrics, clock: Clock, bound_s: float) -> None:
    """Measure how late the event loop runs: heartbeats are as late. Says so above a bound."""
    while True:
        began = clock()
        await asyncio.sleep(LOOP_S)
        late = clock() - began - LOOP_S
        metrics.loop_lag.set(max(late, 0))
        if late > bound_s:
            log.warning("the event loop stood still for %.1f s: near the session timeout", late)

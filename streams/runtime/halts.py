"""The halted partitions of one worker: why, where, and who is told of it."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final

from streams.errors import Halt, StreamsError
from streams.runtime.ledger import Skips
from streams.runtime.metrics import Metrics
from streams.runtime.ports import HaltNote, Store

log: Final = logging.getLogger("streams.worker")


class Halts:
    """What keeps partitions from going on; `reasons` are open to whoever owns the worker."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self.reasons: Final[dict[int, Halt]] = {}
        self.noting: asyncio.Task[None] | None = None  # the last note
        self._places: Final[dict[int, int]] = {}  # what they would read next, where it is known
        self._store: Final = store
        self._metrics: Final = metrics

    def put(self, partition: int, halt: Halt, position: int | None) -> None:
        """Note that a partition halted, and what it would have read next."""
        self.reasons[partition] = halt
        if position is not None:
            self._places[partition] = position
        self._metrics.halted.set(len(self.reasons))
        self.note(partition, HaltNote(halt.code, str(halt), time.time_ns() // 1_000_000))
        log.error("HALTED partition %d (%s): %s", partition, halt.code, halt)

    def lift(self, partition: int) -> None:
        """Forget that a partition halted: it is opened again."""
        del self.reasons[partition]
        self._metrics.halted.set(len(self.reasons))

    def clear(self) -> None:
        """Forget all: partitions are given out anew."""
        self.reasons.clear()
        self._metrics.halted.set(0)

    @property
    def unreadable(self) -> list[int]:
        """Partitions that halted at what nobody can read."""
        return [partition for partition, halt in self.reasons.items() if halt.code == "corrupt"]

    def passed(self, ledger: Skips) -> list[int]:
        """Return those of them that a person has had skip that place since."""
        places = {p: self._places[p] for p in self.unreadable if p in self._places}
        return [p for p, place in places.items() if ledger.following(p, place) != place]

    def note(self, partition: int, note: HaltNote | None) -> None:
        """Tell those who ask the store whether a partition is halted; notes keep their order."""
        noting = self._note(self.noting, partition, note)
        self.noting = asyncio.create_task(noting, name=f"note-{partition}")

    async def _note(
        self, before: asyncio.Task[None] | None, partition: int, note: HaltNote | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        with suppress(StreamsError):
            await self._store.note_halt(partition, note)

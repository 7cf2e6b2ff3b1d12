"""A whole installation in memory that people use: creators, viewers, a moderator, one worker.

Its clock moves as it is told to, so minutes of life take seconds; the same seed, the same life.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, Self

from kit.control import NOW, RULES, Office, Process
from kit.twins import Life
from streams.control.rules import RulesInForce
from streams.lab.feed import Feed
from streams.lab.people import People
from streams.runtime.memory import MemoryProducer, MemoryServingIndex
from streams.runtime.metrics import Metrics
from streams.runtime.ports import Clock
from streams.runtime.rows import StoredRows
from streams.runtime.serving import Indexing

STEP_MS: Final = 200


class Town:
    """One installation; `live` lets time pass in it."""

    def __init__(
        self,
        rate: int = 300,
        partitions: int = 4,
        seed: int = 1,
        rules: RulesInForce = RULES,
        serving: Callable[[Clock], MemoryServingIndex] = MemoryServingIndex,
    ) -> None:
        self.office: Final = Office(partitions)
        self.world: Final = self.office.world
        self.now_ms = NOW
        self.world.log._now_ms = lambda: self.now_ms  # type: ignore[misc]
        self.world.log.create("decisions.dlq", partitions)
        self.index: Final = serving(lambda: self.now_ms / 1000)
        rows = StoredRows(self.world.store, self.world.namespace, partitions)
        self.indexing: Final = Indexing(self.index, Metrics(), rows.tell)
        group = self.world.settings.group
        self.life: Final = Life(self.world, group=group, indexing=self.indexing)
        self.control: Final = Process(
            self.office, rules=rules, files=rules.policy.draft, index=self.index
        )
        policy = rules.policy.record(0, NOW)
        self.people: Final = People(
            Random(seed), policy, rules.tools.catalogue.alike, self.index, rate
        )
        self._feed = Feed(
            self.people, MemoryProducer(self.world.log), self.world.settings, partitions
        )

    async def start(self) -> Self:
        """Start the control plane and the worker."""
        await self.control.start()
        await self.life.start()
        return self

    async def live(self, seconds: float) -> None:
        """Let so much time pass."""
        for _ in range(int(seconds * 1000 / STEP_MS)):
            await self.step()

    async def step(self, look: Callable[[], Awaitable[object]] | None = None) -> None:
        """Let a moment pass; `look` is called while the worker has not read what it brought."""
        self.now_ms += STEP_MS
        await self._feed.step(self.now_ms)
        if look is not None:
            await look()
        await self.control.work()
        await self.life.until(self.world.caught_up)
        self.indexing.turn()
        await self.indexing.settle()

    async def skip(self, minutes: int, look: Callable[[], Awaitable[object]]) -> None:
        """Let minutes pass in which little happens, with a look in each."""
        for _ in range(minutes):
            self.now_ms += 57_000
            await self.live(3 - STEP_MS / 1000)
            await self.step(look)

    async def stop(self) -> None:
        """Stop the worker."""
        await self.life.stop()

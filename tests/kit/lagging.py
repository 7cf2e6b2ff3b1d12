"""A consumer group in memory, a topic that it reads, and a collector that looks at its lag."""

from collections.abc import Sequence

from streams.ops.groups import LagQuery
from streams.ops.lag_collector import LagCollector, LagReport, LagSources
from streams.runtime.memory import MemoryCluster, MemoryConsumer, MemoryProbe, MemoryStore
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import Outgoing


class Idle:
    """Does nothing with what it is assigned."""

    async def on_assigned(self, _: Sequence[int]) -> None:
        pass

    async def on_revoked(self, _: Sequence[int]) -> None:
        pass


class LaggingGroup:
    """A topic `t`, a group `g` that reads it, and a collector that looks every second."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.now_ms = 100_000
        self.log = MemoryLog(now_ms=lambda: self.now_ms)
        self.log.create("t", 2)
        self.store = store or MemoryStore()
        cluster = MemoryCluster(self.log)
        sources = LagSources(cluster, MemoryProbe(self.log), self.store, "g", "t")
        self.collector = LagCollector(sources, LagQuery())
        self.commit(0)
        self.commit(0, partition=1)

    def write(self, count: int, partition: int = 0) -> None:
        for _ in range(count):
            self.log.append(Outgoing("t", b"x", partition=partition))

    def commit(self, position: int, *, partition: int = 0) -> None:
        self.log.group("g", "t").positions[partition] = position

    async def look(self) -> LagReport:
        self.now_ms += 1_000
        return await self.collector.look(self.now_ms)

    async def statuses(self) -> list[str]:
        return [row.status for row in (await self.look()).rows]

    async def join(self) -> MemoryConsumer:
        member = MemoryConsumer(self.log, "t", "g")
        await member.start(Idle())
        return member


async def looked(bench: LaggingGroup, positions: Sequence[int], *, writing: int = 0) -> list[str]:
    """Let the group commit these positions of partition 0, a look after each."""
    statuses = []
    for position in positions:
        bench.write(writing)
        bench.commit(position)
        statuses.append((await bench.statuses())[0])
    return statuses

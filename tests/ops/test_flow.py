"""Records a minute, by their own timestamps."""

import pytest

from streams.ops.flow import FlowMeter
from streams.ops.lag_history import MINUTE_MS
from streams.runtime.memory import MemoryReader
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import Outgoing

NOON = 28_000_000 * MINUTE_MS


class Counting(MemoryReader):
    """A reader that counts how often it is asked where a time begins."""

    asked = 0

    async def offsets_at(self, topic: str, times: object) -> object:  # type: ignore[override]
        self.asked += 1
        return await super().offsets_at(topic, times)  # type: ignore[arg-type]


@pytest.fixture
def written() -> MemoryLog:
    log = MemoryLog()
    log.create("a", 2)
    log.create("b", 1)
    for minute, partition, count in ((-3, 0, 4), (-2, 1, 2), (-1, 0, 1), (-1, 1, 5), (0, 0, 9)):
        for _ in range(count):
            at_ms = NOON + minute * MINUTE_MS + 7
            log.append(Outgoing("a", b"x", partition=partition, timestamp=at_ms))
    return log


async def test_whole_minutes_are_counted_over_all_partitions(written: MemoryLog) -> None:
    meter = FlowMeter({"a": 2, "b": 1}, 3)
    assert await meter.look(MemoryReader(written), NOON + 30_000) == {
        "a": [4, 2, 6],
        "b": [0, 0, 0],
    }


async def test_a_further_look_asks_for_the_new_minutes_alone(written: MemoryLog) -> None:
    reader = Counting(written)
    meter = FlowMeter({"a": 2}, 3)
    await meter.look(reader, NOON + 30_000)
    before = reader.asked
    assert await meter.look(reader, NOON + 50_000) == {"a": [4, 2, 6]}
    assert reader.asked == before
    assert await meter.look(reader, NOON + MINUTE_MS) == {"a": [2, 6, 9]}
    assert reader.asked == before + 1


async def test_a_partition_without_a_leader_costs_its_own_records(written: MemoryLog) -> None:
    written.leaderless.add(("a", 0))
    meter = FlowMeter({"a": 2}, 3)
    assert await meter.look(MemoryReader(written), NOON) == {"a": [0, 2, 5]}

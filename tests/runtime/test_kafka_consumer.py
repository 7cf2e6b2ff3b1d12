"""The consumer's own rules, beside an aiokafka that fails or answers late: what it must not do."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import CorruptRecordException

from streams.errors import Halt, Retry
from streams.runtime.kafka import KafkaConsumer
from streams.runtime.memory.log import MemoryRecord
from streams.runtime.ports import Record

TOPIC = "log"


def record(partition: int, offset: int) -> MemoryRecord:
    return MemoryRecord(TOPIC, partition, offset, 0, b"k", b"%d" % offset)


class Library:
    """An aiokafka client of two partitions of ten records each, which moves on when it is read.

    `first` is read in place of the positions by the next call: what was on its way before a seek.
    A `corrupt` partition fails the call, after the others were read.
    """

    def __init__(self) -> None:
        self._coordinator = self
        self._subscription = SubscriptionState()
        self.positions: dict[int, int] = {}
        self.first: dict[int, int] = {}
        self.corrupt: set[int] = set()

    def seek(self, at: TopicPartition, position: int) -> None:
        self.positions[at.partition] = position

    def pause(self, *at: TopicPartition) -> None: ...

    def resume(self, *at: TopicPartition) -> None: ...

    async def stop(self) -> None: ...

    def check_errors(self) -> None: ...

    async def getmany(self, *at: TopicPartition, **_: Any) -> Mapping[Any, Sequence[Record]]:
        batches: dict[TopicPartition, Sequence[Record]] = {}
        for one in at:
            if one.partition in self.corrupt:
                continue
            begin = self.first.pop(one.partition, self.positions[one.partition])
            if begin < 10:
                batches[one] = [record(one.partition, offset) for offset in range(begin, 10)]
                self.positions[one.partition] = 10
        for one in at:
            if one.partition in self.corrupt:
                raise CorruptRecordException(f"Invalid CRC - {one}")
        return batches


@pytest.fixture
async def library() -> Library:
    return Library()


@pytest.fixture
async def consumer(library: Library) -> AsyncIterator[KafkaConsumer]:
    made = KafkaConsumer("127.0.0.1:1", TOPIC, "group", 6_000)
    await made.stop()
    made._client = library
    made._rebalance.assigned = {TopicPartition(TOPIC, partition) for partition in (0, 1)}
    return made


def offsets(batches: Mapping[int, Sequence[Record]]) -> dict[int, list[int]]:
    return {partition: [one.offset for one in batches[partition]] for partition in sorted(batches)}


async def test_what_a_failed_fetch_had_taken_of_other_partitions_comes_again(
    library: Library, consumer: KafkaConsumer
) -> None:
    consumer.seek({0: 4, 1: 0})
    library.corrupt = {1}
    with pytest.raises(Retry):
        await consumer.fetch(0, 100)
    library.corrupt = set()
    assert offsets(await consumer.fetch(0, 100)) == {0: [*range(4, 10)], 1: [*range(10)]}


async def test_a_partition_that_stays_corrupt_halts_and_costs_the_others_nothing(
    library: Library, consumer: KafkaConsumer
) -> None:
    consumer.seek({0: 4, 1: 0})
    library.corrupt = {1}
    for _ in range(2):
        with pytest.raises(Retry):
            await consumer.fetch(0, 100)
    with pytest.raises(Halt) as halted:
        await consumer.fetch(0, 100)
    assert (halted.value.code, halted.value.partition) == ("corrupt", 1)
    consumer.pause([1])
    assert offsets(await consumer.fetch(0, 100)) == {0: [*range(4, 10)]}


async def test_records_before_the_sought_position_are_dropped(
    library: Library, consumer: KafkaConsumer
) -> None:
    consumer.seek({0: 6, 1: 0})
    library.first = {0: 2}
    assert offsets(await consumer.fetch(0, 100)) == {0: [*range(6, 10)], 1: [*range(10)]}


async def test_records_of_a_partition_without_a_position_are_dropped(
    library: Library, consumer: KafkaConsumer
) -> None:
    consumer.seek({0: 0, 1: 0})
    del consumer._next[1]
    library.positions[1] = 0
    batches = {TopicPartition(TOPIC, p): [record(p, 0)] for p in (0, 1)}
    assert offsets(consumer._advance(batches)) == {0: [0]}


async def test_a_paused_partition_is_not_asked_for(
    library: Library, consumer: KafkaConsumer
) -> None:
    consumer.seek({0: 0, 1: 0})
    consumer.pause([0])
    assert offsets(await consumer.fetch(0, 100)) == {1: [*range(10)]}
    consumer.resume([0])
    assert offsets(await consumer.fetch(0, 100)) == {0: [*range(10)]}


async def test_a_member_without_partitions_is_not_taken_for_idle(
    library: Library, consumer: KafkaConsumer
) -> None:
    """The client leaves the group for good when nobody asked it for five minutes."""
    subscription = library._subscription
    subscription._last_fetch_ended -= 600
    assert await consumer.fetch(0, 100) == {}
    assert subscription.fetcher_idle_time < 300

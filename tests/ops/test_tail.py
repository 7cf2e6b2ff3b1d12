import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

import pytest

from streams.core.partitioner import partition_of
from streams.errors import Halt, Retry
from streams.ops.tail import (
    Start,
    Tail,
    locate,
    partitions_of,
    read_span,
    read_tail,
    require_topic,
    sample,
)
from streams.runtime.memory import MemoryCluster, MemoryReader
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import Outgoing


@pytest.fixture
def filled(log: MemoryLog) -> MemoryLog:
    for number in range(20):
        log.append(
            Outgoing("t", str(number).encode(), partition=number % 3, timestamp=number * 100)
        )
    return log


async def read(
    reader: MemoryReader,
    start: Start,
    *,
    follow: bool = False,
    partitions: Sequence[int] = (0, 1, 2),
) -> list[int]:
    span = await locate(reader, "t", partitions, start)
    return [int(record.value) async for record in read_span(reader, span, follow=follow)]


async def test_from_the_beginning_every_record_comes_once(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    assert sorted(await read(reader, "earliest")) == list(range(20))


async def test_from_the_end_nothing_comes(filled: MemoryLog, reader: MemoryReader) -> None:
    assert await read(reader, "latest") == []


async def test_a_time_finds_the_first_record_at_or_after_it(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    assert sorted(await read(reader, 1_450)) == [15, 16, 17, 18, 19]


async def test_of_brokers_that_cannot_search_by_time_all_is_read(
    filled: MemoryLog, reader: MemoryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        return dict.fromkeys(times)

    assert await read(reader, 9_000) == []  # here everything is older
    monkeypatch.setattr(reader, "offsets_at", nothing)
    assert sorted(await read(reader, 9_000)) == list(range(20))


async def test_partitions_keep_their_order(filled: MemoryLog, reader: MemoryReader) -> None:
    assert await read(reader, "earliest", partitions=[1]) == [1, 4, 7, 10, 13, 16, 19]


async def test_what_comes_after_the_start_of_the_read_is_left_out(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    span = await locate(reader, "t", [0], "earliest")
    filled.append(Outgoing("t", b"99", partition=0))
    found = [int(record.value) async for record in read_span(reader, span, follow=False)]
    assert found == [0, 3, 6, 9, 12, 15, 18]


async def test_following_goes_on_with_what_comes_later(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    span = await locate(reader, "t", [0], "latest")
    records = read_span(reader, span, follow=True)
    filled.append(Outgoing("t", b"99", partition=0))
    assert (await anext(records)).value == b"99"
    await records.aclose()


async def test_a_read_that_fails_for_now_is_tried_again(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    reader.fail_next(Retry("for now"))
    assert sorted(await read(reader, "earliest")) == list(range(20))


async def records_of(values: Iterable[int]) -> AsyncIterator[int]:
    for value in values:
        yield value


async def test_a_sample_smaller_than_the_topic_has_its_size_and_keeps_the_order() -> None:
    chosen = await sample(records_of(range(1000)), 10, random.Random(1))
    assert len(chosen) == 10
    assert chosen == sorted(set(chosen))


async def test_a_sample_larger_than_the_topic_is_the_topic() -> None:
    assert await sample(records_of(range(4)), 10, random.Random(1)) == [0, 1, 2, 3]


async def test_every_record_is_equally_likely() -> None:
    chance = random.Random(7)
    times = Counter()
    for _ in range(4_000):
        times.update(await sample(records_of(range(10)), 3, chance))
    # each is chosen 1 200 times in the mean, with a standard deviation of 29
    assert all(1_050 < count < 1_350 for count in times.values())


async def test_a_tail_reads_the_partition_of_its_video(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    only = await partitions_of(MemoryCluster(filled), "t", "v1")
    assert list(only) == [partition_of(b"v1", 3)]
    tail = Tail("t", "earliest", "v1", follow=False)
    found = [record async for record in read_tail(reader, tail, only)]
    assert {record.partition for record in found} == set(only)
    assert list(await partitions_of(MemoryCluster(filled), "t", None)) == [0, 1, 2]


async def test_a_topic_that_does_not_exist_is_told(filled: MemoryLog) -> None:
    with pytest.raises(Halt, match=r"topic nope does not exist; there are: t \(`streams"):
        await require_topic(MemoryCluster(filled), "nope")

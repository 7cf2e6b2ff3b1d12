import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest
from kit.memory_reader import MemoryReader

from streams.errors import Halt, Retry
from streams.ops.tail import locate, parse_start, read_span, sample
from streams.runtime.memory import MemoryLog
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
    start: int | str,
    *,
    follow: bool = False,
    partitions: Sequence[int] = (0, 1, 2),
) -> list[int]:
    span = await locate(reader, "t", partitions, start)
    return [int(record.value) async for record in read_span(reader, span, follow=follow)]


async def test_from_the_beginning_every_record_comes_once(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    assert sorted(await read(reader, "beginning")) == list(range(20))


async def test_from_the_end_nothing_comes(filled: MemoryLog, reader: MemoryReader) -> None:
    assert await read(reader, "end") == []


async def test_a_time_finds_the_first_record_at_or_after_it(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    assert sorted(await read(reader, 1_450)) == [15, 16, 17, 18, 19]


async def test_partitions_keep_their_order(filled: MemoryLog, reader: MemoryReader) -> None:
    assert await read(reader, "beginning", partitions=[1]) == [1, 4, 7, 10, 13, 16, 19]


async def test_what_comes_after_the_start_of_the_read_is_left_out(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    span = await locate(reader, "t", [0], "beginning")
    filled.append(Outgoing("t", b"99", partition=0))
    found = [int(record.value) async for record in read_span(reader, span, follow=False)]
    assert found == [0, 3, 6, 9, 12, 15, 18]


async def test_following_goes_on_with_what_comes_later(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    span = await locate(reader, "t", [0], "end")
    records = read_span(reader, span, follow=True)
    filled.append(Outgoing("t", b"99", partition=0))
    assert (await anext(records)).value == b"99"
    await records.aclose()


async def test_a_read_that_fails_for_now_is_tried_again(
    filled: MemoryLog, reader: MemoryReader
) -> None:
    reader.failures = [Retry("for now")]
    assert sorted(await read(reader, "beginning")) == list(range(20))


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "-1w", "1h", "-h", "12345"])
def test_a_start_that_cannot_be_read_is_told_with_what_can(text: str) -> None:
    with pytest.raises(Halt, match=r"--from .*: give beginning, end"):
        parse_start(text, 0)


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

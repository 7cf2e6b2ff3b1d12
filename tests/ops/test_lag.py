import itertools
from collections.abc import Callable

from kit.memory_reader import MemoryReader

from streams.errors import Retry
from streams.ops.lag import measure_lag
from streams.runtime.memory import MemoryLog
from streams.runtime.ports import Outgoing


def clock() -> Callable[[], float]:
    ticks = itertools.count()
    return lambda: next(ticks) / 10


def fill(log: MemoryLog, partition: int, count: int) -> None:
    for number in range(count):
        record = Outgoing("t", b"x", partition=partition, timestamp=1_000 + number * 1_000)
        log.append(record)


async def test_lag_is_the_age_of_the_record_at_the_committed_offset(
    log: MemoryLog, reader: MemoryReader
) -> None:
    fill(log, 0, 10)
    [lag] = await measure_lag(reader, {"g": {("t", 0): 4}}, 20_000, clock())
    assert (lag.committed, lag.end, lag.lag, lag.lag_seconds, lag.lost) == (4, 10, 6, 15.0, 0)


async def test_without_lag_it_is_zero_seconds_and_nothing_is_read(
    log: MemoryLog, reader: MemoryReader
) -> None:
    fill(log, 0, 10)
    [lag] = await measure_lag(reader, {"g": {("t", 0): 10}}, 20_000, clock())
    assert (lag.lag, lag.lag_seconds, reader.fetches) == (0, 0.0, 0)


async def test_groups_at_several_places_of_a_partition_each_get_their_own_age(
    log: MemoryLog, reader: MemoryReader
) -> None:
    fill(log, 0, 10)
    committed = {name: {("t", 0): place} for name, place in [("a", 2), ("b", 7), ("c", 2)]}
    lags = await measure_lag(reader, committed, 20_000, clock())
    assert [(lag.group, lag.lag_seconds) for lag in lags] == [("a", 17.0), ("b", 12.0), ("c", 17.0)]


async def test_every_partition_is_read_though_one_fills_every_fetch(
    log: MemoryLog, reader: MemoryReader
) -> None:
    for partition in range(3):
        fill(log, partition, 100)
    lags = await measure_lag(reader, {"g": {("t", p): 1 for p in range(3)}}, 20_000, clock())
    assert [lag.lag_seconds for lag in lags] == [18.0, 18.0, 18.0]


async def test_records_deleted_before_they_were_read_are_counted_as_lost(
    log: MemoryLog, reader: MemoryReader
) -> None:
    fill(log, 0, 10)
    log.forget("t", 0, 6)
    [lag] = await measure_lag(reader, {"g": {("t", 0): 4}}, 20_000, clock())
    assert (lag.lost, lag.lag, lag.lag_seconds) == (2, 4, 13.0)


async def test_an_age_that_cannot_be_read_is_left_open_not_guessed(
    log: MemoryLog, reader: MemoryReader
) -> None:
    fill(log, 0, 10)
    reader.failures = [Retry("brokers away")] * 1_000
    fast = itertools.count(step=10)
    [lag] = await measure_lag(reader, {"g": {("t", 0): 4}}, 20_000, lambda: next(fast))
    assert (lag.lag, lag.lag_seconds) == (6, None)


async def test_a_record_from_the_future_is_no_negative_lag(
    log: MemoryLog, reader: MemoryReader
) -> None:
    fill(log, 0, 10)
    [lag] = await measure_lag(reader, {"g": {("t", 0): 9}}, 0, clock())
    assert lag.lag_seconds == 0.0

import itertools
from collections.abc import Callable

import pytest

from streams.errors import Halt, Retry
from streams.ops.lag import LagQuery, measure_lag, positions_of, require_groups
from streams.runtime.memory import MemoryCluster, MemoryReader
from streams.runtime.memory.log import MemoryLog
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
    for _ in range(1_000):
        reader.fail_next(Retry("brokers away"))
    fast = itertools.count(step=10)
    [lag] = await measure_lag(reader, {"g": {("t", 0): 4}}, 20_000, lambda: next(fast))
    assert (lag.lag, lag.lag_seconds) == (6, None)


async def test_a_record_from_the_future_is_no_negative_lag(
    log: MemoryLog, reader: MemoryReader
) -> None:
    fill(log, 0, 10)
    [lag] = await measure_lag(reader, {"g": {("t", 0): 9}}, 0, clock())
    assert lag.lag_seconds == 0.0


async def test_a_partition_without_a_commit_lags_by_its_whole_log(
    log: MemoryLog, reader: MemoryReader
) -> None:
    fill(log, 0, 10)
    log.forget("t", 0, 4)
    [lag] = await measure_lag(reader, {"g": {("t", 0): None}}, 20_000, clock())
    assert (lag.committed, lag.lag, lag.lag_seconds, lag.lost) == (None, 6, 15.0, 0)


@pytest.fixture
def shared(log: MemoryLog) -> MemoryCluster:
    """Give a cluster on which two installations each have a group; `t` is nobody's."""
    for topic in ("a.one", "b.one"):
        log.create(topic, 2)
        log.group(f"{topic[0]}-group", topic).positions[1] = 7
    log.group("a-group", "t").positions[0] = 3
    log.group("a-group", "gone").positions[0] = 3
    return MemoryCluster(log)


async def test_the_own_groups_are_shown_on_the_own_topics(shared: MemoryCluster) -> None:
    found = await positions_of(shared, LagQuery(("a-group", "a-control"), "a."))
    assert found == {"a-group": {("a.one", 0): None, ("a.one", 1): 7}}


async def test_every_group_is_shown_where_the_whole_cluster_is_wanted(
    shared: MemoryCluster,
) -> None:
    found = await positions_of(shared, LagQuery())
    assert set(found) == {"a-group", "b-group"}
    assert {topic for topic, _ in found["a-group"]} == {"a.one", "t"}  # not the one that is gone


async def test_one_topic_can_be_wanted_alone(shared: MemoryCluster) -> None:
    found = await positions_of(shared, LagQuery(topic="t"))
    assert found == {"a-group": {("t", 0): 3, ("t", 1): None, ("t", 2): None}, "b-group": {}}


async def test_a_group_that_does_not_exist_is_told_with_those_that_do(
    shared: MemoryCluster,
) -> None:
    await require_groups(shared, ["a-group"])
    with pytest.raises(Halt, match="no consumer group nobody; there are: a-group, b-group"):
        await require_groups(shared, ["a-group", "nobody"])


async def test_a_partition_without_a_leader_costs_its_own_numbers_only(
    log: MemoryLog, reader: MemoryReader
) -> None:
    for partition in range(2):
        fill(log, partition, 10)
    log.leaderless.add(("t", 1))
    known, unknown = await measure_lag(reader, {"g": {("t", 0): 4, ("t", 1): 4}}, 20_000, clock())
    assert (known.lag, known.lag_seconds) == (6, 15.0)
    assert (unknown.committed, unknown.end, unknown.lag, unknown.lost) == (4, None, None, None)

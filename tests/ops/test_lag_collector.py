from collections.abc import Mapping, Sequence

import pytest
from kit.lagging import LaggingGroup, looked

from streams.errors import Unreachable
from streams.ops.lag_collector import (
    beyond,
    by_group,
    look_for_a_window,
)
from streams.ops.lag_status import WINDOW
from streams.runtime.memory import MemoryStore
from streams.runtime.ports import HaltNote


async def test_a_group_that_stopped_is_told_from_one_that_stalls() -> None:
    bench = LaggingGroup()
    bench.write(10)
    assert (await looked(bench, [3] * WINDOW))[-1] == "STOP"
    member = await bench.join()
    assert (await looked(bench, [3]))[-1] == "STALL"
    await member.stop()
    assert (await looked(bench, [3]))[-1] == "STOP"


async def test_nothing_is_told_of_what_lags_before_half_a_window() -> None:
    bench = LaggingGroup()
    bench.write(10)
    assert await looked(bench, [3] * 5) == ["UNKNOWN"] * 4 + ["STOP"]


async def test_a_slow_group_is_warned_of_with_its_rate_and_never_catches_up() -> None:
    bench = LaggingGroup()
    bench.write(10)
    assert (await looked(bench, range(1, WINDOW), writing=3))[-1] == "WARN"
    row, quiet = (await bench.look()).rows
    assert row.change_per_second == pytest.approx(16 / 9)
    assert row.catchup_seconds is None
    assert (quiet.change_per_second, quiet.catchup_seconds) == (0.0, 0.0)


async def test_a_group_that_catches_up_says_when_it_is_done() -> None:
    bench = LaggingGroup()
    bench.write(100)
    assert (await looked(bench, range(0, 50, 5)))[-1] == "OK"
    row, _ = (await bench.look()).rows
    assert row.catchup_seconds == pytest.approx(55 / (40 / 9))


async def test_the_first_records_after_a_quiet_time_are_no_alarm() -> None:
    bench = LaggingGroup()
    assert await looked(bench, [0] * WINDOW) == ["OK"] * WINDOW
    bench.write(1)
    assert await looked(bench, [0] * (WINDOW - 1)) == ["OK"] * (WINDOW - 1)
    assert await looked(bench, [0]) == ["STOP"]  # a whole window of lag is one


async def test_a_group_that_went_back_is_named_until_the_window_has_passed() -> None:
    bench = LaggingGroup()
    bench.write(100)
    await looked(bench, range(50, 60))
    assert (await looked(bench, [10] * WINDOW))[0] == "REWIND"
    assert (await looked(bench, [10] * WINDOW))[-1] == "STOP"


async def test_a_halted_partition_says_why() -> None:
    bench = LaggingGroup()
    await bench.store.note_halt(1, HaltNote("data_loss", "offsets 4 to 9 are gone", 1))
    report = await bench.look()
    assert [row.status for row in report.rows] == ["OK", "HALTED"]
    [group] = by_group(report)
    assert (group.status, group.reason) == ("HALTED", "t[1] data_loss: offsets 4 to 9 are gone")


class Away(MemoryStore):
    async def halts(self, _: Sequence[int]) -> Mapping[int, HaltNote]:
        raise Unreachable("Redis does not answer")


async def test_without_redis_lag_is_known_all_the_same() -> None:
    report = await LaggingGroup(Away()).look()
    assert [row.status for row in report.rows] == ["OK", "OK"]
    assert report.gaps == ["halts are not known: Redis does not answer"]


async def test_a_partition_without_a_leader_costs_its_own_row_only() -> None:
    bench = LaggingGroup()
    bench.log.leaderless.add(("t", 1))
    report = await bench.look()
    assert [(row.partition, row.lag, row.status) for row in report.rows] == [
        (0, 0, "OK"),
        (1, None, "UNKNOWN"),
    ]
    assert report.gaps == ["no leader answers for t[1]"]


async def test_one_row_a_group_has_its_members_and_the_slowest_partition() -> None:
    bench = LaggingGroup()
    bench.write(2)
    bench.now_ms += 50_000
    bench.write(7, partition=1)
    await bench.join()
    [group] = by_group(await bench.look())
    assert (group.members, group.hosts, group.partitions) == (1, "localhost", 2)
    assert (group.lag, group.max_lag, group.max_lag_seconds, group.slowest) == (9, 7, 51.0, "t[0]")
    assert beyond([group], 60) == []
    assert beyond([group], 50) == ["g"]


async def test_where_nothing_lags_one_look_is_enough() -> None:
    bench = LaggingGroup()
    report = await look_for_a_window(bench.collector, 0, lambda: bench.now_ms)
    assert [row.status for row in report.rows] == ["OK", "OK"]
    assert len(bench.collector.points(report.rows[0])) == 1


async def test_what_lags_is_looked_at_for_a_window() -> None:
    bench = LaggingGroup()
    bench.write(1)
    report = await look_for_a_window(bench.collector, 0, lambda: bench.now_ms)
    assert [row.status for row in report.rows] == ["STOP", "OK"]


async def test_a_group_that_is_gone_leaves_no_history() -> None:
    bench = LaggingGroup()
    bench.write(10)
    [row, _] = (await bench.look()).rows
    assert bench.collector.points(row)
    bench.log.forget_group("g")
    assert (await bench.look()).rows == []
    assert bench.collector.points(row) == []

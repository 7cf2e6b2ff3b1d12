from collections.abc import Mapping

from streams.ops.groups import GroupPlaces
from streams.ops.lag import Lag, measure_lag, with_halts, with_retention
from streams.runtime.memory import MemoryCluster, MemoryProbe
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import HaltNote, Offsets, Outgoing, Place


def at(positions: Mapping[Place, int | None]) -> dict[str, GroupPlaces]:
    return {"g": GroupPlaces(positions)}


def fill(log: MemoryLog, partition: int, count: int) -> None:
    for number in range(count):
        record = Outgoing("t", b"x", partition=partition, timestamp=1_000 + number * 1_000)
        log.append(record)


async def test_lag_is_the_age_of_the_record_at_the_committed_offset(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    fill(log, 0, 10)
    [lag] = await measure_lag(probe, at({("t", 0): 4}), 20_000)
    assert (lag.committed, lag.end, lag.lag, lag.lag_seconds, lag.lost) == (4, 10, 6, 15.0, 0)


async def test_without_lag_it_is_zero_seconds_and_nothing_is_read(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    fill(log, 0, 10)
    [lag] = await measure_lag(probe, at({("t", 0): 10}), 20_000)
    assert (lag.lag, lag.lag_seconds, probe.reads) == (0, 0.0, 0)


async def test_groups_at_several_places_of_a_partition_each_get_their_own_age(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    fill(log, 0, 10)
    places = [("a", 2), ("b", 7), ("c", 2)]
    groups = {name: GroupPlaces({("t", 0): place}) for name, place in places}
    lags = await measure_lag(probe, groups, 20_000)
    assert [(lag.group, lag.lag_seconds) for lag in lags] == [("a", 17.0), ("b", 12.0), ("c", 17.0)]
    assert probe.reads == 2  # those at one position share a read


async def test_records_deleted_before_they_were_read_are_counted_as_lost(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    fill(log, 0, 10)
    log.forget("t", 0, 6)
    [lag] = await measure_lag(probe, at({("t", 0): 4}), 20_000)
    assert (lag.lost, lag.lag, lag.lag_seconds) == (2, 4, 13.0)


class Illegible(MemoryProbe):
    """A probe that knows the ends and can read nothing."""

    async def first_times(
        self,
        spans: Mapping[Place, Offsets],  # noqa: ARG002 - the port's signature
        *,
        committed: bool = True,  # noqa: ARG002 - the port's signature
    ) -> Mapping[Place, int | None]:
        return {}


async def test_an_age_that_cannot_be_read_is_left_open_not_guessed(log: MemoryLog) -> None:
    fill(log, 0, 10)
    [lag] = await measure_lag(Illegible(log), at({("t", 0): 4}), 20_000)
    assert (lag.lag, lag.lag_seconds) == (6, None)


async def test_a_marker_at_the_end_is_no_lag(log: MemoryLog, probe: MemoryProbe) -> None:
    fill(log, 0, 10)
    log.mark("t", 0)
    [lag] = await measure_lag(probe, at({("t", 0): 10}), 20_000)
    assert (lag.end, lag.lag, lag.lag_seconds, lag.held) == (11, 0, 0.0, 0)


async def test_what_an_open_transaction_holds_is_no_lag_and_is_named_with_its_age(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    fill(log, 0, 10)
    log.transactions["t", 0] = 7
    done, behind = await measure_lag(
        probe, {"a": GroupPlaces({("t", 0): 7}), "b": GroupPlaces({("t", 0): 5})}, 20_000
    )
    assert (done.lag, done.lag_seconds, done.held, done.held_seconds) == (0, 0.0, 3, 12.0)
    assert (behind.lag, behind.lag_seconds, behind.held) == (2, 14.0, 3)


async def test_a_record_from_the_future_is_no_negative_lag(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    fill(log, 0, 10)
    [lag] = await measure_lag(probe, at({("t", 0): 9}), 0)
    assert lag.lag_seconds == 0.0


async def test_a_partition_without_a_commit_lags_by_its_whole_log(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    fill(log, 0, 10)
    log.forget("t", 0, 4)
    [lag] = await measure_lag(probe, at({("t", 0): None}), 20_000)
    assert (lag.committed, lag.lag, lag.lag_seconds, lag.lost) == (None, 6, 15.0, 0)


async def test_a_partition_without_a_leader_costs_its_own_numbers_only(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    for partition in range(2):
        fill(log, partition, 10)
    log.leaderless.add(("t", 1))
    known, unknown = await measure_lag(probe, at({("t", 0): 4, ("t", 1): 4}), 20_000)
    assert (known.lag, known.lag_seconds) == (6, 15.0)
    assert (unknown.committed, unknown.end, unknown.lag, unknown.lost) == (4, None, None, None)


async def test_the_share_of_retention_is_that_of_the_first_unread_record(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    fill(log, 0, 10)
    cluster = MemoryCluster(log)
    rows = await measure_lag(probe, at({("t", 0): 4, ("t", 1): 0}), 20_000)
    for kept, share in [("60000", 0.25), ("-1", None)]:
        await cluster.set_configs("t", {"retention.ms": kept})
        shares = [row.retention_used_ratio for row in await with_retention(cluster, rows)]
        assert shares == [share, None if share is None else 0.0]


async def test_a_topic_that_is_gone_meanwhile_has_no_retention(
    log: MemoryLog, probe: MemoryProbe
) -> None:
    fill(log, 0, 10)
    rows = await measure_lag(probe, at({("t", 0): 4}), 20_000)
    log.delete("t")
    [row] = await with_retention(MemoryCluster(log), rows)
    assert (row.lag, row.retention_used_ratio) == (6, None)


def test_a_halt_is_shown_with_its_reason_in_the_own_group_only() -> None:
    rows = [Lag(group, "t", 0, 4, None) for group in ("g", "other")]
    notes = {("t", 0): HaltNote("data_loss", "offsets 4 to 9 are gone", 1)}
    own, other = with_halts(rows, "g", notes)
    assert (own.status, own.reason) == ("HALTED", "data_loss: offsets 4 to 9 are gone")
    assert (other.status, other.reason) == ("UNKNOWN", None)

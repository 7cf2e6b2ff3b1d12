"""Which records one of two recordings has and the other lacks."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from kit.events import NOW, record
from kit.recordings import FAST, TOPIC, busy_log, cluster_of, log_with, replayer_into, target
from kit.recordings import record as record_whole

from streams.recording.planning import Request
from streams.recording.reader import Recording
from streams.recording.record_diff import PartitionDifference, compare_records
from streams.recording.routing import Options
from streams.runtime.ports import Record


async def recorded(folder: Path, records: Sequence[Record]) -> Recording:
    return await record_whole(cluster_of(log_with(records, 1)), folder)


def some(*values: int, first: int = 0) -> list[Record]:
    return [record(b"%d" % v, first + at, NOW + v) for at, v in enumerate(values)]


async def compare(tmp_path: Path, one: list[Record], other: list[Record]) -> PartitionDifference:
    pair = await recorded(tmp_path / "a", one), await recorded(tmp_path / "b", other)
    (row,) = compare_records(*pair)
    return row


async def test_equal_records_have_no_difference_whatever_their_offsets(tmp_path: Path) -> None:
    row = await compare(tmp_path, some(1, 2, 2, 3), some(1, 2, 2, 3, first=70))
    assert row == (TOPIC, 0, 4, 4, 0, 0, None, None, False)
    assert row.is_equal


async def test_missing_records_are_counted_from_the_first_on(tmp_path: Path) -> None:
    row = await compare(tmp_path, some(*range(1_000)), some(*range(10), *range(700, 1_000)))
    assert (row.only_one, row.first_only_one, row.only_other) == (690, 10, 0)
    assert not row.is_equal


async def test_records_that_came_twice_are_additional(tmp_path: Path) -> None:
    row = await compare(tmp_path, some(1, 2, 3), some(1, 2, 2, 3))
    assert (row.only_one, row.only_other) == (0, 1)


async def test_a_changed_record_is_lacking_on_both_sides(tmp_path: Path) -> None:
    row = await compare(tmp_path, some(1, 2, 3), some(1, 9, 3))
    assert (row.first_only_one, row.first_only_other) == (1, 1)


async def test_another_order_is_said(tmp_path: Path) -> None:
    row = await compare(tmp_path, some(1, 2, 3), some(1, 3, 2))
    assert (row.only_one, row.only_other, row.reordered) == (0, 0, True)
    assert not row.is_equal


@pytest.mark.parametrize("lacking", ["one", "other"])
async def test_a_partition_that_one_lacks_is_lacking_as_a_whole(
    tmp_path: Path, lacking: str
) -> None:
    full = await record_whole(cluster_of(busy_log(50)), tmp_path / "full")
    request = Request([TOPIC], offsets={(TOPIC, 0): (None, None), (TOPIC, 2): (None, 0)})
    half = await record_whole(
        cluster_of(busy_log(50)),
        tmp_path / "half",
        Request(request.topics, to_end=True, offsets=request.offsets),
    )
    pair = (half, full) if lacking == "one" else (full, half)
    rows = compare_records(*pair)
    only = [row.only_other if lacking == "one" else row.only_one for row in rows]
    counts = [sum(s.records for s in full.manifest.of(TOPIC, number)) for number in range(4)]
    assert only == [0, *counts[1:]]


async def test_a_replayed_topic_is_compared_with_its_source(tmp_path: Path) -> None:
    one = await record_whole(cluster_of(busy_log(200)), tmp_path / "one")
    _, cluster = target()
    options = Options(pace=FAST.pace, trace=True)
    assert await replayer_into(one, cluster, options).run(lambda: False)
    again = await record_whole(cluster, tmp_path / "again", Request(["again"], to_end=True))
    assert all(row.is_equal for row in compare_records(one, again))

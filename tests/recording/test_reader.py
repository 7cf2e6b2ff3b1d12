"""Reading a recording back: from any offset, and merged by time."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import NOW, record
from kit.recordings import TOPIC, busy_log, cluster_of, everything, log_with
from kit.recordings import record as record_whole

from streams.recording import writer as writer_module
from streams.recording.reader import Recording


class Loose(Recording):
    """A recording whose partitions are lists, to merge whatever hypothesis thinks of."""

    def __init__(self, partitions: Any) -> None:
        self._lists = partitions

    def chunks(self, place: Any, start: Any = 0) -> Any:
        records = [r for r in self._lists[place[1]] if r.offset >= start]
        for at in range(0, len(records), 2):
            yield records[at : at + 2]


TIMES = st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=4)


@given(TIMES)
def test_partitions_keep_their_order_and_the_earliest_head_goes_first(
    times: Mapping[int, int],
) -> None:
    partitions = [
        [record(None, offset, time, partition=number) for offset, time in enumerate(listed)]
        for number, listed in enumerate(times)
    ]
    merged = list(Loose(partitions).merged({(TOPIC, n): 0 for n in range(len(times))}))
    left = [list(listed) for listed in partitions]
    for got in merged:
        heads = [listed[0] for listed in left if listed]
        assert got == min(heads, key=lambda r: (r.timestamp, r.topic, r.partition, r.offset))
        left[got.partition].pop(0)
    assert not any(left)


@given(TIMES)
def test_where_every_partition_is_in_order_the_whole_is(times: Mapping[int, int]) -> None:
    partitions = [
        [record(None, offset, time, partition=number) for offset, time in enumerate(sorted(listed))]
        for number, listed in enumerate(times)
    ]
    merged = list(Loose(partitions).merged({(TOPIC, n): 0 for n in range(len(times))}))
    assert merged == sorted(
        itertools.chain(*partitions), key=lambda r: (r.timestamp, r.topic, r.partition, r.offset)
    )


async def test_a_partition_is_read_from_any_offset_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    monkeypatch.setattr(writer_module, "FRAME_BYTES", 2_000)
    monkeypatch.setattr(writer_module, "SEGMENT_BYTES", 3_000)
    log = busy_log(300, 1)
    cluster = cluster_of(log)
    fetch = cluster.fetch

    async def few(timeout_ms: int, max_records: int) -> Any:
        return await fetch(timeout_ms, 7)

    cluster.fetch = few
    recording = await record_whole(cluster, tmp_path / "r")
    records = everything(recording)
    assert len(recording.manifest.segments) > 3
    for start in (0, 1, 50, records[-1].offset, records[-1].offset + 1):
        found = [r for chunk in recording.chunks((TOPIC, 0), start) for r in chunk]
        assert found == [r for r in records if r.offset >= start]


async def test_an_empty_partition_holds_nothing(tmp_path: Path) -> None:
    recording = await record_whole(cluster_of(log_with([record(b"{}", 0, NOW)])), tmp_path / "r")
    assert list(recording.chunks((TOPIC, 3))) == []
    assert len(recording.places()) == 4

"""When frames and segments end, and that no order of offsets is taken that a log cannot have."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.events import record
from kit.recordings import TOPIC, cluster_of, everything, log_with, start_writer

from streams.errors import Halt
from streams.recording import segments as segments_module
from streams.recording import writer as writer_module
from streams.recording.manifest import Manifest, load_manifest
from streams.recording.planning import Request
from streams.recording.reader import Recording
from streams.recording.segments import SegmentFile, read_frames
from streams.recording.writer import FRAME_BYTES, RecordingWriter
from streams.runtime.ports import Clock

PLACE = (TOPIC, 0)


@pytest.fixture
async def manifest(tmp_path: Path) -> Any:
    cluster = cluster_of(log_with([]))
    writer = await start_writer(cluster, tmp_path / "first", Request([TOPIC]))
    return writer.manifest


@pytest.fixture
def start(tmp_path: Path, manifest: Manifest) -> Iterator[Any]:
    """Return writers that are closed, as a kill would, when the test ends."""
    started = []

    def start(clock: Clock = lambda: 0.0) -> Any:
        started.append(RecordingWriter(tmp_path / "r", manifest, clock))
        return started[-1]

    yield start
    for writer in started:
        writer.close()


def some(first: int, count: int = 5, size: int = 100) -> Any:
    return [record(b"x" * size, offset) for offset in range(first, first + count)]


def frames(folder: Path) -> Any:
    return [len(chunk) for chunk in Recording(folder).chunks(PLACE)]


async def test_what_waits_is_flushed_once_a_second(tmp_path: Path, start: Any) -> None:
    now = [0.0]
    writer = start(lambda: now[0])
    writer.append(PLACE, some(0))
    assert frames(tmp_path / "r") == []
    now[0] = 1.0
    writer.tick()
    assert frames(tmp_path / "r") == [5]


async def test_a_partition_with_half_a_megabyte_is_flushed_at_once(
    tmp_path: Path, start: Any
) -> None:
    writer = start()
    writer.append(PLACE, some(0, size=1 << 18))
    writer.append((TOPIC, 1), [record(b"", 0, partition=1)])
    assert frames(tmp_path / "r") == [2, 2]


async def test_frames_are_cut_by_bytes_however_many_records_come_at_once(
    tmp_path: Path, start: Any
) -> None:
    writer = start()
    writer.append(PLACE, some(0, 350, size=900_000))
    writer.finish(complete=True)
    path = next((tmp_path / "r").rglob("segment-*"))
    assert max(len(frame.text) for frame in read_frames(path)) < FRAME_BYTES + 1_000_000
    assert [r.offset for r in everything(Recording(tmp_path / "r"))] == list(range(350))


async def test_what_is_spelled_at_once_does_not_grow_with_the_records(start: Any) -> None:
    writer = start()
    records = [record(bytes(200_000), offset) for offset in range(500)]
    tracemalloc.start()
    try:
        writer.append(PLACE, records)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_no_frame_is_written_that_no_reader_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "FRAME_LIMIT", 1_000)
    file = SegmentFile(tmp_path / "s")
    file.append(bytes(1_000))
    with pytest.raises(Halt, match="a record takes 1001 bytes, 1000 at most"):
        file.append(bytes(1_001))
    file.close()
    assert [len(frame.text) for frame in read_frames(tmp_path / "s")] == [1_000]


async def test_the_longest_line_is_known_of_every_segment(tmp_path: Path, start: Any) -> None:
    writer = start()
    for size in (10, 5_000, 20):
        writer.append(PLACE, some(writer.positions()[PLACE], 2, size))
        writer.flush()
    writer.finish(complete=True)
    (segment,) = load_manifest(tmp_path / "r").segments
    path = next((tmp_path / "r").rglob("segment-*"))
    lines = b"".join(frame.text for frame in read_frames(path)).splitlines(keepends=True)
    assert segment.longest_line == max(map(len, lines)) > 5_000


async def test_memory_is_bounded_over_all_partitions(
    tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "PENDING_BYTES", 2_000)
    writer = start()
    for number in range(4):
        writer.append((TOPIC, number), [record(b"x" * 600, 0, partition=number)])
    assert len(list((tmp_path / "r").rglob("segment-*"))) == 3


async def test_a_long_segment_is_followed_by_the_next(
    tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "SEGMENT_BYTES", 1)
    writer = start()
    for first in (0, 5, 10):
        writer.append(PLACE, some(first))
        writer.flush()
    writer.finish(complete=True)
    segments = load_manifest(tmp_path / "r").of(*PLACE)
    assert [(s.first_offset, s.last_offset, s.records) for s in segments] == [
        (0, 4, 5),
        (5, 9, 5),
        (10, 14, 5),
    ]
    assert [r.offset for r in everything(Recording(tmp_path / "r"))] == list(range(15))


async def test_every_segment_is_in_the_manifest_before_it_holds_a_byte(
    tmp_path: Path, start: Any
) -> None:
    writer = start()
    writer.append(PLACE, some(7))
    writer.flush()
    (segment,) = load_manifest(tmp_path / "r").segments
    assert (segment.first_offset, segment.size) == (7, 0)


@pytest.mark.parametrize("offsets", [(4,), (5, 5), (6, 5)])
async def test_an_offset_that_does_not_rise_is_refused_and_changes_nothing(
    tmp_path: Path, start: Any, offsets: tuple[int, ...]
) -> None:
    writer = start()
    writer.append(PLACE, some(0))
    with pytest.raises(Halt, match="came twice"):
        writer.append(PLACE, [record(b"{}", offset) for offset in offsets])
    writer.append(PLACE, some(5))
    writer.flush()
    writer.finish(complete=True)
    assert [r.offset for r in everything(Recording(tmp_path / "r"))] == list(range(10))

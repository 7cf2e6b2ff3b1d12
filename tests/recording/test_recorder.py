"""What is recorded is what the log holds, wherever a recording is interrupted."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kit.events import NOW, record
from kit.recordings import (
    TOPIC,
    UP_TO_NOW,
    busy_log,
    cluster_of,
    everything,
    log_with,
    partition_records,
    seen,
    start_writer,
)
from kit.recordings import record as record_whole

from streams.errors import Halt, Retry, Unreachable
from streams.recording import recorder as recorder_module
from streams.recording.damage import quick, thorough
from streams.recording.manifest import RESERVE, load_manifest
from streams.recording.planning import Request, reopen, require_free
from streams.recording.reader import Recording
from streams.recording.recorder import DiskFull, Recorder
from streams.recording.segments import SegmentFile
from streams.recording.writer import RecordingWriter


def ten(partition: int = 0, first: int = 0) -> Any:
    return [
        record(b"{}", offset, NOW + offset, partition=partition)
        for offset in range(first, first + 10)
    ]


def verified(recording: Recording) -> Any:
    assert quick(recording) == []
    return sum(thorough(recording, place).records for place in recording.places())


async def test_a_recording_holds_every_record_as_it_was(tmp_path: Path) -> None:
    log = busy_log()
    recording = await record_whole(cluster_of(log), tmp_path / "r")
    expected = partition_records(log)
    found = everything(recording)
    assert seen(found) == seen(expected)
    assert [r.offset for r in found] == [r.offset for r in expected]
    assert recording.manifest.complete
    assert recording.manifest.records == len(expected) == verified(recording)
    assert not (tmp_path / "r" / RESERVE).exists()


async def test_a_range_of_offsets_takes_the_start_and_leaves_the_end_out(tmp_path: Path) -> None:
    log = log_with([*ten(0), *ten(1)])
    request = Request([TOPIC], offsets={(TOPIC, 1): (3, 6)})
    recording = await record_whole(cluster_of(log), tmp_path / "r", request)
    assert [(r.partition, r.offset) for r in everything(recording)] == [(1, 3), (1, 4), (1, 5)]


async def test_a_range_of_time_is_cut_by_timestamps(tmp_path: Path) -> None:
    log = log_with([*ten(0), *ten(1)])
    request = Request([TOPIC], start_ms=NOW + 8, end_ms=NOW + 9)
    recording = await record_whole(cluster_of(log), tmp_path / "r", request)
    assert [(r.partition, r.offset) for r in everything(recording)] == [(0, 8), (1, 8)]


async def test_from_the_end_takes_only_what_comes_later(tmp_path: Path) -> None:
    log = log_with(ten())
    cluster = cluster_of(log)
    writer = await start_writer(cluster, tmp_path / "r", Request([TOPIC], from_end=True))
    log.restore(ten(first=10)[:2])
    told = []
    recorder = Recorder(cluster, writer, now_ms=lambda: 0)
    assert await recorder.run(lambda: len(told) > 2, told.append)
    assert [r.offset for r in everything(Recording(tmp_path / "r"))] == [10, 11]


async def test_live_until_a_time_ends_when_it_has_come(tmp_path: Path) -> None:
    log = log_with(ten())
    cluster = cluster_of(log)
    writer = await start_writer(cluster, tmp_path / "r", Request([TOPIC]))
    times = iter([NOW, NOW + 1, *[NOW + 5] * 10])
    recorder = Recorder(cluster, writer, until_ms=NOW + 5, now_ms=lambda: next(times))
    assert await recorder.run(lambda: False)
    recording = Recording(tmp_path / "r")
    assert recording.manifest.topics[TOPIC].spans[0].end == 5
    assert recording.manifest.complete


async def test_a_stopped_range_says_that_it_is_not_complete(tmp_path: Path) -> None:
    cluster = cluster_of(busy_log())
    writer = await start_writer(cluster, tmp_path / "r")
    assert not await Recorder(cluster, writer, now_ms=lambda: 0).run(lambda: True)
    assert not load_manifest(tmp_path / "r").complete


async def test_markers_of_transactions_at_the_end_do_not_keep_it_waiting(tmp_path: Path) -> Any:
    """The last offsets of the range hold no record; the reader's position passes them."""
    log = log_with(ten())
    cluster = cluster_of(log)

    async def position(topic: str, partition: int) -> Any:
        return 15

    cluster.position = position
    request = Request([TOPIC], offsets={(TOPIC, 0): (None, 15)})
    recording = await record_whole(cluster, tmp_path / "r", request)
    assert len(everything(recording)) == 10


async def test_a_cut_recording_resumes_at_its_last_whole_frame(tmp_path: Path) -> None:
    log = busy_log()
    cluster = cluster_of(log)
    folder = tmp_path / "r"
    writer = await start_writer(cluster, folder)
    cluster.assign(writer.positions())
    for _ in range(3):
        for place, records in (await cluster.fetch(10, 400)).items():
            writer.append(place, records)
        writer.flush()
    writer.close()
    paths = sorted(folder.rglob("segment-*"))
    with paths[0].open("ab") as file:
        file.truncate(file.tell() - 7)  # the machine died while it wrote
    with paths[1].open("ab") as file:
        file.write(b"\0" * 100)  # or left what it never wrote
    manifest = await reopen(folder, cluster, cluster)
    again = RecordingWriter(folder, manifest, lambda: 0.0)
    assert await Recorder(cluster, again, now_ms=lambda: 0).run(lambda: False)
    recording = Recording(folder)
    assert seen(everything(recording)) == seen(partition_records(log))
    assert verified(recording) == recording.manifest.records


async def test_a_cut_recording_is_readable_before_it_is_resumed(tmp_path: Path) -> None:
    log = busy_log()
    cluster = cluster_of(log)
    folder = tmp_path / "r"
    writer = await start_writer(cluster, folder)
    cluster.assign(writer.positions())
    for place, records in (await cluster.fetch(10, 400)).items():
        writer.append(place, records)
        writer.flush()
    writer.close()
    path = next(iter(sorted(folder.rglob("segment-*"))))
    with path.open("ab") as file:
        file.write(path.read_bytes()[:50])
    expected = [r for n in range(4) for r in log.records(TOPIC, n)[:100]]
    assert seen(everything(Recording(folder))) == seen(expected)


async def test_resuming_refuses_another_cluster_or_topic(tmp_path: Path) -> None:
    await record_whole(cluster_of(busy_log(50)), tmp_path / "r")
    other = busy_log(50)
    other.create(TOPIC, 4)
    with pytest.raises(Halt, match="another cluster or another topic"):
        await reopen(tmp_path / "r", cluster_of(other), cluster_of(other))


async def test_resuming_refuses_a_gap_that_retention_made(tmp_path: Path) -> None:
    log = log_with(ten())
    request = Request([TOPIC], offsets={(TOPIC, 0): (0, 5)})
    await record_whole(cluster_of(log), tmp_path / "r", request)
    log.forget(TOPIC, 0, 7)
    with pytest.raises(Halt, match="offsets 5 to 6 are no longer in the log"):
        await reopen(tmp_path / "r", cluster_of(log), cluster_of(log))


async def test_resuming_refuses_a_changed_segment(tmp_path: Path) -> None:
    cluster = cluster_of(log_with(ten()))
    await record_whole(cluster, tmp_path / "r")
    path = next((tmp_path / "r").rglob("segment-*"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(Halt, match="differs from its sha256"):
        await reopen(tmp_path / "r", cluster, cluster)


async def test_a_folder_that_holds_anything_is_not_recorded_into(tmp_path: Path) -> None:
    await record_whole(cluster_of(log_with(ten())), tmp_path / "r")
    with pytest.raises(Halt, match="already holds a recording: continue it with --resume"):
        require_free(tmp_path / "r")
    with pytest.raises(Halt, match="is not empty"):
        require_free(tmp_path)
    require_free(tmp_path / "new")


async def test_a_topic_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(Halt, match="topic nope does not exist; there are: interactions"):
        await start_writer(cluster_of(log_with([])), tmp_path / "r", Request(["nope"]))


async def test_an_offset_outside_the_log_is_refused(tmp_path: Path) -> None:
    request = Request([TOPIC], offsets={(TOPIC, 0): (11, None)})
    with pytest.raises(Halt, match=r"interactions\[0\]: offset 11 is not in the log"):
        await start_writer(cluster_of(log_with(ten())), tmp_path / "r", request)


async def test_brokers_that_cannot_search_by_time_are_not_asked_to(tmp_path: Path) -> Any:
    cluster = cluster_of(log_with(ten()))

    async def nothing(topic: str, times: Mapping[int, int]) -> Any:
        return dict.fromkeys(times)

    cluster.offsets_at = nothing
    with pytest.raises(Halt, match="cannot search interactions by time"):
        await start_writer(cluster, tmp_path / "r", Request([TOPIC], start_ms=NOW))


async def test_a_full_disk_ends_it_cleanly_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = busy_log()
    cluster = cluster_of(log)
    writer = await start_writer(cluster, tmp_path / "r")
    append, frames = SegmentFile.append, []

    def append_until_full(self: SegmentFile, text: bytes) -> None:
        if len(frames) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        frames.append(text)
        append(self, text)

    monkeypatch.setattr(SegmentFile, "append", append_until_full)
    with pytest.raises(DiskFull, match=r"the disk is full: \d+ records are whole"):
        await Recorder(cluster, writer, now_ms=lambda: 0).run(lambda: False)
    recording = Recording(tmp_path / "r")
    assert not recording.manifest.complete
    assert verified(recording) == recording.manifest.records > 0
    monkeypatch.setattr(SegmentFile, "append", append)
    again = RecordingWriter(
        tmp_path / "r", await reopen(tmp_path / "r", cluster, cluster), lambda: 0.0
    )
    assert await Recorder(cluster, again, now_ms=lambda: 0).run(lambda: False)
    assert seen(everything(Recording(tmp_path / "r"))) == seen(partition_records(log))


async def test_brokers_that_fail_for_a_while_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    monkeypatch.setattr(recorder_module, "BACKOFF_S", 0.0)
    log = busy_log(100)
    cluster = cluster_of(log)
    fetch, failures, told = cluster.fetch, [Retry("a broker is gone")] * 3, []

    async def failing(timeout_ms: int, max_records: int) -> Any:
        if failures:
            raise failures.pop()
        return await fetch(timeout_ms, max_records)

    cluster.fetch = failing
    writer = await start_writer(cluster, tmp_path / "r", UP_TO_NOW)
    assert await Recorder(cluster, writer, now_ms=lambda: 0).run(lambda: False, told.append)
    assert [progress.waiting for progress in told[:4]] == ["a broker is gone"] * 3 + [""]
    assert seen(everything(Recording(tmp_path / "r"))) == seen(partition_records(log))


async def test_brokers_that_stay_away_end_it_resumably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "PATIENCE_S", 0.0)
    monkeypatch.setattr(recorder_module, "BACKOFF_S", 0.01)
    cluster = cluster_of(busy_log(100))

    async def failing(timeout_ms: int, max_records: int) -> None:
        raise Unreachable("no broker")

    cluster.fetch = failing
    writer = await start_writer(cluster, tmp_path / "r")
    with pytest.raises(Unreachable):
        await Recorder(cluster, writer, now_ms=lambda: 0).run(lambda: False)
    assert not load_manifest(tmp_path / "r").complete


async def test_gaps_that_the_log_has_are_counted(tmp_path: Path) -> None:
    log = log_with([record(b"{}", offset) for offset in (0, 1, 4, 5, 9)])
    recording = await record_whole(cluster_of(log), tmp_path / "r")
    (place, *_) = recording.places()
    assert sum(segment.gaps for segment in recording.manifest.segments) == 2
    checked = thorough(recording, place)
    assert [tuple(gap) for gap in checked.gaps] == [(2, 3), (6, 8)]

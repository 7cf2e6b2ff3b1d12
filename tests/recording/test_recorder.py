"""What is recorded is what the log holds, wherever a recording is interrupted."""

import errno
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from kit.events import NOW, record
from kit.recordings import (
    TOPIC,
    UP_TO_NOW,
    Brokers,
    busy_log,
    cluster_of,
    everything,
    log_with,
    partition_records,
    replayer_into,
    seen,
    start_writer,
    target,
)
from kit.recordings import record as record_whole

from streams.errors import Halt, Retry, Unreachable
from streams.recording import recorder as recorder_module
from streams.recording.damage import quick, thorough
from streams.recording.following import TopicWatch
from streams.recording.manifest import RESERVE, Until, load_manifest
from streams.recording.planning import Request
from streams.recording.reader import Recording
from streams.recording.recorder import LOOK_MS, DiskFull, Recorder
from streams.recording.resuming import reopen
from streams.recording.segments import SegmentFile
from streams.recording.session import require_free
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


def up_to(time_ms: int, slack_ms: int = 100, **fields: Any) -> Request:
    return Request([TOPIC], until=Until(time_ms, slack_ms), **fields)


async def record_from(cluster: Brokers, folder: Path, request: Request, now_ms: int) -> Recording:
    """Record as it is done at this time, which stands still."""
    writer = await start_writer(cluster, folder, request, now_ms)
    assert await Recorder(cluster, writer, now_ms=lambda: now_ms).run(lambda: False)
    return Recording(folder)


async def test_a_range_of_time_is_cut_by_timestamps(tmp_path: Path) -> None:
    log = log_with([*ten(0), *ten(1)])
    request = up_to(NOW + 8, start_ms=NOW + 7)
    recording = await record_from(cluster_of(log), tmp_path / "r", request, NOW + 1_000)
    wanted = [(0, 7), (0, 8), (1, 7), (1, 8)]
    assert [(r.partition, r.offset) for r in everything(recording)] == wanted
    assert verified(recording) == 4


async def test_disorder_and_a_clock_that_is_ahead_end_no_range_of_time(tmp_path: Path) -> None:
    times = [0, 900_000, 10, 200, 20, 900_000, 30, 31]
    log = log_with(record(b"{}", offset, NOW + time) for offset, time in enumerate(times))
    recording = await record_from(cluster_of(log), tmp_path / "r", up_to(NOW + 30), NOW + 1_000)
    assert [r.timestamp - NOW for r in everything(recording)] == [0, 10, 20, 30]
    assert recording.manifest.complete
    assert verified(recording) == 4


async def test_a_range_of_time_ends_where_all_is_later_by_more_than_the_slack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "OVER_RECORDS", 3)
    times = [0, 500, 500, 5, 101, 500, 500, 500, 10]
    log = log_with(record(b"{}", offset, NOW + time) for offset, time in enumerate(times))
    recording = await record_from(cluster_of(log), tmp_path / "r", up_to(NOW + 10), NOW + 1_000)
    assert [r.offset for r in everything(recording)] == [0, 3]
    assert recording.manifest.topics[TOPIC].spans[0].end == 8


async def test_what_is_written_after_the_start_is_not_in_a_range_that_is_past(
    tmp_path: Path,
) -> None:
    log = log_with(ten())
    cluster = cluster_of(log)
    writer = await start_writer(cluster, tmp_path / "r", up_to(NOW + 30), NOW + 50)
    log.restore(ten(first=10))
    assert await Recorder(cluster, writer, now_ms=lambda: NOW + 50).run(lambda: False)
    assert len(everything(Recording(tmp_path / "r"))) == 10


async def test_from_the_end_takes_only_what_comes_later(tmp_path: Path) -> None:
    log = log_with(ten())
    cluster = cluster_of(log)
    writer = await start_writer(cluster, tmp_path / "r", Request([TOPIC], from_end=True))
    log.restore(ten(first=10)[:2])
    told = []
    recorder = Recorder(cluster, writer, now_ms=lambda: 0)
    assert await recorder.run(lambda: len(told) > 2, told.append)
    assert [r.offset for r in everything(Recording(tmp_path / "r"))] == [10, 11]


async def test_live_until_a_time_takes_what_comes_late_within_the_slack(tmp_path: Path) -> None:
    log = log_with([])
    cluster = cluster_of(log)
    writer = await start_writer(cluster, tmp_path / "r", up_to(NOW + 5), NOW)
    now = [NOW]

    def later(_: object) -> None:
        now[0] += 20
        if now[0] == NOW + 100:  # behind --to, within its slack
            log.restore([record(b"{}", 0, NOW + 6), record(b"{}", 1, NOW + 5)])
            log.restore([record(b"{}", 0, NOW + 900_000, partition=1)])

    assert await Recorder(cluster, writer, now_ms=lambda: now[0]).run(lambda: False, later)
    recording = Recording(tmp_path / "r")
    assert [(r.partition, r.offset) for r in everything(recording)] == [(0, 1)]
    assert now[0] > NOW + 105
    assert [recording.manifest.topics[TOPIC].spans[n].end for n in range(4)] == [2, 1, 0, 0]
    assert recording.manifest.complete


async def test_stopped_before_its_time_a_live_recording_is_not_complete(tmp_path: Path) -> None:
    cluster = cluster_of(log_with(ten()))
    writer = await start_writer(cluster, tmp_path / "r", up_to(NOW + 5), NOW)
    told: list[object] = []
    recorder = Recorder(cluster, writer, now_ms=lambda: NOW)
    assert not await recorder.run(lambda: len(told) > 1, told.append)
    assert not load_manifest(tmp_path / "r").complete
    now = NOW + 500
    again = RecordingWriter(
        tmp_path / "r", await reopen(tmp_path / "r", cluster, cluster), lambda: 0.0
    )
    assert await Recorder(cluster, again, now_ms=lambda: now).run(lambda: False)
    assert [r.offset for r in everything(Recording(tmp_path / "r"))] == [0, 1, 2, 3, 4, 5]


async def live(cluster: Brokers, folder: Path, steps: Sequence[Callable[[], object]]) -> bool:
    """Record live; between two turns take the next step, and stop behind the last one."""
    writer = await start_writer(cluster, folder, Request([TOPIC]))
    turns = itertools.count()
    left = list(steps)

    def step(_: object) -> None:
        if left:
            left.pop(0)()

    watch = TopicWatch(cluster, cluster, writer.manifest)
    recorder = Recorder(cluster, writer, watch, now_ms=lambda: next(turns) * LOOK_MS)
    return await recorder.run(lambda: not left, step)


async def test_partitions_that_are_added_are_followed(tmp_path: Path) -> None:
    log = log_with(ten())
    more = [
        lambda: log.grow(TOPIC, 6),
        lambda: log.restore(ten(5)),
        lambda: None,
        lambda: log.restore(ten(5, 10)),
        lambda: None,
    ]
    assert await live(cluster_of(log), tmp_path / "r", more)
    recording = Recording(tmp_path / "r")
    assert recording.manifest.topics[TOPIC].partitions == 6
    assert seen(everything(recording)) == seen(partition_records(log, 6))
    assert verified(recording) == 30


async def test_partitions_that_were_added_last_keep_a_recording_from_being_complete(
    tmp_path: Path,
) -> None:
    log = log_with(ten())
    cluster = cluster_of(log)
    writer = await start_writer(cluster, tmp_path / "r", Request([TOPIC]))
    watch = TopicWatch(cluster, cluster, writer.manifest)
    told: list[object] = []

    def grow(progress: object) -> None:
        told.append(progress)
        log.grow(TOPIC, 5)
        log.restore(ten(4) if len(told) == 1 else [])

    assert not await Recorder(cluster, writer, watch, now_ms=lambda: 0).run(
        lambda: bool(told), grow
    )
    assert not load_manifest(tmp_path / "r").complete
    manifest = await reopen(tmp_path / "r", cluster, cluster)
    again = RecordingWriter(tmp_path / "r", manifest, lambda: 0.0)
    told.clear()
    watch = TopicWatch(cluster, cluster, manifest)
    assert await Recorder(cluster, again, watch, now_ms=lambda: 0).run(
        lambda: len(told) > 1, told.append
    )
    assert seen(everything(Recording(tmp_path / "r"))) == seen(partition_records(log, 5))


async def test_partitions_that_were_named_are_not_followed(tmp_path: Path) -> None:
    log = log_with(ten())
    cluster = cluster_of(log)
    request = Request([TOPIC], offsets={(TOPIC, 0): (None, None)})
    writer = await start_writer(cluster, tmp_path / "r", request)
    log.grow(TOPIC, 6)
    assert await TopicWatch(cluster, cluster, writer.manifest).look() == {}


@pytest.mark.parametrize("records", [0, 5, 40])
async def test_a_topic_that_was_made_again_ends_it_and_it_is_not_complete(
    tmp_path: Path, records: int
) -> None:
    log = log_with(ten())

    def make_again() -> None:
        log.create(TOPIC, 4)
        log.restore(record(b"other", offset) for offset in range(records))

    with pytest.raises(Halt, match=r"was made again|is needed from offset"):
        await live(cluster_of(log), tmp_path / "r", [lambda: None, make_again, *[int] * 5])
    assert not load_manifest(tmp_path / "r").complete


async def test_a_topic_that_was_made_again_at_the_very_end_is_noticed_too(tmp_path: Path) -> None:
    log = log_with(ten())
    cluster = cluster_of(log)
    writer = await start_writer(cluster, tmp_path / "r")
    watch = TopicWatch(cluster, cluster, writer.manifest)
    recorder = Recorder(cluster, writer, watch, now_ms=lambda: 0)
    with pytest.raises(Halt, match="was made again"):
        await recorder.run(lambda: False, lambda _: log.create(TOPIC, 4))
    assert not load_manifest(tmp_path / "r").complete


async def test_a_header_without_a_value_stays_without_one(tmp_path: Path) -> None:
    headers = (("a", None), ("a", b""), ("b", b"x"))
    log = log_with([record(b"{}", 0, headers=headers)])
    recording = await record_whole(cluster_of(log), tmp_path / "r")
    (back,) = everything(recording)
    assert tuple(back.headers) == headers
    again, cluster = target()
    assert await replayer_into(recording, cluster).run(lambda: False)
    assert again.records("again", 0)[0].headers == headers


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
    with pytest.raises(Halt, match="is not the one that was recorded"):
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

"""A folder belongs to one recorder at a time, and what is there is looked at by that one alone."""

from pathlib import Path

import pytest
from kit.events import NOW, record
from kit.keys import INSTALLATION
from kit.recordings import TOPIC, UP_TO_NOW, cluster_of, everything, log_with

from streams.errors import Halt
from streams.recording.manifest import MANIFEST
from streams.recording.planning import Provenance, Request
from streams.recording.reader import Recording
from streams.recording.session import Source, recording_session, sole_writer


@pytest.fixture
def source() -> Source:
    cluster = cluster_of(log_with(record(b"{}", offset, NOW + offset) for offset in range(10)))
    return Source(cluster, cluster, Provenance(INSTALLATION, "abc", 100))


def now_ms() -> int:
    return NOW


async def record_into(folder: Path, source: Source, request: Request | None = UP_TO_NOW) -> bool:
    async with recording_session(folder, source, request, now_ms) as recorder:
        return await recorder.run(lambda: False)


async def test_a_session_records_and_says_of_which_installation(
    tmp_path: Path, source: Source
) -> None:
    assert await record_into(tmp_path / "r", source)
    manifest = Recording(tmp_path / "r").manifest
    assert (manifest.installation, manifest.generation_records, manifest.records) == (
        INSTALLATION,
        100,
        10,
    )
    assert manifest.created_at == "2023-11-14T22:13:20+00:00"


async def test_a_recording_that_was_finished_meanwhile_is_not_written_over(
    tmp_path: Path, source: Source
) -> None:
    """The second recorder looked before the first one began, and gets the lock behind it."""
    second = recording_session(tmp_path / "r", source, UP_TO_NOW, now_ms)
    assert await record_into(tmp_path / "r", source)
    before = (tmp_path / "r" / MANIFEST).read_bytes()
    with pytest.raises(Halt, match="already holds a recording"):
        await second.__aenter__()
    assert (tmp_path / "r" / MANIFEST).read_bytes() == before


async def test_the_folder_is_looked_at_inside_the_lock(tmp_path: Path, source: Source) -> None:
    with (
        sole_writer(tmp_path / "r"),
        pytest.raises(Halt, match="another `streams record` is writing"),
    ):
        await record_into(tmp_path / "r", source)
    assert await record_into(tmp_path / "r", source)
    with (
        sole_writer(tmp_path / "r"),
        pytest.raises(Halt, match="another `streams record` is writing"),
    ):
        await record_into(tmp_path / "r", source, None)


async def test_a_resumed_session_goes_on_with_what_the_lock_holder_left(
    tmp_path: Path, source: Source
) -> None:
    request = Request([TOPIC], offsets={(TOPIC, 0): (0, 10)})
    async with recording_session(tmp_path / "r", source, request, now_ms) as recorder:
        assert not await recorder.run(lambda: True)
    assert await record_into(tmp_path / "r", source, None)
    assert len(everything(Recording(tmp_path / "r"))) == 10


async def test_what_is_not_there_is_not_made_by_resuming_it(tmp_path: Path, source: Source) -> None:
    with pytest.raises(Halt, match="does not exist"):
        await record_into(tmp_path / "r", source, None)
    assert not (tmp_path / "r").exists()


async def test_hidden_files_do_not_fill_a_folder(tmp_path: Path, source: Source) -> None:
    (tmp_path / ".DS_Store").write_bytes(b"")
    (tmp_path / ".reserve").write_bytes(b"")  # of a recorder that died before its first manifest
    assert await record_into(tmp_path, source)


async def test_a_partition_without_a_leader_is_left_out_and_said(tmp_path: Path) -> None:
    log = log_with([record(b"{}", 0, NOW), record(b"{}", 0, NOW, partition=1)])
    log.leaderless.add((TOPIC, 1))
    cluster = cluster_of(log)
    source = Source(cluster, cluster, Provenance(INSTALLATION, "abc", 100))
    async with recording_session(tmp_path / "r", source, UP_TO_NOW, now_ms) as recorder:
        assert await recorder.run(lambda: False)
        assert recorder.missing == [f"{TOPIC}[1]"]
    manifest = Recording(tmp_path / "r").manifest
    assert (manifest.records, manifest.complete) == (1, False)
    assert manifest.topics[TOPIC].missing == [1]

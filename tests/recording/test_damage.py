"""Each kind of damage is named in one line, by `verify` and before anything is replayed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from kit.events import NOW, record, signed_record, takedown
from kit.keys import INSTALLATION, NEXT_SIGNER, SPELLING, STRANGER
from kit.recordings import (
    TOPIC,
    UP_TO_NOW,
    Brokers,
    busy_log,
    cluster_of,
    log_with,
    replayer_into,
    start_writer,
    target,
)
from kit.recordings import record as record_whole

from streams.core.partition_control import Key
from streams.errors import Halt
from streams.recording.damage import log_schema, quick, require_whole, strangers, thorough
from streams.recording.lines import encode_lines, line_prefix
from streams.recording.manifest import MANIFEST, load_manifest, save_manifest
from streams.recording.pacing import Pace
from streams.recording.reader import Damaged, Recording
from streams.recording.routing import Options
from streams.recording.segments import SegmentFile, hash_file, read_frames
from streams.runtime.signing import Signer


@pytest.fixture
async def folder(tmp_path: Path) -> Any:
    await record_whole(cluster_of(busy_log()), tmp_path / "r")
    return tmp_path / "r"


def segments(folder: Path) -> Any:
    return sorted(folder.rglob("segment-*"))


def faults(folder: Path) -> Any:
    """Return all that `verify` would print, after making sure that it is one line each."""
    try:
        recording = Recording(folder)
        found = quick(recording)
        if not found:
            for place in recording.places():
                thorough(recording, place)
    except Halt as halt:
        found = [str(halt)]
    assert all("\n" not in fault for fault in found)
    return found


def rewrite(folder: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    """Change a segment's lines and give it a manifest that knows the new file."""
    path = segments(folder)[number]
    text = b"".join(frame.text for frame in read_frames(path))
    path.unlink()
    file = SegmentFile(path)
    file.append(change(text))
    file.close()
    manifest = load_manifest(folder)
    name = path.relative_to(folder).as_posix()
    (segment,) = (s for s in manifest.segments if s.path == name)
    segment.size, segment.sha256 = file.size, hash_file(path, file.size)
    save_manifest(folder, manifest)


def lines_of(text: bytes) -> Any:
    return text.splitlines(keepends=True)


def test_a_whole_recording_has_no_fault(folder: Path) -> None:
    assert faults(folder) == []


def test_a_cut_frame(folder: Path) -> None:
    path = segments(folder)[0]
    path.write_bytes(path.read_bytes()[:-5])
    (fault,) = faults(folder)
    assert "is cut behind byte" in fault


def test_a_flipped_byte(folder: Path) -> None:
    path = segments(folder)[1]
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    (fault,) = faults(folder)
    assert "is damaged behind byte" in fault
    assert "partition=1" in fault


def test_a_missing_segment(folder: Path) -> None:
    segments(folder)[2].unlink()
    (fault,) = faults(folder)
    assert "partition=2" in fault
    assert "is missing" in fault


def test_swapped_segments(folder: Path) -> None:
    one, other = segments(folder)[:2]
    raw = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(raw)
    found = faults(folder)
    assert len(found) == 2
    assert all("another partition's content" in fault for fault in found), found


def test_an_edited_line(folder: Path) -> None:
    path = segments(folder)[0]
    text = b"".join(frame.text for frame in read_frames(path))
    path.unlink()
    file = SegmentFile(path)
    file.append(text.replace(b'"timestamp":17', b'"timestamp":16', 1))
    file.close()
    (fault,) = faults(folder)
    assert any(said in fault for said in ("was changed: its sha256", "goes on behind", "is cut"))


def test_an_edited_line_in_a_manifest_that_agrees_must_still_be_a_line(folder: Path) -> None:
    rewrite(folder, 0, lambda text: text.replace(b'"key":', b'"kex":', 1))
    (fault,) = faults(folder)
    assert "line 1: Object contains unknown field `kex`" in fault


def test_lines_out_of_order(folder: Path) -> None:
    rewrite(folder, 0, lambda text: b"".join(reversed(lines_of(text))))
    (fault,) = faults(folder)
    assert "lines out of order" in fault


def test_a_line_that_is_gone(folder: Path) -> None:
    rewrite(folder, 0, lambda text: b"".join(lines_of(text)[:5] + lines_of(text)[6:]))
    (fault,) = faults(folder)
    assert "records, manifest.json says" in fault


def test_a_wrong_manifest(folder: Path, tmp_path: Path) -> None:
    fields = orjson.loads((folder / MANIFEST).read_bytes())
    fields["segments"][0]["records"] += 1
    (folder / MANIFEST).write_bytes(orjson.dumps(fields))
    (fault,) = faults(folder)
    assert "was changed after it was written" in fault


async def test_another_recordings_manifest(folder: Path, tmp_path: Path) -> None:
    await record_whole(cluster_of(busy_log(300)), tmp_path / "other")
    shutil.copy(tmp_path / "other" / MANIFEST, folder / MANIFEST)
    assert len(faults(folder)) == 4


def test_a_foreign_file_is_named_and_disturbs_nobody(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello")
    (folder / ".DS_Store").write_bytes(b"")
    assert faults(folder) == []
    assert strangers(Recording(folder)) == [
        ".DS_Store: does not belong to the recording",
        "notes.txt: does not belong to the recording",
    ]
    assert require_whole(Recording(folder), {TOPIC}) == strangers(Recording(folder))


def test_an_empty_folder(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path)
    assert fault.endswith("is empty: not a recording")


async def test_two_recordings_in_one_folder(folder: Path, tmp_path: Path) -> None:
    log = log_with([record(b"{}", 5_000), record(b"{}", 5_001)])
    await record_whole(cluster_of(log), tmp_path / "other")
    (tmp_path / "other" / MANIFEST).unlink()
    shutil.copytree(tmp_path / "other", folder, dirs_exist_ok=True)
    (fault,) = faults(folder)
    assert "a segment of another recording" in fault
    shutil.copytree(folder, folder / "inner")
    assert any("a second recording inside" in fault for fault in faults(folder))


def test_a_segment_from_a_newer_format(folder: Path) -> None:
    rewrite(folder, 0, lambda text: text.replace(b'{"topic"', b'{"format":2,"topic"', 1))
    (fault,) = faults(folder)
    assert "written by a newer version of streams" in fault


def test_a_manifest_from_a_newer_format(folder: Path) -> None:
    fields = orjson.loads((folder / MANIFEST).read_bytes()) | {"format_version": 9}
    (folder / MANIFEST).write_bytes(orjson.dumps(fields))
    (fault,) = faults(folder)
    assert "has format 9, this version reads up to 2" in fault


def test_a_record_behind_the_manifests_end(folder: Path) -> None:
    path = segments(folder)[0]
    more = record(b"{}", 10**6)
    whole = path.stat().st_size
    file = SegmentFile(path, whole)
    file.append(b"".join(encode_lines(line_prefix(TOPIC, 0), [more])))
    file.close()
    (fault,) = faults(folder)
    assert "goes on behind the manifest's" in fault


async def test_nothing_of_a_damaged_recording_is_replayed(folder: Path) -> None:
    path = segments(folder)[3]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(Damaged, match="is cut"):
        require_whole(Recording(folder), {TOPIC})


async def test_damage_that_only_reading_shows_ends_a_replay_loudly(folder: Path) -> None:
    rewrite(folder, 3, lambda text: b"".join(lines_of(text)[:-1]))
    _, cluster = target()
    replayer = replayer_into(Recording(folder), cluster, Options())
    with pytest.raises(Damaged, match=r"partition=3.*records, manifest.json says"):
        await replayer.run(lambda: False)


async def test_what_is_not_complete_is_no_damage(tmp_path: Path) -> None:
    cluster = cluster_of(busy_log())
    writer = await start_writer(cluster, tmp_path / "r", UP_TO_NOW)
    cluster.assign(writer.positions())
    for place, records in (await cluster.fetch(10, 400)).items():
        writer.append(place, records)
    writer.flush()
    writer.close()
    assert faults(tmp_path / "r") == []


async def test_the_digest_is_of_the_records_and_not_of_the_traces(
    folder: Path, tmp_path: Path
) -> None:
    recording = Recording(folder)
    _, cluster = target()
    await replayer_into(recording, cluster, Options(pace=Pace(None), trace=True)).run(lambda: False)
    again = await record_whole_again(cluster, tmp_path / "again")
    for number in range(4):
        one = thorough(recording, (TOPIC, number))
        assert thorough(again, ("again", number)).digest == one.digest


async def record_whole_again(cluster: Brokers, folder: Path) -> Any:
    request = type(UP_TO_NOW)(["again"], to_end=True)
    return await record_whole(cluster, folder, request)


@pytest.mark.parametrize(
    "changed",
    [
        {"key": b"v2"},
        {"value": b"{ }"},
        {"value": None},
        {"timestamp": 5},
        {"headers": [("a", b"")]},
    ],
)
async def test_the_digest_sees_every_part(tmp_path: Path, changed: dict[str, Any]) -> None:
    digests = set()
    for name, fields in (("a", {}), ("b", changed)):
        log = log_with([record(**({"value": b"{}", "timestamp": 1} | fields))])
        recording = await record_whole(cluster_of(log), tmp_path / name)
        digests.add(thorough(recording, (TOPIC, 0)).digest)
    assert len(digests) == 2


async def test_events_that_the_worker_would_refuse_are_counted_by_reason(tmp_path: Path) -> None:
    forged = signed_record(takedown(), 3, signer=Signer(INSTALLATION.id, STRANGER))
    records = [record(None, 0), record(b"{", 1), signed_record(takedown(), 2), forged]
    manifest = (await record_whole(cluster_of(log_with(records)), tmp_path / "r")).manifest
    schema = log_schema(manifest, (TOPIC, 0), SPELLING)
    assert schema(records) == {"tombstone": 1, "json": 1, "signature": 1}
    manifest.installation = None
    assert "signature" not in log_schema(manifest, (TOPIC, 0), SPELLING)(records)


async def test_signatures_are_judged_by_the_keys_in_force_at_their_place(tmp_path: Path) -> None:
    rotated = Key("keys-1", NOW, 1, (NEXT_SIGNER.key.public,))
    records = [
        signed_record(rotated, 0),
        signed_record(takedown(), 1),
        signed_record(takedown(), 2, signer=NEXT_SIGNER),
    ]
    manifest = (await record_whole(cluster_of(log_with(records)), tmp_path / "r")).manifest
    schema = log_schema(manifest, (TOPIC, 0), SPELLING)
    assert [schema([one]).total() for one in records] == [0, 1, 0]

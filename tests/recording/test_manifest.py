"""The manifest is written whole, and trusted only as it was written."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.errors import Halt
from streams.recording.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    Manifest,
    Segment,
    Span,
    Topic,
    load_manifest,
    save_manifest,
)


@pytest.fixture
def manifest() -> Any:
    segment = Segment("t", 1, 10, 19, 10, 0, 1_000, 2_000, 55, "ab")
    other = Segment("t", 0, 0, 4, 5, 0, 500, 900, 44, "cd")
    topics = {"t": Topic(2, "id", {"retention.ms": "1"}, {0: Span(0, 5), 1: Span(10, None)})}
    return Manifest(FORMAT_VERSION, "r", "2026-01-01", "1", "c", topics, [segment, other])


def edited(folder: Path, **changes: Any) -> None:
    fields = orjson.loads((folder / MANIFEST).read_bytes()) | changes
    (folder / MANIFEST).write_bytes(orjson.dumps(fields))


def test_a_manifest_comes_back_with_its_totals(tmp_path: Path, manifest: Manifest) -> None:
    save_manifest(tmp_path, manifest)
    back = load_manifest(tmp_path)
    assert back == manifest
    assert (back.records, back.first_timestamp, back.last_timestamp) == (15, 500, 2_000)


def test_it_holds_what_is_documented(tmp_path: Path, manifest: Manifest) -> None:
    save_manifest(tmp_path, manifest)
    fields = orjson.loads((tmp_path / MANIFEST).read_bytes())
    assert {
        "format_version",
        "created_at",
        "app_version",
        "cluster_id",
        "complete",
    } <= fields.keys()
    assert fields["topics"]["t"]["partitions"] == 2
    assert fields["topics"]["t"]["config"] == {"retention.ms": "1"}
    assert fields["segments"][0]["sha256"] == "ab"
    assert fields["segments"][0]["path"] == (
        "topics/t/partition=1/segment-00000000000000000010.ndjson.zst"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"records": 14}, "was changed after it was written"),
        ({"manifest_sha256": "0"}, "was changed after it was written"),
        ({"format_version": 3}, "has format 3, this version reads up to 2"),
        ({"format_version": "1"}, "has no format_version"),
    ],
)
def test_an_edited_manifest_is_named(
    tmp_path: Path, manifest: Manifest, changes: Any, said: str
) -> None:
    save_manifest(tmp_path, manifest)
    edited(tmp_path, **changes)
    with pytest.raises(Halt, match=said):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "is no manifest"),
        (b"{}", "no manifest"),
    ],
)
def test_another_file_of_that_name_is_named(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text)
    with pytest.raises(Halt, match=said):
        load_manifest(tmp_path)


@pytest.mark.parametrize("topic", ["../up", "..", "a/b", ""])
def test_no_name_in_it_reaches_outside_the_folder(
    tmp_path: Path, manifest: Manifest, topic: str
) -> None:
    manifest.topics = {topic: manifest.topics["t"]}
    manifest.segments = [Segment(topic, 0, 0, 0)]
    save_manifest(tmp_path, manifest)
    with pytest.raises(Halt, match="names a topic"):
        load_manifest(tmp_path)


def test_a_folder_says_why_it_is_no_recording(tmp_path: Path, manifest: Manifest) -> None:
    with pytest.raises(Halt, match="is empty: not a recording"):
        load_manifest(tmp_path)
    with pytest.raises(Halt, match="does not exist"):
        load_manifest(tmp_path / "nowhere")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_manifest(tmp_path / name, manifest)
    with pytest.raises(Halt, match=r"holds 2 recordings \(a, b\): name one of them"):
        load_manifest(tmp_path)


def test_a_manifest_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, manifest: Manifest
) -> None:
    save_manifest(tmp_path, manifest)
    before = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / f".{MANIFEST}.new").mkdir()  # in the way of the fresh one
    manifest.complete = True
    with pytest.raises(OSError, match="directory"):
        save_manifest(tmp_path, manifest)
    assert (tmp_path / MANIFEST).read_bytes() == before


def test_what_the_first_format_did_not_have_is_unknown(tmp_path: Path, manifest: Manifest) -> None:
    save_manifest(tmp_path, manifest)
    fields = orjson.loads((tmp_path / MANIFEST).read_bytes()) | {"format_version": 1}
    for name in ("until", "secret", "generation_records", "manifest_sha256"):
        del fields[name]
    del fields["topics"]["t"]["follow"]
    for segment in fields["segments"]:
        del segment["longest_line"]
    text = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    fields["manifest_sha256"] = sha256(text).hexdigest()
    (tmp_path / MANIFEST).write_bytes(orjson.dumps(fields))
    old = load_manifest(tmp_path)
    assert (old.until, old.secret, old.generation_records) == (None, None, None)
    assert old.segments[0].longest_line is None
    assert not old.topics["t"].follow
    save_manifest(tmp_path, old)  # a recording that is resumed is of the format of its resumer
    assert load_manifest(tmp_path).format_version == FORMAT_VERSION

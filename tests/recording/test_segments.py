"""A segment file is readable to its last whole frame, and never beyond a wrong byte."""

import random
from pathlib import Path
from typing import Any

import pytest
import zstandard

from streams.recording.segments import BrokenFrame, SegmentFile, hash_file, read_frames

TEXTS = [random.Random(seed).randbytes(200 + 70_000 * seed) + b"\n" for seed in range(4)]


def written(path: Path) -> Any:
    file = SegmentFile(path)
    ends = []
    for text in TEXTS:
        file.append(text)
        ends.append(file.size)
    file.close()
    return file, ends


def readable(path: Path, start: Any = 0) -> Any:
    frames = []
    try:
        for frame in read_frames(path, start):
            frames.append(frame)  # noqa: PERF402 - what came before the fault is kept
    except BrokenFrame as broken:
        return frames, broken
    return frames, None


def test_frames_come_back_with_the_byte_where_each_ends(tmp_path: Path) -> None:
    path = tmp_path / "s"
    file, ends = written(path)
    frames, broken = readable(path)
    assert ([frame.text for frame in frames], [frame.end for frame in frames]) == (TEXTS, ends)
    assert broken is None
    assert file.sha256 == hash_file(path, ends[-1])


def test_reading_may_start_behind_any_frame(tmp_path: Path) -> None:
    _, ends = written(tmp_path / "s")
    frames, _ = readable(tmp_path / "s", ends[1])
    assert [frame.text for frame in frames] == TEXTS[2:]


def test_the_file_is_plain_zstd_with_a_checksum_in_every_frame(tmp_path: Path) -> None:
    path = tmp_path / "s"
    written(path)
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        assert reader.read() == b"".join(TEXTS)
    assert zstandard.get_frame_parameters(path.read_bytes()[:64]).has_checksum


def test_a_cut_anywhere_leaves_the_frames_before_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    _, ends = written(path)
    whole = path.read_bytes()
    cuts = {0, 1, 5, *ends, *(end - 1 for end in ends), *(end + 3 for end in ends[:-1])}
    for cut in sorted(cuts):
        path.write_bytes(whole[:cut])
        frames, broken = readable(path)
        kept = sum(end <= cut for end in ends)
        assert len(frames) == kept
        assert (broken is None) == (cut in (0, *ends))
        if broken is not None:
            assert broken.cut
            assert broken.position == (ends[kept - 1] if kept else 0)


def test_a_flipped_byte_never_passes_for_data(tmp_path: Path) -> None:
    path = tmp_path / "s"
    _, ends = written(path)
    whole = path.read_bytes()
    draw = random.Random(7)
    for _ in range(60):
        at = draw.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :])
        frames, broken = readable(path)
        assert [frame.text for frame in frames] == TEXTS[: len(frames)]
        assert broken is not None
        assert ends[len(frames)] > at


def test_opening_a_segment_cuts_it_to_what_is_known_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "s"
    _, ends = written(path)
    file = SegmentFile(path, ends[1])
    file.append(b"more\n")
    file.close()
    assert [frame.text for frame in readable(path)[0]] == [*TEXTS[:2], b"more\n"]
    assert file.sha256 == hash_file(path, file.size)


def test_a_full_disk_leaves_whole_frames_only(tmp_path: Path) -> None:
    """/dev/full refuses every write; the file object stands in for the rest."""
    path = tmp_path / "s"
    file = SegmentFile(path)
    file.append(TEXTS[0])
    good = file._file
    with open("/dev/full", "r+b", buffering=0) as full:  # noqa: PTH123 - unbuffered, as the real one
        file._file = _FailingAfterPart(good, full)
        with pytest.raises(OSError, match="No space left"):
            file.append(TEXTS[1])
    assert path.stat().st_size == file.size
    file._file = good
    file.append(TEXTS[2])
    file.close()
    assert [frame.text for frame in readable(path)[0]] == [TEXTS[0], TEXTS[2]]


class _FailingAfterPart:
    """Takes 100 bytes and then has no space left."""

    def __init__(self, file: Any, full: Any) -> None:
        self._file, self._full, self._left = file, full, 100

    def write(self, part: bytes) -> Any:
        if not self._left:
            return self._full.write(part)
        count = self._file.write(part[: self._left])
        self._left -= count
        return count

    def truncate(self, size: int) -> Any:
        return self._file.truncate(size)

    def seek(self, position: int) -> Any:
        return self._file.seek(position)

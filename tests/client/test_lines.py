import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.client.lines import LineReader
from streams.errors import Halt


async def lines_of(path: Path, limit: int = 1_000) -> list[tuple[int, bytes]]:
    reader = LineReader.open(str(path), limit)
    return [(line.number, line.text) async for lines in reader.chunks() for line in lines]


async def test_lines_keep_their_numbers_and_empty_ones_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a\n\n  \nb\r\nc")
    assert await lines_of(path) == [(1, b"a"), (4, b"b\r"), (5, b"c")]


async def test_lines_longer_than_a_chunk_are_put_together(tmp_path: Path) -> None:
    path = tmp_path / "f"
    long = b"x" * 600_000
    path.write_bytes(long + b"\nb\n")
    assert await lines_of(path, limit=1_000_000) == [(1, long), (2, b"b")]


async def test_a_line_above_the_limit_is_cut_to_one_byte_more_than_that(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 3_000_000 + b"\nb\n")
    first, second = await lines_of(path, limit=10)
    assert len(first[1]) > 10
    assert len(first[1]) < 1_000_000
    assert second == (2, b"b")


async def test_lines_of_a_pipe_come_as_soon_as_they_are_written() -> None:
    read_end, write_end = os.pipe()
    chunks = LineReader(read_end, 1_000).chunks()
    os.write(write_end, b"a\nb")
    assert [line.text for line in await anext(chunks)] == [b"a"]
    os.write(write_end, b"c\n")
    assert [line.text for line in await anext(chunks)] == [b"bc"]
    os.close(write_end)
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)
    os.close(read_end)


async def test_a_file_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Halt, match="No such file"):
        LineReader.open(str(tmp_path / "none"), 10)


async def test_a_folder_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Halt, match="cannot be read: Is a directory"):
        await lines_of(tmp_path)


async def test_a_byte_order_mark_is_read_over_in_the_first_line_only(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    assert await lines_of(path) == [(1, b"a"), (2, b"\xef\xbb\xbfb")]


async def test_gzipped_input_is_unpacked_member_by_member(tmp_path: Path) -> None:
    path = tmp_path / "f"
    long = os.urandom(300_000).hex().encode()
    packed = [gzip.compress(b"\xef\xbb\xbfa\n" + long), gzip.compress(b"\nb\n")]
    path.write_bytes(packed[0] + packed[1] + bytes(100))
    assert await lines_of(path, limit=1_000_000) == [(1, b"a"), (2, long), (3, b"b")]


async def test_a_gzip_bomb_needs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(gzip.compress(bytes(50_000_000) + b"\nb"))
    first, second = await lines_of(path, limit=10)
    assert len(first[1]) < 1_000_000
    assert second == (2, b"b")


@pytest.mark.parametrize(
    ("damage", "words"),
    [(lambda packed: packed[:-9], "cut off"), (lambda packed: packed + b"garbage", "damaged")],
)
async def test_damaged_gzip_is_told_in_one_line(
    tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(damage(gzip.compress(b"a\nb\n" * 1_000)))
    with pytest.raises(Halt, match=f"its gzip data is {words}"):
        await lines_of(path)


@pytest.mark.parametrize("content", [b"", b"a", b"\x1f"])
async def test_input_shorter_than_any_mark_is_taken_as_it_is(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    assert [text for _, text in await lines_of(path)] == [content] * bool(content)

"""A segment file: zstd frames one after the other, each a run of whole lines.

A frame carries a checksum of its own, so a file that was cut is readable to its last whole frame
and a flipped byte never passes for data.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from streams.errors import Halt

LEVEL: Final = 1
"""zstd level: the higher ones cost more time than they save disk on lines of events."""
READ_BYTES: Final = 1 << 17
FRAME_LIMIT: Final = 1 << 28
"""Bytes of lines in one frame at most, written and read: what unpacks to more is none of ours."""


class BrokenFrame(Exception):
    """The file holds no whole frame from byte `position` on.

    `cut` tells a file that only ends too early from one whose bytes are wrong.
    """

    def __init__(self, position: int, *, cut: bool) -> None:
        super().__init__(f"no whole frame from byte {position} on")
        self.position: Final = position
        self.cut: Final = cut


class Frame(NamedTuple):
    """The lines of one frame, and where in the file it ends."""

    text: bytes
    end: int


def read_frames(path: Path, start: int = 0) -> Iterator[Frame]:
    """Yield the frames of a file from byte `start` on, one in memory at a time.

    Raises `BrokenFrame` behind the last whole one.
    """
    unpacker = zstandard.ZstdDecompressor()
    with path.open("rb") as file:
        file.seek(start)
        rest, end = b"", start
        while rest := rest or file.read(READ_BYTES):
            frame, parts, size, used = unpacker.decompressobj(), [], 0, 0
            while not frame.eof:
                try:
                    parts.append(frame.decompress(rest))
                except zstandard.ZstdError:
                    raise BrokenFrame(end, cut=False) from None
                used, size = used + len(rest), size + len(parts[-1])
                if size > FRAME_LIMIT:
                    raise BrokenFrame(end, cut=False)
                rest = frame.unused_data if frame.eof else file.read(READ_BYTES)
                if not rest and not frame.eof:
                    raise BrokenFrame(end, cut=True)
            end += used - len(rest)
            yield Frame(b"".join(parts), end)


def hash_file(path: Path, size: int) -> str:
    """Return the sha256 of a file's first `size` bytes, in hexadecimal digits."""
    digest = sha256()
    with path.open("rb") as file:
        while size > 0 and (part := file.read(min(size, 1 << 20))):
            digest.update(part)
            size -= len(part)
    return digest.hexdigest()


class SegmentFile:
    """A segment being written: every `append` is a whole frame or, after an error, nothing.

    Opening one that exists first cuts it to its `size` bytes.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._digest = sha256()
        # unbuffered: what was not written must not be written later
        self._file = path.open("r+b" if size else "wb", buffering=0)
        self._packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._dirty = False
        self.size = 0
        while self.size < size:
            self._count(self._file.read(min(size - self.size, 1 << 20)))
        self._file.truncate(size)

    @property
    def sha256(self) -> str:
        """Digest of all frames so far, in hexadecimal digits."""
        return self._digest.hexdigest()

    def append(self, text: bytes) -> None:
        """Write whole lines as one frame; on an `OSError` (disk full) the file is as before.

        `Halt` if no reader would take such a frame.
        """
        if len(text) > FRAME_LIMIT:
            raise Halt(f"{self._path}: a record takes {len(text)} bytes, {FRAME_LIMIT} at most")
        frame = self._packer.compress(text)
        rest = memoryview(frame)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(self.size)
            self._file.seek(self.size)
            raise
        self._count(frame)
        self._dirty = True

    def sync(self) -> None:
        """Have the frames on the disk itself."""
        if self._dirty:
            os.fsync(self._file.fileno())
            self._dirty = False

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def _count(self, part: bytes) -> None:
        if not part:
            raise OSError("the file became shorter while it was read")
        self._digest.update(part)
        self.size += len(part)

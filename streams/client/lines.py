"""Lines of a file or a pipe as they arrive, without ever blocking the event loop."""

import asyncio
import os
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final, Self

from streams.errors import Halt

CHUNK_BYTES: Final = 1 << 18
_AHEAD: Final = 4  # chunks read before they are asked for
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"


class InputLine:
    """Bytes without the line break; `number` counts from 1."""

    __slots__ = ("number", "text")

    def __init__(self, number: int, text: bytes) -> None:
        self.number: Final = number
        self.text: Final = text


class LineReader:
    """Reads a file or standard input in a thread of its own.

    A daemon thread and bare `os.read`, because a read of a terminal or a pipe cannot be cancelled
    and must not hold up the end of the process. Of a line longer than `limit` bytes only
    `limit + 1` are kept, so that memory is bounded and the line is still refused as too large.
    Gzipped input is unpacked, a byte order mark is read over.
    """

    def __init__(self, descriptor: int, limit: int) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._queue: asyncio.Queue[bytes | Halt] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, name="lines", daemon=True)

    @classmethod
    def open(cls, path: str, limit: int) -> Self:
        """Open `path`, standard input for "-"; `Halt` if that fails."""
        if path == "-":
            return cls(sys.stdin.fileno(), limit)
        try:
            return cls(os.open(Path(path), os.O_RDONLY), limit)
        except OSError as error:
            raise Halt(f"cannot read {path}: {error.strerror}") from None

    async def chunks(self) -> AsyncIterator[list[InputLine]]:
        """Yield the lines of each piece of input as it comes; empty lines are passed over."""
        self._thread.start()
        number, rest = 1, b""
        while True:
            chunk = await self._queue.get()
            self._room.release()
            if isinstance(chunk, Halt):
                raise chunk
            *whole, rest = (rest + chunk).split(b"\n")
            rest = rest[: self._limit + 1]
            if not chunk:
                whole = [rest]
            if number == 1 and whole:
                whole[0] = whole[0].removeprefix(_BOM)
            lines = [InputLine(number + place, text) for place, text in enumerate(whole)]
            number += len(whole)
            if kept := [line for line in lines if line.text.strip()]:
                yield kept
            if not chunk:
                return

    def _read(self) -> None:
        try:
            for chunk in _unpacked(self._raw()):
                self._hand_over(chunk)
            self._hand_over(b"")
        except OSError as error:
            self._hand_over(Halt(f"the input cannot be read: {error.strerror}"))
        except EOFError:
            self._hand_over(Halt("the input cannot be read: its gzip data is cut off"))
        except zlib.error:
            self._hand_over(Halt("the input cannot be read: its gzip data is damaged"))

    def _raw(self) -> Iterator[bytes]:
        while chunk := os.read(self._descriptor, CHUNK_BYTES):
            yield chunk

    def _hand_over(self, chunk: bytes | Halt) -> None:
        self._room.acquire()
        with suppress(RuntimeError):  # the loop has ended: nobody reads on
            self._loop.call_soon_threadsafe(self._queue.put_nowait, chunk)


def _unpacked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what gzip packed, and anything else as it is; never an empty piece."""
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) >= len(_GZIP):
            break
    whole = chain([first], chunks)
    return filter(None, _gunzipped(whole) if first.startswith(_GZIP) else whole)


def _gunzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack gzip members one after the other, a bounded piece at a time."""
    member = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        left = chunk
        while left:
            if member.eof:
                left = left.lstrip(b"\0")  # padding behind a member
                if not left:
                    break
                member = zlib.decompressobj(wbits=31)
            yield member.decompress(left, CHUNK_BYTES)
            left = member.unused_data if member.eof else member.unconsumed_tail
    while not member.eof:
        piece = member.decompress(b"", CHUNK_BYTES)
        if not piece:
            raise EOFError
        yield piece

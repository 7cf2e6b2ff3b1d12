"""Lines of a file or a pipe as they arrive, without ever blocking the event loop."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Self

from streams.errors import Halt

CHUNK_BYTES: Final = 1 << 18
_AHEAD: Final = 4  # chunks read before they are asked for


class Line:
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
    """

    def __init__(self, descriptor: int, limit: int) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._queue: asyncio.Queue[bytes | OSError] = asyncio.Queue()
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

    async def chunks(self) -> AsyncIterator[list[Line]]:
        """Yield the lines of each piece of input as it comes; empty lines are passed over."""
        self._thread.start()
        number, rest = 1, b""
        while True:
            chunk = await self._queue.get()
            self._room.release()
            if isinstance(chunk, OSError):
                raise Halt(f"the input cannot be read: {chunk.strerror}")
            *whole, rest = (rest + chunk).split(b"\n")
            rest = rest[: self._limit + 1]
            if not chunk:
                whole = [rest]
            lines = [Line(number + place, text) for place, text in enumerate(whole)]
            number += len(whole)
            if kept := [line for line in lines if line.text.strip()]:
                yield kept
            if not chunk:
                return

    def _read(self) -> None:
        chunk: bytes | OSError = b"-"
        while chunk and not isinstance(chunk, OSError):
            self._room.acquire()
            try:
                chunk = os.read(self._descriptor, CHUNK_BYTES)
            except OSError as error:
                chunk = error
            try:
                self._loop.call_soon_threadsafe(self._queue.put_nowait, chunk)
            except RuntimeError:  # the loop has ended: nobody reads on
                return

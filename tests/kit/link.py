"""A TCP proxy that is a bad network: late, slow, silent, cut, or suddenly to another server."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

CHUNK = 1 << 16


class Link:
    """Passes bytes between clients on `port` and a server on loopback, on a thread of its own.

    `delay_s` and `bytes_per_s` hold for each way of each connection. `server` may change: those
    who connect from then on reach the other one.
    """

    def __init__(self, server: int, port: int = 0) -> None:
        self.server = server
        self.port = port
        self.delay_s = 0.0
        self.bytes_per_s = float("inf")
        self._swallows = False
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break every connection: who is there must connect again."""
        self._loop.call_soon_threadsafe(self._cut)

    @contextmanager
    def swallowing(self) -> Iterator[None]:
        """Let servers hear, and lose all that they answer; cut at the end."""
        self._swallows = True
        try:
            yield
        finally:
            self._swallows = False
            self.cut()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._listener.close()
        while self._open:
            self._cut()
            await asyncio.sleep(0.01)

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        try:
            replies, server = await asyncio.open_connection("127.0.0.1", self.server)
        except OSError:
            answers.transport.abort()
            return
        self._open |= {answers, server}
        both = self._pass_on(client, server), self._pass_on(replies, answers, answering=True)
        await asyncio.gather(*both)
        self._open -= {answers, server}

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answering: bool = False
    ) -> None:
        with suppress(OSError):
            while chunk := await source.read(CHUNK):
                if late_s := self.delay_s + len(chunk) / self.bytes_per_s:
                    await asyncio.sleep(late_s)
                if not (answering and self._swallows):
                    sink.write(chunk)
                    await sink.drain()
        sink.transport.abort()

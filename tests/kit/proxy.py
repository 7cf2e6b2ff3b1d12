"""A TCP proxy before Redis that can lose requests or replies, as a network does."""

import asyncio
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on, and breaks a connection where `lose` says so.

    `lose` is asked with each request. "reply": Redis executes it and the answer never arrives.
    "request": it never reaches Redis. None: it is passed on.
    """

    def __init__(self, url: str, lose: Callable[[bytes], str | None]) -> None:
        at = urlsplit(url)
        self._host, self._port = at.hostname or "127.0.0.1", at.port or 6379
        self._lose = lose
        self._server: asyncio.Server | None = None
        self.lost = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        replies, server = await asyncio.open_connection(self._host, self._port)
        back = asyncio.create_task(_pass_on(replies, answers))
        try:
            while request := await client.read(1 << 20):
                lose = self._lose(request)
                if lose is not None:
                    self.lost += 1
                if lose == "reply":
                    back.cancel()
                    await asyncio.wait([back])
                    server.write(request)
                    await server.drain()
                    await replies.read(1)  # it was executed
                if lose is not None:
                    break
                server.write(request)
                await server.drain()
        except OSError:
            pass
        finally:
            back.cancel()
            server.close()
            answers.close()


async def _pass_on(replies: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
    try:
        while reply := await replies.read(1 << 20):
            answers.write(reply)
            await answers.drain()
    except OSError:
        return

"""Serves an aiohttp application until it is asked to stop: the intake's and the page's."""

import asyncio
import errno
from collections.abc import Callable

from aiohttp import web

from streams.errors import Halt


async def serve(
    runner: web.AppRunner,
    host: str,
    port: int,
    stop: asyncio.Event,
    tell: Callable[[str], None],
) -> None:
    """Serve until `stop` is set; `tell` hears the address. `Halt` if it cannot be listened at."""
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
        tell(site.name)
        await stop.wait()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "the port is taken" if taken else error.strerror
        raise Halt(f"cannot listen at {host}:{port}: {why}; see --port") from None
    finally:
        await runner.cleanup()

"""Serves an aiohttp application until it is asked to stop: the intake's and the page's."""

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import click
from aiohttp import web

from streams.errors import Halt


def listen_options(port: int) -> Callable[[Any], Any]:
    """Add `--host` and `--port`; where nothing is said it is `port` on loopback."""

    def decorate(command: Any) -> Any:
        listening = click.option(
            "--port",
            type=click.IntRange(0, 65_535),
            default=port,
            show_default=True,
            help="Port to listen at; 0 for a free one.",
        )
        host = click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen at."
        )
        return host(listening(command))

    return decorate


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

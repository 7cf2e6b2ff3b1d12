"""`streams page`: how everything stands, in a browser."""

import asyncio
from pathlib import Path

import click
from aiohttp import web

from streams.cli.http import listen_options, serve
from streams.cli.interrupts import stop_on_signals
from streams.cli.live import example
from streams.cli.options import Settings, connection_options
from streams.cli.status import asking
from streams.cli.wiring import drivers, run
from streams.client.http_intake import is_loopback
from streams.client.producers import new_token
from streams.errors import Misconfigured
from streams.page.desk import Desk, PageSources
from streams.page.guard import TOKEN_CHARACTERS, Guard
from streams.page.server import PageServer

STOP_S = 1.0


@click.command(short_help="Show in a browser how everything stands.")
@connection_options("brokers", "redis", "topic_prefix")
@listen_options(9466)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the token that a browser must know.",
)
@example("streams page", "streams page --host 0.0.0.0 --token-file page.token")
def page(settings: Settings, host: str, port: int, token_file: Path | None) -> None:
    """Serve a page of lag, flow, videos, slices, dead letters and halts; it changes nothing.

    Each view renews itself and names the command that shows the same. On loopback whoever is on
    this machine may look. Elsewhere a browser asks once for the token: that of --token-file, or
    one that is made and printed at the start. TLS is for a proxy before it.
    """
    token = None if token_file is None else _token_in(token_file)
    if token is None and not is_loopback(host):
        token = new_token()
        click.echo(f"the token, until this process ends: {token}", err=True)
    run(_serve(settings, Guard(token), host, port))


def _token_in(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Misconfigured(f"--token-file {path} cannot be read: {why}") from None
    if len(token) < TOKEN_CHARACTERS:
        raise Misconfigured(
            f"--token-file {path} holds fewer than {TOKEN_CHARACTERS} characters: "
            "`openssl rand -hex 32` makes a token"
        )
    return token


async def _serve(settings: Settings, guard: Guard, host: str, port: int) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop.set)
    async with (
        asking(settings) as status,
        drivers(settings).dossiers() as dossiers,
        drivers(settings).index() as index,
    ):
        desk = Desk(PageSources(status, dossiers, index))
        server = PageServer(desk, guard)
        runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=STOP_S)
        await serve(runner, host, port, stop, _tell)


def _tell(address: str) -> None:
    click.echo(f"the page is at {address}; Ctrl-C ends", err=True)

"""`streams intake`: events over HTTP, for producers without Kafka."""

import asyncio
from pathlib import Path

import click
from aiohttp import web

from streams.cli.http import listen_options, serve
from streams.cli.interrupts import stop_on_signals
from streams.cli.live import example
from streams.cli.options import Settings, connection_options
from streams.cli.when import now_ms
from streams.cli.wiring import producing, run
from streams.client.destination import writable
from streams.client.http_intake import PATH, HttpIntake, is_loopback
from streams.client.producers import Tokens, hash_of, new_token, require_name
from streams.errors import Misconfigured

STOP_S = 10.0
"""Longest time that requests under way may take after Ctrl-C."""


@click.command(short_help="Take events over HTTP, for producers without Kafka.")
@connection_options("brokers", "topic_prefix")
@listen_options(9465)
@click.option(
    "--tokens",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with the hashes of the producers' tokens.",
)
@click.option("--new-token", "name", metavar="NAME", help="Make a token for a producer, and end.")
@example(
    "streams intake",
    "streams intake --new-token android",
    "streams intake --host 0.0.0.0 --tokens tokens.toml",
    "curl --data-binary @events.ndjson -H 'Content-Type: application/x-ndjson' "
    "localhost:9465/api/v1/events",
)
def intake(
    *, settings: Settings, host: str, port: int, file: Path | None, name: str | None
) -> None:
    """Take events by POST to /api/v1/events: lines of one JSON object or an array of them.

    A body has up to 1 MB and 1,000 events. It is answered with 202 once all of them are durable;
    with 400 and the lines to mend, nothing taken; with 429 or 503 when it should be sent again.
    Uploads, recognitions and interactions are taken, reviews and control records are not.

    Without --tokens it listens on loopback only. With it every request needs
    `Authorization: Bearer TOKEN`, and records name the token's producer in the header x-producer.
    The file holds hashes, as --new-token prints them. TLS is for a proxy before it.
    """
    if name is not None:
        _make_token(name)
        return
    tokens = Tokens.from_toml(file) if file else Tokens()
    if not tokens and not is_loopback(host):
        raise Misconfigured(f"--host {host}: only loopback without --tokens (see --new-token)")
    run(_serve(settings, tokens, host, port))


def _make_token(name: str) -> None:
    require_name(name)
    token = new_token()
    line = f'"{name}" = ["{hash_of(token)}"]'
    click.echo("the token, shown this once; then what the file of --tokens holds:", err=True)
    click.echo(f"{token}\n\n[producers]\n{line}")


async def _serve(settings: Settings, tokens: Tokens, host: str, port: int) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop.set)
    async with producing(settings.brokers, settings.client("intake")) as producer:
        topics = writable(await producer.describe(), settings)
        server = HttpIntake(producer, settings, topics, tokens, now_ms)
        runner = web.AppRunner(
            server.application(), access_log=None, auto_decompress=False, shutdown_timeout=STOP_S
        )
        try:
            await serve(runner, host, port, stop, _tell)
        finally:
            await server.close()


def _tell(address: str) -> None:
    click.echo(f"taking events at {address}{PATH}; Ctrl-C ends", err=True)

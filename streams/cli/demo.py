"""`streams demo`: the whole pipeline on this machine, watched while simulated viewers use it."""

import json
import logging
import secrets
from collections import deque
from pathlib import Path
from typing import Any, Final

import click
from msgspec.structs import replace
from rich.console import Console
from rich.live import Live

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.demo_screen import line, screen, summary
from streams.cli.live import example
from streams.cli.options import config_option
from streams.cli.wiring import installation, run, stop_on_signals
from streams.embedded import EmbeddedBroker, EmbeddedRedis
from streams.errors import Halt
from streams.lab.demo import Play, perform
from streams.ops.topics import wanted_topics
from streams.settings import RedisAddress, Secret, given_secret, load_settings

REFRESH_S: Final = 0.25
LINE_S: Final = 10.0


@click.command(short_help="See it all work; nothing needed.")
@config_option
@click.option("--seconds", type=click.IntRange(min=1), help="End after so long, not at Ctrl-C.")
@click.option(
    "--rate",
    type=click.IntRange(100, 20_000),
    default=2_000,
    show_default=True,
    help="Events a second to aim at.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Other seed, other tastes.")
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Format of the summary on stdout.",
)
@example(
    "streams demo",
    "streams demo --seconds 30 --output json",
)
def demo(config: Path, seconds: int | None, rate: int, seed: int, output: str) -> None:
    """Run broker, Redis, worker, control plane and a crowd of viewers on this machine.

    The viewers see what the serving index offers, within its allowances; what they like only they
    know. While it runs, other commands can look in: give them the addresses that it shows.
    Ctrl-C ends it; then every counter is compared with a second count of the log: exit code 3 if
    one differs. Nothing is kept. The broker in memory holds about fifteen minutes at the default
    rate; of a longer run the counters are not compared. To record it and replay it elsewhere, set
    STREAMS_SECRET: control records are signed with it.
    """
    settings = load_settings(config, {"replication": 1})
    topics = {topic.name: topic.partitions for topic in wanted_topics(settings)}
    notes = _Notes()
    with EmbeddedBroker(topics) as broker, EmbeddedRedis() as redis:
        settings = replace(settings, brokers=broker.bootstrap, redis=RedisAddress(redis.url))
        play = Play(installation(settings), settings, config, seconds, seed, _secret(), _tell)
        report = run(_perform(play, rate, notes))
    notes.write()
    if output == "json":
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        console = Console()
        console.print(summary(report, play.story, play.titles, console.width))
    _judge(report, play)


async def _perform(play: Play, rate: int, notes: "_Notes") -> dict[str, Any]:
    stop_on_signals(play.interrupt)
    return await perform(play, rate, lambda _: _show(play, notes))


def _secret() -> Secret:
    """Return the secret of the environment; without one a random one, which dies with the demo."""
    return given_secret() or Secret(secrets.token_hex())


def _judge(report: dict[str, Any], play: Play) -> None:
    """Raise what the exit code must say."""
    if report["halted"]:
        raise Halt(f"partitions halted: {'; '.join(report['halted'])}", code="halted")
    if report["counters"]["differences"]:
        raise ConditionNotMet("counters differ from the log; the report names examples")
    if play.interrupted and play.seconds is not None:
        raise Interrupted(f"ended before its {play.seconds} s; everything sent was counted")


class _Notes(logging.Handler):
    """Keeps log lines for the screen's last line, or writes them to stderr between its lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.latest = ""
        self._waiting: deque[str] = deque(maxlen=100)
        logging.basicConfig(
            level=logging.ERROR, handlers=[self], format="%(levelname)s %(message)s"
        )
        logging.getLogger("streams").setLevel(logging.WARNING)
        logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log line."""
        self.latest = self.format(record)
        self._waiting.append(self.latest)

    def write(self) -> None:
        """Write what came since the last call."""
        while self._waiting:
            click.echo(self._waiting.popleft(), err=True)


async def _show(play: Play, notes: _Notes) -> None:
    """Show the run on stderr: a screen on a terminal, a plain line every 10 s elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        await _show_lines(play, notes)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not play.stopping.is_set():
            width, height = console.size
            shown = screen(play.moment(notes.latest), play.story, play.titles, height, width)
            live.update(shown, refresh=True)
            await play.sleep(REFRESH_S)
    notes.write()


async def _show_lines(play: Play, notes: _Notes) -> None:
    click.echo("streams: the viewers are here; Ctrl-C ends it", err=True)
    shown_at = play.elapsed_s
    while not play.stopping.is_set():
        now = play.moment(notes.latest)
        if now.elapsed_s - shown_at >= LINE_S:
            shown_at = now.elapsed_s
            click.echo(f"streams: {line(now, play.story)}", err=True)
        notes.write()
        await play.sleep(REFRESH_S)


def _tell(text: str) -> None:
    click.echo(f"streams: {text}", err=True)

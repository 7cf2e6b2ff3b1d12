"""The demo as it is watched: started, drawn or written line by line, summed up, judged."""

import json
import logging
from collections import deque
from dataclasses import replace
from typing import Any, Final

import click
from msgspec import structs
from rich.console import Console
from rich.live import Live

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.demo import DemoOptions
from streams.cli.interrupts import stop_on_signals
from streams.cli.wiring import drivers, run, watching
from streams.embedded import EmbeddedBroker, EmbeddedRedis
from streams.errors import Halt
from streams.lab.demo.room import LiveRoom
from streams.lab.demo.run import Play, perform
from streams.lab.demo.screen import line, screen
from streams.lab.demo.summary import summary
from streams.ops.topics import wanted_topics
from streams.runtime.key_files import given_signing_key
from streams.runtime.logs import set_up_logs
from streams.runtime.signing import SigningKey
from streams.settings import KafkaAddress, RedisAddress, load_settings

REFRESH_S: Final = 0.25
LINE_S: Final = 10.0


def show_demo(options: DemoOptions) -> None:
    """Run the demo and show it; raises what the exit code must say."""
    notes = _Notes()
    set_up_logs(replace(options.logs, name="demo"), notes)
    console = Console(stderr=True)
    settings = load_settings(options.config, {"replication": 1})
    topics = {topic.name: topic.partitions for topic in wanted_topics(settings)}
    with EmbeddedBroker(topics) as broker, EmbeddedRedis() as redis:
        settings = structs.replace(
            settings, brokers=KafkaAddress(broker.bootstrap), redis=RedisAddress(redis.url)
        )
        machine = drivers(settings)
        play = Play(machine, settings, options.config, options.seconds, options.seed, _key(), _tell)
        if options.viewers is not None:
            play.room = LiveRoom(options.viewers, seed=options.seed)
        report = run(_perform(play, options.rate, _Screen(console, notes)))
    notes.write()
    if options.output == "json":
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        out = Console()
        out.print(summary(report, play.story, play.titles, play.shares(), out.width))
    _judge(report, play)


async def _perform(play: Play, rate: int, screen: "_Screen") -> dict[str, Any]:
    stop_on_signals(play.interrupt)
    async with watching(play.settings):
        return await perform(play, rate, screen.show)


def _key() -> SigningKey:
    """Return the key that the environment names, else a new one, which dies with the demo."""
    return given_signing_key() or SigningKey.fresh()


def _judge(report: dict[str, Any], play: Play) -> None:
    """Raise what the exit code must say."""
    if report["halted"]:
        raise Halt(f"partitions halted: {'; '.join(report['halted'])}", code="halted")
    if report["counters"]["differences"]:
        raise ConditionNotMet("counters differ from the log; the report names examples")
    if play.room is not None and play.room.report and not play.room.is_exact:
        raise ConditionNotMet("visits of the live room were lost or counted twice")
    if play.interrupted and play.seconds is not None:
        raise Interrupted(f"ended before its {play.seconds} s; everything sent was counted")


class _Notes(logging.Handler):
    """Keeps log lines for the screen's last line, or writes them to stderr between its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.latest = ""
        self._waiting: deque[str] = deque(maxlen=100)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log line."""
        self.latest = self.format(record)
        self._waiting.append(self.latest)

    def write(self) -> None:
        """Write what came since the last call."""
        while self._waiting:
            click.echo(self._waiting.popleft(), err=True)


class _Screen:
    """Shows the run on stderr: a screen on a terminal, a plain line every 10 s elsewhere."""

    def __init__(self, console: Console, notes: _Notes) -> None:
        self._console = console
        self._notes = notes

    async def show(self, play: Play) -> None:
        """Show the run until it stops."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            await self._draw(play)
        else:
            await self._write_lines(play)

    async def _draw(self, play: Play) -> None:
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            while not play.stopping.is_set():
                width, height = self._console.size
                now = play.moment(self._notes.latest)
                live.update(screen(now, play.story, height, width), refresh=True)
                await play.sleep(REFRESH_S)
        self._notes.write()

    async def _write_lines(self, play: Play) -> None:
        _tell("the viewers are here; Ctrl-C ends it")
        shown_at = play.elapsed_s
        while not play.stopping.is_set():
            now = play.moment(self._notes.latest)
            if now.elapsed_s - shown_at >= LINE_S:
                shown_at = now.elapsed_s
                _tell(line(now, play.story))
            self._notes.write()
            await play.sleep(REFRESH_S)


def _tell(text: str) -> None:
    click.echo(f"streams: {text}", err=True)

"""`streams demo`: the whole pipeline on this machine, watched while simulated viewers use it.

Light on purpose: the first line stands on the terminal before the heavy part is imported.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from streams.cli.logs import log_options_from
from streams.cli.options import config_option
from streams.runtime.logs import LogOptions


@dataclass(frozen=True)
class DemoOptions:
    """What the command line asks of a demo."""

    config: Path
    seconds: int | None
    rate: int
    seed: int
    output: str
    logs: LogOptions
    viewers: int | None


EPILOG: Final = """\b
Example:
  streams demo
  streams demo --seconds 30 --output json
  streams demo --live
"""


@click.command(short_help="See it all work; nothing needed.", epilog=EPILOG)
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
@click.option(
    "--live",
    "viewers",
    type=click.IntRange(100, 5_000_000),
    is_flag=False,
    flag_value=500_000,
    help="Hold a live room that so many viewers enter within a minute (500000), then end it.",
)
@log_options_from("warning")
def demo(*, logs: LogOptions, **asked: Any) -> None:
    """Run broker, Redis, worker, control plane and a crowd of viewers on this machine.

    The viewers see what the serving index offers, within its allowances; what they like only they
    know. While it runs, other commands can look in: give them the addresses that it shows.
    Ctrl-C ends it; then every counter is compared with a second count of the log: exit code 3 if
    one differs. Nothing is kept. The broker in memory holds about fifteen minutes at the default
    rate; of a longer run the counters are not compared.

    With --live a room opens beside it, everybody comes at once, and the room ends. Told are the lag
    of its partition and of the others, how long feeds could still show it after its end, and
    whether each visit was counted once: exit code 3 if not.
    """
    click.echo("streams: a broker, a Redis, a worker and a crowd of viewers start here", err=True)
    module = importlib.import_module("streams.cli.demo_show")
    module.show_demo(DemoOptions(**asked, logs=logs))

"""`streams config`: which settings are in force and from where, whether the files are valid."""

from pathlib import Path
from typing import Final

import click

from streams.cli.live import example
from streams.cli.options import Settings, config_option, connection_options, emit, output_option
from streams.cli.verb_group import VerbGroup
from streams.control.configuration import copy_shipped, findings, in_force
from streams.errors import Misconfigured
from streams.settings import written_settings

OPTIONS: Final = ("brokers", "redis", "group", "topic_prefix")


@click.group(cls=VerbGroup, short_help="Show, check and copy the configuration.")
def config() -> None:
    """Show what is in force and from where, check every file, or make a copy to edit."""


@config.command()
@connection_options(*OPTIONS)
@output_option
@example(
    "streams config show",
    "STREAMS_FLUSH_ROWS=500 streams config show --output json",
)
def show(settings: Settings, output: str) -> None:
    """Show each setting in force and where it comes from.

    The origin is `default` (as shipped), `file`, `environment` or `option`; `place` names the
    file, the variable or the option. Passwords and the secret are not shown.
    """
    asked = click.get_current_context().params
    written = written_settings(asked["config"], {key: asked[key] for key in OPTIONS})
    emit([row._asdict() for row in in_force(settings, written)], output)


@config.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("config"))
@example(
    "streams config init",
    "streams config init /etc/streams",
)
def init(folder: Path) -> None:
    """Write the shipped configuration into FOLDER (./config), to be edited there.

    Files are never overwritten: if one of them is there already, nothing is written. Commands
    take ./config by themselves, another folder with --config or STREAMS_CONFIG.
    """
    for path in copy_shipped(folder):
        click.echo(path)


@config.command()
@config_option
@output_option
@example(
    "streams config check --config /etc/streams",
)
def check(config: Path, output: str) -> None:
    """Check every file and variable as a worker reads them: one line a problem.

    Connects to nothing (`streams doctor` does). Ends with 2 if something is wrong; a variable
    STREAMS_... that has no meaning is a warning.
    """
    lines = list(findings(config))
    emit(
        [{"check": line.subject, "status": line.status, "message": line.message} for line in lines],
        output,
    )
    if wrong := sum(line.status == "fail" for line in lines):
        raise Misconfigured(f"{wrong} to mend in {config} or the environment")

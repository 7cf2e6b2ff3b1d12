"""`streams dashboards`: a board for Grafana."""

import json

import click

from streams.cli.live import example
from streams.cli.verb_group import VerbGroup
from streams.ops.board import as_board


@click.group(cls=VerbGroup, short_help="Print a board for Grafana.")
def dashboards() -> None:
    """Print a board for those who watch over it."""


@dashboards.command()
@example("streams dashboards export > streams.json")
def export() -> None:
    """Print a Grafana board over the workers' /metrics and those of `lag watch`, to be imported.

    It asks for the Prometheus to read from when it is imported.
    """
    click.echo(json.dumps(as_board(), ensure_ascii=False, indent=2))

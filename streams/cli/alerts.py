"""`streams alerts`: rules for Prometheus."""

import click

from streams.cli.live import example
from streams.cli.verb_group import VerbGroup
from streams.ops.alerts import as_rules


@click.group(cls=VerbGroup, short_help="Print alert rules for Prometheus.")
def alerts() -> None:
    """Print rules for those who watch over it."""


@alerts.command()
@example("streams alerts export > /etc/prometheus/streams.rules.yml")
def export() -> None:
    """Print alert rules for Prometheus: over the workers' /metrics and those of `lag watch`."""
    click.echo(as_rules(), nl=False)

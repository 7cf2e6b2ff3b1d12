"""`streams status`: how everything stands, on one screen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import click

from streams.cli import ConditionNotMet
from streams.cli.live import example
from streams.cli.options import (
    Settings,
    connection_options,
    emit_object,
    output_option,
)
from streams.cli.table import print_table
from streams.cli.when import DURATION, now_ms
from streams.cli.wiring import collecting, drivers, namespace, reading, run
from streams.ops.groups import LagQuery
from streams.ops.status import Section, StatusSources, is_well, read_status
from streams.ops.status_text import as_lines
from streams.runtime.kafka import KafkaCluster


@click.command(short_help="Show on one screen how everything stands.")
@connection_options("brokers", "redis", "topic_prefix")
@click.option(
    "--patience",
    type=DURATION,
    default="10s",
    show_default=True,
    help="Leave out what takes longer: the guarantee reads every video.",
)
@output_option
@example("streams status", "streams status --output json")
def status(settings: Settings, patience: int, output: str) -> None:
    """Print lag, workers, halts, flow, dead letters, the policy, the guarantee and what waits.

    Takes ten seconds where something lags, as `lag status` does. What does not answer costs its own
    line. Ends with exit code 3 if something is not known, a partition is halted or a group stands
    still. The same in a browser: `streams page`.
    """
    found = run(_read(settings, patience / 1000))
    if output == "table":
        print_table((), as_lines(found))
    else:
        emit_object(found, output)
    if not is_well(found):
        raise ConditionNotMet("not all is well")


async def _read(settings: Settings, patience_s: float) -> dict[str, Section]:
    async with asking(settings) as sources:
        return await read_status(sources, patience_s)


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[StatusSources]:
    """Give what the status is read from, stopped at the end."""
    query = LagQuery.of(settings, (), None, whole=False)
    async with (
        collecting(settings, query) as collector,
        drivers(settings).store() as store,
    ):
        yield StatusSources(
            settings,
            KafkaCluster(settings.brokers),
            store,
            collector,
            partial(reading, settings.brokers, settings.client("status")),
            partial(namespace, settings),
            now_ms,
        )

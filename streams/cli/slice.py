"""`streams slice`: what each slice may show now."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import click

from streams.cli.live import example
from streams.cli.options import (
    Settings,
    connection_options,
    emit,
    emit_object,
    number_option,
    output_option,
)
from streams.cli.slice_words import add_words
from streams.cli.verb_group import VerbGroup
from streams.cli.wiring import Result, drivers, namespace, reading, run, storing
from streams.core.outlook import Outlook
from streams.ops.explain import decimal
from streams.ops.learned import Learned, learned_lines, read_learned
from streams.ops.slice import any_outlook, slice_rows, slice_shown
from streams.runtime.leases import ServingIndex

VALUES: Final = ("price", "prior_mean", "score", "net")


@click.group(
    "slice", cls=VerbGroup, short_help="Show what slices may show now; freeze and open one."
)
def slice_group() -> None:
    """Audience slices: their prices, horizons and candidates; freeze one, and open it again."""


@slice_group.command("list")
@connection_options("brokers", "redis", "topic_prefix")
@output_option
@example("streams slice list")
def list_command(settings: Settings, output: str) -> None:
    """Print the slices of the policy in force; values of the table are decimals per view."""

    async def rows(outlook: Outlook, _: ServingIndex) -> list[dict[str, Any]]:
        return slice_rows(outlook)

    listed = run(_known(settings, rows))
    emit(map(_for_people, listed) if output == "table" else listed, output)


@slice_group.command("show")
@click.argument("slice_id", metavar="SLICE")
@number_option("--limit", 20, "List so many candidates.", most=500)
@connection_options("brokers", "redis", "topic_prefix")
@output_option
@example("streams slice show discover:football")
def show_command(slice_id: str, limit: int, settings: Settings, output: str) -> None:
    """Print a slice's price and horizon, and the best candidates, as a lease would take them.

    And what the keeper moved last there, on how much evidence, and how much better it predicts.
    """
    shown = run(
        _known(settings, lambda outlook, index: slice_shown(index, outlook, slice_id, limit))
    )
    learned = run(_learned(settings, slice_id))
    shown["learned"] = None if learned is None else learned.as_object()
    if output != "table":
        emit_object(shown, output)
        return
    numbers = {k: v for k, v in shown.items() if k not in {"slots", "candidates", "learned"}}
    emit_object(_for_people(numbers), output)
    click.echo()
    click.echo("\n".join(learned_lines(learned)))
    click.echo()
    emit(map(_for_people, shown["candidates"]), output)


add_words(slice_group)


async def _learned(settings: Settings, slice_id: str) -> Learned | None:
    async with reading(settings.brokers) as reader:
        return await read_learned(reader, settings, slice_id)


async def _known(
    settings: Settings, work: Callable[[Outlook, ServingIndex], Awaitable[Result]]
) -> Result:
    name = await namespace(settings)
    async with storing(settings) as store, drivers(settings).index() as index:
        return await work(await any_outlook(store, name, settings), index)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {name: decimal(value) if name in VALUES else value for name, value in row.items()}

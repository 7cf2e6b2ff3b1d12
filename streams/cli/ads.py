"""`streams ads`: what adverts are worth to viewers, and what they bring in."""

from collections.abc import Mapping
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
from streams.cli.verb_group import VerbGroup
from streams.cli.wiring import namespace, run, storing
from streams.core.units import MICROS
from streams.ops.adverts import AdvertReport, as_fields, report_adverts
from streams.ops.shares_text import percent

_VALUES: Final = ("worth", "usual", "factor", "roi", "correlation")


@click.group(cls=VerbGroup, short_help="Show what adverts are worth to viewers and bring in.")
def ads() -> None:
    """Adverts beside the organic traffic: their value, their bids' factor, their return."""


@ads.command("report")
@number_option("--limit", 20, "List so many adverts.", 0, 10_000)
@connection_options("brokers", "redis", "topic_prefix")
@output_option
@example("streams ads report", "streams ads report --limit 10000 --output json")
def report(limit: int, settings: Settings, output: str) -> None:
    """Print all adverts together, then the N that were shown most, since each was admitted.

    `worth` is the value of a view without orders, `usual` that of the organic traffic in the same
    slices, `factor` what a bid counts by. The amounts of orders are those that `order` events name,
    spend is the `amount` of `impression` events: what the advertiser paid for that one. ROI is
    amount over spend; where no impression says what was paid, it is left out. The correlation is
    that of ranks, worth against ROI. An advert displaces one organic impression with each public
    one of its own; `forgone` is the value that viewers had less by that.
    """
    known = run(_report(settings))
    fields = as_fields(known, limit)
    rows = fields.pop("rows")
    if output == "table":
        emit_object(_for_people(fields), output)
        click.echo()
        emit(map(_for_people, rows), output)
    else:
        emit_object({**fields, "rows": rows}, output)
    if known.adverts and not known.spend:
        click.echo("no ROI: no impression of an advert says what was paid for it", err=True)


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: f"{n:,}" if isinstance(n, int) else n for name, n in row.items()}
    for name in row.keys() & set(_VALUES):
        shown[name] = None if row[name] is None else f"{row[name] / MICROS:.3f}"
    if "share" in row:
        shown["share"] = percent(row["share"])
        shown["forgone"] = f"{row['forgone'] / MICROS:,.0f}"
    return shown


async def _report(settings: Settings) -> AdvertReport:
    name = await namespace(settings)
    async with storing(settings) as store:
        return await report_adverts(store, name, settings.partitions)

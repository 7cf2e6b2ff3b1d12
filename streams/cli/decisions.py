"""`streams decisions`: the receipts as they are written."""

import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import click
import msgspec

from streams.cli.live import (
    Row,
    Span,
    example,
    follow_option,
    from_option,
    limit_option,
    print_rows,
    read_records,
    video_option,
)
from streams.cli.options import Settings, connection_options, output_option
from streams.cli.wiring import run
from streams.core.receipts import ACTIONS, Receipt, decode
from streams.ops.explain import decimal, explain, moment
from streams.runtime.ports import Record

REMEMBERED_IDS: Final = 100_000
"""Repeats come soon after their first: a worker that starts again repeats what it last sent."""


class Filter(NamedTuple):
    """Which receipts are wanted; None is all."""

    video: str | None
    slice: str | None
    action: str | None

    def takes(self, receipt: Receipt) -> bool:
        """Tell whether a receipt is wanted."""
        return all(
            wanted in (None, said)
            for wanted, said in zip(
                self, (receipt.video, receipt.slice, receipt.action), strict=True
            )
        )


@click.group(short_help="Read the decisions.")
def decisions() -> None:
    """Read the decisions about videos and slices."""


@decisions.command("tail")
@connection_options("brokers", "topic_prefix")
@from_option
@limit_option
@follow_option
@video_option
@click.option("--slice", "slice_id", metavar="SLICE", help="This slice only: surface:group.")
@click.option("--action", type=click.Choice(ACTIONS), help="These decisions only.")
@click.option("--explain", "in_words", is_flag=True, help="In words, instead of a line each.")
@output_option
@example(
    "streams decisions tail --from -1h --action stop",
    "streams decisions tail --from beginning --no-follow --output ndjson",
)
def tail_command(  # noqa: PLR0913 - one parameter per option
    *,
    settings: Settings,
    start: str,
    limit: int | None,
    follow: bool,
    video: str | None,
    slice_id: str | None,
    action: str | None,
    in_words: bool,
    output: str,
) -> None:
    """Print receipts as they come; repeats after a crash are dropped by their id.

    Numbers of the table are values per view; JSON has the receipt as it is, in micro-units.
    """
    span = Span(settings.topic("decisions"), start, video, follow)
    words: Callable[[Row], str] = _in_words if in_words else _line

    async def work() -> None:
        async with aclosing(read_records(settings, span)) as records:
            receipts = read_receipts(records, Filter(video, slice_id, action))
            rows = (msgspec.to_builtins(receipt) async for receipt in receipts)
            await print_rows(rows, output, words, limit)

    run(work())


async def read_receipts(records: AsyncIterator[Record], wanted: Filter) -> AsyncIterator[Receipt]:
    """Yield each wanted receipt once; a record that is none is told on stderr."""
    met: OrderedDict[str, None] = OrderedDict()
    async for record in records:
        try:
            receipt = decode(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            place = f"{record.topic}[{record.partition}] offset {record.offset}"
            click.echo(f"{place} is not a receipt: passed over", err=True)
            continue
        if receipt.id in met:
            continue
        met[receipt.id] = None
        if len(met) > REMEMBERED_IDS:
            met.popitem(last=False)
        if wanted.takes(receipt):
            yield receipt


def _line(row: Mapping[str, Any]) -> str:
    numbers = f"{decimal(row['mean'])}±{decimal(row['sd'])}"
    return (
        f"{moment(row['ts'])}  {row['action']:<5}  {row['slice']:<24}  {row['video']:<20}  "
        f"#{row['n']:<4} {row['views']:>8} views  mean {numbers:<19}  "
        f"index {decimal(row['index']):<9} price {decimal(row['price']):<9} "
        f"+{row['tranche']:<7} {row['reason']}"
    )


def _in_words(row: Mapping[str, Any]) -> str:
    receipt = msgspec.json.decode(json.dumps(row), type=Receipt)
    return f"{receipt.video} {explain(receipt)}"

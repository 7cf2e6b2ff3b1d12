"""`streams decisions`: the receipts as they are written."""

import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

import click
import msgspec

from streams.cli.live import (
    Row,
    example,
    follow_option,
    from_option,
    limit_option,
    one_row,
    print_rows,
    read_records,
    say_passed_over,
    video_option,
)
from streams.cli.options import Settings, connection_options, output_option
from streams.cli.verb_group import VerbGroup
from streams.cli.wiring import run
from streams.core.receipts import ACTIONS, Receipt
from streams.ops.decisions import ReceiptFilter, read_receipts
from streams.ops.explain import count_of, decimal, explain, moment
from streams.ops.tail import Start, Tail


@click.group(cls=VerbGroup, short_help="Read the decisions.")
def decisions() -> None:
    """Read the decisions about videos and slices."""


@decisions.command("tail")
@connection_options("brokers", "topic_prefix")
@from_option("latest")
@limit_option
@follow_option
@video_option
@click.option("--slice", "slice_id", metavar="SLICE", help="This slice only: surface:group.")
@click.option("--action", type=click.Choice(ACTIONS), help="These decisions only.")
@click.option("--explain", "in_words", is_flag=True, help="In words, instead of a line each.")
@output_option
@example(
    "streams decisions tail --from -1h --action stop",
    "streams decisions tail --from earliest --no-follow --output ndjson",
)
def tail_command(  # noqa: PLR0913 - one parameter per option
    *,
    settings: Settings,
    start: Start,
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
    tail = Tail(settings.topic("decisions"), start, video, follow)
    wanted = ReceiptFilter(video, slice_id, action)
    words: Callable[[Row], str] = _in_words if in_words else _line

    async def work() -> None:
        async with aclosing(read_records(settings, tail)) as records:
            receipts = read_receipts(records, wanted, say_passed_over)
            rows = (msgspec.to_builtins(receipt) async for receipt in receipts)
            await print_rows(rows, output, words, limit)

    run(work())


def _line(row: Mapping[str, Any]) -> str:
    columns = [
        (moment(row["ts"]), 25),
        (row["action"], 6),
        (row["slice"] or count_of(len(row["crowds"]), "crowd"), 25),
        (row["video"], 21),
        (f"#{row['n']}", 5),
    ]
    if not row["slice"]:  # about the whole video: it has no numbers of one crowd
        return one_row(columns, row["reason"])
    columns += [
        (f"{row['views']:>8} views", 15),
        (f"mean {decimal(row['mean'])}±{decimal(row['sd'])}", 25),
        (f"score {decimal(row['score'])}", 15),
        (f"price {decimal(row['price'])}", 15),
        (f"+{row['tranche']}", 8),
    ]
    return one_row(columns, row["reason"])


def _in_words(row: Mapping[str, Any]) -> str:
    receipt = msgspec.json.decode(json.dumps(row), type=Receipt)
    return f"{receipt.video} {explain(receipt)}"

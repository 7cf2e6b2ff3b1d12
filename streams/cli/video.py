"""`streams video`: everything about one video, in numbers and in words; and its end."""

import json
from contextlib import aclosing
from typing import Any

import click

from streams.cli.live import check_video, example, read_records, say_passed_over
from streams.cli.options import (
    Settings,
    connection_options,
    emit_object,
    output_option,
    print_table,
)
from streams.cli.review import speaking
from streams.cli.wiring import run, storing
from streams.core.receipts import Receipt, encode
from streams.ops.decisions import receipts_about
from streams.ops.explain import explain
from streams.ops.tail import Tail
from streams.ops.video import counted_video, in_short, slice_tables


@click.group(short_help="Show, explain and take down one video.")
def video() -> None:
    """Show, explain and take down one video."""


@video.command("show")
@click.argument("video_id", metavar="ID", callback=check_video)
@connection_options("redis")
@output_option
@example(
    "streams video show obd-men-12",
)
def show_command(video_id: str, settings: Settings, output: str) -> None:
    """Print a video's counters in each slice, as Redis holds them.

    Values of the table are decimals; JSON has micro-units.
    """
    counted = run(_load(settings, video_id))
    if output == "table":
        emit_object(in_short(counted), output)
        for heads, rows in slice_tables(counted["slices"]):
            click.echo()
            print_table(heads, rows)
    else:
        emit_object(counted, output)


@video.command("explain")
@click.argument("video_id", metavar="ID", callback=check_video)
@connection_options("brokers", "topic_prefix")
@output_option
@example(
    "streams video explain obd-men-12",
)
def explain_command(video_id: str, settings: Settings, output: str) -> None:
    """Print the decisions about a video in words, with every number that led to them.

    Read from the video's partition of the decisions topic, repeats dropped. JSON has the receipts
    as they are, in micro-units.
    """
    receipts = run(_receipts(settings, video_id))
    if output == "ndjson":
        click.echo("\n".join(encode(receipt).decode() for receipt in receipts))
    elif output == "json":
        listed = [json.loads(encode(receipt)) for receipt in receipts]
        click.echo(json.dumps(listed, ensure_ascii=False, indent=2))
    else:
        for receipt in receipts:
            click.echo(explain(receipt))


speaking(video, "takedown", "reject")


async def _load(settings: Settings, video_id: str) -> dict[str, Any]:
    async with storing(settings.redis) as store:
        return await counted_video(store, video_id, settings.partitions)


async def _receipts(settings: Settings, video_id: str) -> list[Receipt]:
    tail = Tail(settings.topic("decisions"), "earliest", video_id, follow=False)
    async with aclosing(read_records(settings, tail)) as records:
        return await receipts_about(video_id, records, say_passed_over)

"""`streams video`: everything about one video, in numbers and in words."""

import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from streams.cli.decisions import Filter, read_receipts
from streams.cli.live import Span, check_video, example, read_records
from streams.cli.options import Settings, connection_options, emit_object, output_option
from streams.cli.wiring import run, storing
from streams.core.counters import SLICE_FIELDS, SLICE_STAGES, VIDEO_FIELDS, VideoState, load_video
from streams.core.partitioner import partition_of
from streams.core.receipts import Receipt, encode
from streams.core.units import NEVER
from streams.errors import Halt
from streams.ops.explain import decimal, explain

SLICES_ACROSS: Final = 5
_MICROS: Final = frozenset(("value_sum", "value_sq", "prior_mean", "index"))


@click.group(short_help="Show and explain one video.")
def video() -> None:
    """Show and explain one video."""


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
    partition = partition_of(video_id.encode(), settings.partitions)
    state = run(_load(settings, partition, video_id))
    if output == "table":
        _print_tables(video_id, partition, state)
    else:
        emit_object(_as_object(video_id, partition, state), output)


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


async def _load(settings: Settings, partition: int, video_id: str) -> VideoState:
    async with storing(settings.redis) as store:
        fields = (await store.load(partition, [video_id])).videos[video_id]
    if not fields:
        raise Halt(
            f"nothing is counted for video {video_id} in partition {partition} of "
            f"{settings.partitions}: nobody has seen it, or no worker runs (`streams lag list`)"
        )
    return load_video(video_id, fields)


async def _receipts(settings: Settings, video_id: str) -> list[Receipt]:
    span = Span(settings.topic("decisions"), "beginning", video_id, follow=False)
    wanted = Filter(video_id, None, None)
    async with aclosing(read_records(settings, span)) as records:
        receipts = [receipt async for receipt in read_receipts(records, wanted)]
    if not receipts:
        raise Halt(f"no decision about video {video_id} is in topic {span.topic}")
    return sorted(receipts, key=lambda receipt: receipt.n)


def _as_object(video_id: str, partition: int, state: VideoState) -> dict[str, Any]:
    return {
        "video": video_id,
        "partition": partition,
        **{field: getattr(state.row, field) for field in VIDEO_FIELDS},
        "slices": {
            name: {field: _plain(field, getattr(row, field)) for field in SLICE_FIELDS}
            for name, row in sorted(state.slices.items())
        },
    }


def _plain(field: str, value: int) -> int | str | None:
    if field == "status":
        return SLICE_STAGES[value]
    return None if value == NEVER else value


def _print_tables(video_id: str, partition: int, state: VideoState) -> None:
    whole = _as_object(video_id, partition, state)
    slices: Mapping[str, Mapping[str, Any]] = whole.pop("slices")
    whole["fits"] = ", ".join(
        f"{name} {decimal(fit)}" for name, fit in sorted(whole["fits"].items()) if fit
    )
    emit_object(whole, "table")
    names = list(slices)
    for first in range(0, len(names), SLICES_ACROSS):
        click.echo()
        _print_block(names[first : first + SLICES_ACROSS], slices)


def _print_block(names: Sequence[str], slices: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("slice")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for field in SLICE_FIELDS:
        cells = (_cell(field, slices[name][field]) for name in names)
        table.add_row(field.replace("_", " "), *cells)
    Console().print(table)


def _cell(field: str, value: int | str | None) -> str:
    if isinstance(value, int):
        return decimal(value) if field in _MICROS else f"{value:,}"
    return value or "-"

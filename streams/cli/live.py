"""What the commands share that read a running Kafka: tails, rows as they come, their options."""

import json
import shutil
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from inspect import cleandoc
from typing import Any, TypeVar

import click
from rich.cells import cell_len, set_cell_size

from streams.cli import wiring
from streams.cli.options import one_line
from streams.cli.table import folded
from streams.cli.when import BOUND, TIMES
from streams.core.units import ID_ALPHABET, ID_MAX
from streams.ops.tail import Tail, partitions_for, read_tail, require_topic
from streams.runtime.kafka import KafkaCluster
from streams.runtime.ports import Record
from streams.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])
Row = Mapping[str, Any]  # what goes to JSON


def example(*lines: str) -> Callable[[Function], Function]:
    """Append an example to a command's help, its lines kept as they are; goes next to `def`."""

    def decorate(function: Function) -> Function:
        shown = "\n  ".join(lines)
        function.__doc__ = f"{cleandoc(function.__doc__ or '')}\n\n\b\nExample:\n  {shown}"
        return function

    return decorate


async def read_records(settings: Settings, tail: Tail) -> AsyncGenerator[Record, None]:
    """Yield the records of a tail; `Halt` if the topic does not exist."""
    count = await require_topic(KafkaCluster(settings.brokers), tail.topic)
    only = partitions_for(tail.video, count)
    async with (
        wiring.reading(settings.brokers) as reader,
        aclosing(read_tail(reader, tail, only)) as records,
    ):
        async for record in records:
            yield record


def say_passed_over(record: Record) -> None:
    """Say on stderr that a record is no receipt."""
    place = f"{record.topic}[{record.partition}] offset {record.offset}"
    click.echo(f"{place} is not a receipt: passed over", err=True)


async def print_rows(
    rows: AsyncIterator[Row], output: str, as_text: Callable[[Row], str], limit: int | None
) -> None:
    """Print rows as they come: a line of text or JSON each, or one JSON array at the end."""
    if limit == 0:
        return
    listed: list[Row] = []
    count = 0
    async for row in rows:
        if output == "json":
            listed.append(row)
        else:
            click.echo(folded(as_text(row)) if output == "table" else one_line(row))
        count += 1
        if count == limit:
            break
    if output == "json":
        click.echo(json.dumps(listed, ensure_ascii=False, indent=2))


def terminal_width() -> int:
    """Return how wide a line may be: as wide as the terminal, whatever it takes in a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def one_row(columns: Sequence[tuple[str, int]], rest: str, width: int | None = None) -> str:
    """Return texts, each padded to its size, and the rest in one line.

    On a terminal too narrow for that the padding goes first, then the end of the line.

    >>> one_row([("足球", 8), ("", 4)], "goal", 40), one_row([("足球", 8), ("", 4)], "goal!", 8)
    ('足球          goal', '足球 go…')
    """
    width = terminal_width() if width is None else width
    padded = [text + " " * (size - cell_len(text)) for text, size in columns]
    line = " ".join([*padded, rest])
    if cell_len(line) <= width:
        return line
    line = " ".join(filter(None, [*(text for text, _ in columns), rest]))
    return line if cell_len(line) <= width else f"{set_cell_size(line, width - 1)}…"


def check_video(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Click callback: a video id, because it becomes part of a key."""
    raw = (text or "").encode()
    if text is not None and (not 0 < len(raw) <= ID_MAX or raw.translate(None, ID_ALPHABET)):
        raise click.BadParameter(f"an id is 1 to {ID_MAX} of A-Z a-z 0-9 _ -", context, parameter)
    return text


def from_option(default: str) -> Callable[[Function], Function]:
    """Return `--from`; the command gets `start`."""
    return click.option(
        "--from",
        "start",
        type=BOUND,
        default=default,
        show_default=True,
        metavar="WHEN",
        help=f"earliest, latest, or a time: {TIMES}.",
    )


topic_option = click.option(
    "--topic",
    default="interactions",
    show_default=True,
    metavar="NAME",
    help="A topic, without its prefix or by its full name.",
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=0), help="Stop after this many.", metavar="N"
)
follow_option = click.option(
    "--follow/--no-follow", default=True, help="Wait for more at the end.  [default: follow]"
)
video_option = click.option("--video", callback=check_video, metavar="ID", help="This video only.")

"""What the commands share that talk to a running Kafka: connections and tails."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from inspect import cleandoc
from typing import Any, NamedTuple, TypeVar

import click

from streams.cli import wiring
from streams.cli.options import one_line
from streams.core.partitioner import partition_of
from streams.core.units import ID_ALPHABET, ID_MAX
from streams.ops.tail import locate, parse_start, read_span
from streams.runtime.kafka import KafkaCluster
from streams.runtime.ports import Record
from streams.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])
Row = Mapping[str, Any]  # what goes to JSON


class Span(NamedTuple):
    """Which part of a topic a command asks for; `start` as in `parse_start`."""

    topic: str
    start: str
    video: str | None
    follow: bool


def example(*lines: str) -> Callable[[Function], Function]:
    """Append an example to a command's help, its lines kept as they are; goes next to `def`."""

    def decorate(function: Function) -> Function:
        shown = "\n  ".join(lines)
        function.__doc__ = f"{cleandoc(function.__doc__ or '')}\n\n\b\nExample:\n  {shown}"
        return function

    return decorate


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


async def read_records(settings: Settings, span: Span) -> AsyncGenerator[Record, None]:
    """Yield the records of a span; `Halt` if the topic does not exist."""
    start = parse_start(span.start, now_ms())
    count = (await KafkaCluster(settings.brokers).identity(span.topic)).partitions
    only = [partition_of(span.video.encode(), count)] if span.video else range(count)
    async with wiring.reading(settings.brokers) as reader:
        where = await locate(reader, span.topic, only, start)
        async for record in read_span(reader, where, follow=span.follow):
            yield record


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
            click.echo(as_text(row) if output == "table" else one_line(row))
        count += 1
        if count == limit:
            break
    if output == "json":
        click.echo(json.dumps(listed, ensure_ascii=False, indent=2))


def check_video(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Click callback: a video id, because it becomes part of a key."""
    raw = (text or "").encode()
    if text is not None and (not 0 < len(raw) <= ID_MAX or raw.translate(None, ID_ALPHABET)):
        raise click.BadParameter(f"an id is 1 to {ID_MAX} of A-Z a-z 0-9 _ -", context, parameter)
    return text


from_option = click.option(
    "--from",
    "start",
    default="end",
    show_default=True,
    metavar="WHERE",
    help="beginning, end, a time ago (-30s, -2h, -1d) or an ISO 8601 time.",
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=0), help="Stop after this many.", metavar="N"
)
follow_option = click.option(
    "--follow/--no-follow", default=True, help="Wait for more at the end.  [default: follow]"
)
video_option = click.option("--video", callback=check_video, metavar="ID", help="This video only.")

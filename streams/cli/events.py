"""`streams events`: check, watch, sample and import events."""

import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from streams.cli import ConditionNotMet
from streams.cli.events_import import import_command
from streams.cli.live import (
    Row,
    Span,
    example,
    follow_option,
    from_option,
    limit_option,
    now_ms,
    print_rows,
    read_records,
    video_option,
)
from streams.cli.options import Settings, config_option, connection_options, emit, output_option
from streams.cli.wiring import run
from streams.client.examples import EXAMPLES
from streams.client.intake import take_line
from streams.client.lines import LineReader
from streams.errors import DeadLetter
from streams.ops.explain import moment
from streams.ops.tail import sample
from streams.runtime.ports import Record
from streams.runtime.signing import encode
from streams.settings import load_settings

READABLE: Final = ("uploads", "recognitions", "reviews", "interactions")
TABLE_ROWS: Final = 1_000
"""Refused lines that a table shows; the others are in the machine formats."""


@click.group(short_help="Check, watch, sample and import events.")
def events() -> None:
    """Check, watch, sample and import events."""


events.add_command(import_command)


@events.command("validate")
@click.argument("path", metavar="[FILE|-]", default="-")
@config_option
@output_option
@example(
    "streams events validate events.ndjson --output ndjson",
)
def validate_command(path: str, config: Path, output: str) -> None:
    """Check events, one JSON object a line, as the pipeline will check them.

    Prints each line that would be refused with its reason, and ends with exit code 3 if there is
    one. Whether a video's slices exist, or a repeat would be dropped, shows in the pipeline only.
    """
    limit = load_settings(config).record_bytes
    refused = run(_validate(path, limit, output))
    if refused:
        raise ConditionNotMet(f"{refused:,} invalid events")


@events.command("tail")
@connection_options("brokers", "topic_prefix")
@click.option("--topic", type=click.Choice(READABLE), default="interactions", show_default=True)
@from_option
@limit_option
@follow_option
@click.option("--type", "kind", metavar="TYPE", help="This type of event only: view, like, ...")
@video_option
@output_option
@example(
    "streams events tail --from -5m --type like",
    "streams events tail --topic uploads --from beginning --no-follow --output ndjson",
)
def tail_command(  # noqa: PLR0913 - one parameter per option
    *,
    settings: Settings,
    topic: str,
    start: str,
    limit: int | None,
    follow: bool,
    kind: str | None,
    video: str | None,
    output: str,
) -> None:
    """Print the events of a topic as they come, control records too.

    An array of events is shown event by event; `element` is its place in the array. What is not
    JSON is shown as text.
    """
    span = Span(settings.topic(topic), start, video, follow)

    async def work() -> None:
        async with aclosing(read_records(settings, span)) as records:
            await print_rows(_rows(records, kind, video), output, _line, limit)

    run(work())


@events.command("sample")
@connection_options("brokers", "topic_prefix")
@click.option("--topic", type=click.Choice(READABLE), default="interactions", show_default=True)
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, metavar="N")
@click.option("--seed", type=int, help="For the same choice again.")
@click.option("--from", "start", default="beginning", show_default=True, metavar="WHERE")
@click.option("--example", is_flag=True, help="One valid example of each type; needs no broker.")
@output_option
@example(
    "streams events sample --count 5 --output ndjson",
    "streams events sample --example > example.ndjson",
)
def sample_command(  # noqa: PLR0913 - one parameter per option
    *,
    settings: Settings,
    topic: str,
    count: int,
    seed: int | None,
    start: str,
    example: bool,
    output: str,
) -> None:
    """Print N records chosen at random, or an example of every event that producers write.

    Reads the topic once, from --from to its end as it is now; every record is equally likely. An
    array of events is one record.
    """
    if example:
        for event in EXAMPLES:
            click.echo(encode(event).decode())
        return
    span = Span(settings.topic(topic), start, None, follow=False)
    chance = random.Random(seed)  # noqa: S311 - a choice of records is no secret

    async def work() -> None:
        async with aclosing(read_records(settings, span)) as records:
            chosen = await sample(records, count, chance)
        await print_rows(_rows(_each(chosen), None, None), output, _line, None)

    run(work())


async def _validate(path: str, limit: int, output: str) -> int:
    refused: list[Mapping[str, Any]] = []
    count = valid = 0
    async for lines in LineReader.open(path, limit).chunks():
        for line in lines:
            try:
                take_line(line.text, now_ms(), limit)
                valid += 1
            except DeadLetter as letter:
                count += 1
                row = {"line": line.number, "reason": letter.reason, "message": str(letter)}
                if output == "ndjson":
                    click.echo(json.dumps(row))
                elif output == "json" or count <= TABLE_ROWS:
                    refused.append(row)
    if output != "ndjson" and (refused or output == "json"):
        emit(refused, output)
    if output == "table" and count > TABLE_ROWS:
        click.echo(f"... and {count - TABLE_ROWS:,} more: see them with --output ndjson", err=True)
    click.echo(f"{valid:,} valid, {count:,} invalid", err=True)
    return count


async def _rows(
    records: AsyncIterator[Record], kind: str | None, video: str | None
) -> AsyncIterator[Row]:
    async for record in records:
        for row in _events_of(record):
            event = row["event"]
            said = event if isinstance(event, dict) else {}
            if kind in (None, said.get("type")) and video in (None, said.get("video")):
                yield row


def _events_of(record: Record) -> Iterator[Row]:
    """Yield a row for the record, or for each element of its array."""
    event: Any  # whatever JSON holds
    try:
        event = msgspec.json.decode(record.value or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        event = (record.value or b"").decode(errors="replace")
    place = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "element": 0,
        "timestamp": record.timestamp,
        "key": None if record.key is None else record.key.decode(errors="replace"),
    }
    if not isinstance(event, list):
        yield {**place, "event": event}
        return
    for element, one in enumerate(event):
        yield {**place, "element": element, "event": one}


def _line(row: Row) -> str:
    """Return an event as one line; JSON's escapes keep control characters off the terminal."""
    place = f"{row['partition']}:{row['offset']}"
    event = row["event"]
    if not isinstance(event, dict):
        return f"{moment(row['timestamp'])}  {place:<12} {json.dumps(event)}"
    shown = ("type", "video", "slice", "ts")
    kind, video, slice_id = (json.dumps(event.get(name, ""))[1:-1] for name in shown[:3])
    rest = " ".join(
        f"{name}={json.dumps(value, ensure_ascii=_odd(value))}"
        for name, value in event.items()
        if name not in shown
    )
    return f"{moment(row['timestamp'])}  {place:<12} {kind:<11} {video:<24} {slice_id:<22} {rest}"


def _odd(value: object) -> bool:
    return not (isinstance(value, str) and value.isprintable())


async def _each(records: list[Record]) -> AsyncIterator[Record]:
    for record in records:
        yield record

"""`streams events`: check, watch, sample, trace and import events."""

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import click

from streams.cli import ConditionNotMet
from streams.cli.events_import import import_command
from streams.cli.live import (
    Row,
    check_video,
    example,
    follow_option,
    from_option,
    limit_option,
    one_row,
    print_rows,
    read_records,
    topic_option,
    video_option,
)
from streams.cli.options import (
    Settings,
    config_option,
    connection_options,
    emit,
    number_option,
    one_line,
    output_option,
)
from streams.cli.reveal import kept, reveal_options
from streams.cli.verb_group import VerbGroup
from streams.cli.when import now_ms
from streams.cli.wiring import reading, run, storing
from streams.client.examples import EXAMPLES
from streams.client.lines import LineReader
from streams.client.validate import Validation
from streams.ops.events import read_events
from streams.ops.explain import moment
from streams.ops.reveals import Reveal
from streams.ops.tail import Start, Tail, sample
from streams.ops.trace import TraceQuery, trace
from streams.runtime.kafka import KafkaCluster
from streams.runtime.ports import Record
from streams.runtime.signing import encode
from streams.settings import load_settings

TABLE_ROWS: Final = 1_000
"""Refused lines that a table shows; the others are in the machine formats."""


@click.group(cls=VerbGroup, short_help="Check, watch, sample and import events.")
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
    """Check events, one JSON object or array of them a line, as the pipeline will check them.

    Prints each event that would be refused with its line, its place in the array and the reason,
    and ends with exit code 3 if there is one. Gzipped input is read too. Whether a video's slices
    exist, or a repeat would be dropped, shows in the pipeline only.
    """
    limit = load_settings(config).record_bytes
    refused = run(_validate(path, limit, output))
    if refused:
        raise ConditionNotMet(f"{refused:,} invalid events")


@events.command("tail")
@connection_options("brokers", "topic_prefix")
@topic_option
@from_option("latest")
@limit_option
@follow_option
@click.option("--type", "kind", metavar="TYPE", help="This type of event only: view, like, ...")
@video_option
@reveal_options
@output_option
@example(
    "streams events tail --from -5m --type like",
    "streams events tail --topic uploads --from earliest --no-follow --output ndjson",
)
def tail_command(  # noqa: PLR0913 - one parameter per option
    *,
    settings: Settings,
    topic: str,
    start: Start,
    limit: int | None,
    follow: bool,
    kind: str | None,
    video: str | None,
    reveal: Reveal | None,
    output: str,
) -> None:
    """Print the events of a topic as they come, control records too; viewers are masked.

    An array of events is shown event by event; `element` is its place in the array. What is not
    JSON is shown as its size, with --reveal as text.
    """
    tail = Tail(settings.full_name(topic), start, video, follow)

    async def work() -> None:
        seen = await kept(settings, reveal, f"events tail --topic {topic} --from {start}")
        async with aclosing(read_records(settings, tail)) as records:
            rows = read_events(records, kind, video, reveal=seen)
            await print_rows(rows, output, _line, limit)

    run(work())


@events.command("trace")
@click.argument("event_id", metavar="ID", callback=check_video)
@connection_options("brokers", "redis", "topic_prefix")
@from_option("earliest")
@video_option
@output_option
@example("streams events trace e-81f3 --video v-42 --from -1d")
def trace_command(
    event_id: str, settings: Settings, start: Start, video: str | None, output: str
) -> None:
    """Tell what happened to an interaction: each place where its id stands in the log.

    counted, late (counted too), duplicate (of which offset, or why it counts nothing), refused
    (with its letter), or waiting for its partition's worker. Reads the log and the letters from
    --from on; with --video the partition of that video alone, so what was sent to another one is
    known by its letter. Exit code 3 if the id is not there.
    """
    query = TraceQuery(event_id, start, video)

    async def work() -> list[dict[str, Any]]:
        async with reading(settings.brokers) as reader, storing(settings) as store:
            return await trace(reader, store, KafkaCluster(settings.brokers), settings, query)

    rows = run(work())
    emit(rows, output)
    if not rows:
        raise ConditionNotMet(f"no event {event_id} in the log, nor in a letter, since then")


@events.command("sample")
@connection_options("brokers", "topic_prefix")
@topic_option
@number_option("--count", 10, "So many records.")
@click.option("--seed", type=int, help="For the same choice again.")
@from_option("earliest")
@click.option("--example", is_flag=True, help="One valid example of each type; needs no broker.")
@reveal_options
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
    start: Start,
    example: bool,
    reveal: Reveal | None,
    output: str,
) -> None:
    """Print N records chosen at random, or an example of every event that producers write.

    Viewers are masked. Reads the topic once, from --from to its end as it is now; every record is
    equally likely. An array of events is one record.
    """
    if example:
        for event in EXAMPLES:
            click.echo(encode(event).decode())
        return
    tail = Tail(settings.full_name(topic), start, None, follow=False)
    chance = random.Random(seed)  # noqa: S311 - a choice of records is no secret

    async def work() -> None:
        seen = await kept(settings, reveal, f"events sample --topic {topic} --count {count}")
        async with aclosing(read_records(settings, tail)) as records:
            chosen = await sample(records, count, chance)
        await print_rows(read_events(_each(chosen), reveal=seen), output, _line, None)

    run(work())


async def _validate(path: str, limit: int, output: str) -> int:
    validation = Validation(now_ms, limit)
    listed: list[Mapping[str, Any]] = []
    async for lines in LineReader.open(path, limit).chunks():
        for line in lines:
            for refused in validation.refusals(line):
                row = refused._asdict()
                if output == "ndjson":
                    click.echo(one_line(row))
                elif output == "json" or len(listed) < TABLE_ROWS:
                    listed.append(row)
    if output != "ndjson" and (listed or output == "json"):
        emit(listed, output)
    valid, invalid = validation.valid, validation.invalid
    if output == "table" and invalid > TABLE_ROWS:
        more = invalid - TABLE_ROWS
        click.echo(f"... and {more:,} more: see them with --output ndjson", err=True)
    click.echo(f"{valid:,} valid, {invalid:,} invalid", err=True)
    return invalid


def _line(row: Row) -> str:
    """Return an event as one line; JSON's escapes keep control characters off the terminal."""
    place = [(moment(row["timestamp"]), 25), (f"{row['partition']}:{row['offset']}", 12)]
    event = row["event"]
    if not isinstance(event, dict):
        return one_row(place, json.dumps(event))
    columns = {"type": 11, "video": 24, "slice": 22}
    shown = [(json.dumps(event.get(name, ""))[1:-1], size) for name, size in columns.items()]
    rest = " ".join(
        f"{name}={json.dumps(value, ensure_ascii=_odd(value))}"
        for name, value in sorted(event.items(), key=_nested)
        if name not in columns and name != "ts"
    )
    return one_row([*place, *shown], rest)


def _nested(field: tuple[str, object]) -> bool:
    """Sort what is long last: a terminal shows the beginning of a line."""
    return isinstance(field[1], dict | list)


def _odd(value: object) -> bool:
    return not (isinstance(value, str) and value.isprintable())


async def _each(records: list[Record]) -> AsyncIterator[Record]:
    for record in records:
        yield record

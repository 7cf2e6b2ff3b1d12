"""`streams publish`: events from a file or standard input into their topics."""

import asyncio
import time
from dataclasses import replace
from typing import NamedTuple

import click

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.interrupts import stop_on_signals
from streams.cli.live import example
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.progress import Meter
from streams.cli.when import RATE, now_ms
from streams.cli.wiring import producing, run
from streams.client.destination import look_up
from streams.client.lines import LineReader
from streams.client.publish import (
    EventPace,
    InvalidLine,
    LinePublisher,
    NotSent,
    PublishOptions,
    publish_lines,
)
from streams.runtime.codec import ARRAY_MAX
from streams.runtime.kafka import KafkaCluster
from streams.settings import PUBLISHED


class Job(NamedTuple):
    """What one call is to publish."""

    path: str
    options: PublishOptions
    from_line: int
    output: str


@click.command(short_help="Send events from a file or standard input.")
@click.argument("path", metavar="[FILE|-]", default="-")
@connection_options("brokers", "topic_prefix")
@click.option(
    "--batch",
    type=click.IntRange(1, ARRAY_MAX),
    default=1,
    show_default=True,
    help="Pack up to this many interactions of a partition into one record.",
)
@click.option("--rate", type=RATE, metavar="N/s", help="Send no more events a second: 500/s.")
@click.option(
    "--timestamps",
    type=click.Choice(["now", "event"]),
    default="now",
    show_default=True,
    help="Time of the records: of sending, or of their events.",
)
@click.option("--skip-invalid", is_flag=True, help="Pass over invalid events and count them.")
@click.option(
    "--from-line",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Begin at this line, where a run before has stopped.",
)
@output_option
@example(
    "streams events import --format obd random_men.csv | streams publish --batch 50",
    "streams publish events.ndjson --rate 500/s",
)
def publish(  # noqa: PLR0913 - one parameter per option
    *,
    path: str,
    settings: Settings,
    batch: int,
    rate: float | None,
    timestamps: str,
    skip_invalid: bool,
    from_line: int,
    output: str,
) -> None:
    """Send events, one JSON object or array of them a line, to the topics they belong to.

    Uploads, recognitions, reviews and interactions may be mixed; each event is validated before
    it is sent, and its own bytes are sent. An invalid line stops the run: what stands before it
    is sent, and the message says where to go on. Lines sent twice do no harm while their ids are
    still remembered. Control records are refused, only the control plane signs them. Gzipped
    input is read too. What cannot be written, because a partition has no leader, ends the run with
    exit code 3 and the line to go on with; what was sent before is in the log.
    """
    options = PublishOptions(batch, timestamps == "event", skip_invalid, rate)
    run(_publish(settings, Job(path, options, from_line, output)))


async def _publish(settings: Settings, job: Job) -> None:
    lines = LineReader.open(job.path, settings.record_bytes)
    destination = await look_up(KafkaCluster(settings.brokers), settings, now_ms())
    options = replace(job.options, oldest_ms=destination.oldest_ms)
    stop, pace = asyncio.Event(), EventPace(options.rate, time.monotonic)
    invalid = unsent = None
    stop_on_signals(stop.set)
    async with producing(settings.brokers) as producer:
        publisher = LinePublisher(producer, settings, destination.partitions, options, now_ms)
        with Meter("publishing", noun="events") as meter:
            try:
                await publish_lines(
                    *(publisher, lines.chunks(), pace, stop),
                    from_line=job.from_line,
                    tell=meter.show,
                )
            except InvalidLine as refused:
                invalid = refused
            except NotSent as failed:
                unsent = failed
            meter.records = publisher.events.total()
            sent = meter.total()
    _summarise(publisher, sent, job.output)
    if invalid is not None:
        raise _invalid(publisher, invalid)
    if unsent is not None:
        raise ConditionNotMet(str(unsent))
    if stop.is_set():
        last = publisher.last_line
        raise Interrupted(f"stopped after line {last}; go on with --from-line {last + 1}")


def _summarise(publisher: LinePublisher, sent: str, output: str) -> None:
    rows = [
        {"topic": topic, "events": publisher.events[topic], "records": publisher.records[topic]}
        for topic in PUBLISHED
        if publisher.events[topic]
    ]
    emit(rows, output)
    click.echo(sent, err=True)
    for invalid in publisher.invalid:
        click.echo(f"skipped {invalid}", err=True)
    if publisher.skipped:
        click.echo(f"{publisher.skipped:,} invalid events skipped", err=True)


def _invalid(publisher: LinePublisher, invalid: InvalidLine) -> ConditionNotMet:
    before = f"the {sent:,} events before it are sent" if (sent := publisher.events.total()) else ""
    return ConditionNotMet(
        f"{invalid}; {before or 'nothing is sent'}: mend it and go on with "
        f"--from-line {invalid.line}, or use --skip-invalid"
    )

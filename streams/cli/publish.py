"""`streams publish`: events from a file or standard input into their topics."""

import asyncio
import re
import time
from dataclasses import replace
from typing import Final, NamedTuple

import click

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.live import example, now_ms
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.wiring import producing, run, stop_on_signals
from streams.client.lines import LineReader
from streams.client.publish import InvalidLine, Pace, Publisher, PublishOptions, publish_lines
from streams.errors import Halt
from streams.runtime.codec import ARRAY_MAX
from streams.runtime.kafka import KafkaCluster

NEEDED: Final = ("uploads", "recognitions", "reviews", "interactions")
PROGRESS_S: Final = 10.0
_RATE: Final = re.compile(r"\A(\d{1,9}(?:\.\d{1,6})?)(?:/s)?\Z")


class Job(NamedTuple):
    """What one call is to publish."""

    path: str
    options: PublishOptions
    from_line: int
    output: str


def _rate(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    said = _RATE.match(text)
    if not said or not float(said[1]):
        raise click.BadParameter("give events a second, such as 500 or 500/s")
    return float(said[1])


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
@click.option("--rate", callback=_rate, metavar="N[/s]", help="Send no more events a second.")
@click.option(
    "--timestamps",
    type=click.Choice(["now", "event"]),
    default="now",
    show_default=True,
    help="Time of the records: of sending, or of their events.",
)
@click.option("--skip-invalid", is_flag=True, help="Pass over invalid lines and count them.")
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
    """Send events, one JSON object a line, to the topics they belong to.

    Uploads, recognitions, reviews and interactions may be mixed; each line is validated before it
    is sent, and its own bytes are sent. An invalid line stops the run: what stands before it is
    sent, and the message says where to go on. Lines sent twice do no harm while their ids are
    still remembered. Control records are refused, only the control plane signs them.
    """
    options = PublishOptions(batch, timestamps == "event", skip_invalid, rate)
    run(_publish(settings, Job(path, options, from_line, output)))


async def _publish(settings: Settings, job: Job) -> None:
    lines = LineReader.open(job.path, settings.record_bytes)
    partitions, oldest_ms = await _look_up(settings)
    options = replace(job.options, oldest_ms=oldest_ms)
    stop, started, invalid = asyncio.Event(), time.monotonic(), None
    stop_on_signals(stop.set)
    async with producing(settings.brokers) as producer:
        publisher = Publisher(producer, settings, partitions, options, now_ms)
        progress = asyncio.ensure_future(_report(publisher, started))
        try:
            pace = Pace(options.rate, time.monotonic)
            await publish_lines(publisher, lines.chunks(), pace, stop, job.from_line)
        except InvalidLine as refused:
            invalid = refused
        finally:
            progress.cancel()
    _summarise(publisher, time.monotonic() - started, job.output)
    if invalid is not None:
        raise _invalid(publisher, invalid)
    if stop.is_set():
        last = publisher.last_line
        raise Interrupted(f"stopped after line {last}; go on with --from-line {last + 1}")


async def _look_up(settings: Settings) -> tuple[int, int]:
    """Return the partition count of the interactions and the oldest time that retention keeps."""
    admin = KafkaCluster(settings.brokers)
    existing = await admin.describe()
    missing = [topic for name in NEEDED if (topic := settings.topic(name)) not in existing]
    if missing:
        raise Halt(f"no topic {', '.join(missing)}: run `streams topics apply --yes`")
    kept = [
        int(found["retention.ms"])
        for name in NEEDED
        if "retention.ms" in (found := await admin.configs(settings.topic(name)))
    ]
    finite = [milliseconds for milliseconds in kept if milliseconds >= 0]
    return existing[settings.topic("interactions")], now_ms() - min(finite) if finite else 0


async def _report(publisher: Publisher, started: float) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        click.echo(_rate_line(publisher, time.monotonic() - started), err=True)


def _summarise(publisher: Publisher, seconds: float, output: str) -> None:
    rows = [
        {"topic": topic, "events": publisher.events[topic], "records": publisher.records[topic]}
        for topic in NEEDED
        if publisher.events[topic]
    ]
    emit(rows, output)
    click.echo(_rate_line(publisher, seconds), err=True)
    for invalid in publisher.invalid:
        click.echo(f"skipped {invalid}", err=True)
    if publisher.skipped:
        click.echo(f"{publisher.skipped:,} invalid lines skipped", err=True)


def _rate_line(publisher: Publisher, seconds: float) -> str:
    sent = publisher.events.total()
    return f"{sent:,} events in {seconds:.1f} s ({sent / max(seconds, 1e-3):,.0f}/s)"


def _invalid(publisher: Publisher, invalid: InvalidLine) -> ConditionNotMet:
    before = f"the {sent:,} events before it are sent" if (sent := publisher.events.total()) else ""
    return ConditionNotMet(
        f"{invalid}; {before or 'nothing is sent'}: mend it and go on with "
        f"--from-line {invalid.line}, or use --skip-invalid"
    )

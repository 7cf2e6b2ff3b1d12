"""`streams record`: topics into a folder that can be replayed, compared and folded."""

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.interrupts import Stop, orderly_stop
from streams.cli.logs import log_options
from streams.cli.options import Settings, connection_options
from streams.cli.progress import Meter, size_text
from streams.cli.when import BOUND, DURATION, Edge, now_ms
from streams.cli.wiring import found_installation, found_ledger, reading, watching
from streams.errors import Denied
from streams.recording.manifest import Until
from streams.recording.planning import OffsetRange, Request, parse_range, provenance_of
from streams.recording.recorder import Progress, Recorder
from streams.recording.session import Source, recording_session
from streams.runtime.kafka import KafkaCluster
from streams.runtime.ledger import Skips
from streams.runtime.logs import LogOptions, set_up_logs
from streams.runtime.skipping import SkippingReader

EPILOG: Final = """\b
Examples:
  streams record incident --topic interactions --from -1h --to now
  streams record tail --topic interactions --topic decisions --from latest
  streams record part --topic interactions --offsets interactions:3=1000..2000
  streams record incident --resume
"""


@dataclass(frozen=True)
class RecordOptions:
    """What the command line asks for; times in milliseconds."""

    topics: tuple[str, ...]
    start: int | Edge
    end: int | Edge | None
    slack: int
    offsets: tuple[str, ...]

    @property
    def untouched(self) -> bool:
        """Whether nothing was asked for."""
        return not (self.topics or self.offsets) and (self.start, self.end) == ("earliest", None)

    def request(self, settings: Settings) -> Request:
        """Return what to record, topics by their full names."""
        ranges = dict(_range(text, settings) for text in self.offsets)
        named = [settings.full_name(name) for name in self.topics]
        topics = list(dict.fromkeys([*named, *(topic for topic, _ in ranges)]))
        if ranges and (missing := set(topics) - {topic for topic, _ in ranges}):
            raise click.UsageError(f"--offsets names no partition of {', '.join(sorted(missing))}")
        return Request(
            topics,
            start_ms=self.start if isinstance(self.start, int) else None,
            until=Until(self.end, self.slack) if isinstance(self.end, int) else None,
            from_end=self.start == "latest",
            to_end=self.end == "latest",
            offsets=ranges or None,
        )


@click.command(short_help="Record topics into a folder.", epilog=EPILOG)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--topic", "topics", multiple=True, help="Topic to record; repeat for several.")
@click.option(
    "--from",
    "start",
    type=BOUND,
    default="earliest",
    show_default=True,
    help="earliest, latest, a time (ISO 8601, UTC where no zone stands) or -1h.",
)
@click.option(
    "--to",
    "end",
    type=BOUND,
    help="now (the end as it is), or a time, -10m or +5m: records up to that timestamp. "
    "Live until Ctrl-C without it.",
)
@click.option(
    "--slack",
    type=DURATION,
    default="5m",
    show_default=True,
    help="How long to wait behind --to for records that come late.",
)
@click.option(
    "--offsets",
    multiple=True,
    metavar="TOPIC:P=FROM..TO",
    help="One partition's range, TO left out of it; either side may be empty; repeatable. "
    "Other partitions of the topic are not recorded.",
)
@click.option("--resume", is_flag=True, help="Go on with the recording in FOLDER.")
@connection_options("brokers", "topic_prefix")
@log_options
def record(
    folder: Path, resume: bool, *, settings: Settings, logs: LogOptions, **words: Any
) -> None:
    """Record topics into FOLDER: keys, values, headers and timestamps, byte for byte.

    Without --to it records live until Ctrl-C. Killed or out of disk, the recording stays readable
    and goes on with --resume. Partitions that are added meanwhile are recorded too; a topic that
    is made again ends it.

    A --to that is past reads up to the end of the log as it is now, and stops earlier where 1,000
    records in a row are later than --to and --slack; a --to that is yet to come waits until its
    slack is over.
    """
    options = RecordOptions(**words)
    if resume and not options.untouched:
        raise click.UsageError("--resume goes on with what the recording says: name FOLDER only")
    if not resume and not options.topics and not options.offsets:
        raise click.UsageError("name what to record with --topic (or --offsets)")
    if options.end == "earliest":
        raise click.UsageError("--to earliest: there is nothing before the log's start")
    request = None if resume else options.request(settings)
    set_up_logs(logs)
    with orderly_stop() as stop:
        asyncio.run(_record(folder, request, settings, stop))


async def _record(folder: Path, request: Request | None, settings: Settings, stop: Stop) -> None:
    async with reading(settings.brokers) as reader:
        find = partial(found_installation, settings)
        provenance = await provenance_of(find, settings, lambda line: click.echo(line, err=True))
        try:
            ledger = await found_ledger(settings, provenance.installation)
        except Denied as error:
            click.echo(f"{error}; what is skipped of the log is not known", err=True)
            ledger = Skips()
        skipping = SkippingReader(reader, settings.topic("interactions"), ledger)
        source = Source(skipping, KafkaCluster(settings.brokers), provenance)
        async with (
            recording_session(folder, source, request, now_ms) as recorder,
            watching(settings),
        ):
            await _run(recorder, stop, folder)


async def _run(recorder: Recorder, stop: Stop, folder: Path) -> None:
    before = recorder.progress().records
    with Meter("recording", recorder.total()) as meter:

        def tell(progress: Progress) -> None:
            words = f"{size_text(progress.size)} on disk"
            if progress.waiting:
                words += f"; waiting: {progress.waiting}"
            meter.show(progress.records - before, words, progress.done)

        complete = await recorder.run(stop, tell)
        rate = meter.rate()
    done = recorder.progress()
    line = f"{done.records - before:,} records, {rate:,.0f}/s, {size_text(done.size)} in {folder}"
    if not complete:
        raise Interrupted(f"stopped early: {line}; go on with `streams record {folder} --resume`")
    if recorder.missing:
        names = ", ".join(recorder.missing)
        raise ConditionNotMet(f"recorded {line}, without {names}: no leader answered for them")
    click.echo(f"recorded {line}", err=True)


def _range(text: str, settings: Settings) -> OffsetRange:
    try:
        return parse_range(text, settings.full_name)
    except ValueError:
        raise click.UsageError(f"--offsets {text}: write TOPIC:PARTITION=FROM..TO") from None

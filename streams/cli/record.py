"""`streams record`: topics into a folder that can be replayed, compared and folded."""

import asyncio
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from streams.cli import Interrupted
from streams.cli.interrupts import Stop, orderly_stop
from streams.cli.options import Settings, connection_options
from streams.cli.progress import Meter, size_text
from streams.cli.when import moment_ms
from streams.errors import Halt
from streams.recording.manifest import FORMAT_VERSION, Manifest
from streams.recording.planning import Request, plan, reopen, require_free
from streams.recording.recorder import Progress, Recorder
from streams.recording.writer import RecordingWriter
from streams.runtime.kafka import KafkaCluster, KafkaReader
from streams.runtime.letters import APP_VERSION
from streams.runtime.ports import Place

EPILOG: Final = """\b
Examples:
  streams record incident --topic interactions --from -1h --to now
  streams record tail --topic interactions --topic decisions --from latest
  streams record part --topic interactions --offsets interactions:3=1000..2000
  streams record incident --resume
"""


@click.command(short_help="Record topics into a folder.", epilog=EPILOG)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--topic", "topics", multiple=True, help="Topic to record; repeat for several.")
@click.option(
    "--from",
    "start",
    default="earliest",
    show_default=True,
    help="earliest, latest, a time (ISO 8601) or -1h.",
)
@click.option("--to", "end", help="now, a time, -10m or +5m; live until Ctrl-C without it.")
@click.option(
    "--offsets",
    multiple=True,
    metavar="TOPIC:P=FROM..TO",
    help="One partition's range, TO left out of it; either side may be empty; repeatable. "
    "Other partitions of the topic are not recorded.",
)
@click.option("--resume", is_flag=True, help="Go on with the recording in FOLDER.")
@connection_options("brokers")
def record(folder: Path, resume: bool, *, settings: Settings, **asked: Any) -> None:
    """Record topics into FOLDER: keys, values, headers and timestamps, byte for byte.

    Without --to it records live until Ctrl-C. Killed or out of disk, the recording stays readable
    and goes on with --resume.
    """
    end = asked["end"]
    if resume and (asked["topics"] or end or asked["offsets"] or asked["start"] != "earliest"):
        raise click.UsageError("--resume goes on with what the recording says: name FOLDER only")
    if not resume and not asked["topics"] and not asked["offsets"]:
        raise click.UsageError("name what to record with --topic (or --offsets)")
    now = _now_ms()
    request = None if resume else _request(now, **asked)
    until = moment_ms(end, now) if end and end != "now" else None
    with orderly_stop() as stop:
        asyncio.run(_record(folder, request, until, settings, stop))


async def _record(
    folder: Path, request: Request | None, until: int | None, settings: Settings, stop: Stop
) -> None:
    if request is not None:
        require_free(folder)
    reader, admin = KafkaReader(settings.brokers), KafkaCluster(settings.brokers)
    try:
        await reader.start()
        if request is None:
            manifest = await reopen(folder, reader, admin)
        else:
            planned = await plan(reader, admin, request)
            identity = await admin.identity(next(iter(planned)))
            created = datetime.now(UTC).isoformat(timespec="seconds")
            manifest = Manifest(
                *(FORMAT_VERSION, uuid.uuid4().hex, created, APP_VERSION, identity.cluster_id),
                planned,
            )
        with _sole_writer(folder):
            writer = RecordingWriter(folder, manifest, time.monotonic)
            later = until if until is not None and until > _now_ms() else None
            recorder = Recorder(reader, writer, until_ms=later, now_ms=_now_ms)
            await _run(recorder, writer, stop, folder)
    finally:
        await reader.stop()


async def _run(recorder: Recorder, writer: RecordingWriter, stop: Stop, folder: Path) -> None:
    before = writer.records
    with Meter("recording", recorder.total()) as meter:

        def tell(progress: Progress) -> None:
            words = f"{size_text(progress.size)} on disk"
            if progress.waiting:
                words += f"; waiting: {progress.waiting}"
            meter.show(progress.records - before, words, progress.done)

        complete = await recorder.run(stop, tell)
        rate = meter.rate()
    said = (
        f"{writer.records - before:,} records, {rate:,.0f}/s, {size_text(writer.size)} in {folder}"
    )
    if not complete:
        raise Interrupted(f"stopped early: {said}; go on with `streams record {folder} --resume`")
    click.echo(f"recorded {said}", err=True)


def _request(
    now: int, *, topics: tuple[str, ...], start: str, end: str | None, offsets: tuple[str, ...]
) -> Request:
    ranges = dict(_range(text) for text in offsets)
    names = list(dict.fromkeys([*topics, *(topic for topic, _ in ranges)]))
    if ranges and (missing := set(names) - {topic for topic, _ in ranges}):
        raise click.UsageError(f"--offsets names no partition of {', '.join(sorted(missing))}")
    end_ms = moment_ms(end, now) if end and end != "now" else None
    return Request(
        names,
        start_ms=None if start in ("earliest", "latest") else moment_ms(start, now),
        end_ms=end_ms if end_ms is not None and end_ms <= now else None,
        from_end=start == "latest",
        to_end=end == "now",
        offsets=ranges or None,
    )


def _range(text: str) -> tuple[Place, tuple[int | None, int | None]]:
    try:
        place, _, bounds = text.partition("=")
        topic, _, partition = place.rpartition(":")
        first, dots, last = bounds.partition("..")
        if not topic or not dots:
            raise ValueError
        return (topic, int(partition)), (_offset(first), _offset(last))
    except ValueError:
        raise click.UsageError(f"--offsets {text}: write TOPIC:PARTITION=FROM..TO") from None


def _offset(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder for the time of the block: two recorders would spoil each other's files."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Halt(f"another `streams record` is writing to {folder}") from None
    finally:
        os.close(handle)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

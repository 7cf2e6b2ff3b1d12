"""`streams replay inspect|verify|diff`: what is in recordings, what is wrong, what differs."""

import asyncio
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final

import click
from msgspec.structs import replace

from streams.cli import ConditionNotMet
from streams.cli.options import Settings, config_option, connection_options, emit, output_option
from streams.cli.progress import Meter, size_text
from streams.ops.explain import moment
from streams.recording.damage import require_whole, strangers
from streams.recording.diff import Compared, compare_runs
from streams.recording.folding import rules_of
from streams.recording.foreign import opened
from streams.recording.reader import Recording
from streams.recording.record_diff import compare_records
from streams.recording.runs import RunReader
from streams.recording.verification import summary_of, verify_recording
from streams.runtime.codec import spelling_of
from streams.runtime.collector import quiet_collector
from streams.settings import load_settings

PATH: Final = click.Path(path_type=Path)
FAULTS_SHOWN: Final = 20


@click.command(epilog="\b\nExample:\n  streams replay inspect incident --output json")
@click.argument("path", metavar="RECORDING", type=PATH)
@output_option
@config_option
def inspect(path: Path, output: str, config: Path) -> None:
    """Show what is in a recording: a row a partition, from its manifest alone."""
    with _opened(path, load_settings(config)) as recording:
        manifest = recording.manifest
        if output != "table":
            emit([_row(recording, *place) for place in recording.places()], output)
            return
        state = "complete" if manifest.complete else "not complete: `--resume` goes on"
        click.echo(
            f"{manifest.records:,} records of cluster {manifest.cluster_id or '?'}, "
            f"recorded {manifest.created_at} by streams {manifest.app_version}, {state}"
        )
        _print_places(recording)


@click.command(epilog="\b\nExample:\n  streams replay verify incident && echo whole")
@click.argument("path", metavar="RECORDING", type=PATH)
@output_option
@config_option
def verify(path: Path, output: str, config: Path) -> None:
    """Read a recording as a whole: checksums, gaps, order, schema. Exit code 3 if it is damaged.

    The digest is over key, value, headers and timestamp of a partition's records in order, without
    headers that a replay added. `invalid` are events that the worker would refuse (signatures are
    checked if the recording says whose count); `unordered` are timestamps below their
    predecessor's. Both are as the log had them, and no damage; so are gaps that the log had, or
    that a --to by time left. Files that only lie about in the folder are named, and no damage.
    """
    settings = load_settings(config)
    topic = settings.topic("interactions")
    with _opened(path, settings) as recording:
        with Meter("verifying", recording.manifest.records) as meter:
            checked, faults = verify_recording(
                recording, topic, spelling_of(settings), lambda n: meter.show(meter.records + n)
            )
        rows = [one.as_row() for one in checked]
        emit(map(_short, rows) if output == "table" else rows, output)
        for line in strangers(recording):
            click.echo(line, err=True)
        if not recording.manifest.complete:
            click.echo("the recording is not complete; what it holds was checked", err=True)
    if not faults:
        return
    for fault in faults[:FAULTS_SHOWN] if len(faults) > 1 else ():
        click.echo(fault, err=True)
    raise ConditionNotMet(
        faults[0] if len(faults) == 1 else f"{path} is damaged: {len(faults)} faults"
    )


@click.command(
    epilog="""\b
Examples:
  streams replay diff live-decisions replayed.ndjson
  streams replay diff recording-a recording-b --output json
  streams replay diff recording-a recording-b --records
"""
)
@click.argument("one", type=PATH)
@click.argument("other", type=PATH)
@click.option("--records", is_flag=True, help="Compare the records of two recordings instead.")
@click.option("--generation-records", type=int, help="As `generation_records` of the settings.")
@output_option
@connection_options("topic_prefix")
def diff(
    one: Path,
    other: Path,
    *,
    records: bool,
    generation_records: int | None,
    output: str,
    settings: Settings,
) -> None:
    """Show the first receipt in which two runs differ, and why. Exit code 3 if they do.

    A run is a file of receipts (NDJSON), a recording of the decisions, or a recording of the
    interactions, which is folded. With --records: which records one of two recordings has and the
    other lacks, a row a partition.
    """
    if records:
        _diff_records(one, other, settings, output)
        return
    if generation_records is not None:
        settings = replace(settings, generation_records=generation_records)
    reader = RunReader(settings.full_name, settings.partitions, lambda: rules_of(settings))
    with quiet_collector():
        runs = [asyncio.run(reader.read(path)) for path in (one, other)]
    _show(compare_runs(*runs), output)


def _diff_records(one: Path, other: Path, settings: Settings, output: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(_opened(one, settings))
        second = stack.enter_context(_opened(other, settings))
        for recording in (first, second):
            require_whole(recording, recording.manifest.topics)
        with Meter("comparing", first.manifest.records + second.manifest.records) as meter:
            rows = compare_records(first, second, lambda n: meter.show(meter.records + n))
    emit([row.as_words() if output == "table" else row._asdict() for row in rows], output)
    if all(row.is_equal for row in rows):
        click.echo("no difference", err=True)
        return
    lacking = [sum(row.only_other for row in rows), sum(row.only_one for row in rows)]
    words = f"{one} lacks {lacking[0]:,} records of {other}, which lacks {lacking[1]:,} of its own"
    raise ConditionNotMet(words if any(lacking) else "the same records, in another order")


def _opened(path: Path, settings: Settings) -> AbstractContextManager[Recording]:
    return opened(path, full_name=settings.full_name, partitions=settings.partitions)


def _row(recording: Recording, topic: str, partition: int) -> dict[str, Any]:
    row = summary_of(recording, topic, partition)
    return row | {
        "first_time": _moment(row["first_time"]),
        "last_time": _moment(row["last_time"]),
        "size": size_text(row["size"]),
    }


def _print_places(recording: Recording) -> None:
    """Print what fits a terminal; the other fields are in the JSON."""
    manifest = recording.manifest
    if manifest.records:
        first, last = _moment(manifest.first_timestamp), _moment(manifest.last_timestamp)
        click.echo(f"from {first} to {last}")
    rows = [_row(recording, *place) for place in recording.places()]
    shown = [
        {
            "place": f"{row['topic']}[{row['partition']}]",
            "records": row["records"],
            "offsets": f"{row['first_offset']}..{row['last_offset']}" if row["records"] else "",
            "gaps": row["gaps"],
            "segments": row["segments"],
            "size": row["size"],
        }
        for row in rows
    ]
    emit(shown, "table")


def _moment(ts: int | None) -> str | None:
    return None if ts is None else moment(ts)


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Return what fits a terminal; the other fields are in the JSON."""
    place = {"place": f"{row['topic']}[{row['partition']}]"}
    return place | {name: row[name] for name in ("records", "gaps", "invalid", "digest")}


def _show(compared: Compared, output: str) -> None:
    """Print what came of comparing receipts; exit code 3 if they differ."""
    fields: dict[str, Any] = {
        "one": compared.one,
        "other": compared.other,
        "differing": compared.differing,
    }
    if output == "table":
        click.echo(f"receipts: {compared.one:,} and {compared.other:,}")
    first = compared.first
    if first is None:
        if output != "table":
            emit([fields], output)
        click.echo("no difference in receipts; --records compares the records", err=True)
        return
    if output == "table":
        differing = first.fields.items()
        emit([{"field": name, "one": a, "other": b} for name, (a, b) in differing], output)
    else:
        emit([fields | {"first": first.as_fields()}], output)
    raise ConditionNotMet(
        f"{compared.differing} receipts differ; the first is {first.id}: {first.why}"
    )

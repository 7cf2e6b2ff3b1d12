"""`streams replay inspect|verify|diff`: what is in recordings, what is wrong, what differs."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import orjson

from streams.cli import ConditionNotMet
from streams.cli.options import Settings, config_option, connection_options, emit, output_option
from streams.cli.progress import Meter, size_text
from streams.errors import Halt
from streams.recording.damage import Checked, folder_of, log_schema, quick, thorough
from streams.recording.diff import Difference, Run, compare, read_run
from streams.recording.folding import Folder, Rules
from streams.recording.foreign import opened
from streams.recording.manifest import Segment
from streams.recording.reader import Damaged, Recording
from streams.runtime.collector import quiet_collector
from streams.settings import load_secret, load_settings

PATH: Final = click.Path(path_type=Path)
FAULTS_SHOWN: Final = 20


@click.command(epilog="\b\nExample:\n  streams replay inspect incident --output json")
@click.argument("recording", type=PATH)
@output_option
@config_option
def inspect(recording: Path, output: str, config: Path) -> None:
    """Show what is in a recording: a row a partition, from its manifest alone."""
    settings = load_settings(config)
    with _opened(recording, settings) as it:
        manifest = it.manifest
        if output == "table":
            state = "complete" if manifest.complete else "not complete: `--resume` goes on"
            click.echo(
                f"{manifest.records:,} records of cluster {manifest.cluster_id or '?'}, "
                f"recorded {manifest.created_at} by streams {manifest.app_version}, {state}"
            )
            _print_places(it)
            return
        emit([_row(it, *place) for place in it.places()], output)


@click.command(epilog="\b\nExample:\n  streams replay verify incident && echo whole")
@click.argument("recording", type=PATH)
@output_option
@config_option
def verify(recording: Path, output: str, config: Path) -> None:
    """Read a recording as a whole: checksums, gaps, order, schema. Exit code 3 if it is damaged.

    The digest is over key, value, headers and timestamp of a partition's records in order, without
    headers that a replay added. `invalid` are events that the worker would refuse (signatures are
    checked if STREAMS_SECRET is set); `unordered` are timestamps below their predecessor's. Both
    are as the log had them, and no damage; so are gaps that the log had.
    """
    settings = load_settings(config)
    with _opened(recording, settings) as it:
        rows, faults = _verify(it, settings)
        checked_rows = [_checked_row(checked) for checked in rows]
        emit(map(_short, checked_rows) if output == "table" else checked_rows, output)
        if not it.manifest.complete:
            click.echo("the recording is not complete; what it holds was checked", err=True)
    if not faults:
        return
    for fault in faults[:FAULTS_SHOWN] if len(faults) > 1 else ():
        click.echo(fault, err=True)
    raise ConditionNotMet(
        faults[0] if len(faults) == 1 else f"{recording} is damaged: {len(faults)} faults"
    )


@click.command(
    epilog="""\b
Examples:
  streams replay diff live-decisions replayed.ndjson
  streams replay diff recording-a recording-b --output json
"""
)
@click.argument("one", type=PATH)
@click.argument("other", type=PATH)
@click.option("--generation-records", type=int, help="As `generation_records` of the settings.")
@output_option
@connection_options()
def diff(
    one: Path, other: Path, generation_records: int | None, output: str, *, settings: Settings
) -> None:
    """Show the first receipt in which two runs differ, and why. Exit code 3 if they do.

    A run is a file of receipts (NDJSON), a recording of the decisions, or a recording of the
    interactions, which is folded.
    """
    generation = generation_records or settings.generation_records
    runs = [_run(path, settings, generation) for path in (one, other)]
    compared = compare(*runs)
    fields: dict[str, Any] = {
        "one": compared.one,
        "other": compared.other,
        "differing": compared.differing,
    }
    if output == "table":
        click.echo(f"receipts: {compared.one:,} and {compared.other:,}")
    if compared.first is None:
        if output != "table":
            emit([fields], output)
        click.echo("no difference", err=True)
        return
    _show(compared.first, fields, output)
    raise ConditionNotMet(
        f"{compared.differing} receipts differ; the first is {compared.first.id}: "
        f"{compared.first.why}"
    )


def _opened(path: Path, settings: Settings) -> Any:
    return opened(path, topic=settings.topic("interactions"), partitions=settings.partitions)


def _row(it: Recording, topic: str, partition: int) -> dict[str, Any]:
    segments = it.manifest.of(topic, partition)
    span = it.manifest.topics[topic].spans[partition]
    times = [s.first_timestamp for s in segments if s.first_timestamp is not None]
    lasts = [s.last_timestamp for s in segments if s.last_timestamp is not None]
    return {
        "topic": topic,
        "partition": partition,
        "records": sum(segment.records for segment in segments),
        "first_offset": segments[0].first_offset if segments else None,
        "last_offset": segments[-1].last_offset if segments else None,
        "asked_from": span.start,
        "asked_to": span.end,
        "gaps": sum(segment.gaps for segment in segments),
        "first_time": _time(min(times, default=None)),
        "last_time": _time(max(lasts, default=None)),
        "segments": len(segments),
        "size": _size(segments),
    }


def _print_places(it: Recording) -> None:
    """Print what fits a terminal; the other fields are in the JSON."""
    manifest = it.manifest
    if manifest.records:
        first, last = _time(manifest.first_timestamp), _time(manifest.last_timestamp)
        click.echo(f"from {first} to {last}")
    rows = [_row(it, *place) for place in it.places()]
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


def _size(segments: list[Segment]) -> str:
    return size_text(sum(segment.size for segment in segments))


def _time(timestamp: int | None) -> str | None:
    if timestamp is None:
        return None
    moment = datetime.fromtimestamp(timestamp / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _verify(it: Recording, settings: Settings) -> tuple[list[Checked], list[str]]:
    faults = quick(it)
    named = {fault.partition(":")[0] for fault in faults}
    rows = []
    log = log_schema(_secret(), settings.record_bytes)
    with Meter("verifying", it.manifest.records) as meter:
        for place in it.places():
            schema = log if place[0] == settings.topic("interactions") else None
            segments = it.manifest.of(*place)
            if named.intersection(segment.path for segment in segments):
                continue
            try:
                rows.append(thorough(it, place, schema, lambda n: meter.show(meter.records + n)))
            except Damaged as damaged:
                faults.append(str(damaged))
    return rows, faults


def _checked_row(checked: Checked) -> dict[str, Any]:
    return {
        "topic": checked.topic,
        "partition": checked.partition,
        "records": checked.records,
        "first_offset": checked.first_offset,
        "last_offset": checked.last_offset,
        "gaps": checked.gap_count,
        "missing": ", ".join(f"{gap.first}..{gap.last}" for gap in checked.gaps[:3]) or None,
        "unordered": checked.unordered,
        "invalid": sum(checked.invalid.values()),
        "digest": checked.digest,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Return what fits a terminal; the other fields are in the JSON."""
    place = {"place": f"{row['topic']}[{row['partition']}]"}
    return place | {name: row[name] for name in ("records", "gaps", "invalid", "digest")}


def _secret() -> bytes | None:
    try:
        return load_secret().reveal
    except Halt:
        return None


def _run(path: Path, settings: Settings, generation: int) -> Run:
    """Return the receipts that a path stands for."""
    if folder_of(path) is None and _holds_receipts(path):
        with path.open("rb") as file:
            return read_run(file, str(path))
    with ExitStack() as stack:
        it: Recording = stack.enter_context(_opened(path, settings))
        require_whole(it)
        decisions = settings.topic("decisions")
        if decisions in it.manifest.topics:
            return read_run(_values(it, decisions), str(path))
        return _fold(it, str(path), settings, generation)


def _holds_receipts(path: Path) -> bool:
    with path.open("rb") as file:
        line = file.readline(1 << 20)
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(fields, dict) and {"action", "cause", "n"} <= fields.keys()


def _values(it: Recording, topic: str) -> Iterator[bytes]:
    for name, partition in it.places():
        if name == topic:
            for chunk in it.chunks((name, partition)):
                yield from (record.value for record in chunk if record.value is not None)


def _fold(it: Recording, name: str, settings: Settings, generation: int) -> Run:
    topic = settings.topic("interactions")
    if topic not in it.manifest.topics:
        raise Halt(f"{name} holds neither decisions nor interactions: there is nothing to compare")
    receipts: list[bytes] = []
    rules = Rules(load_secret().reveal, generation, settings.record_bytes)
    folder = Folder(it, topic, rules, receipts.append)

    async def fold_all() -> None:
        for place in it.places():
            if place[0] == topic:
                await folder.partition(place[1])

    with quiet_collector():
        asyncio.run(fold_all())
    return read_run(receipts, name)


def _show(first: Difference, fields: dict[str, Any], output: str) -> None:
    if output == "table":
        emit(
            [
                {"field": name, "one": one, "other": other}
                for name, (one, other) in first.fields.items()
            ],
            output,
        )
        return
    fields["first"] = {
        "id": first.id,
        "why": first.why,
        "fields": {name: {"one": a, "other": b} for name, (a, b) in first.fields.items()},
    }
    emit([fields], output)


def require_whole(it: Recording) -> None:
    """Raise `Damaged` with the first fault that shows without reading records."""
    faults = quick(it)
    if faults:
        more = f" (and {len(faults) - 1} more: see `streams replay verify`)"
        raise Damaged(faults[0] + (more if len(faults) > 1 else ""))

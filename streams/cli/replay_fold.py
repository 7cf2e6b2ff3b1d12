"""`streams replay --target fold`: what the worker would have decided, without Kafka."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.interrupts import Stop
from streams.cli.options import Settings, emit
from streams.cli.progress import Meter
from streams.cli.replay_options import ReplayOptions
from streams.cli.when import now_ms
from streams.control.admission.taxonomy import Taxonomy
from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import PolicyRules
from streams.errors import Halt
from streams.recording.damage import require_whole
from streams.recording.fold_checks import (
    clear_store,
    require_installation,
    require_recorded_policy,
    starts_late,
)
from streams.recording.folding import Folded, Folder, rules_of
from streams.recording.reader import Damaged, Recording
from streams.recording.replay_plan import recorded_topic
from streams.runtime.ports import Store
from streams.runtime.redis import RedisStore

TABLE: Final = ("partition", "events", "receipts", "invalid", "digest")
"""Fields of a folded partition that fit a terminal; the others are in the JSON."""


async def fold(
    recording: Recording, options: ReplayOptions, settings: Settings, stop: Stop
) -> None:
    """Fold a recording, into memory or a Redis of its own, and print what came of it."""
    topic = _fold_topic(recording, options, settings)
    for warning in require_whole(recording, {topic}):
        _say(warning)
    rules = rules_of(settings)
    require_installation(recording.manifest, rules)
    policy = _configured_policy(recording, topic)
    selection = options.selection(recording, now_ms())
    if late := starts_late(recording.manifest, topic):
        _say(f"partitions {late} were recorded from the middle of the log: receipts may differ")
    if selection:
        _say("a part of the log is folded: receipts differ from the live ones")
    store = RedisStore(options.redis_url) if options.redis_url else None
    try:
        if store is not None:
            await clear_store(recording, store, topic, rules, erase=options.yes)
        receive = _print_receipt if options.output == "ndjson" else _drop
        folder = Folder(recording, topic, rules, receive, selection)
        rows = await _fold_all(recording, folder, topic, store, stop)
    finally:
        if store is not None:
            await store.close()
    _show_folded(rows, options.output)
    _say_rules(recording, rows, policy)
    if stop():
        raise Interrupted(
            "stopped early: the partitions above are whole, the others were not folded"
        )
    if not any(row.records for row in rows):
        raise ConditionNotMet("no record is selected: the selection is empty")


async def _fold_all(
    recording: Recording, folder: Folder, topic: str, store: Store | None, stop: Stop
) -> list[Folded]:
    numbers = [number for name, number in recording.places() if name == topic]
    total = sum(s.records for s in recording.manifest.segments if s.topic == topic)
    rows = []
    with Meter("folding", total) as meter:
        for number in numbers:
            if stop():
                break
            rows.append(await _fold_one(folder, number, store, meter))
        _say(f"folded {meter.records:,} records, {meter.rate():,.0f}/s")
    return rows


async def _fold_one(folder: Folder, number: int, store: Store | None, meter: Meter) -> Folded:
    try:
        return await folder.partition(number, store, lambda n: meter.show(meter.records + n))
    except Damaged as damaged:
        raise Damaged(f"{damaged}; only {meter.records:,} records were folded") from None


def _fold_topic(recording: Recording, options: ReplayOptions, settings: Settings) -> str:
    names = options.topics or ("interactions",)
    if len(names) > 1 or "=" in names[0]:
        raise click.UsageError("--target fold folds one topic: name it once, without a target")
    return recorded_topic(recording, names[0], settings.full_name)


def _configured_policy(recording: Recording, topic: str) -> str | None:
    """Return the version of the policy file of `--config`, None if there is none.

    Who names a folder means its policy: if the log never had that one, `Halt`.
    """
    context = click.get_current_context()
    folder: Path = context.params["config"]
    try:
        taxonomy = Taxonomy.from_toml(folder / "taxonomy.toml")
        catalogue = Catalogue.from_toml(folder / "slices.toml", taxonomy)
        version = PolicyRules.from_toml(folder / "policy.toml", catalogue).version
    except Halt:
        return None
    if context.get_parameter_source("config") is ParameterSource.COMMANDLINE:
        require_recorded_policy(recording, topic, version)
    return version


def _say_rules(recording: Recording, rows: Sequence[Folded], configured: str | None) -> None:
    """Say which policy decided, and whether control records were refused."""
    policies = sorted({row.policy for row in rows if row.policy is not None})
    if policies:
        unused = "" if configured in policies else f"; {configured} of --config is not used"
        _say(f"policy at the end: {', '.join(policies)}, from the log{unused}")
    unsigned = sum(row.unsigned for row in rows)
    if unsigned and recording.manifest.installation is None:
        _say(f"{unsigned} control records do not count: the recording does not say whose keys do")


def _show_folded(rows: Sequence[Folded], output: str) -> None:
    fields = [row._asdict() for row in rows]
    if output == "table":
        emit([{name: row[name] for name in TABLE} for row in fields], output)
        return
    if output == "json":
        emit(fields, output)
        return
    sys.stdout.flush()
    for row in rows:
        _say(f"{row.topic}[{row.partition}]: {row.receipts} receipts, digest {row.digest}")


def _print_receipt(raw: bytes) -> None:
    sys.stdout.buffer.write(raw + b"\n")


def _drop(_raw: bytes) -> None:
    pass


def _say(line: str) -> None:
    click.echo(line, err=True)

"""`streams replay --target fold`: what the worker would have decided, without Kafka."""

import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from streams.cli import Interrupted
from streams.cli.interrupts import Stop
from streams.cli.options import Settings, emit
from streams.cli.progress import Meter
from streams.errors import Halt
from streams.recording.folding import (
    Folded,
    Folder,
    Rules,
    namespace_of,
    require_own,
    starts_late,
)
from streams.recording.reader import Damaged, Recording
from streams.recording.selection import Selection
from streams.runtime.ports import Store
from streams.runtime.redis import RedisStore
from streams.settings import load_secret

TABLE: Final = ("partition", "events", "receipts", "invalid", "digest")
"""Fields of a folded partition that fit a terminal; the others are in the JSON."""


async def fold(
    it: Recording, settings: Settings, asked: dict[str, Any], selection: Selection, stop: Stop
) -> None:
    """Fold a recording, into memory or a Redis of its own, and print what came of it.

    `asked` holds the command's options.
    """
    topic = _fold_topic(it, settings, asked["topics"])
    rules = Rules(
        load_secret().reveal,
        settings.generation_records,
        settings.record_bytes,
        settings.flush_rows,
        settings.videos_in_memory,
    )
    if late := starts_late(it.manifest, topic):
        _say(f"partitions {late} were recorded from the middle of the log: receipts may differ")
    if selection:
        _say("a part of the log is folded: receipts differ from the live ones")
    store = RedisStore(asked["redis_url"]) if asked["redis_url"] else None
    try:
        if store is not None:
            await _prepare(it, store, topic, rules, yes=asked["yes"])
        receive = _print_receipt if asked["output"] == "ndjson" else _drop
        folder = Folder(it, topic, rules, receive, selection)
        rows = await _fold_all(it, folder, topic, store, stop)
    finally:
        if store is not None:
            await store.close()
    _show_folded(rows, asked["output"])
    if stop():
        raise Interrupted(
            "stopped early: the partitions above are whole, the others were not folded"
        )


async def _fold_all(
    it: Recording, folder: Folder, topic: str, store: Store | None, stop: Stop
) -> list[Folded]:
    numbers = [number for name, number in it.places() if name == topic]
    total = sum(s.records for s in it.manifest.segments if s.topic == topic)
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


async def _prepare(it: Recording, store: Store, topic: str, rules: Rules, *, yes: bool) -> None:
    """Make sure that the Redis is this replay's alone, and empty of an earlier one."""
    namespace = namespace_of(it.manifest, topic, rules)
    earlier = await require_own(store, namespace, it.manifest.topics[topic].partitions)
    if earlier and not yes:
        raise Halt(
            f"this Redis holds an earlier fold of this recording (partitions {earlier}): "
            "--yes erases that and folds again"
        )
    for partition in earlier:
        await store.erase(partition)


def _fold_topic(it: Recording, settings: Settings, asked: Sequence[str]) -> str:
    names = asked or (settings.topic("interactions"),)
    if len(names) > 1 or "=" in names[0]:
        raise click.UsageError("--target fold folds one topic: name it once, without a target")
    if names[0] not in it.manifest.topics:
        known = ", ".join(sorted(it.manifest.topics)) or "none"
        raise Halt(f"the recording has no topic {names[0]}; it has: {known} (choose with --topic)")
    return names[0]


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

"""`streams counters verify`, `rebuild` and `snapshot`: prove the counters, or count them again."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import click
import msgspec

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.options import connection_options, emit, emit_object, output_option
from streams.cli.progress import Meter
from streams.cli.when import DURATION, now_ms
from streams.cli.wiring import (
    drivers,
    found_ledger,
    made_installation,
    reading,
    run,
    snapshots_of,
    storing,
)
from streams.errors import Misconfigured, StreamsError
from streams.ops.compared import Verification
from streams.ops.rebuild import RebuildPlan, drop_counters, plan_rebuild, restart_partition
from streams.ops.snapshotting import Snapshots, Snapshotter
from streams.ops.verify import CountedLog, Verifier, log_size, require_partition, verify
from streams.runtime.codec import spelling_of
from streams.runtime.documents import TOPIC as DOSSIERS
from streams.runtime.installation import signer_of
from streams.runtime.kafka import KafkaCluster
from streams.runtime.key_files import load_signing_key
from streams.runtime.namespace import namespace_of
from streams.runtime.skipping import SkippingReader
from streams.settings import Settings

CONNECTIONS = ("brokers", "redis", "group", "topic_prefix")
NOTHING_DONE = "nothing was done; add --yes to do it"
partition_option = click.option("--partition", type=click.IntRange(0), help="Only this one.")


@click.command("verify")
@connection_options(*CONNECTIONS)
@partition_option
@output_option
def verify_counters(settings: Settings, partition: int | None, output: str) -> None:
    """Count the log a second time, by a simple implementation, and compare every counter.

    Compares both directions, up to each partition's watermark, also while workers go on: what
    Redis holds with what the log says, and what the log says with what Redis holds. It goes on
    from the newest good snapshot, if there are any (`streams counters snapshot`), so it still
    proves what the log's retention has deleted.

    Exit code 3 if anything differs, or could not be compared: because no leader answers for its
    partition, or because nothing leads up to what the log still holds.

    Example: streams counters verify --output json
    """
    found = run(_verify(settings, partition))
    _print(found, output)
    _conclude(found)


@click.command()
@connection_options(*CONNECTIONS)
@partition_option
@click.option("--every", type=DURATION, help="Go on, one after another, until Ctrl-C.")
@output_option
def snapshot(settings: Settings, partition: int | None, every: int | None, output: str) -> None:
    """Keep what is counted by now, so that it can be proved when the log's beginning is gone.

    Made of the log alone, on top of the last one: counted twice and kept where both agree, then
    compared with Redis as `verify` does. Signed with the key of STREAMS_SIGNING_KEY_FILE, into the
    folder of the setting `snapshots`. Workers may go on meanwhile. Run it so often that the log's
    retention holds two of these intervals and the window of duplicates; `streams doctor` tells.

    Exit code 3 if anything differs, or a partition has no snapshot, or one that begins anew:
    unproved, because the log lost what would lead up to it.

    Example: streams counters snapshot --every 6h
    """
    while True:
        try:
            taken = run(_snapshot(settings, partition))
            emit([made._asdict() for made in taken.made], output)
            _tell(taken.verification)
            _conclude(taken.verification)
        except StreamsError as wrong:
            if every is None or isinstance(wrong, Misconfigured):
                raise
            click.echo(f"streams: {wrong}", err=True)
        if every is None:
            return
        run(asyncio.sleep(every / 1000))


@click.command()
@connection_options(*CONNECTIONS)
@click.option("--partition", type=click.IntRange(0), help="Only this one; the others stay.")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
def rebuild(settings: Settings, partition: int | None, yes: bool) -> None:
    """Drop all counters, watermarks and committed offsets: workers count the whole log again.

    Of a log that lost its beginning the newest good snapshot is put in their place, and counted on
    from there. The control plane brings back dossiers that Redis lost, from their copies and its
    topics, and workers fill the serving index again.

    Stop all workers first. What neither log nor snapshot holds cannot be counted again: it is
    named, and the exit code is 3.

    Example: streams counters rebuild --yes
    """
    try:
        plan = run(_rebuild(settings, partition, yes))
    except KeyboardInterrupt:
        words = "stopped early: go on with `streams counters rebuild --yes` before a worker starts"
        raise Interrupted(words if yes else "nothing was done") from None
    if plan.lost:
        places = _begins(plan.lost)
        raise ConditionNotMet(f"neither in the log nor in a snapshot: the beginning of {places}")


def _begins(lost: Mapping[int, int]) -> str:
    return ", ".join(f"{partition} (begins at {start})" for partition, start in lost.items())


@asynccontextmanager
async def counted_log(
    settings: Settings, partition: int | None, *, skipping: bool = True
) -> AsyncIterator[CountedLog]:
    """Give the log and what is counted of it, with drivers; its reader passes over the skipped."""
    installation = await made_installation(settings)
    identity = await KafkaCluster(settings.brokers).identity(settings.topic("interactions"))
    if partition is not None:
        require_partition(partition, identity.partitions)
    folder = snapshots_of(settings, identity, installation)
    only = None if partition is None else (partition,)
    ledger = await found_ledger(settings, installation)
    tools = Verifier(settings, installation, spelling_of(settings), folder, only, ledger)
    namespace = namespace_of(identity, installation.id)
    async with reading(settings.brokers) as bare, storing(settings) as store:
        reader = SkippingReader(bare, identity.topic, ledger) if skipping else bare
        yield CountedLog(reader, store, identity, namespace, tools)


async def _verify(settings: Settings, partition: int | None) -> Verification:
    async with counted_log(settings, partition) as log:
        await log.store.check()
        size = await log_size(log.reader, log.identity, log.tools.only)
        with Meter("verifying", size) as meter:
            return await verify(*log, meter.show)


async def _snapshot(settings: Settings, partition: int | None) -> Snapshots:
    if not settings.snapshots:
        raise Misconfigured("snapshots names no folder: set it (STREAMS_SNAPSHOTS)")
    key = load_signing_key()
    async with counted_log(settings, partition) as log:
        assert log.tools.snapshots is not None, "the setting is set"
        await log.store.check()
        signer = signer_of(log.tools.installation, key)
        maker = Snapshotter(log, log.tools.snapshots, signer, now_ms)
        size = await log_size(log.reader, log.identity, log.tools.only)
        with Meter("counting", size) as meter:
            return await maker.take(meter.show)


async def _rebuild(settings: Settings, partition: int | None, yes: bool) -> RebuildPlan:
    cluster = KafkaCluster(settings.brokers)
    async with counted_log(settings, partition) as log, drivers(settings).dossiers() as dossiers:
        plan = await plan_rebuild(log)
        _print_plan(plan, settings, partition)
        if not yes:
            click.echo(NOTHING_DONE)
            return plan
        if partition is not None:
            keys = await restart_partition(log, dossiers, partition, plan)
        else:
            with Meter("dropping", len(plan.partitions), noun="partitions") as meter:
                keys = await drop_counters(cluster, log, dossiers, plan, settings.group, meter.show)
    rest = "on from the snapshots" if plan.kept else "the log from its beginning"
    click.echo(f"dropped {keys} keys; start the workers, they count {rest}")
    return plan


def _print(found: Verification, output: str) -> None:
    fields: dict[str, Any] = msgspec.to_builtins(found)
    examples = fields.pop("examples")
    _tell(found)
    if output == "table":
        emit_object(fields, output)
        if examples:
            emit(examples, output)
    else:
        emit_object({**fields, "examples": examples}, output)


def _tell(found: Verification) -> None:
    """Say which snapshots were passed over, and where a proof does not begin with its log."""
    for line in found.refused:
        click.echo(f"passed over: {line}", err=True)
    for number, start in found.proved_from.items():
        click.echo(f"partition {number}: proved from offset {start} on", err=True)


def _conclude(found: Verification) -> None:
    """Raise `ConditionNotMet` if anything differs, or could not be compared."""
    wrong = list(found.unproved.values())
    if found.differences:
        wrong.insert(
            0,
            f"{found.differences} of {found.checked} counters differ from the log; "
            "`streams counters rebuild` counts it again",
        )
    if found.unanswered:
        wrong.append(f"not compared, no leader answers: partitions {found.unanswered}")
    if wrong:
        raise ConditionNotMet("; ".join(wrong))


def _print_plan(plan: RebuildPlan, settings: Settings, partition: int | None) -> None:
    if partition is None:
        click.echo(f"drop the counters of {len(plan.partitions)} partitions in {settings.redis}")
        click.echo(f"drop the committed offsets of group {settings.group}")
    else:
        click.echo(f"drop the counters of partition {partition} in {settings.redis}")
    for number, kept in plan.kept.items():
        proved = f", proved from {kept.proved_from} on" if kept.proved_from else ""
        click.echo(f"put the snapshot at {kept.watermark} into partition {number}{proved}")
        if kept.forgotten:
            click.echo(
                f"partition {number}: the ids of offsets {kept.forgotten[0]} to "
                f"{kept.forgotten[-1]} are no longer in the log: a repeat of theirs counts again"
            )
    for line in plan.refused:
        click.echo(f"passed over: {line}")
    click.echo(
        f"put back what Redis lost of the dossiers, from {plan.copies} records of their topic"
    )
    click.echo("read uploads, recognitions and reviews again, for the control plane's dossiers")
    click.echo("fill the serving index again from the counters, partition by partition")
    if plan.lost:
        lost = _begins(plan.lost)
        click.echo(f"no longer in the log, lost for the counters: partitions {lost}")
    for (topic, number), start in plan.unheard.items():
        click.echo(
            f"no longer in {topic}, and without a copy in {settings.topic(DOSSIERS)}: partition "
            f"{number} (begins at {start}); what Redis lost of it is known by the counters alone"
        )

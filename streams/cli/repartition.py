"""`streams counters repartition`: go on in topics of another partition count."""

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import click

from streams.cli import ConditionNotMet
from streams.cli.counters_proved import CONNECTIONS, NOTHING_DONE, counted_log
from streams.cli.options import Command, connection_options, emit, output_option
from streams.cli.progress import Meter
from streams.cli.when import now_ms
from streams.cli.wiring import (
    drivers,
    found_installation,
    made_installation,
    producing,
    reading,
    run,
    snapshots_of,
    storing,
)
from streams.errors import Halt, Misconfigured
from streams.ops.migrate import require_alone
from streams.ops.repartition import Repartitioner
from streams.ops.repartition_ends import (
    Holding,
    PartitionEnd,
    is_in_force,
    plan_repartition,
    seconds_of,
    undo_repartition,
)
from streams.ops.topics import make_topics
from streams.ops.verify import CountedLog, Verifier
from streams.runtime.codec import spelling_of
from streams.runtime.installation import Installation, require_upgraded, signer_of
from streams.runtime.kafka import KafkaCluster
from streams.runtime.key_files import load_signing_key
from streams.runtime.namespace import namespace_of
from streams.runtime.signing import Signer
from streams.settings import Settings, beside

_WHERE: Final = (
    click.option(
        "--partitions", type=click.IntRange(1, 10_000), required=True, help="Of the new log."
    ),
    click.option("--to-prefix", required=True, help="Put before the name of each new topic."),
    click.option("--to-redis", required=True, help="URL of an empty Redis database of its own."),
)


def _target_options(command: Command) -> Command:
    """Add the options that say where to; the command gets one `target` beside its `settings`."""

    @functools.wraps(command)
    def with_target(*args: Any, settings: Settings, **kwargs: Any) -> Any:
        where = [kwargs.pop(name) for name in ("partitions", "to_prefix", "to_redis")]
        return command(*args, settings=settings, target=beside(settings, *where), **kwargs)

    wrapped: Any = with_target
    for option in reversed(_WHERE):
        wrapped = option(wrapped)
    whole: Command = wrapped
    return whole


@click.command()
@connection_options(*CONNECTIONS)
@_target_options
@click.option("--undo", is_flag=True, help="Open counters again that a run closed and left so.")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
@output_option
def repartition(settings: Settings, target: Settings, undo: bool, yes: bool, output: str) -> None:
    """Go on with counters, window and dossiers in topics of another partition count.

    Stop producers, then control planes, and workers when nothing is behind. Counters go over as
    they are into topics of another prefix and a Redis database of its own, are read back, compared
    and kept as snapshots (the setting `snapshots`); then those of before are closed and the new
    ones are opened, in one step. Start everything with the new prefix, Redis and partition count.

    The topics and the Redis of before stay. Cut short, the same command begins anew. Done, it says
    what came to the old log since: exit code 3 if anything did.

    Example: streams counters repartition --partitions 64 --to-prefix wide. --to-redis
    redis://cache-2:6379/0 --yes
    """
    if target.topic_prefix == settings.topic_prefix:
        raise Misconfigured("--to-prefix is the one in use: the new topics need another")
    if not settings.snapshots:
        raise Misconfigured(
            "snapshots names no folder: set it (STREAMS_SNAPSHOTS), the new log does not hold what "
            "came before it"
        )
    if undo:
        run(_undo(settings, target, yes))
    else:
        run(_repartition(settings, target, yes, output))


async def _repartition(settings: Settings, target: Settings, yes: bool, output: str) -> None:
    installation = require_upgraded(await made_installation(settings))
    made = await found_installation(target)
    async with _holding_of_before(settings) as old:
        if old.partitions == target.partitions:
            raise Misconfigured(f"--partitions {old.partitions} is what the log has already")
        plan = await plan_repartition(old)
        emit([each._asdict() for each in plan], output)
        if made is not None and await _is_done(made, installation, target):
            _conclude(plan)
            return
        click.echo(
            f"{old.partitions} partitions become {target.partitions}, in topics "
            f"{target.topic('')}* and {target.redis}: about {seconds_of(plan)} s",
            err=True,
        )
        if not yes:
            click.echo(NOTHING_DONE, err=True)
            return
        cluster = KafkaCluster(settings.brokers)
        groups = (settings.group, settings.control_group, settings.keeper_group)
        await require_alone(cluster, groups)
        signer = signer_of(installation, load_signing_key())
        async with reading(settings.brokers) as reader:
            await make_topics(cluster, reader, target)
        async with _holding_of_after(target, installation) as new:
            await _take_over(old, new, signer)
    click.echo(
        f"done: start workers, control planes, feed servers and producers with topic_prefix "
        f"{target.topic_prefix}, redis {target.redis} and partitions {target.partitions}",
        err=True,
    )


async def _take_over(old: Holding, new: Holding, signer: Signer) -> None:
    before, after = old.log.tools.settings, new.log.tools.settings
    async with (
        drivers(before).index() as index,
        producing(after.brokers) as producer,
    ):
        with Meter("taking over", new.partitions, noun="partitions") as meter:
            await Repartitioner(old, new, index, producer, signer, now_ms).run(meter.show)


async def _undo(settings: Settings, target: Settings, yes: bool) -> None:
    if await found_installation(target) is not None:
        raise Halt(f"the topics {target.topic('')}* are in force: nothing is undone any more")
    if not yes:
        click.echo(NOTHING_DONE, err=True)
        return
    async with _holding_of_before(settings) as old:
        opened = await undo_repartition(old)
    click.echo(f"{opened} partitions are open again: start workers as before", err=True)


async def _is_done(made: Installation, before: Installation, target: Settings) -> bool:
    """Tell whether the new topics are in force; `Halt` if they are another installation's."""
    if made.id != before.id or not made.base:
        raise Halt(f"the topics {target.topic('')}* are of another installation: name a new prefix")
    async with _holding_of_after(target, made) as new:
        return await is_in_force(new)


def _conclude(plan: Sequence[PartitionEnd]) -> None:
    """Say that it is done already; `ConditionNotMet` if records came to the old log since."""
    if late := sum(each.behind for each in plan):
        raise ConditionNotMet(
            f"it is done, but {late} offsets of the old log are not counted: a producer writes "
            "there, or wrote meanwhile; stop it, and write that to the new topics again"
        )
    click.echo("nothing to do: it is done", err=True)


@asynccontextmanager
async def _holding_of_before(settings: Settings) -> AsyncIterator[Holding]:
    async with (
        counted_log(settings, None) as log,
        storing(settings.redis) as store,
        drivers(settings).dossiers() as dossiers,
    ):
        await store.check()
        yield Holding(log, store, dossiers)


@asynccontextmanager
async def _holding_of_after(target: Settings, installation: Installation) -> AsyncIterator[Holding]:
    identity = await KafkaCluster(target.brokers).identity(target.topic("interactions"))
    folder = snapshots_of(target, identity, installation)
    tools = Verifier(target, installation, spelling_of(target), folder)
    namespace = namespace_of(identity, installation.id)
    async with (
        reading(target.brokers) as reader,
        storing(target.redis) as store,
        drivers(target).dossiers() as dossiers,
    ):
        await store.check()
        yield Holding(CountedLog(reader, store, identity, namespace, tools), store, dossiers)

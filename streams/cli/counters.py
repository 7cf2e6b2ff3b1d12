"""`streams counters`: compare the counters with the log, or drop them to count it again."""

import click
import msgspec

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.options import connection_options, emit, emit_object, output_option
from streams.cli.progress import Meter
from streams.cli.wiring import made_installation, reading, run, storing
from streams.ops.rebuild import RebuildPlan, drop_counters, plan_rebuild, restart_partition
from streams.ops.verify import Verification, Verifier, log_size, verify
from streams.runtime.codec import spelling_of
from streams.runtime.kafka import KafkaCluster
from streams.runtime.namespace import namespace_of
from streams.runtime.redis import RedisDossiers
from streams.settings import Settings

CONNECTIONS = ("brokers", "redis", "group", "topic_prefix")


@click.group(short_help="Verify or rebuild the counters.")
def counters() -> None:
    """Verify the counters in Redis, or drop them so that they are counted again."""


@counters.command("verify")
@connection_options(*CONNECTIONS)
@output_option
def verify_counters(settings: Settings, output: str) -> None:
    """Count the log a second time, by a simple implementation, and compare every counter.

    Compares both directions, up to each partition's watermark: what Redis holds with what the
    log says, and what the log says with what Redis holds. Exit code 3 if anything differs, or
    could not be compared because no leader answers for its partition.

    Example: streams counters verify --output json
    """
    found = run(_verify(settings))
    fields = msgspec.to_builtins(found)
    examples = fields.pop("examples")
    if output == "table":
        emit_object(fields, output)
        if examples:
            emit(examples, output)
    else:
        emit_object({**fields, "examples": examples}, output)
    if found.differences:
        raise ConditionNotMet(
            f"{found.differences} of {found.checked} counters differ from the log; "
            "`streams counters rebuild` counts it again"
        )
    if found.unanswered:
        raise ConditionNotMet(f"not compared, no leader answers: partitions {found.unanswered}")


@counters.command()
@connection_options(*CONNECTIONS)
@click.option("--partition", type=click.IntRange(0), help="Only this one; the others stay.")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
def rebuild(settings: Settings, partition: int | None, yes: bool) -> None:
    """Drop all counters, watermarks and committed offsets: workers count the whole log again.

    The control plane reads its topics again too, and makes the dossiers that Redis lost.

    Stop all workers first. What the log no longer holds cannot be counted again.

    Example: streams counters rebuild --yes
    """
    try:
        run(_rebuild(settings, yes) if partition is None else _restart(settings, partition, yes))
    except KeyboardInterrupt:
        words = "stopped early: go on with `streams counters rebuild --yes` before a worker starts"
        raise Interrupted(words if yes else "nothing was done") from None


async def _verify(settings: Settings) -> Verification:
    installation = await made_installation(settings)
    identity = await KafkaCluster(settings.brokers).identity(settings.topic("interactions"))
    namespace = namespace_of(identity, installation.id)
    verifier = Verifier(settings, installation, spelling_of(settings))
    async with reading(settings.brokers) as reader, storing(settings.redis) as store:
        await store.check()
        with Meter("verifying", await log_size(reader, identity)) as meter:
            return await verify(reader, store, identity, namespace, verifier, meter.show)


async def _restart(settings: Settings, partition: int, yes: bool) -> None:
    identity = await KafkaCluster(settings.brokers).identity(settings.topic("interactions"))
    click.echo(f"drop the counters of partition {partition}")
    if not yes:
        click.echo("nothing was done; add --yes to do it")
        return
    namespace = namespace_of(identity, (await made_installation(settings)).id)
    async with storing(settings.redis) as store:
        keys = await restart_partition(store, partition, identity.partitions, namespace)
    click.echo(f"dropped {keys} keys; start the workers, they count it from the log's beginning")


async def _rebuild(settings: Settings, yes: bool) -> None:
    cluster = KafkaCluster(settings.brokers)
    identity = await cluster.identity(settings.topic("interactions"))
    async with reading(settings.brokers) as reader, storing(settings.redis) as store:
        plan = await plan_rebuild(reader, identity)
        _print_plan(plan, settings)
        if not yes:
            click.echo("nothing was done; add --yes to do it")
            return
        dossiers = RedisDossiers(settings.redis.reveal)
        try:
            with Meter("dropping", plan.partitions, noun="partitions") as meter:
                keys = await drop_counters(
                    cluster, store, dossiers, plan, settings.group, meter.show
                )
        finally:
            await dossiers.close()
        click.echo(f"dropped {keys} keys; start the workers, they count the log from its beginning")


def _print_plan(plan: RebuildPlan, settings: Settings) -> None:
    click.echo(f"drop the counters of {plan.partitions} partitions in {settings.redis}")
    click.echo(f"drop the committed offsets of group {settings.group}")
    click.echo("read uploads, recognitions and reviews again, for the control plane's dossiers")
    if plan.lost:
        lost = ", ".join(
            f"{partition} (begins at {start})" for partition, start in plan.lost.items()
        )
        click.echo(f"no longer in the log, lost for the counters: partitions {lost}")

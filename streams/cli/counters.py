"""`streams counters`: compare the counters with the log, count it again, or take them along."""

import click
import msgspec

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.options import connection_options, emit, emit_object, output_option
from streams.cli.progress import Meter
from streams.cli.when import now_ms
from streams.cli.wiring import drivers, made_installation, producing, reading, run, storing
from streams.core.partition_control import Generation, TopicMove, Upgrade
from streams.errors import Misconfigured
from streams.ops.installation import lengthen_generations
from streams.ops.migrate import Migration, require_alone
from streams.ops.move import Mover
from streams.ops.rebuild import RebuildPlan, drop_counters, plan_rebuild, restart_partition
from streams.ops.verify import Verification, Verifier, log_size, verify
from streams.runtime.codec import spelling_of
from streams.runtime.documents import TOPIC as DOSSIERS
from streams.runtime.installation import signer_of
from streams.runtime.kafka import KafkaCluster
from streams.runtime.key_files import load_signing_key
from streams.runtime.namespace import namespace_of
from streams.runtime.redis import RedisDossiers, RedisServingIndex
from streams.settings import Secret, Settings, given_secret

CONNECTIONS = ("brokers", "redis", "group", "topic_prefix")
NOTHING_DONE = "nothing was done; add --yes to do it"
yes_option = click.option(
    "--yes", is_flag=True, help="Do it; without, only say what would be done."
)


@click.group(short_help="Verify, rebuild, migrate or move the counters.")
def counters() -> None:
    """Verify the counters in Redis, drop them so that they are counted again, or take them along.

    From 0.1.0 into this release with `migrate`, to another topic or cluster with `move`.
    """


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
@yes_option
def rebuild(settings: Settings, partition: int | None, yes: bool) -> None:
    """Drop all counters, watermarks and committed offsets: workers count the whole log again.

    The control plane brings back dossiers that Redis lost, from their copies and its topics, and
    workers fill the serving index again.

    Stop all workers first. What the log no longer holds cannot be counted again.

    Example: streams counters rebuild --yes
    """
    try:
        run(_rebuild(settings, yes) if partition is None else _restart(settings, partition, yes))
    except KeyboardInterrupt:
        words = "stopped early: go on with `streams counters rebuild --yes` before a worker starts"
        raise Interrupted(words if yes else "nothing was done") from None


@counters.command()
@connection_options(*CONNECTIONS)
@yes_option
@output_option
def migrate(settings: Settings, yes: bool, output: str) -> None:
    """Take the counters of an installation of 0.1.0 over, without losing one.

    Stop its workers and its control plane first, make the installation with `streams topics apply`,
    and set STREAMS_SECRET to the secret of 0.1.0. What 0.1.0 did not count yet is counted by its
    rule; the workers of this release turn each partition at the `upgrade` record that this writes.

    Cut short, the same command goes on; done twice, the second one has nothing to do.

    Example: streams counters migrate --yes
    """
    secret = given_secret()
    if secret is None:
        raise Misconfigured("set STREAMS_SECRET to the secret that 0.1.0 signed with")
    run(_migrate(settings, secret, yes, output))


@counters.command()
@connection_options(*CONNECTIONS)
@yes_option
@output_option
def move(settings: Settings, yes: bool, output: str) -> None:
    """Go on with the counters where the log is kept in another topic, or on another cluster.

    The topic must hold the same records at the same offsets, as a mirror that keeps offsets does;
    the record at each watermark is compared. Stop all workers first. A signed `move` record says
    so in every partition.

    Example: streams counters move --brokers new:9092 --yes
    """
    run(_move(settings, yes, output))


@counters.command()
@click.argument("records", type=click.IntRange(1))
@connection_options("brokers", "topic_prefix")
@yes_option
def lengthen(records: int, settings: Settings, yes: bool) -> None:
    """Recognise repeats for longer: a generation of duplicates has RECORDS offsets from now on.

    A signed record says so in every partition; workers go on without a halt. Never shorter.

    Example: streams counters lengthen 500000 --yes
    """
    run(_lengthen(settings, records, yes))


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
    click.echo(f"drop the counters of partition {partition}, and read its dossiers' topics again")
    if not yes:
        click.echo(NOTHING_DONE)
        return
    namespace = namespace_of(identity, (await made_installation(settings)).id)
    async with storing(settings.redis) as store, drivers(settings).dossiers() as dossiers:
        count = identity.partitions
        keys = await restart_partition(store, dossiers, partition, count, namespace)
    click.echo(f"dropped {keys} keys; start the workers, they count it from the log's beginning")


async def _rebuild(settings: Settings, yes: bool) -> None:
    cluster = KafkaCluster(settings.brokers)
    identity = await cluster.identity(settings.topic("interactions"))
    async with reading(settings.brokers) as reader:
        plan = await plan_rebuild(reader, identity, settings)
    _print_plan(plan, settings)
    if not yes:
        click.echo(NOTHING_DONE)
        return
    async with storing(settings.redis) as store, drivers(settings).dossiers() as dossiers:
        with Meter("dropping", plan.partitions, noun="partitions") as meter:
            keys = await drop_counters(cluster, store, dossiers, plan, settings.group, meter.show)
        click.echo(f"dropped {keys} keys; start the workers, they count the log from its beginning")


async def _migrate(settings: Settings, secret: Secret, yes: bool, output: str) -> None:
    installation = await made_installation(settings)
    cluster = KafkaCluster(settings.brokers)
    identity = await cluster.identity(settings.topic("interactions"))
    async with storing(settings.redis) as store:
        migration = Migration(store, settings, identity, installation)
        plan = await migration.plan(secret.reveal)
        emit([msgspec.to_builtins(each) for each in plan], output)
        if installation.upgraded and all(each.counters != "0.1.0" for each in plan):
            click.echo("nothing to do: this installation is upgraded", err=True)
            return
        if not yes:
            click.echo(NOTHING_DONE, err=True)
            return
        await require_alone(cluster, [settings.group, settings.control_group])
        signer = signer_of(installation, load_signing_key())
        async with producing(settings.brokers) as producer:
            with Meter("taking over", len(plan), noun="partitions") as meter:
                record = Upgrade("upgrade-1", now_ms())
                await migration.take(producer, signer, record, meter.show)
    index, dossiers = RedisServingIndex(settings.redis.reveal), RedisDossiers(settings.redis.reveal)
    try:
        await index.forget_first()
        await dossiers.take_first(identity.partitions)
    finally:
        await index.close()
        await dossiers.close()
    click.echo("done: start the workers, they turn the rows at the upgrade record", err=True)


async def _move(settings: Settings, yes: bool, output: str) -> None:
    installation = await made_installation(settings)
    cluster = KafkaCluster(settings.brokers)
    identity = await cluster.identity(settings.topic("interactions"))
    async with reading(settings.brokers) as reader, storing(settings.redis) as store:
        mover = Mover(store, reader, identity, installation.id, spelling_of(settings))
        plan = await mover.plan()
        emit([each._asdict() for each in plan], output)
        if all(each.counters != "elsewhere" for each in plan):
            click.echo(f"nothing to do: the counters are of topic {identity.topic_id}", err=True)
            return
        if not yes:
            click.echo(NOTHING_DONE, err=True)
            return
        await require_alone(cluster, [settings.group, settings.control_group])
        signer = signer_of(installation, load_signing_key())
        async with producing(settings.brokers) as producer:
            moved = await mover.move(producer, signer, _move_record)
    click.echo(f"done: {moved} partitions moved to topic {identity.topic_id}", err=True)


def _move_record(before: str, after: str) -> TopicMove:
    return TopicMove("move-1", now_ms(), before, after)


async def _lengthen(settings: Settings, records: int, yes: bool) -> None:
    installation = await made_installation(settings)
    signer = signer_of(installation, load_signing_key())
    length = max(installation.generation_records(settings), installation.lengthened)
    click.echo(f"generations of duplicates: {length:,} records now, {records:,} from then on")
    if not yes:
        click.echo(NOTHING_DONE)
        return
    identity = await KafkaCluster(settings.brokers).identity(settings.topic("interactions"))
    async with producing(settings.brokers) as producer:
        record = Generation(f"generation-{records}", now_ms(), records)
        await lengthen_generations(
            producer, settings, identity.partitions, signer, installation, record
        )
    click.echo("done")


def _print_plan(plan: RebuildPlan, settings: Settings) -> None:
    click.echo(f"drop the counters of {plan.partitions} partitions in {settings.redis}")
    click.echo(f"drop the committed offsets of group {settings.group}")
    click.echo(
        f"put back what Redis lost of the dossiers, from {plan.copies} records of their topic"
    )
    click.echo("read uploads, recognitions and reviews again, for the control plane's dossiers")
    click.echo("fill the serving index again from the counters, partition by partition")
    if plan.lost:
        lost = ", ".join(
            f"{partition} (begins at {start})" for partition, start in plan.lost.items()
        )
        click.echo(f"no longer in the log, lost for the counters: partitions {lost}")
    for (topic, partition), start in plan.unheard.items():
        click.echo(
            f"no longer in {topic}, and without a copy in {settings.topic(DOSSIERS)}: partition "
            f"{partition} (begins at {start}); what Redis lost of it is known by the counters alone"
        )

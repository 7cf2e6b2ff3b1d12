"""`streams counters`: compare the counters with the log, count it again, or take them along."""

import click
import msgspec

from streams.cli.counters_proved import (
    CONNECTIONS,
    NOTHING_DONE,
    rebuild,
    snapshot,
    verify_counters,
)
from streams.cli.options import connection_options, emit, output_option
from streams.cli.progress import Meter
from streams.cli.repartition import repartition
from streams.cli.verb_group import VerbGroup
from streams.cli.when import now_ms
from streams.cli.wiring import made_installation, producing, reading, run, storing
from streams.core.partition_control import Generation, TopicMove, Upgrade
from streams.errors import Misconfigured
from streams.ops.installation import lengthen_generations, require_longer
from streams.ops.migrate import Migration, require_alone
from streams.ops.move import Mover
from streams.runtime.codec import spelling_of
from streams.runtime.installation import signer_of
from streams.runtime.kafka import KafkaCluster
from streams.runtime.key_files import load_signing_key
from streams.runtime.redis import RedisDossiers, RedisServingIndex
from streams.settings import Secret, Settings, given_secret

yes_option = click.option(
    "--yes", is_flag=True, help="Do it; without, only say what would be done."
)


@click.group(cls=VerbGroup, short_help="Verify, rebuild, migrate or move the counters.")
def counters() -> None:
    """Verify the counters in Redis, keep them, have them counted again, or take them along.

    From 0.1.0 into this release with `migrate`, to another topic or cluster with `move`,
    to another partition count with `repartition`.
    """


for command in (verify_counters, snapshot, rebuild, repartition):
    counters.add_command(command)


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


async def _migrate(settings: Settings, secret: Secret, yes: bool, output: str) -> None:
    installation = await made_installation(settings)
    cluster = KafkaCluster(settings.brokers)
    identity = await cluster.identity(settings.topic("interactions"))
    async with storing(settings) as store:
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
        # First what no plan shows: cut short after the counters, this would say "nothing to do".
        await _take_first(settings, identity.partitions)
        async with producing(settings.brokers) as producer:
            with Meter("taking over", len(plan), noun="partitions") as meter:
                record = Upgrade("upgrade-1", now_ms())
                await migration.take(producer, signer, record, meter.show)
    click.echo("done: start the workers, they turn the rows at the upgrade record", err=True)


async def _take_first(settings: Settings, partitions: int) -> None:
    """Take over the dossiers of 0.1.0, and drop its candidates. Idempotent."""
    index, dossiers = RedisServingIndex(settings.redis.reveal), RedisDossiers(settings.redis.reveal)
    try:
        await index.forget_first()
        await dossiers.take_first(partitions)
    finally:
        await index.close()
        await dossiers.close()


async def _move(settings: Settings, yes: bool, output: str) -> None:
    installation = await made_installation(settings)
    cluster = KafkaCluster(settings.brokers)
    identity = await cluster.identity(settings.topic("interactions"))
    async with reading(settings.brokers) as reader, storing(settings) as store:
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
    require_longer(records, length)
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

"""`streams topics`: which topics the pipeline needs, making them, and who may do what there."""

from collections.abc import Sequence

import click

from streams.cli.keys import PublicKey
from streams.cli.live import example
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.progress import Meter
from streams.cli.verb_group import VerbGroup
from streams.cli.wiring import found_installation, producing, reading, run
from streams.errors import Halt
from streams.ops.installation import make_installation
from streams.ops.rights import ROLES, Role, commands, rights_of
from streams.ops.topics import TopicStep, apply_steps, compare_topics
from streams.runtime.installation import Installation
from streams.runtime.kafka import KafkaCluster
from streams.runtime.key_files import load_signing_key
from streams.runtime.signing import key_id


@click.group(cls=VerbGroup, short_help="Compare and create the topics.")
def topics() -> None:
    """Compare the topics with the settings, and create or change them."""


@topics.command("plan")
@connection_options("brokers", "topic_prefix")
@output_option
@example(
    "streams topics plan --brokers kafka:9092",
)
def plan_command(settings: Settings, output: str) -> None:
    """Show what `apply` would do, and change nothing.

    A wrong partition count or a compacted topic is a conflict, which `apply` never alters: the
    command then ends with exit code 1 and says what to do.
    """
    steps = run(compare_topics(KafkaCluster(settings.brokers), settings))
    _print(steps, output)
    _refuse_conflicts(steps)


@topics.command("apply")
@connection_options("brokers", "topic_prefix")
@click.option("--yes", is_flag=True, help="Act on the plan.")
@click.option(
    "--allow-deleting", is_flag=True, help="Also shorten retention, which deletes records."
)
@click.option(
    "--key",
    type=PublicKey(),
    help="Public key that signs from the beginning on; without it that of the private one in "
    "STREAMS_SIGNING_KEY_FILE. Asked for once, by a new installation.",
)
@output_option
@example(
    "streams topics apply --yes",
)
def apply_command(
    settings: Settings, yes: bool, allow_deleting: bool, key: str | None, output: str
) -> None:
    """Print the plan and, with --yes, create and change topics as it says.

    A new installation gets its id and its first key, in the topic `policies`.

    A shorter retention deletes records: the plan marks it, and without --allow-deleting it is
    left as it is. With a conflict nothing is done.
    """
    steps = run(compare_topics(KafkaCluster(settings.brokers), settings))
    _print(steps, output)
    _refuse_conflicts(steps)
    todo = [step for step in steps if step.action != "ok"]
    first = _first_key(settings, key)
    if not todo and first is None:
        click.echo("nothing to do", err=True)
    elif not yes:
        click.echo("nothing was done: act with --yes", err=True)
    else:
        done = _act(settings, todo, allow_deleting)
        click.echo(f"{done} topics created or changed", err=True)
        if first is not None:
            made = run(_make_installation(settings, first))
            click.echo(f"installation {made.id} is made", err=True)


@topics.command("acls")
@connection_options("brokers", "group", "topic_prefix")
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, help="Of this role only.")
@click.option("--principal", help="Whom to give them: prints the commands of Kafka's own tool.")
@output_option
@example(
    "streams topics acls --role producer",
    "streams topics acls --role worker --role control --principal User:streams",
)
def acls_command(
    settings: Settings, roles: Sequence[Role], principal: str | None, output: str
) -> None:
    """Show what each role needs of a Kafka that asks for rights, and no more than that.

    A process that is worker and control plane needs both. Connects to nothing.
    """
    rights = [right for role in roles or ROLES for right in rights_of(role, settings)]
    if principal:
        for line in commands(rights, principal, str(settings.brokers)):
            click.echo(line)
    else:
        emit(
            [
                {
                    "role": right.role,
                    "resource": right.resource,
                    "name": name,
                    "operations": ", ".join(right.operations),
                }
                for right in rights
                for name in right.names or ["kafka-cluster"]
            ],
            output,
        )


def _first_key(settings: Settings, key: str | None) -> str | None:
    """Return the first key of an installation that is yet to be made, None if there is one."""
    if run(found_installation(settings)) is not None:
        return None
    public = key or load_signing_key().public
    click.echo(f"a new installation, whose control records {key_id(public)} signs", err=True)
    return public


async def _make_installation(settings: Settings, public: str) -> Installation:
    async with producing(settings.brokers) as producer, reading(settings.brokers) as reader:
        return await make_installation(reader, producer, settings, public)


def _act(settings: Settings, steps: Sequence[TopicStep], allow_deleting: bool) -> int:
    with Meter("applying", len(steps), noun="topics") as meter:
        cluster = KafkaCluster(settings.brokers)
        acting = apply_steps(cluster, steps, allow_deleting=allow_deleting, tell=meter.show)
        done = run(acting)
    for step in steps:
        if step.deleting and not allow_deleting:
            click.echo(f"left alone: {step.topic.name} {step.why}", err=True)
    return done


def _print(steps: Sequence[TopicStep], output: str) -> None:
    emit(
        [
            {
                "action": step.action,
                "topic": step.topic.name,
                "partitions": step.topic.partitions,
                "replication": step.topic.replication,
                "retention_hours": step.topic.retention_hours,
                "deletes": bool(step.deleting),
                "why": step.why,
            }
            for step in steps
        ],
        output,
    )


def _refuse_conflicts(steps: Sequence[TopicStep]) -> None:
    conflicts = [step for step in steps if step.action == "conflict"]
    if conflicts:
        first = conflicts[0]
        more = f", and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
        raise Halt(f"topic {first.topic.name} {first.why}{more}")

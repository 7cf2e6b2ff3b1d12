"""`streams topics`: which topics the pipeline needs, and making them."""

from collections.abc import Sequence

import click

from streams.cli.live import example
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.wiring import run
from streams.errors import Halt
from streams.ops.topics import Step, plan, wanted_topics
from streams.runtime.kafka import KafkaCluster


@click.group(short_help="Compare and create the topics.")
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
    steps = run(compare(settings))
    _print(steps, output)
    _refuse_conflicts(steps)


@topics.command("apply")
@connection_options("brokers", "topic_prefix")
@click.option("--yes", is_flag=True, help="Act on the plan.")
@output_option
@example(
    "streams topics apply --yes",
)
def apply_command(settings: Settings, yes: bool, output: str) -> None:
    """Print the plan and, with --yes, create and change topics as it says.

    Shorter retention deletes records: read the plan before. With a conflict nothing is done.
    """
    steps = run(compare(settings))
    _print(steps, output)
    _refuse_conflicts(steps)
    todo = [step for step in steps if step.action != "ok"]
    if not todo:
        click.echo("nothing to do", err=True)
    elif not yes:
        click.echo("nothing was done: act with --yes", err=True)
    else:
        run(_act(settings, todo))
        click.echo(f"{len(todo)} topics created or changed", err=True)


async def compare(settings: Settings) -> list[Step]:
    """Return the plan for the topics of these settings."""
    admin = KafkaCluster(settings.brokers)
    existing = await admin.describe()
    wanted = wanted_topics(settings)
    configs = {
        topic.name: await admin.configs(topic.name) for topic in wanted if topic.name in existing
    }
    return plan(wanted, existing, configs)


async def _act(settings: Settings, steps: Sequence[Step]) -> None:
    admin = KafkaCluster(settings.brokers)
    for step in steps:
        topic = step.topic
        if step.action == "create":
            await admin.create(topic.name, topic.partitions, topic.replication, topic.configs)
        else:
            await admin.set_configs(topic.name, step.configs)


def _print(steps: Sequence[Step], output: str) -> None:
    emit(
        [
            {
                "action": step.action,
                "topic": step.topic.name,
                "partitions": step.topic.partitions,
                "replication": step.topic.replication,
                "retention_hours": int(step.topic.configs["retention.ms"]) // 3_600_000,
                "why": step.why,
            }
            for step in steps
        ],
        output,
    )


def _refuse_conflicts(steps: Sequence[Step]) -> None:
    conflicts = [step for step in steps if step.action == "conflict"]
    if conflicts:
        first = conflicts[0]
        more = f", and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
        raise Halt(f"topic {first.topic.name} {first.why}{more}")

"""`streams topics`: which topics the pipeline needs, and making them."""

from collections.abc import Sequence

import click

from streams.cli.live import example
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.progress import Meter
from streams.cli.wiring import run
from streams.errors import Halt
from streams.ops.topics import TopicStep, apply_steps, compare_topics
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
    steps = run(compare_topics(KafkaCluster(settings.brokers), settings))
    _print(steps, output)
    _refuse_conflicts(steps)


@topics.command("apply")
@connection_options("brokers", "topic_prefix")
@click.option("--yes", is_flag=True, help="Act on the plan.")
@click.option(
    "--allow-deleting", is_flag=True, help="Also shorten retention, which deletes records."
)
@output_option
@example(
    "streams topics apply --yes",
)
def apply_command(settings: Settings, yes: bool, allow_deleting: bool, output: str) -> None:
    """Print the plan and, with --yes, create and change topics as it says.

    A shorter retention deletes records: the plan marks it, and without --allow-deleting it is
    left as it is. With a conflict nothing is done.
    """
    steps = run(compare_topics(KafkaCluster(settings.brokers), settings))
    _print(steps, output)
    _refuse_conflicts(steps)
    todo = [step for step in steps if step.action != "ok"]
    if not todo:
        click.echo("nothing to do", err=True)
    elif not yes:
        click.echo("nothing was done: act with --yes", err=True)
    else:
        done = _act(settings, todo, allow_deleting)
        click.echo(f"{done} topics created or changed", err=True)


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
                "retention_hours": int(step.topic.configs["retention.ms"]) // 3_600_000,
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

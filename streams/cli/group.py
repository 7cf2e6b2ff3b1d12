"""`streams group`: consumer groups, their members and positions."""

from typing import NoReturn

import click

from streams.cli.live import example
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.verb_group import VerbGroup
from streams.cli.wiring import run
from streams.ops.groups import (
    GroupPlaces,
    LagQuery,
    Survey,
    group_rows,
    member_rows,
    places_of,
    refuse_seek,
    snapshot,
    survey_groups,
)
from streams.runtime.kafka import KafkaCluster


@click.group(cls=VerbGroup, short_help="Show consumer groups, their members and positions.")
def group() -> None:
    """Consumer groups: who their members are, and where they stand."""


@group.command("list")
@click.option("--all", "whole", is_flag=True, help="Every group of the cluster.")
@connection_options("brokers", "topic_prefix")
@output_option
@example("streams group list --all")
def list_command(settings: Settings, whole: bool, output: str) -> None:
    """Print the own groups: members, hosts, and of how many partitions they hold a position."""
    survey = run(_survey(settings, whole=whole))
    emit(group_rows(survey), output)
    for name, why in survey.silent.items():
        click.echo(f"group {name} does not answer: {why}", err=True)


@group.command("show")
@click.argument("name")
@connection_options("brokers")
@output_option
@example("streams group show streams --output json")
def show_command(name: str, settings: Settings, output: str) -> None:
    """Print the members of a group with the partitions that each has, and those that none has.

    Positions and lag: `streams lag list --group NAME`.
    """
    emit(member_rows(run(_places(settings, name))), output)


@group.command("snapshot")
@click.argument("name")
@connection_options("brokers")
@example("streams group snapshot billing > billing.csv")
def snapshot_command(name: str, settings: Settings) -> None:
    """Print the committed positions of a group as topic,partition,offset.

    So `kafka-consumer-groups.sh --reset-offsets --from-file` takes them back.
    """
    click.echo(snapshot(run(_places(settings, name))), nl=False)


@group.command("seek")
@click.argument("name")
@connection_options("brokers", "topic_prefix")
def seek_command(name: str, settings: Settings) -> NoReturn:
    """Say how a group is moved: never the workers' own, whose position is no commit."""
    refuse_seek(settings, name)


async def _survey(settings: Settings, *, whole: bool) -> Survey:
    query = LagQuery.of(settings, (), None, whole=whole)
    return await survey_groups(KafkaCluster(settings.brokers), query)


async def _places(settings: Settings, name: str) -> GroupPlaces:
    return await places_of(KafkaCluster(settings.brokers), name)

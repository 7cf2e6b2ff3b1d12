"""`streams creator`: all creators for the operator, one of them in their own words."""

import click

from streams.cli.live import check_video, example
from streams.cli.options import (
    Settings,
    connection_options,
    emit,
    emit_object,
    number_option,
    output_option,
)
from streams.cli.verb_group import VerbGroup
from streams.cli.when import now_ms
from streams.cli.wiring import drivers, namespace, run, storing
from streams.ops.creator import VideoFacts, creator_facts
from streams.ops.creator_text import as_fields, in_words
from streams.ops.creators import CreatorsReport, as_object, at_the_end, for_people, report_creators


@click.group(cls=VerbGroup, short_help="Show creators' audiences, and how one creator's videos do.")
def creator() -> None:
    """Show creators' audiences, and tell one creator how their videos do."""


@creator.command("list")
@number_option("--limit", 20, "List so many creators.", 0)
@connection_options("brokers", "redis", "topic_prefix")
@output_option
@example("streams creator list", "streams creator list --limit 1000 --output json")
def list_command(limit: int, settings: Settings, output: str) -> None:
    """Print the creators with the largest public audience, the funnel by band, and all of them.

    Every stored row is read: totals are since each video was admitted. Shown are impressions,
    watched views to the end; conversion is follows of those who did not follow yet, of what they
    were shown; private lost is what yesterday lacked of the private impressions of the day before
    (below 0: it had more), once the leader has seen these days begin; handicap is what is taken off
    the scores of who is above the ceiling, on public surfaces. JSON has micro-units.
    """
    report = run(_report(settings, limit))
    if output != "table":
        emit_object(as_object(report), output)
        return
    emit(map(for_people, report.creators), output)
    click.echo()
    emit(map(for_people, report.bands), output)
    click.echo()
    emit_object(at_the_end(report), output)


@creator.command("show")
@click.argument("creator_id", metavar="ID", callback=check_video)
@connection_options("brokers", "redis", "topic_prefix")
@output_option
@example("streams creator show c-7")
def show_command(creator_id: str, settings: Settings, output: str) -> None:
    """Tell a creator how their approved videos do, in words that may be handed to them.

    When each was approved, what was guaranteed, each crowd beside what is usual there, why it
    stopped or is back, followers reached, and what would help. Nothing of a viewer, of a crowd
    below ten, of prices, or of another creator. Every stored row is read.
    """
    facts = run(_facts(settings, creator_id))
    if output == "table":
        click.echo("\n\n".join(in_words(creator_id, facts)))
    else:
        emit_object(as_fields(creator_id, facts), output)


async def _report(settings: Settings, limit: int) -> CreatorsReport:
    place = await namespace(settings), settings.partitions
    async with storing(settings) as store, drivers(settings).dossiers() as dossiers:
        return await report_creators(store, dossiers, place, now_ms(), limit)


async def _facts(settings: Settings, creator_id: str) -> list[VideoFacts]:
    place = await namespace(settings), settings.partitions
    async with storing(settings) as store:
        return await creator_facts(store, *place, creator_id)

"""`streams shares`: what was promised about shares of the traffic, and how it is held."""

import click

from streams.cli import ConditionNotMet
from streams.cli.live import example
from streams.cli.options import Settings, connection_options, emit, emit_object, output_option
from streams.cli.when import DURATION, now_ms
from streams.cli.wiring import reading, run
from streams.ops.shares import SharesReport, as_fields, read_shares
from streams.ops.shares_text import class_for_people, for_people, mix_facts


@click.command(short_help="Show the promised shares of the traffic, and what holds them.")
@connection_options("brokers", "topic_prefix")
@click.option(
    "--since",
    type=DURATION,
    default="24h",
    show_default=True,
    help="Read so much of the traffic: the day's share is of that.",
)
@output_option
@example("streams shares", "streams shares --since 30m --output json")
def shares(settings: Settings, since: int, output: str) -> None:
    """Print the mix that feeds go by, each promise, and impressions by class.

    Shares are of the last closed minute, of 5 minutes (the trend: against the 5 before) and of the
    day. Owed are impressions that are missing (of a ceiling, those too many), the tilt is what they
    add to the scores of their class in value per view, of which the slow part is in the prices;
    cost is value given up for it today, of all value. Exit code 3 if a share is more than a point
    on the wrong side of what was promised.
    """
    report = run(_report(settings, since))
    if output == "table":
        emit_object(dict(mix_facts(report)), output)
        click.echo()
        emit(map(for_people, report.promises), output)
        click.echo()
        emit(map(class_for_people, report.classes), output)
    else:
        emit_object(as_fields(report), output)
    if report.missed:
        raise ConditionNotMet(f"not held: {', '.join(report.missed)}")


async def _report(settings: Settings, since: int) -> SharesReport:
    async with reading(settings.brokers, settings.client("shares")) as reader:
        return await read_shares(reader, settings, now_ms() - since, now_ms())

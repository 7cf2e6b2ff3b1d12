"""`streams guarantee`: who was not given the first audience that was owed, and why."""

import click

from streams.cli import ConditionNotMet
from streams.cli.options import connection_options, emit, emit_object, output_option
from streams.cli.when import now_ms
from streams.cli.wiring import namespace, run, storing
from streams.ops.guarantee import (
    GuaranteeReport,
    facts_for_people,
    miss_for_people,
    report_guarantee,
)
from streams.settings import Settings


@click.command(short_help="List videos that missed their first audience.")
@connection_options("brokers", "redis", "topic_prefix")
@output_option
def guarantee(settings: Settings, output: str) -> None:
    """Count the videos that were given their guaranteed first audience, and list those that missed.

    Exit code 3 if there are any.

    Example: streams guarantee --output json
    """
    report = run(_report(settings))
    counts = {"kept": report.kept, "running": report.running, "missed": len(report.misses)}
    misses = [miss._asdict() for miss in report.misses]
    if output == "table":
        emit_object(dict(facts_for_people(report)), output)
        if misses:
            click.echo()
            emit(map(miss_for_people, report.misses), output)
    else:
        emit_object({**counts, "causes": report.missed, "misses": misses}, output)
    if misses:
        raise ConditionNotMet(f"{len(misses)} videos missed their guarantee")


async def _report(settings: Settings) -> GuaranteeReport:
    name = await namespace(settings)
    async with storing(settings) as store:
        return await report_guarantee(store, name, settings.partitions, now_ms())

"""`streams lag`: how far consumer groups are behind."""

import time

import click

from streams.cli import ConditionNotMet
from streams.cli.live import example
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.when import now_ms
from streams.cli.wiring import reading, run
from streams.ops.lag import Lag, LagQuery, measure_lag, positions_of, require_groups
from streams.runtime.kafka import KafkaCluster


@click.group(short_help="Show how far consumers are behind.")
def lag() -> None:
    """Show how far consumers are behind."""


@lag.command("list")
@connection_options("brokers", "topic_prefix")
@click.option("--group", "groups", multiple=True, help="This group only; may be repeated.")
@click.option(
    "--topic", metavar="NAME", help="This topic only, without its prefix or by its full name."
)
@click.option("--all", "whole", is_flag=True, help="Every group and topic of the cluster.")
@output_option
@example(
    "streams lag list --output json",
    "streams lag list --topic interactions --all",
)
def list_command(
    *, settings: Settings, groups: tuple[str, ...], topic: str | None, whole: bool, output: str
) -> None:
    """Show committed offset, log end and lag of the own groups in every partition.

    --group names others, with all their topics; --all shows every group of the cluster. Lag in
    seconds is the age of the record at the committed offset, 0 without lag: how long ago the
    first event was written that the group has not finished. Without a commit (-) it counts from
    the beginning of the log. `lost` counts records that retention deleted before the group read
    them. A partition that no leader answers for has no numbers, and the command then ends with
    exit code 3. The feedback worker itself goes on from its watermark in Redis, and commits for
    this view only.
    """
    own = () if whole or groups else (settings.group, settings.control_group)
    query = LagQuery(
        groups or own or None,
        settings.topic_prefix if own else "",
        topic and settings.full_name(topic),
    )
    rows = run(_measure(settings, query, groups))
    emit([row.as_row() for row in rows], output)
    if not rows:
        shown = f"of {' and '.join(own)}; --all shows every group" if own else "of any group"
        click.echo(f"no committed offset {shown}", err=True)
    if silent := sorted({f"{row.topic}[{row.partition}]" for row in rows if row.end is None}):
        raise ConditionNotMet(f"no leader answers for {', '.join(silent)}")


async def _measure(settings: Settings, query: LagQuery, groups: tuple[str, ...]) -> list[Lag]:
    cluster = KafkaCluster(settings.brokers)
    await require_groups(cluster, groups)
    positions = await positions_of(cluster, query)
    async with reading(settings.brokers) as reader:
        return await measure_lag(reader, positions, now_ms(), time.monotonic)

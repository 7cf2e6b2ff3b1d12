"""`streams lag`: how far consumer groups are behind."""

import time

import click

from streams.cli.live import example, now_ms
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.wiring import reading, run
from streams.errors import Halt
from streams.ops.lag import Lag, measure_lag
from streams.runtime.kafka import KafkaCluster


@click.group(short_help="Show how far consumers are behind.")
def lag() -> None:
    """Show how far consumers are behind."""


@lag.command("list")
@connection_options("brokers")
@click.option("--group", "groups", multiple=True, help="This group only; may be repeated.")
@click.option("--topic", help="This topic only, by its full name.")
@output_option
@example(
    "streams lag list --group streams --output json",
)
def list_command(
    settings: Settings, groups: tuple[str, ...], topic: str | None, output: str
) -> None:
    """Show committed offset, log end and lag of every group and partition.

    Lag in seconds is the age of the record at the committed offset, 0 without lag: how long ago
    the first event was written that the group has not finished. `lost` counts records that
    retention deleted before the group read them. The feedback worker itself goes on from its
    watermark in Redis, and commits for this view only.
    """
    rows = run(_measure(settings, groups, topic))
    emit([row.as_row() for row in rows], output)
    if not rows:
        click.echo("no group has committed an offset", err=True)


async def _measure(settings: Settings, groups: tuple[str, ...], topic: str | None) -> list[Lag]:
    admin = KafkaCluster(settings.brokers)
    existing = await admin.describe()
    known = await admin.groups()
    unknown = sorted(set(groups) - set(known))
    if unknown:
        raise Halt(f"no consumer group {', '.join(unknown)}; there are: {', '.join(known) or '-'}")
    committed = {
        group: {
            at: offset
            for at, offset in (await admin.committed(group)).items()
            if at[0] in existing and topic in (None, at[0])
        }
        for group in groups or known
    }
    async with reading(settings.brokers) as reader:
        return await measure_lag(reader, committed, now_ms(), time.monotonic)

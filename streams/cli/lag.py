"""`streams lag`: how far consumer groups are behind."""

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import click

from streams.cli import ConditionNotMet
from streams.cli.live import Row, example, print_rows, terminal_width
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.pulse import LISTEN_ADDRESS, serve_pages
from streams.cli.verb_group import VerbGroup
from streams.cli.when import DURATION, now_ms
from streams.cli.wiring import collecting, probing_reach, run
from streams.errors import StreamsError
from streams.ops.groups import LagQuery
from streams.ops.lag_collector import LagReport, beyond, by_group, look_for_a_window
from streams.ops.lag_metrics import LagMetrics
from streams.ops.lag_status import BAD
from streams.ops.lag_text import as_text, watched_rows
from streams.runtime.ending import beside
from streams.runtime.metrics_server import metrics_page

REACH_S = 300
"""Between two looks at how far the log reaches back: it reads a record of each partition."""
Command = TypeVar("Command", bound=Callable[..., Any])


def _query_options(command: Command) -> Command:
    """Add what names groups and topics; the command gets `settings` and one `query`."""

    @functools.wraps(command)
    def with_query(
        *args: Any,
        settings: Settings,
        groups: tuple[str, ...],
        topic: str | None,
        whole: bool,
        **kwargs: Any,
    ) -> Any:
        query = LagQuery.of(settings, groups, topic, whole=whole)
        return command(*args, settings=settings, query=query, **kwargs)

    wrapped: Any = with_query
    for option in (
        click.option("--all", "whole", is_flag=True, help="Every group and topic of the cluster."),
        click.option(
            "--topic", metavar="NAME", help="This topic only, without its prefix or by full name."
        ),
        click.option("--group", "groups", multiple=True, help="This group only; may be repeated."),
        connection_options("brokers", "redis", "topic_prefix"),
    ):
        wrapped = option(wrapped)
    whole: Command = wrapped
    return whole


@click.group(cls=VerbGroup, short_help="Show how far consumers are behind.")
def lag() -> None:
    """Show how far consumers are behind."""


@lag.command("list")
@_query_options
@output_option
@example(
    "streams lag list --output json",
    "streams lag list --topic interactions --all",
)
def list_command(*, settings: Settings, query: LagQuery, output: str) -> None:
    """Show committed offset, log end and lag of the own groups in every partition, once.

    --group names others, with all their topics; --all shows every group of the cluster. Lag in
    seconds is the age of the record at the committed offset, 0 without lag: how long ago the
    first event was written that the group has not finished. Without a commit (-) it counts from
    the beginning of the log. `lost` counts records that retention deleted before the group read
    them, `held` those that an open transaction keeps from every reader. A partition that no
    leader answers for has no numbers, and the command then ends with exit code 3. One look tells
    OK and HALTED; for the other states ask `lag status`. The feedback worker itself goes on from
    its watermark in Redis, and commits for this view only.
    """
    report = run(_look(settings, query, None))
    table = output == "table"
    emit([row.as_short_row() if table else row.as_row() for row in report.rows], output)
    for row in report.rows:
        if table and row.reason:
            click.echo(f"{row.named} {row.status} {row.reason}", err=True)
    if not report.rows:
        click.echo(f"no committed offset of {query.words}", err=True)
    _require_whole(report)


@lag.command("status")
@_query_options
@click.option(
    "--max-seconds", type=click.FloatRange(min=0), metavar="N", help="End with 3 beyond this lag."
)
@click.option(
    "--interval", type=DURATION, default="1s", show_default=True, help="Between two looks."
)
@output_option
@example("streams lag status --max-seconds 60")
def status_command(
    *,
    settings: Settings,
    query: LagQuery,
    max_seconds: float | None,
    interval: int,
    output: str,
) -> None:
    """Judge each group by ten looks, at once where nothing lags; a row a group.

    HALTED: a worker halted, see the reason. STOP: the position stands still and no member owns
    the partition. STALL: it stands still though one does. REWIND: it went back. WARN: it moves
    on, and the lag never becomes less. OK: it does, or there was no lag at some moment. Ends with
    exit code 3 for HALTED, STOP, REWIND and STALL, where nothing is committed, and where something
    does not answer.
    """
    report = run(_look(settings, query, interval / 1000))
    rows = by_group(report)
    emit([row.as_row() for row in rows], output)
    if not report.rows and not report.silent:
        raise ConditionNotMet(f"no committed offset of {query.words}")
    _require_whole(report)
    if late := [] if max_seconds is None else beyond(rows, max_seconds):
        raise ConditionNotMet(f"more than {max_seconds:g} s behind: {', '.join(late)}")
    if bad := [f"{row.group} {row.status}" for row in rows if row.status in BAD]:
        raise ConditionNotMet(", ".join(bad))


@lag.command()
@_query_options
@click.option(
    "--interval", type=DURATION, default="10s", show_default=True, help="Between two looks."
)
@click.option(
    "--span", type=DURATION, default="1h", show_default=True, help="What the bars show, up to 1d."
)
@click.option(
    "--metrics-address", type=LISTEN_ADDRESS, help="Where to serve the gauges, for Prometheus."
)
@click.option("--metrics-port", type=click.IntRange(0, 65_535), help="The port alone, of loopback.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many rows.")
@output_option
@example("streams lag watch --metrics-port 9108", "streams lag watch --output ndjson")
def watch(
    *,
    settings: Settings,
    query: LagQuery,
    output: str,
    limit: int | None,
    metrics_address: tuple[str, int] | None,
    metrics_port: int | None,
    **pace: int,
) -> None:
    """Look again and again: a row a group and partition, the worst first; collects metrics.

    The history of a day is kept in memory: ten looks, then the worst of every minute for an hour,
    the worst of every quarter of an hour for a day.
    """
    metrics = LagMetrics(str(settings.brokers))
    host, port = metrics_address or ("127.0.0.1", 0)
    pages = {"/metrics": partial(metrics_page, metrics.registry)}
    serve_pages(host, port if metrics_port is None else metrics_port, pages)
    run(_print_looks(_watch(settings, query, metrics, **pace), output, limit))


async def _look(settings: Settings, query: LagQuery, interval_s: float | None) -> LagReport:
    async with collecting(settings, query) as collector:
        if interval_s is None:
            return await collector.look(now_ms())
        return await look_for_a_window(collector, interval_s, now_ms)


async def _watch(
    settings: Settings, query: LagQuery, metrics: LagMetrics, interval: int, span: int
) -> AsyncGenerator[Row, None]:
    reaching = beside(_watch_reach(settings, metrics))
    async with reaching, collecting(settings, query) as collector:
        while True:
            report = await collector.look(now_ms())
            metrics.show(report)
            for line in report.gaps:
                click.echo(line, err=True)
            for row in watched_rows(collector, report, now_ms(), span):
                yield row
            await asyncio.sleep(interval / 1000)


async def _watch_reach(settings: Settings, metrics: LagMetrics) -> None:
    """Show now and then how far the log reaches back; what does not answer shows nothing."""
    while settings.snapshots:
        try:
            async with probing_reach(settings) as probe:
                metrics.show_reach(await probe.look(now_ms()))
        except StreamsError:
            metrics.show_reach(None)
        await asyncio.sleep(REACH_S)


async def _print_looks(looks: AsyncGenerator[Row, None], output: str, limit: int | None) -> None:
    async with aclosing(looks):
        await print_rows(looks, output, lambda row: as_text(row, terminal_width()), limit)


def _require_whole(report: LagReport) -> None:
    if report.blind:
        click.echo(f"halts are not known: {report.blind}", err=True)
    if report.leaderless or report.silent:
        raise ConditionNotMet("; ".join(report.gaps))

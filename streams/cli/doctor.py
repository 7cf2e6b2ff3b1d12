"""`streams doctor`: whether everything is there that a worker needs."""

from functools import partial
from pathlib import Path

import click

from streams.cli.live import example
from streams.cli.options import config_option, emit, named_options, output_option
from streams.cli.when import now_ms
from streams.cli.wiring import bare_store, found_installation, probing_reach, run
from streams.control.configuration import file_problems
from streams.errors import Halt, StreamsError
from streams.ops.checks import (
    Check,
    check_connections,
    check_python,
    check_secret,
    conclude,
    failed,
)
from streams.ops.provable import check_kept, check_provable
from streams.runtime.kafka import KafkaCluster
from streams.settings import Settings, load_settings


@click.command(short_help="Check settings and connections.")
@config_option
@named_options("brokers", "redis", "topic_prefix")
@output_option
@example(
    "streams doctor --brokers kafka:9092 --redis redis://redis:6379/0",
)
def doctor(
    config: Path, brokers: str | None, redis: str | None, topic_prefix: str | None, output: str
) -> None:
    """Check settings, keys, Kafka and Redis; each line says what to do.

    Ends with 0 if nothing failed (warnings may stand), 4 if Kafka or Redis does not answer, else
    1. Changes nothing.
    """
    overrides = {"brokers": brokers, "redis": redis, "topic_prefix": topic_prefix}
    checks = [check_python(), *_check_files(config), *check_secret()]
    try:
        settings = load_settings(config, overrides)
    except Halt as error:
        checks.append(failed("streams.toml", error))
    else:
        checks.append(Check("ok", "streams.toml", "valid"))
        checks += run(_check_connections(settings))
    emit([check._asdict() for check in checks], output)
    conclude(checks)


def _check_files(config: Path) -> list[Check]:
    return [
        Check("fail", name, problems[0]) if problems else Check("ok", name, "valid")
        for name, problems in file_problems(config).items()
    ]


async def _check_connections(settings: Settings) -> list[Check]:
    async with bare_store(settings) as store:
        find = partial(found_installation, settings)
        checks = await check_connections(KafkaCluster(settings.brokers), store, settings, find)
    if any(check.check == "counters" and check.status == "ok" for check in checks):
        checks += await _check_snapshots(settings)
    return checks


async def _check_snapshots(settings: Settings) -> list[Check]:
    cluster = KafkaCluster(settings.brokers)
    try:
        if not settings.snapshots:
            return check_kept(await cluster.configs(settings.topic("interactions")))
        async with probing_reach(settings) as probe:
            return [await check_provable(probe, now_ms())]
    except StreamsError as error:
        return [failed("snapshots", error)]

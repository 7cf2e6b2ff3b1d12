"""`streams doctor`: whether everything is there that a worker needs."""

from pathlib import Path

import click

from streams.cli.live import example
from streams.cli.options import config_option, emit, output_option
from streams.cli.topics import compare
from streams.cli.wiring import run
from streams.control.configuration import file_problems
from streams.errors import Halt, StreamsError, Unreachable
from streams.ops.checks import (
    Check,
    attempt,
    attempt_async,
    check_counters,
    check_python,
    check_topics,
    failed,
)
from streams.runtime.kafka import KafkaCluster
from streams.runtime.namespace import namespace_of
from streams.runtime.redis import RedisStore
from streams.settings import Settings, load_secret, load_settings


@click.command(short_help="Check settings and connections.")
@config_option
@click.option("--brokers", help="Kafka bootstrap servers.  [env: STREAMS_BROKERS]")
@click.option("--redis", help="Redis URL.  [env: STREAMS_REDIS]")
@click.option("--topic-prefix", help="Put before every topic's name.  [env: STREAMS_TOPIC_PREFIX]")
@output_option
@example(
    "streams doctor --brokers kafka:9092 --redis redis://redis:6379/0",
)
def doctor(
    config: Path, brokers: str | None, redis: str | None, topic_prefix: str | None, output: str
) -> None:
    """Check settings, secret, Kafka and Redis; each line says what to do.

    Ends with 0 if nothing failed (warnings may stand), 4 if Kafka or Redis does not answer, else
    1. Changes nothing.
    """
    overrides = {"brokers": brokers, "redis": redis, "topic_prefix": topic_prefix}
    checks = [check_python(), *_check_files(config), attempt("secret", load_secret, "is set")]
    try:
        settings = load_settings(config, overrides)
    except Halt as error:
        checks.append(failed("streams.toml", error))
    else:
        checks.append(Check("ok", "streams.toml", "valid"))
        checks += run(_check_connections(settings))
    emit([check._asdict() for check in checks], output)
    _conclude(checks)


def _check_files(config: Path) -> list[Check]:
    return [
        Check("fail", name, problems[0]) if problems else Check("ok", name, "valid")
        for name, problems in file_problems(config).items()
    ]


async def _check_connections(settings: Settings) -> list[Check]:
    checks = [*await _check_kafka(settings), *await _check_redis(settings)]
    if all(check.status in {"ok", "warn"} for check in checks):
        checks += await _check_counters(settings)
    return checks


async def _check_counters(settings: Settings) -> list[Check]:
    """Compare the counters with log and secret, once topics and Redis are well."""
    try:
        secret = load_secret()
    except Halt:
        return []  # a line of its own says so
    store = RedisStore(settings.redis.reveal)
    try:
        identity = await KafkaCluster(settings.brokers).identity(settings.topic("interactions"))
        namespace = namespace_of(identity, settings, secret)
        return [await check_counters(store, namespace, identity.partitions)]
    except StreamsError as error:
        return [failed("counters", error)]
    finally:
        await store.close()


async def _check_kafka(settings: Settings) -> list[Check]:
    admin = KafkaCluster(settings.brokers)
    reached = await attempt_async("kafka", admin.describe, f"answers at {settings.brokers}")
    if reached.status != "ok":
        return [reached]
    try:
        return [reached, *check_topics(await compare(settings))]
    except StreamsError as error:
        return [reached, failed("topics", error)]


async def _check_redis(settings: Settings) -> list[Check]:
    store = RedisStore(settings.redis.reveal)
    try:
        reached = await attempt_async("redis", store.check, "answers, and never evicts")
        if reached.status != "ok":
            return [reached]
        return [reached, *(Check("warn", "redis", line) for line in await store.warnings())]
    except StreamsError as error:
        return [failed("redis", error)]
    finally:
        await store.close()


def _conclude(checks: list[Check]) -> None:
    silent = [check.check for check in checks if check.status == "unreachable"]
    if silent:
        raise Unreachable(f"no answer: {', '.join(silent)}")
    wrong = [check.check for check in checks if check.status == "fail"]
    if wrong:
        raise Halt(f"{len(wrong)} of {len(checks)} checks failed: {', '.join(wrong)}")

"""Real drivers from settings, checks before a start, and how a command runs and is interrupted."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click
import uvloop

from streams.errors import Halt
from streams.lab.installation import Installation
from streams.ops.topics import plan, wanted_topics
from streams.runtime.kafka import KafkaCluster, KafkaConsumer, KafkaProducer, KafkaReader
from streams.runtime.redis import RedisDossiers, RedisServingIndex, RedisStore
from streams.settings import RedisAddress, Settings

Result = TypeVar("Result")
Closing = TypeVar("Closing", RedisServingIndex, RedisDossiers)


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's coroutine to its end."""
    return uvloop.run(main)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at the first Ctrl-C or SIGTERM; the second one ends the process at once."""
    loop = asyncio.get_running_loop()
    asked = False

    def on_signal(number: int) -> None:
        nonlocal asked
        if asked:
            click.echo("streams: stopped at once", err=True)
            os._exit(128 + number)
        asked = True
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Write our log lines to stderr, and of the libraries' only what is an error."""
    logging.basicConfig(
        level=logging.ERROR, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("streams").setLevel(level)
    logging.getLogger("streams.control.agents").setLevel(logging.WARNING)  # Faust's own steps
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)


async def require_topics(settings: Settings) -> None:
    """Raise `Halt` unless every topic is there as the settings say."""
    admin = KafkaCluster(settings.brokers)
    partitions = await admin.describe()
    wanted = wanted_topics(settings)
    configs = {t.name: await admin.configs(t.name) for t in wanted if t.name in partitions}
    for step in plan(wanted, partitions, configs):
        if step.action == "create":
            raise Halt(
                f"topic {step.topic.name} does not exist at {settings.brokers}: "
                "run `streams topics apply --yes`",
                code="topic_missing",
            )
        if step.action == "conflict":
            raise Halt(f"topic {step.topic.name} {step.why}", code="topic_conflict")


def installation(settings: Settings) -> Installation:
    """Return the makers of every port on the Kafka and Redis of these settings."""
    return Installation(
        KafkaCluster(settings.brokers),
        consuming,
        lambda: producing(settings.brokers),
        lambda: reading(settings.brokers),
        lambda: storing(settings.redis),
        lambda: _closing(RedisServingIndex(settings.redis.reveal)),
        lambda: _closing(RedisDossiers(settings.redis.reveal)),
    )


def consuming(settings: Settings) -> KafkaConsumer:
    """Return a member of the workers' group, reading the log."""
    return KafkaConsumer(
        settings.brokers,
        settings.topic("interactions"),
        settings.group,
        settings.session_timeout_ms,
    )


@asynccontextmanager
async def reading(brokers: str) -> AsyncIterator[KafkaReader]:
    """Give a started reader, stopped at the end."""
    reader = KafkaReader(brokers)
    try:
        await reader.start()
        yield reader
    finally:
        await reader.stop()


@asynccontextmanager
async def producing(brokers: str) -> AsyncIterator[KafkaProducer]:
    """Give a started producer, stopped at the end."""
    producer = KafkaProducer(brokers)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def storing(redis: RedisAddress) -> AsyncIterator[RedisStore]:
    """Give a store, closed at the end."""
    store = RedisStore(redis.reveal)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def _closing(driver: Closing) -> AsyncIterator[Closing]:
    try:
        yield driver
    finally:
        await driver.close()

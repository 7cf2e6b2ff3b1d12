"""Real drivers from settings, checks before a start, and how a command runs."""

import logging
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

from streams.errors import Halt
from streams.ops.topics import compare_topics
from streams.runtime.kafka import KafkaCluster, KafkaConsumer, KafkaProducer, KafkaReader
from streams.runtime.redis import RedisStore
from streams.runtime.worker import Worker
from streams.settings import Secret, Settings

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's coroutine to its end."""
    return uvloop.run(main)


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
    for step in await compare_topics(KafkaCluster(settings.brokers), settings):
        if step.action == "create":
            raise Halt(
                f"topic {step.topic.name} does not exist at {settings.brokers}: "
                "run `streams topics apply --yes`",
                code="topic_missing",
            )
        if step.action == "conflict":
            raise Halt(f"topic {step.topic.name} {step.why}", code="topic_conflict")


def make_worker(
    settings: Settings, secret: Secret, producer: KafkaProducer, store: RedisStore
) -> Worker:
    """Return a feedback worker on real drivers; the caller starts and closes what it shares."""
    consumer = KafkaConsumer(
        settings.brokers,
        settings.topic("interactions"),
        settings.group,
        settings.session_timeout_ms,
    )
    return Worker(consumer, producer, store, settings, secret)


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
async def storing(redis: str) -> AsyncIterator[RedisStore]:
    """Give a store, closed at the end."""
    store = RedisStore(redis)
    try:
        yield store
    finally:
        await store.close()

"""Real drivers from settings, and how a command runs."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from streams.control.policy.election import TOPIC as ELECTED_BY
from streams.errors import Halt, StreamsError
from streams.lab.drivers import Drivers
from streams.ops.groups import LagQuery, require_known
from streams.ops.lag_collector import LagCollector, LagSources
from streams.ops.provable import ReachProbe
from streams.ops.snapshots import SnapshotFolder
from streams.runtime.archive import TOPIC as ARCHIVE
from streams.runtime.archive import Archive
from streams.runtime.dependencies import DEPENDENCIES, KAFKA, REDIS
from streams.runtime.ending import end
from streams.runtime.installation import TOPIC as POLICIES
from streams.runtime.installation import Installation, read_installation, require_made
from streams.runtime.kafka import (
    KafkaCluster,
    KafkaConsumer,
    KafkaProbe,
    KafkaProducer,
    KafkaReader,
    background,
)
from streams.runtime.ledger import TOPIC as LEDGER
from streams.runtime.ledger import Skips, read_ledger
from streams.runtime.namespace import namespace_of
from streams.runtime.ports import TopicIdentity
from streams.runtime.redis import RedisDossiers, RedisServingIndex, RedisStore
from streams.runtime.whole import WholeStore
from streams.settings import KafkaAddress, Settings

Result = TypeVar("Result")
Closing = TypeVar("Closing", RedisServingIndex, RedisDossiers, RedisStore)
Client = TypeVar("Client", KafkaReader, KafkaProducer)


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's coroutine to its end."""
    return uvloop.run(main)


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[None]:
    """Say when Kafka or Redis is gone and when it is back, until the end of the block.

    What is gone is asked by itself whether it is back: an idle process has no other call to it.
    """
    cluster, store = (
        KafkaCluster(settings.brokers, settings.client("worker")),
        RedisStore(settings.redis.reveal),
    )
    asking = asyncio.create_task(_ask_what_is_gone(cluster, store), name="dependencies")
    for dependency in DEPENDENCIES:
        dependency.watched = True
    try:
        yield
    finally:
        for dependency in DEPENDENCIES:
            dependency.watched = False
        await end(asking)
        await store.close()


async def _ask_what_is_gone(cluster: KafkaCluster, store: RedisStore) -> None:
    while True:
        await asyncio.sleep(1)
        with suppress(StreamsError):
            if KAFKA.gone:
                await cluster.describe()
        with suppress(StreamsError):
            if REDIS.gone:
                await store.check()


async def found_installation(settings: Settings) -> Installation | None:
    """Return which installation this is, None if none was made."""
    try:
        await KafkaCluster(settings.brokers).identity(settings.topic(POLICIES))
    except Halt as halt:
        if halt.code != "topic_missing":
            raise
        return None
    async with reading(settings.brokers) as reader:
        return await read_installation(reader, settings)


async def made_installation(settings: Settings) -> Installation:
    """Return which installation this is; `Halt` with what to do if none was made."""
    return require_made(await found_installation(settings), settings)


async def found_ledger(settings: Settings, installation: Installation | None) -> Skips:
    """Return what is skipped of the log; nothing where there is no ledger yet."""
    if installation is None:
        return Skips()
    try:
        await KafkaCluster(settings.brokers).identity(settings.topic(LEDGER))
    except Halt as halt:
        if halt.code != "topic_missing":
            raise
        return Skips()
    async with reading(settings.brokers) as reader:
        return await read_ledger(reader, settings, installation)


def drivers(settings: Settings) -> Drivers:
    """Return the makers of every port on the Kafka and Redis of these settings."""
    return Drivers(
        KafkaCluster(settings.brokers),
        consuming,
        electing,
        lambda: producing(settings.brokers),
        lambda: reading(settings.brokers),
        lambda: storing(settings),
        lambda: _closing(RedisServingIndex(settings.redis.reveal)),
        lambda: _closing(RedisDossiers(settings.redis.reveal)),
        background,
    )


def consuming(settings: Settings) -> KafkaConsumer:
    """Return a member of the workers' group, reading the log."""
    return KafkaConsumer(
        settings.brokers,
        settings.topic("interactions"),
        settings.group,
        settings.session_timeout_ms,
        settings.client("worker"),
        instance=settings.instance,
    )


def electing(settings: Settings) -> KafkaConsumer:
    """Return a member of the keeper's group, from which one control plane is to lead."""
    return KafkaConsumer(
        settings.brokers,
        settings.topic(ELECTED_BY),
        settings.keeper_group,
        settings.session_timeout_ms,
        settings.client("control"),
    )


async def namespace(settings: Settings) -> str:
    """Return the name of the counters of this log, by which its partitions' meta is read."""
    identity = await KafkaCluster(settings.brokers).identity(settings.topic("interactions"))
    return namespace_of(identity, (await made_installation(settings)).id)


def reading(
    brokers: KafkaAddress, client_id: str = "streams-reader"
) -> AbstractAsyncContextManager[KafkaReader]:
    """Give a started reader, stopped at the end."""
    return _started(KafkaReader(brokers, client_id))


@asynccontextmanager
async def collecting(settings: Settings, query: LagQuery) -> AsyncIterator[LagCollector]:
    """Give a collector of lag, its clients stopped at the end."""
    cluster, probe = KafkaCluster(settings.brokers), KafkaProbe(settings.brokers)
    topic = settings.topic("interactions")
    async with storing(settings) as store:
        try:
            await require_known(cluster, query)
            await probe.start()
            yield LagCollector(LagSources(cluster, probe, store, settings.group, topic), query)
        finally:
            await probe.stop()


def snapshots_of(
    settings: Settings, identity: TopicIdentity, installation: Installation
) -> SnapshotFolder | None:
    """Return the folder of a log's snapshots, None if these settings keep none."""
    if not settings.snapshots:
        return None
    return SnapshotFolder(Path(settings.snapshots), identity, installation)


@asynccontextmanager
async def probing_reach(settings: Settings) -> AsyncIterator[ReachProbe]:
    """Give what tells how far the log reaches back; the settings must name a folder."""
    cluster, installation = KafkaCluster(settings.brokers), await made_installation(settings)
    identity = await cluster.identity(settings.topic("interactions"))
    folder = snapshots_of(settings, identity, installation)
    assert folder is not None, "a folder is named"
    records = installation.generation_records(settings, whole=False)
    async with reading(settings.brokers) as reader:
        yield ReachProbe(cluster, reader, folder, identity, records)


def producing(
    brokers: KafkaAddress, client_id: str = "streams-producer"
) -> AbstractAsyncContextManager[KafkaProducer]:
    """Give a started producer, stopped at the end."""
    return _started(KafkaProducer(brokers, client_id))


@asynccontextmanager
async def _started(client: Client) -> AsyncIterator[Client]:
    try:
        await client.start()
        yield client
    finally:
        await client.stop()


def bare_store(settings: Settings) -> AbstractAsyncContextManager[RedisStore]:
    """Give the store alone, without what left it, closed at the end."""
    return _closing(RedisStore(settings.redis.reveal))


@asynccontextmanager
async def storing(settings: Settings) -> AsyncIterator[WholeStore]:
    """Give a store with the archive, which is connected to when needed; closed at the end."""
    new_reader = partial(KafkaReader, settings.brokers, "streams-archive")
    archive = Archive(settings.topic(ARCHIVE), new_reader)
    store = WholeStore(RedisStore(settings.redis.reveal), archive)
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

"""A Kafka and a Redis, by the makers of their ports: what a demo or a bench runs on."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from streams.control.agents import Background
from streams.runtime.leases import ServingIndex
from streams.runtime.ports import (
    BatchSink,
    Cluster,
    Dossiers,
    LogConsumer,
    LogReader,
    Producer,
)
from streams.runtime.whole import PointingStore
from streams.settings import Settings


class BatchProducer(Producer, BatchSink, Protocol):
    """Writes records one by one or a batch at a time."""


@dataclass(frozen=True)
class Drivers:
    """Makers of ports; what a context manager gives is started, and stopped behind the block.

    The `settings` of `consumer` say which topic it reads, and in which group; a `member` is in the
    keeper's group.
    """

    cluster: Cluster
    consumer: Callable[[Settings], LogConsumer]
    member: Callable[[Settings], LogConsumer]
    producer: Callable[[], AbstractAsyncContextManager[BatchProducer]]
    reader: Callable[[], AbstractAsyncContextManager[LogReader]]
    store: Callable[[], AbstractAsyncContextManager[PointingStore]]
    index: Callable[[], AbstractAsyncContextManager[ServingIndex]]
    dossiers: Callable[[], AbstractAsyncContextManager[Dossiers]]
    background: Background

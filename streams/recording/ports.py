"""What record and replay need from a cluster, as contracts.

`runtime.kafka` has the real drivers; `memory` the twin over `runtime.memory.MemoryLog`.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from streams.runtime.ports import Outgoing, TopicIdentity

Place = tuple[str, int]
"""A partition of a topic."""


class Cluster(Protocol):
    """Says what a cluster is and how its topics are set."""

    async def describe(self) -> Mapping[str, int]:
        """Return every topic with its partition count."""

    async def identity(self, topic: str) -> TopicIdentity:
        """Return which topic this is; `Halt` if it does not exist, `Unreachable` if none says."""

    async def configs(self, topic: str) -> Mapping[str, str]:
        """Return the topic's configuration, {} where the broker does not tell."""


class BatchSink(Protocol):
    """Writes records a batch at a time."""

    async def send_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing]
    ) -> Awaitable[None]:
        """Queue records of one partition in their order, each with its own timestamp.

        What is returned completes when all are durable and raises `Retry` if they are not.
        """

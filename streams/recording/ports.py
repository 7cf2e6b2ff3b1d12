"""What record and replay need from a cluster, as contracts.

`runtime.kafka` has the real drivers; `memory` the twin over `runtime.memory.MemoryLog`.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from streams.runtime.ports import Offsets, Outgoing, Record, TopicIdentity

Place = tuple[str, int]
"""A partition of a topic."""


class LogReader(Protocol):
    """Reads any partitions of any topics from given positions, as no member of a group."""

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers."""

    async def stop(self) -> None:
        """Disconnect, within 10 s. Idempotent."""

    async def offsets(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Offsets]:
        """Return the bounds of partitions' logs; `Retry` if the brokers do not say."""

    async def offsets_at(self, topic: str, times: Mapping[int, int]) -> Mapping[int, int | None]:
        """Return each partition's first offset at or after a time in ms, None if there is none.

        None too from a broker that cannot search by time.
        """

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, and no others; does not await."""

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Return the next records in offset order, {} after `timeout_ms` without any.

        Never cancelled by the caller. `Retry` if the brokers fail for now, `Halt` code
        `data_loss` if a position left the log.
        """

    async def position(self, topic: str, partition: int) -> int:
        """Return the next offset that will be read of an assigned partition.

        It passes offsets that hold no record for readers (markers of transactions).
        """


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

"""Topics and consumer groups: what exists, of which identity, and making it.

librdkafka's admin client, because aiokafka knows no topic ids; its futures are awaited.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # re-exports unmarked
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from streams.errors import Halt, Retry, Unreachable
from streams.runtime.ports import Place, TopicIdentity

TIMEOUT_S: Final = 5.0
_COORDINATOR_AWAY: Final = frozenset(
    ("COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR")
)
"""It passes, though librdkafka does not call it retriable: a broker that just started."""


class KafkaCluster:
    """Asks and changes a cluster's topics; every call raises `Unreachable` without a broker."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._lazy: AdminClient | None = None

    @property
    def _client(self) -> AdminClient:
        if self._lazy is None:
            silence = {"log_level": 0, "socket.connection.setup.timeout.ms": 5_000}
            self._lazy = AdminClient({"bootstrap.servers": self._brokers, **silence})
        return self._lazy

    async def identity(self, topic: str) -> TopicIdentity:
        """Return cluster id, topic id and partition count; `Halt` if there is no such topic."""
        described = await self._describe(topic)
        cluster = await self._wait(self._client.describe_cluster(request_timeout=TIMEOUT_S))
        return TopicIdentity(
            cluster.cluster_id, str(described.topic_id), topic, len(described.partitions)
        )

    async def describe(self) -> Mapping[str, int]:
        """Return every topic with its partition count, internal ones left out."""
        try:
            listed = await asyncio.to_thread(self._client.list_topics, timeout=TIMEOUT_S)
        except KafkaException as error:
            raise self._sorted(error) from error
        return {
            name: len(topic.partitions)
            for name, topic in listed.topics.items()
            if not name.startswith("__")
        }

    async def configs(self, topic: str) -> Mapping[str, str]:
        """Return a topic's configuration; {} where the broker does not tell (embedded)."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        try:
            asked = self._client.describe_configs([resource], request_timeout=TIMEOUT_S)
            entries = await asyncio.wrap_future(asked[resource])
        except KafkaException as error:
            if error.args[0].name() == "_UNSUPPORTED_FEATURE":
                return {}
            raise self._sorted(error) from error
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}

    async def create(
        self, topic: str, partitions: int, replication: int, configs: Mapping[str, str]
    ) -> None:
        """Create a topic; `Halt` if the cluster refuses."""
        new = NewTopic(topic, partitions, replication, config=dict(configs))
        await self._wait(self._client.create_topics([new], request_timeout=TIMEOUT_S)[topic])

    async def set_configs(self, topic: str, configs: Mapping[str, str]) -> None:
        """Set these configuration entries of a topic and leave the others."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in configs.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        asked = self._client.incremental_alter_configs([resource], request_timeout=TIMEOUT_S)
        await self._wait(asked[resource])

    async def delete(self, topic: str) -> None:
        """Delete a topic."""
        await self._wait(self._client.delete_topics([topic], request_timeout=TIMEOUT_S)[topic])

    async def groups(self) -> list[str]:
        """Return the ids of all consumer groups, sorted."""
        listed = await self._wait(self._client.list_consumer_groups(request_timeout=TIMEOUT_S))
        return sorted(group.group_id for group in listed.valid)

    async def committed(self, group: str) -> Mapping[Place, int]:
        """Return a group's committed positions by topic and partition."""
        asked = self._client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=TIMEOUT_S
        )
        found = await self._wait(asked[group])
        return {
            (at.topic, at.partition): at.offset for at in found.topic_partitions if at.offset >= 0
        }

    async def forget_group(self, group: str) -> None:
        """Delete a consumer group without members, and its committed positions with it."""
        asked = self._client.delete_consumer_groups([group], request_timeout=TIMEOUT_S)
        await self._wait(asked[group])

    async def _describe(self, topic: str) -> Any:  # librdkafka's client ships no types
        asked = self._client.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT_S)
        try:
            return await asyncio.wrap_future(asked[topic])
        except KafkaException as error:
            if error.args[0].name() == "UNKNOWN_TOPIC_OR_PART":
                raise Halt(
                    f"topic {topic} does not exist at {self._brokers}: "
                    "run `streams topics apply --yes`",
                    code="topic_missing",
                ) from None
            raise self._sorted(error) from error

    async def _wait(self, asked: "Future[Any]") -> Any:
        try:
            return await asyncio.wrap_future(asked)
        except KafkaException as error:
            raise self._sorted(error) from error

    def _sorted(self, error: KafkaException) -> Exception:
        said = error.args[0]
        if said.name() in {"_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN", "_RESOLVE"}:
            return Unreachable(f"no Kafka broker at {self._brokers}: {said.str()}; check --brokers")
        if said.retriable() or said.name() in _COORDINATOR_AWAY:
            return Retry(f"Kafka at {self._brokers}: {said.str()}")
        return Halt(f"Kafka at {self._brokers}: {said.str()}", code="kafka")

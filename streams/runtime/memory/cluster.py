"""The port `Cluster` in memory: the topics and groups of a `MemoryLog`."""

from collections.abc import Mapping
from typing import Final

from streams.errors import Halt
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import GroupMember, Place, TopicIdentity


class MemoryCluster:
    """Topics and consumer groups of a `MemoryLog`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log: Final = log

    async def describe(self) -> Mapping[str, int]:
        """Return every topic with its partition count."""
        return self._log.topics()

    async def identity(self, topic: str) -> TopicIdentity:
        """Return which topic this is; `Halt` if it does not exist."""
        return self._log.identity(topic)

    async def configs(self, topic: str) -> Mapping[str, str]:
        """Return the configuration that a topic was made with."""
        return dict(self._log.configs(topic))

    async def session_timeouts(self) -> tuple[int, int] | None:
        """Return None: its groups know no time."""
        return None

    async def create(
        self,
        topic: str,
        partitions: int,
        replication: int,  # noqa: ARG002 - memory has one copy
        configs: Mapping[str, str],
    ) -> None:
        """Create a topic; `Halt` if it exists."""
        if topic in self._log.topics():
            raise Halt(f"topic {topic} exists already", code="kafka")
        self._log.create(topic, partitions)
        self._log.configs(topic).update(configs)

    async def set_configs(self, topic: str, configs: Mapping[str, str]) -> None:
        """Set these configuration entries of a topic and leave the others."""
        self._log.configs(topic).update(configs)

    async def delete(self, topic: str) -> None:
        """Delete a topic with its records."""
        self._log.delete(topic)

    async def groups(self) -> list[str]:
        """Return the ids of all consumer groups, sorted."""
        return self._log.groups()

    async def committed(self, group: str) -> Mapping[Place, int]:
        """Return a group's committed positions by topic and partition."""
        return self._log.committed(group)

    async def members(self, group: str) -> list[GroupMember]:
        """Return a group's members, none of a group that does not exist."""
        return self._log.members(group)

    async def forget_group(self, group: str) -> None:
        """Delete a group without members, and its committed positions; `Halt` if it has some."""
        self._log.forget_group(group)

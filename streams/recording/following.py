"""Whether the topics that are recorded are still the same, and what was added to them meanwhile."""

from typing import Final

from streams.errors import Halt
from streams.recording.manifest import Manifest, Span
from streams.runtime.answers import require_all
from streams.runtime.ports import Cluster, LogReader, Place


class TopicWatch:
    """Watches the topics of one recording."""

    def __init__(self, reader: LogReader, cluster: Cluster, manifest: Manifest) -> None:
        self._reader: Final = reader
        self._cluster: Final = cluster
        self._manifest: Final = manifest

    async def look(self) -> dict[Place, Span]:
        """Return partitions that were added to followed topics; they are in the manifest then.

        `Halt` if a topic is gone or was made again: its offsets mean other records now.
        """
        added: dict[Place, Span] = {}
        for name, topic in self._manifest.topics.items():
            identity = await self._cluster.identity(name)
            ours = (self._manifest.cluster_id, topic.topic_id)
            if (identity.cluster_id, identity.topic_id) != ours:
                raise Halt(
                    f"topic {name} is not the one that was recorded: it was made again, or is of "
                    "another cluster; the latest records may be of either: record into a new "
                    "folder",
                    code="log_rewritten",
                )
            if not topic.follow or identity.partitions <= topic.partitions:
                continue
            numbers = range(topic.partitions, identity.partitions)
            bounds = require_all(name, numbers, await self._reader.offsets(name, numbers))
            for number in numbers:
                topic.spans[number] = added[name, number] = Span(bounds[number].start, None)
            topic.partitions = identity.partitions
        return added

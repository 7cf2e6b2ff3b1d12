"""Where events go: whether the topics exist, and what a producer must know of them."""

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from streams.errors import Halt
from streams.runtime.ports import Cluster
from streams.settings import PUBLISHED, Settings


class Destination(NamedTuple):
    """The partition count of the interactions, and the oldest time that every topic still keeps."""

    partitions: int
    oldest_ms: int


async def look_up(cluster: Cluster, settings: Settings, now_ms: int) -> Destination:
    """Return what the topics are; `Halt` if one is missing, `Denied` if it is not ours to see."""
    existing = await cluster.describe()
    missing = [topic for name in PUBLISHED if (topic := settings.topic(name)) not in existing]
    if missing:
        with suppress(Halt):
            await cluster.identity(missing[0])
        raise Halt(f"no topic {', '.join(missing)}: run `streams topics apply --yes`")
    configs = [await cluster.configs(settings.topic(name)) for name in PUBLISHED]
    kept = [int(found["retention.ms"]) for found in configs if "retention.ms" in found]
    finite = [milliseconds for milliseconds in kept if milliseconds >= 0]
    oldest = now_ms - min(finite) if finite else 0
    return Destination(existing[settings.topic("interactions")], oldest)


def writable(existing: Mapping[str, int], settings: Settings) -> Mapping[str, int]:
    """Return which topics of producers exist, of all that may be seen; `Halt` if none does."""
    ours = [settings.topic(name) for name in PUBLISHED]
    topics = {topic: existing[topic] for topic in ours if topic in existing}
    if not topics:
        raise Halt(
            f"no topic {', '.join(ours)}, or none that may be seen: run `streams topics apply "
            "--yes`, or check the prefix",
            code="topic_missing",
        )
    return topics

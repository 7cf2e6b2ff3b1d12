"""The topics the pipeline needs, what exists, and the difference."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from streams.settings import TOPICS, Settings

RECEIPTS_KEPT_HOURS: Final = 2_160
"""Receipts explain decisions long after the log is gone: 90 days, or the log's own time."""
BATCH_OVERHEAD_BYTES: Final = 65_536
"""What a record's headers and batch add to the largest value that is parsed."""
_HOUR_MS: Final = 3_600_000

Action = Literal["create", "change", "ok", "conflict"]


class Topic(NamedTuple):
    """A topic as it should be."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]


class Step(NamedTuple):
    """What is to be done about one topic; `why` says it for people, "" where all is well."""

    topic: Topic
    action: Action
    configs: Mapping[str, str]  # to be set by a change
    why: str


def wanted_topics(settings: Settings) -> list[Topic]:
    """Return every topic and its dead letters; none is compacted: each is a log, not a table."""
    log_ms = settings.retention_hours * _HOUR_MS
    receipts_ms = max(log_ms, RECEIPTS_KEPT_HOURS * _HOUR_MS)
    names = [name for topic in TOPICS for name in (topic, None)]
    topics = []
    for place, name in enumerate(names):
        source = TOPICS[place // 2]
        full = settings.topic(source) if name else settings.dead_letters(source)
        kept = receipts_ms if name == "decisions" else log_ms
        configs = _configs(settings, kept)
        topics.append(Topic(full, settings.partitions, settings.replication, configs))
    return topics


def plan(
    wanted: Sequence[Topic],
    partitions: Mapping[str, int],
    configs: Mapping[str, Mapping[str, str]],
) -> list[Step]:
    """Return one step per wanted topic.

    `partitions` has the count of every topic that exists, `configs` what is known of theirs; an
    entry that is not known is left alone. A wrong partition count or a compacted topic is a
    conflict: to change either would lose or move what is stored.
    """
    return [
        _step(topic, partitions.get(topic.name), configs.get(topic.name, {})) for topic in wanted
    ]


def _configs(settings: Settings, kept_ms: int) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(kept_ms),
        "max.message.bytes": str(settings.record_bytes + BATCH_OVERHEAD_BYTES),
        "min.insync.replicas": str(max(settings.replication - 1, 1)),
    }


def _step(topic: Topic, partitions: int | None, found: Mapping[str, str]) -> Step:
    if partitions is None:
        return Step(topic, "create", {}, "does not exist")
    if partitions != topic.partitions:
        why = (
            f"has {partitions} partitions, the settings say {topic.partitions}: set partitions to "
            f"{partitions}, or use another --topic-prefix"
        )
        return Step(topic, "conflict", {}, why)
    if "compact" in found.get("cleanup.policy", ""):
        why = (
            f"cleanup.policy is {found['cleanup.policy']}, which deletes what the counters are "
            "made of: use another --topic-prefix, or set it to delete yourself"
        )
        return Step(topic, "conflict", {}, why)
    differing = {
        name: value for name, value in topic.configs.items() if _differs(name, value, found)
    }
    if not differing:
        return Step(topic, "ok", {}, "")
    why = ", ".join(f"{name} {found[name]} -> {value}" for name, value in differing.items())
    return Step(topic, "change", differing, why)


def _differs(name: str, value: str, found: Mapping[str, str]) -> bool:
    return name in found and found[name] != value

"""The topics the pipeline needs, what exists, and the difference."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from streams.errors import Halt
from streams.runtime.answers import require_all
from streams.runtime.documents import DOCUMENT_RECORDS
from streams.runtime.documents import TOPIC as DOSSIERS
from streams.runtime.installation import TOPIC as TABLE
from streams.runtime.ledger import TOPIC as LEDGER
from streams.runtime.mixes import TOPIC as MIX
from streams.runtime.ports import Cluster, LogReader
from streams.runtime.waiting import TOPIC as WAITING
from streams.settings import TOPICS, Settings

RECEIPTS_KEPT_HOURS: Final = 2_160
"""Receipts explain decisions long after the log is gone: 90 days, or the log's own time."""
KEPT_LONG: Final = ("decisions", "traffic")
LETTERS_KEPT_HOURS: Final = 336
"""Letters hold what strangers wrote, persons too: 14 days, however long the log is kept."""
LETTERS_SEGMENT_HOURS: Final = 24
"""A broker deletes whole segments: so much longer a letter may stay at most."""
BATCH_OVERHEAD_BYTES: Final = 65_536
"""What a record's headers and batch add to the largest value that is parsed."""
UNCOMPACTED_MS: Final = 86_400_000
"""So long a lesser copy of a dossier may follow a greater one, and both stay to be compared."""
DELETES: Final = " (deletes records, done with --allow-deleting only)"
ANSWER_TRIES: Final = 50
AGAIN_S: Final = 0.2
"""A topic that was just made has no leader for a moment."""
_HOUR_MS: Final = 3_600_000
_LETTERS: Final = {
    "retention.ms": str(LETTERS_KEPT_HOURS * _HOUR_MS),
    "segment.ms": str(LETTERS_SEGMENT_HOURS * _HOUR_MS),
}

Action = Literal["create", "change", "ok", "conflict"]


class WantedTopic(NamedTuple):
    """A topic as it should be."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]

    @property
    def retention_hours(self) -> int | None:
        """How long it keeps records, None where it keeps the last one of each key."""
        kept_ms = self.configs.get("retention.ms")
        return None if kept_ms is None else int(kept_ms) // _HOUR_MS


class TopicStep(NamedTuple):
    """What is to be done about one topic; `why` says it for people, "" where all is well.

    A change sets `configs`; those named in `deleting` would delete records that are there now.
    """

    topic: WantedTopic
    action: Action
    configs: Mapping[str, str]
    why: str
    deleting: frozenset[str] = frozenset()

    def keeping(self) -> Mapping[str, str]:
        """Return what can be set without deleting records."""
        return {name: text for name, text in self.configs.items() if name not in self.deleting}


def wanted_topics(settings: Settings) -> list[WantedTopic]:
    """Return every topic and its dead letters, each a log; behind them come the tables."""
    log_ms = settings.retention_hours * _HOUR_MS
    receipts_ms = max(log_ms, RECEIPTS_KEPT_HOURS * _HOUR_MS)
    names = [name for topic in TOPICS for name in (topic, None)]
    topics = []
    for place, name in enumerate(names):
        source = TOPICS[place // 2]
        full = settings.topic(source) if name else settings.dead_letters(source)
        configs = _configs(settings, receipts_ms if name in KEPT_LONG else log_ms)
        if name is None:
            configs |= _LETTERS
        topics.append(WantedTopic(full, settings.partitions, settings.replication, configs))
    return [*topics, *_tables(settings)]


async def compare_topics(cluster: Cluster, settings: Settings) -> list[TopicStep]:
    """Return the plan for the topics of these settings; `Denied` if one is not ours to see."""
    existing = await cluster.describe()
    wanted = wanted_topics(settings)
    for topic in wanted:
        if topic.name not in existing:
            with suppress(Halt):
                await cluster.identity(topic.name)
    configs = {
        topic.name: await cluster.configs(topic.name) for topic in wanted if topic.name in existing
    }
    return plan_topics(wanted, existing, configs)


async def apply_steps(
    cluster: Cluster,
    steps: Sequence[TopicStep],
    *,
    allow_deleting: bool,
    tell: Callable[[int], None],
) -> int:
    """Create and change topics as the steps say; return how many were.

    What deletes records is left alone unless it is allowed. `tell` hears how many steps are done.
    """
    acted = 0
    for done, step in enumerate(steps, start=1):
        acted += await _act(cluster, step, step.configs if allow_deleting else step.keeping())
        tell(done)
    return acted


async def make_topics(cluster: Cluster, reader: LogReader, settings: Settings) -> None:
    """Create the topics of these settings that do not exist; return when all of them answer.

    `Halt` if one is there and is another one than it should be.
    """
    steps = await compare_topics(cluster, settings)
    for step in steps:
        if step.action == "conflict":
            raise Halt(f"topic {step.topic.name} {step.why}")
    await apply_steps(cluster, steps, allow_deleting=False, tell=lambda _done: None)
    for step in steps:
        name, partitions = step.topic.name, range(step.topic.partitions)
        for left in reversed(range(ANSWER_TRIES)):
            answer = await reader.offsets(name, partitions)
            if len(answer) == len(partitions) or not left:
                require_all(name, partitions, answer)
                break
            await asyncio.sleep(AGAIN_S)


def plan_topics(
    wanted: Sequence[WantedTopic],
    partitions: Mapping[str, int],
    configs: Mapping[str, Mapping[str, str]],
) -> list[TopicStep]:
    """Return one step per wanted topic.

    `partitions` has the count of every topic that exists, `configs` what is known of theirs; an
    entry that is not known is left alone. A wrong partition count or a compacted topic is a
    conflict: to change either would lose or move what is stored.
    """
    return [
        _step(topic, partitions.get(topic.name), configs.get(topic.name, {})) for topic in wanted
    ]


async def _act(cluster: Cluster, step: TopicStep, configs: Mapping[str, str]) -> bool:
    topic = step.topic
    if step.action == "create":
        await cluster.create(topic.name, topic.partitions, topic.replication, topic.configs)
        return True
    if step.action == "change" and configs:
        await cluster.set_configs(topic.name, configs)
        return True
    return False


def _tables(settings: Settings) -> list[WantedTopic]:
    """Return the topics that keep the last record of each key.

    Which installation this is with its policies, what feeds go by, what of the log is skipped, what
    waits for a person, and what is known of each video.
    """
    configs = {**_configs(settings, 0), "cleanup.policy": "compact"}
    del configs["retention.ms"]
    document = DOCUMENT_RECORDS * settings.record_bytes + BATCH_OVERHEAD_BYTES
    copies = {"max.message.bytes": str(document), "min.compaction.lag.ms": str(UNCOMPACTED_MS)}
    hourly = {"segment.ms": str(_HOUR_MS)}  # only closed segments are compacted
    return [
        WantedTopic(settings.topic(TABLE), 1, settings.replication, configs),
        WantedTopic(settings.topic(MIX), 1, settings.replication, configs | hourly),
        WantedTopic(settings.topic(LEDGER), 1, settings.replication, configs),
        WantedTopic(settings.topic(WAITING), settings.partitions, settings.replication, configs),
        WantedTopic(
            settings.topic(DOSSIERS), settings.partitions, settings.replication, configs | copies
        ),
    ]


def _configs(settings: Settings, kept_ms: int) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(kept_ms),
        "max.message.bytes": str(settings.record_bytes + BATCH_OVERHEAD_BYTES),
        "min.insync.replicas": str(max(settings.replication - 1, 1)),
    }


def _step(topic: WantedTopic, partitions: int | None, present: Mapping[str, str]) -> TopicStep:
    if partitions is None:
        return TopicStep(topic, "create", {}, "does not exist")
    if partitions != topic.partitions:
        why = (
            f"has {partitions} partitions, the settings say {topic.partitions}: set partitions to "
            f"{partitions}, or use another --topic-prefix"
        )
        return TopicStep(topic, "conflict", {}, why)
    if _is_compacted(present) and not _is_compacted(topic.configs):
        why = (
            f"cleanup.policy is {present['cleanup.policy']}, which deletes what the counters are "
            "made of: use another --topic-prefix, or set it to delete yourself"
        )
        return TopicStep(topic, "conflict", {}, why)
    differing = {
        name: value for name, value in topic.configs.items() if _differs(name, value, present)
    }
    if not differing:
        return TopicStep(topic, "ok", {}, "")
    why = ", ".join(f"{name} {present[name]} -> {value}" for name, value in differing.items())
    deleting = frozenset({"retention.ms"} if _is_shorter(differing, present) else ())
    return TopicStep(topic, "change", differing, f"{why}{DELETES if deleting else ''}", deleting)


def _is_compacted(configs: Mapping[str, str]) -> bool:
    return "compact" in configs.get("cleanup.policy", "")


def _is_shorter(differing: Mapping[str, str], present: Mapping[str, str]) -> bool:
    """Tell whether records that the topic keeps now would be deleted; -1 keeps all."""
    if "retention.ms" not in differing:
        return False
    before, after = int(present["retention.ms"]), int(differing["retention.ms"])
    return after >= 0 and (before < 0 or after < before)


def _differs(name: str, value: str, present: Mapping[str, str]) -> bool:
    return name in present and present[name] != value

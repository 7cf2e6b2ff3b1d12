"""A replay into Kafka before it begins: which topics, whether it may, and from where on."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import orjson

from streams.errors import Halt
from streams.recording.checkpoint import Checkpoint, Reached, load_checkpoint
from streams.recording.ledger import Ledger
from streams.recording.pacing import Pace
from streams.recording.reader import Recording
from streams.recording.replayer import Replayer, Time
from streams.recording.routing import Options, Target
from streams.recording.target import Caveat, caveats_of, require_target
from streams.runtime.ports import Cluster, Outgoing, Place


@dataclass(frozen=True)
class ReplayRequest:
    """What a replay into Kafka is asked for; `topics` maps recorded topics to target topics."""

    topics: Mapping[str, str]
    options: Options
    began_ms: int
    run_id: str | None = None
    allow_same_topic: bool = False


@dataclass(frozen=True)
class ReplayPlan:
    """A replay into Kafka, checked. `records` are those of its topics, selected or not."""

    request: ReplayRequest
    target: Target
    cluster_id: str
    topic_ids: Mapping[str, str]  # by target topic
    caveats: Sequence[Caveat]
    records: int

    @property
    def keeps_timestamps(self) -> bool:
        """Whether what the target holds bears the timestamps that were sent."""
        stamped = any(caveat.kind == "append-time" for caveat in self.caveats)
        return self.request.options.timestamps != "now" and not stamped

    def digest(self, recording: Recording) -> str:
        """Return what must be equal for a checkpoint to be this replay's."""
        options, topics = self.request.options, dict(self.target.topics)
        selection = options.selection
        rekeyed = options.partitions == "rekey"
        parts = [
            recording.manifest.recording_id,
            self.cluster_id,
            topics,
            {to: self.target.counts[to] for to in topics.values()} if rekeyed else None,
            [options.partitions, options.timestamps, options.trace, options.limit],
            [selection.start_ms, selection.end_ms, dict(selection.where)],
            options.resigner and options.resigner.signer.key.public,
        ]
        return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def target_topics(
    recording: Recording, pairs: Sequence[tuple[str, str]], full_name: Callable[[str], str]
) -> dict[str, str]:
    """Return recorded topics and where they go, from pairs of names; all without a pair.

    An empty second name is the first one. `Halt` if the recording does not have a topic.
    """
    known = recording.manifest.topics
    if not known:
        raise Halt("the recording has no topic")
    topics = {}
    for name, to in pairs:
        recorded = recorded_topic(recording, name, full_name)
        topics[recorded] = full_name(to) if to else recorded
    return topics or {name: name for name in known}


def recorded_topic(recording: Recording, name: str, full_name: Callable[[str], str]) -> str:
    """Return the recorded topic that a person names, with its prefix or without."""
    for candidate in (name, full_name(name)):
        if candidate in recording.manifest.topics:
            return candidate
    known = ", ".join(sorted(recording.manifest.topics)) or "none"
    raise Halt(f"the recording has no topic {name}; it has: {known} (choose with --topic)")


async def plan_replay(
    recording: Recording, cluster: Cluster, request: ReplayRequest, now_ms: int
) -> ReplayPlan:
    """Return the plan of a replay; `Halt` if the target has no place for it or must not get it."""
    counts = await cluster.describe()
    manifest = recording.manifest
    recorded = {name: manifest.topics[name].partitions for name in request.topics}
    target = Target(request.topics, counts, recorded)
    require_target(target, request.options.partitions)
    identities = [await cluster.identity(topic) for topic in request.topics.values()]
    cluster_id = identities[0].cluster_id
    if not request.allow_same_topic:
        _require_another_topic(manifest.cluster_id, cluster_id, request.topics)
    return ReplayPlan(
        request,
        target,
        cluster_id,
        {identity.topic: identity.topic_id for identity in identities},
        await caveats_of(recording, cluster, target, request.options, now_ms),
        sum(s.records for s in manifest.segments if s.topic in request.topics),
    )


def earlier_checkpoint(file: Path | None, *, resume: bool) -> Checkpoint | None:
    """Return the checkpoint to go on from, None for a replay from its start.

    `Halt` if there is none to go on from, or one that a new replay would overwrite.
    """
    if file is None:
        return None
    if resume:
        return load_checkpoint(file)
    if file.exists():
        raise Halt(f"{file} holds the place of a replay: go on with --resume, or remove it")
    return None


def starting_point(
    recording: Recording, plan: ReplayPlan, earlier: Checkpoint | None, file: Path | None
) -> Checkpoint:
    """Return where a replay begins: at `earlier`, from `file`, if that is of this very replay.

    `Halt` if it is another one's, or if a target topic was made again since.
    """
    digest, run_id = plan.digest(recording), plan.request.run_id
    if earlier is None or file is None:
        positions: dict[str, dict[int, int]] = {}
        for topic, number in recording.places():
            if topic in plan.target.topics:
                positions.setdefault(topic, {})[number] = 0
        targets = {topic: Reached(topic_id) for topic, topic_id in plan.topic_ids.items()}
        began_ms = plan.request.began_ms
        return Checkpoint(digest, run_id or uuid.uuid4().hex, positions, 0, None, began_ms, targets)
    earlier.require_plan(digest, file)
    if run_id is not None and run_id != earlier.run_id:
        raise Halt(f"{file} belongs to the run {earlier.run_id}")
    for topic, reached in earlier.targets.items():
        if reached.topic_id != plan.topic_ids[topic]:
            raise Halt(
                f"topic {topic} was made again since {file} was written: what was sent before is "
                "gone with the old one; replay from the start",
                code="target_changed",
            )
    return earlier


async def count_replay(
    recording: Recording, plan: ReplayPlan, checkpoint: Checkpoint, time: Time
) -> Mapping[Place, int]:
    """Return how many records a replay would send to each partition; sends nothing."""
    sink = _Counting()
    fast = replace(plan.request.options, pace=Pace(None), trace=False)
    await Replayer(recording, sink, plan.target, fast, time, Ledger(checkpoint)).run(lambda: False)
    return sink.records


class _Counting:
    """A sink that counts instead of sending."""

    def __init__(self) -> None:
        self.records: Counter[Place] = Counter()

    async def send_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing]
    ) -> Awaitable[None]:
        """Count the records."""
        self.records[topic, partition] += len(records)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def _require_another_topic(source: str, cluster_id: str, topics: Mapping[str, str]) -> None:
    """Raise `Halt` if a topic would be replayed into itself, as far as `source` tells."""
    same = [name for name, topic in topics.items() if name == topic]
    if same and source in ("", cluster_id):
        where = "cluster" if source else "cluster, for all the file says"
        raise Halt(
            f"{same[0]} is the recorded topic of this very {where}: name another with "
            f"--topic {same[0]}=TARGET, or say --allow-same-topic"
        )

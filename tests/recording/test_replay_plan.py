"""A replay's plan: which topics, whether it may begin, and from where on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.events import NOW
from kit.recordings import (
    FAST,
    TOPIC,
    Brokers,
    Hands,
    busy_log,
    cluster_of,
    target,
)
from kit.recordings import record as record_whole

from streams.errors import Halt
from streams.recording.checkpoint import load_checkpoint, save_checkpoint
from streams.recording.reader import Recording
from streams.recording.replay_plan import (
    ReplayRequest,
    count_replay,
    earlier_checkpoint,
    plan_replay,
    recorded_topic,
    starting_point,
    target_topics,
)
from streams.recording.selection import Selection

REQUEST = ReplayRequest({TOPIC: "again"}, FAST, NOW)


@pytest.fixture
async def recording(tmp_path: Path) -> Recording:
    return await record_whole(cluster_of(busy_log(100)), tmp_path / "r")


def full_name(name: str) -> str:
    return name if name.startswith("p-") else f"p-{name}"


async def test_topics_are_named_with_their_prefix_or_without(recording: Recording) -> None:
    topics = recording.manifest.topics
    topics["p-interactions"] = topics.pop(TOPIC)
    wanted = {"p-interactions": "p-again"}
    for name in (TOPIC, "p-interactions"):
        for to in ("again", "p-again"):
            assert target_topics(recording, [(name, to)], full_name) == wanted
    assert target_topics(recording, [(TOPIC, "")], full_name) == {
        "p-interactions": "p-interactions"
    }
    assert target_topics(recording, [], full_name) == {"p-interactions": "p-interactions"}
    with pytest.raises(Halt, match="has no topic nope; it has: p-interactions"):
        recorded_topic(recording, "nope", full_name)


async def test_the_recorded_topic_itself_wants_a_flag(recording: Recording) -> None:
    same = Brokers(busy_log(1))
    request = replace(REQUEST, topics={TOPIC: TOPIC})
    with pytest.raises(Halt, match="--allow-same-topic"):
        await plan_replay(recording, same, request, NOW)
    plan = await plan_replay(recording, same, replace(request, allow_same_topic=True), NOW)
    assert plan.records == recording.manifest.records


async def test_a_plan_knows_ids_and_caveats_of_its_target(recording: Recording) -> None:
    log, cluster = target()
    log.configs("again")["message.timestamp.type"] = "LogAppendTime"
    plan = await plan_replay(recording, cluster, REQUEST, NOW)
    assert (plan.cluster_id, plan.topic_ids) == ("other", {"again": "again-1"})
    assert [caveat.kind for caveat in plan.caveats] == ["append-time"]
    assert not plan.keeps_timestamps


async def test_a_dry_run_counts_and_sends_nothing(recording: Recording) -> None:
    log, cluster = target()
    plan = await plan_replay(recording, cluster, REQUEST, NOW)
    start = starting_point(recording, plan, None, None)
    counts = await count_replay(recording, plan, start, Hands().time())
    assert sum(counts.values()) == recording.manifest.records == start.sent
    assert log.offsets("again", 0).end == 0


async def resumed(recording: Recording, cluster: Brokers, file: Path, request: Any) -> Any:
    plan = await plan_replay(recording, cluster, request, NOW)
    return starting_point(recording, plan, earlier_checkpoint(file, resume=True), file)


async def test_a_checkpoint_belongs_to_one_replay(recording: Recording, tmp_path: Path) -> None:
    _, cluster = target()
    file = tmp_path / "at"
    plan = await plan_replay(recording, cluster, REQUEST, NOW)
    save_checkpoint(file, starting_point(recording, plan, None, file))
    assert await resumed(recording, cluster, file, REQUEST) == load_checkpoint(file)
    with pytest.raises(Halt, match="holds the place of a replay"):
        earlier_checkpoint(file, resume=False)
    later = replace(REQUEST, options=replace(FAST, selection=Selection(start_ms=NOW)))
    with pytest.raises(Halt, match="belongs to another replay"):
        await resumed(recording, cluster, file, later)
    with pytest.raises(Halt, match="belongs to the run"):
        await resumed(recording, cluster, file, replace(REQUEST, run_id="other"))


async def test_a_target_that_was_made_again_is_refused(
    recording: Recording, tmp_path: Path
) -> None:
    log, cluster = target()
    file = tmp_path / "at"
    plan = await plan_replay(recording, cluster, REQUEST, NOW)
    save_checkpoint(file, starting_point(recording, plan, None, file))
    log.create("again", 4)
    with pytest.raises(Halt, match="topic again was made again"):
        await resumed(recording, cluster, file, REQUEST)


async def test_relative_times_count_from_when_the_replay_began(
    recording: Recording, tmp_path: Path
) -> None:
    file = tmp_path / "at"
    _, cluster = target()
    plan = await plan_replay(recording, cluster, REQUEST, NOW)
    save_checkpoint(file, starting_point(recording, plan, None, file))
    earlier = earlier_checkpoint(file, resume=True)
    assert earlier is not None
    assert earlier.began_ms == NOW


async def test_rekeying_into_another_partition_count_is_another_replay(
    recording: Recording, tmp_path: Path
) -> None:
    log, cluster = target()
    file = tmp_path / "at"
    rekeyed = replace(REQUEST, options=replace(FAST, partitions="rekey"))
    plan = await plan_replay(recording, cluster, rekeyed, NOW)
    save_checkpoint(file, starting_point(recording, plan, None, file))
    log.grow("again", 5)
    with pytest.raises(Halt, match="belongs to another replay"):
        await resumed(recording, cluster, file, rekeyed)

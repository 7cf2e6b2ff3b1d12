"""A resumed replay knows what it left in the target, and notices who else wrote there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.events import NOW
from kit.recordings import (
    FAST,
    Brokers,
    Hands,
    busy_log,
    cluster_of,
    everything,
    fresh_checkpoint,
    partition_records,
    replayer_into,
    seen,
    target,
)
from kit.recordings import record as record_whole

from streams.errors import Halt, Retry
from streams.recording.checkpoint import load_checkpoint
from streams.recording.reader import Recording
from streams.runtime.memory import MemoryLog
from streams.runtime.ports import Outgoing

SMALL = replace(FAST, batch=100)


class Killed(Exception):
    pass


@pytest.fixture
async def recording(tmp_path: Path) -> Recording:
    return await record_whole(cluster_of(busy_log()), tmp_path / "r")


async def kill_at(
    recording: Recording, cluster: Brokers, file: Path, write: int, options: Any = SMALL
) -> None:
    """Replay, and die behind the given write of a partition's batch."""
    send, writes = cluster.send_batch, iter(range(write))

    async def send_or_die(topic: str, partition: int, records: Any) -> Any:
        ack = await send(topic, partition, records)
        if next(writes, None) is None:
            raise Killed
        return ack

    cluster.send_batch = send_or_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await replayer_into(recording, cluster, options, file=file).run(lambda: False)
    cluster.send_batch = send  # type: ignore[method-assign]


async def resume(
    recording: Recording, cluster: Brokers, file: Path, options: Any = SMALL, hands: Any = None
) -> None:
    checkpoint = load_checkpoint(file)
    again = replayer_into(recording, cluster, options, hands, checkpoint, file=file)
    assert await again.run(lambda: False)


@pytest.mark.parametrize("write", [0, 1, 2, 3, 4, 9, 10])
async def test_what_a_killed_batch_left_is_not_sent_again(
    recording: Recording, tmp_path: Path, write: int
) -> None:
    log, cluster = target()
    await kill_at(recording, cluster, tmp_path / "at", write)
    await resume(recording, cluster, tmp_path / "at")
    assert seen(partition_records(log, topic="again")) == seen(everything(recording))
    assert load_checkpoint(tmp_path / "at").sent == recording.manifest.records


@pytest.mark.parametrize("timestamps", ["shift", "now"])
async def test_new_timestamps_do_not_hide_what_arrived(
    recording: Recording, tmp_path: Path, timestamps: Any
) -> None:
    log, cluster = target()
    options = replace(SMALL, timestamps=timestamps)
    await kill_at(recording, cluster, tmp_path / "at", 2, options)
    later = Hands(now=5_000.0)
    await resume(recording, cluster, tmp_path / "at", options, later)
    sent = partition_records(log, topic="again")
    assert [(r.key, r.value) for r in sent] == [(r.key, r.value) for r in everything(recording)]


async def test_rekeyed_records_are_told_apart_too(recording: Recording, tmp_path: Path) -> None:
    log, cluster = target(3)
    whole_log, whole = target(3)
    options = replace(SMALL, partitions="rekey")
    assert await replayer_into(recording, whole, options).run(lambda: False)
    await kill_at(recording, cluster, tmp_path / "at", 4, options)
    await resume(recording, cluster, tmp_path / "at", options)
    expected = seen(partition_records(whole_log, 3, "again"))
    assert seen(partition_records(log, 3, "again")) == expected


async def test_records_before_the_replay_and_retention_do_not_confuse_it(
    recording: Recording, tmp_path: Path
) -> None:
    log, cluster = target()
    for number in range(4):
        log.append(Outgoing("again", b"earlier", partition=number))
    await kill_at(recording, cluster, tmp_path / "at", 6)
    for number in range(4):  # retention takes the first half of what arrived
        log.forget("again", number, log.offsets("again", number).end // 2)
    await resume(recording, cluster, tmp_path / "at")
    ends = [log.offsets("again", number).end - 1 for number in range(4)]
    assert sum(ends) == recording.manifest.records


def somebody_writes(log: MemoryLog) -> None:
    log.append(Outgoing("again", b"mine", b"k", partition=2, timestamp=NOW))


async def test_somebody_elses_records_halt_a_resume(recording: Recording, tmp_path: Path) -> None:
    log, cluster = target()
    await kill_at(recording, cluster, tmp_path / "at", 2)
    somebody_writes(log)
    with pytest.raises(Halt, match=r"again\[2\].*somebody else writes to it"):
        await resume(recording, cluster, tmp_path / "at")
    for number in range(4):
        sent = [r.value for r in log.records("again", number) if r.value != b"mine"]
        recorded = [r.value for r in everything(recording) if r.partition == number]
        assert sent == recorded[: len(sent)]  # nothing twice up to there


async def test_more_than_a_batch_is_somebody_elses(recording: Recording, tmp_path: Path) -> None:
    log, cluster = target()
    await kill_at(recording, cluster, tmp_path / "at", 0)
    for _ in range(101):
        somebody_writes(log)
    with pytest.raises(Halt, match="somebody else writes to it"):
        await resume(recording, cluster, tmp_path / "at")


async def test_records_behind_a_finished_replay_are_said(
    recording: Recording, tmp_path: Path
) -> None:
    log, cluster = target()
    assert await replayer_into(recording, cluster, SMALL, file=tmp_path / "at").run(lambda: False)
    somebody_writes(log)
    with pytest.raises(Halt, match="somebody else writes to it"):
        await resume(recording, cluster, tmp_path / "at")


async def test_an_emptied_target_halts_a_resume(recording: Recording, tmp_path: Path) -> None:
    log, cluster = target()
    await kill_at(recording, cluster, tmp_path / "at", 9)
    log.create("again", 4)
    with pytest.raises(Halt, match="it was emptied or lost records"):
        await resume(recording, cluster, tmp_path / "at")


async def test_what_arrived_in_spite_of_a_failure_is_not_written_again(
    recording: Recording, tmp_path: Path
) -> None:
    """The answer to a write was lost, the write was not."""
    log, cluster = target()
    send, failures = cluster.send_batch, [Retry("no answer")] * 3

    async def lose_answers(topic: str, partition: int, records: Any) -> Any:
        ack = await send(topic, partition, records)
        if partition == 1 and failures:
            ack = ack.get_loop().create_future()
            ack.set_exception(failures.pop())
        return ack

    cluster.send_batch = lose_answers  # type: ignore[method-assign]
    assert await replayer_into(recording, cluster, SMALL, file=tmp_path / "at").run(lambda: False)
    assert failures == []
    assert seen(partition_records(log, topic="again")) == seen(everything(recording))


async def test_nothing_is_written_again_before_it_is_known_what_arrived(
    recording: Recording, tmp_path: Path
) -> None:
    log, cluster = target()
    send, offsets, calls = cluster.send_batch, cluster.offsets, iter(range(100))

    async def lose_the_first_answer(topic: str, partition: int, records: Any) -> Any:
        ack = await send(topic, partition, records)
        if next(calls) == 0:
            ack = ack.get_loop().create_future()
            ack.set_exception(Retry("no answer"))
            cluster.offsets = fail_once  # type: ignore[method-assign]
        return ack

    async def fail_once(topic: str, partitions: Any) -> Any:
        cluster.offsets = offsets  # type: ignore[method-assign]
        raise Retry("no leader")

    cluster.send_batch = lose_the_first_answer  # type: ignore[method-assign]
    assert await replayer_into(recording, cluster, FAST, file=tmp_path / "at").run(lambda: False)
    assert seen(partition_records(log, topic="again")) == seen(everything(recording))


async def test_the_place_is_kept_before_anything_is_sent(
    recording: Recording, tmp_path: Path
) -> None:
    _, cluster = target()

    async def die(topic: str, partition: int, records: Any) -> Any:
        raise Killed

    cluster.send_batch = die  # type: ignore[method-assign]
    options = replace(SMALL, timestamps="shift")
    with pytest.raises(Killed):
        await replayer_into(recording, cluster, options, file=tmp_path / "at").run(lambda: False)
    kept = load_checkpoint(tmp_path / "at")
    assert (kept.sent, kept.ends()) == (0, {("again", number): 0 for number in range(4)})
    assert kept.shift_ms is not None
    assert kept.positions == fresh_checkpoint(recording).positions

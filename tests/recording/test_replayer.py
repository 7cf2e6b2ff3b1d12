"""What is replayed is what was recorded, at its pace, without a gap after a crash."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.events import FIXED, NOW, record
from kit.keys import SIGNER
from kit.recordings import (
    FAST,
    TOPIC,
    Brokers,
    Hands,
    busy_log,
    cluster_of,
    everything,
    fresh_checkpoint,
    log_with,
    partition_records,
    replayer_into,
    seen,
    target,
)
from kit.recordings import record as record_whole

from streams.core.partitioner import partition_of
from streams.errors import Halt, Retry
from streams.recording.checkpoint import load_checkpoint
from streams.recording.pacing import Pace
from streams.recording.reader import Recording
from streams.recording.replayer import Replayer
from streams.recording.routing import TRACE, Options, Target, own_headers
from streams.recording.selection import Selection
from streams.recording.target import require_target
from streams.runtime.ports import Record
from streams.runtime.signing import control_record


@pytest.fixture
async def recording(tmp_path: Path) -> Any:
    return await record_whole(cluster_of(busy_log()), tmp_path / "r")


async def replay(replayer: Replayer) -> None:
    assert await replayer.run(lambda: False)


async def test_keys_values_headers_timestamps_and_partitions_are_kept(recording: Recording) -> None:
    log, cluster = target()
    await replay(replayer_into(recording, cluster))
    assert seen(partition_records(log, topic="again")) == seen(everything(recording))


async def test_a_trace_stands_behind_the_own_headers(recording: Recording) -> None:
    log, cluster = target()
    await replay(replayer_into(recording, cluster, replace(FAST, trace=True)))
    first, *_ = log.records("again", 2)
    source, *_ = (r for r in everything(recording) if r.partition == 2)
    assert first.headers[: len(source.headers)] == tuple(source.headers)
    assert dict(first.headers[-len(TRACE) :]) == {
        "x-original-topic": b"interactions",
        "x-original-partition": b"2",
        "x-original-offset": b"%d" % source.offset,
        "x-original-timestamp": b"%d" % source.timestamp,
        "x-replay-run-id": b"run-1",
    }
    assert list(own_headers(first.headers)) == list(source.headers)


async def test_ten_times_the_pace_keeps_the_gaps_over_all_partitions(tmp_path: Path) -> Any:
    times = [[0, 400, 5_000], [100, 450], [], [2_000]]
    log = log_with(
        record(None, offset, NOW + time, partition=number)
        for number, listed in enumerate(times)
        for offset, time in enumerate(listed)
    )
    recording = await record_whole(cluster_of(log), tmp_path / "r")
    hands, arrivals = Hands(), []
    _, cluster = target()
    send = cluster.send_batch

    async def noted(topic: str, partition: int, records: Sequence[Record]) -> Any:
        arrivals.extend((r.timestamp - NOW, hands.now - 1_000) for r in records)
        return await send(topic, partition, records)

    cluster.send_batch = noted
    await replay(replayer_into(recording, cluster, Options(pace=Pace(10)), hands))
    assert [time for time, _ in arrivals] == [0, 100, 400, 450, 2_000, 5_000]
    assert [at for _, at in arrivals] == pytest.approx([0, 0.01, 0.04, 0.045, 0.2, 0.5], abs=0.0011)


async def test_a_rate_is_kept(recording: Recording) -> None:
    hands = Hands()
    _, cluster = target()
    await replay(
        replayer_into(recording, cluster, replace(FAST, pace=Pace(None, rate=1000)), hands)
    )
    assert hands.now - 1_000 == pytest.approx(recording.manifest.records / 1000, rel=0.05)


async def test_a_selection_and_a_limit_leave_the_others_out(recording: Recording) -> None:
    log, cluster = target()
    options = replace(FAST, selection=Selection(where={"type": "like"}), limit=20)
    await replay(replayer_into(recording, cluster, options))
    sent = partition_records(log, topic="again")
    assert len(sent) == 20
    assert all(b'"like"' in r.value for r in sent)


async def test_shifted_timestamps_keep_their_distance_and_the_first_is_now(
    recording: Recording,
) -> None:
    log, cluster = target()
    await replay(replayer_into(recording, cluster, replace(FAST, timestamps="shift")))
    sent = partition_records(log, topic="again")
    shifts = {b.timestamp - a.timestamp for a, b in zip(everything(recording), sent, strict=True)}
    assert len(shifts) == 1
    assert min(r.timestamp for r in sent) == 1_000_000


async def test_timestamps_of_now_are_the_time_of_sending(recording: Recording) -> None:
    log, cluster = target()
    await replay(replayer_into(recording, cluster, replace(FAST, timestamps="now")))
    assert {r.timestamp for r in partition_records(log, topic="again")} == {1_000_000}


@pytest.mark.parametrize("count", [3, 4, 6])
async def test_rekeyed_records_live_where_their_key_says(recording: Recording, count: int) -> None:
    log, cluster = target(count)
    await replay(replayer_into(recording, cluster, replace(FAST, partitions="rekey")))
    sent = partition_records(log, count, "again")
    keyed = [r for r in sent if r.key is not None]
    assert all(r.partition == partition_of(r.key, count) for r in keyed)
    assert len(keyed) == sum(r.key is not None for r in everything(recording))


@pytest.mark.parametrize("count", [1, 3, 4, 7])
async def test_rekeyed_broadcasts_reach_every_partition_once(tmp_path: Path, count: int) -> None:
    log = log_with([])
    for number in range(4):
        log.append(control_record(TOPIC, FIXED, SIGNER, number))
    recording = await record_whole(cluster_of(log), tmp_path / "r")
    again, cluster = target(count)
    await replay(replayer_into(recording, cluster, replace(FAST, partitions="rekey")))
    assert [len(again.records("again", number)) for number in range(count)] == [1] * count


class Killed(Exception):
    pass


def killed_at_random(cluster: Brokers, draw: random.Random) -> Any:
    """Kill the process before, after or between the writes of a batch's partitions."""
    send = cluster.send_batch

    async def send_or_die(topic: str, partition: int, records: Sequence[Record]) -> Any:
        fate = draw.random()
        if fate < 0.05:
            raise Killed
        ack = await send(topic, partition, records)
        if fate < 0.1:
            raise Killed
        return ack

    cluster.send_batch = send_or_die


@pytest.mark.parametrize("seed", range(8))
async def test_killed_anywhere_and_resumed_nothing_is_missing_and_nothing_comes_twice(
    recording: Recording, tmp_path: Path, seed: int
) -> None:
    log, cluster = target()
    killed_at_random(cluster, random.Random(seed))
    file, batch, kills = tmp_path / "at.json", 100, 0
    checkpoint = fresh_checkpoint(recording)
    options = replace(FAST, trace=True, batch=batch)
    while True:
        replayer = replayer_into(recording, cluster, options, checkpoint=checkpoint, file=file)
        try:
            await replay(replayer)
            break
        except Killed:
            kills += 1
            checkpoint = load_checkpoint(file)
    assert kills
    assert load_checkpoint(file).sent == recording.manifest.records
    sent = [dict(r.headers) for r in partition_records(log, topic="again")]
    places = [(int(h["x-original-partition"]), int(h["x-original-offset"])) for h in sent]
    assert places == [(r.partition, r.offset) for r in everything(recording)]


async def test_stopped_early_it_goes_on_where_it_was(recording: Recording, tmp_path: Path) -> None:
    log, cluster = target()
    file = tmp_path / "at.json"
    options = replace(FAST, batch=50)
    stops = iter([False, False, True])
    first = replayer_into(recording, cluster, options, file=file)
    assert not await first.run(lambda: next(stops))
    some = len(partition_records(log, topic="again"))
    assert 0 < some < recording.manifest.records
    checkpoint = load_checkpoint(file)
    assert checkpoint.sent == some
    await replay(replayer_into(recording, cluster, options, checkpoint=checkpoint, file=file))
    assert seen(partition_records(log, topic="again")) == seen(everything(recording))


async def test_a_partition_that_fails_is_written_again_and_only_that(recording: Recording) -> Any:
    log, cluster = target()
    send, failures = cluster.send_batch, [Retry("leader moved")] * 2

    async def failing(topic: str, partition: int, records: Sequence[Record]) -> Any:
        if partition == 1 and failures:
            ack = await send("elsewhere", partition, [])
            ack = ack.get_loop().create_future()
            ack.set_exception(failures.pop())
            return ack
        return await send(topic, partition, records)

    cluster.send_batch = failing
    await replay(replayer_into(recording, cluster))
    assert seen(partition_records(log, topic="again")) == seen(everything(recording))


async def test_what_fails_for_good_is_raised(recording: Recording) -> None:
    _, cluster = target()

    async def failing(topic: str, partition: int, records: Sequence[Record]) -> None:
        raise Retry("no leader")

    cluster.send_batch = failing
    with pytest.raises(Retry):
        await replay(replayer_into(recording, cluster))


def test_a_target_must_have_room_for_every_partition() -> None:
    recorded, topics = {TOPIC: 8}, {TOPIC: "again"}
    with pytest.raises(Halt, match="no topic again: create it with 8 partitions"):
        require_target(Target(topics, {}, recorded), "keep")
    with pytest.raises(Halt, match="again has 4 partitions, the recording of interactions has 8"):
        require_target(Target(topics, {"again": 4}, recorded), "keep")
    require_target(Target(topics, {"again": 4}, recorded), "rekey")
    require_target(Target(topics, {"again": 9}, recorded), "keep")

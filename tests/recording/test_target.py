"""A replay's plan names every way in which its target would change or refuse what it gets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.events import NOW, record
from kit.recordings import FAST, TOPIC, Brokers, cluster_of, log_with
from kit.recordings import record as record_whole

from streams.errors import Halt
from streams.recording.manifest import save_manifest
from streams.recording.pacing import Pace
from streams.recording.reader import Recording
from streams.recording.routing import Options, Target
from streams.recording.selection import Selection
from streams.recording.target import KINDS, Caveat, caveats_of, require_accepted
from streams.runtime.memory import MemoryLog

HOUR = 3_600_000
NUMBERS = (0, HOUR // 2, HOUR)  # timestamps behind NOW


@pytest.fixture
async def recording(tmp_path: Path) -> Recording:
    log = log_with(
        record(b"x" * size, offset, NOW + time, key=b"k")
        for offset, (time, size) in enumerate(zip(NUMBERS, (10, 3_000, 20), strict=True))
    )
    return await record_whole(cluster_of(log), tmp_path / "r")


async def caveats(
    recording: Recording,
    config: dict[str, str],
    options: Options = FAST,
    partitions: int = 4,
    now_ms: int = NOW + HOUR,
) -> list[Caveat]:
    log = MemoryLog(cluster_id="other")
    log.create("again", partitions)
    log.configs("again").update(config)
    wanted = Target({TOPIC: "again"}, {"again": partitions}, {TOPIC: 4})
    return await caveats_of(recording, Brokers(log), wanted, options, now_ms)


async def test_a_topic_like_the_recorded_one_has_no_caveat(recording: Recording) -> None:
    plain = {
        "cleanup.policy": "delete",
        "message.timestamp.type": "CreateTime",
        "max.message.bytes": "1048588",
        "message.timestamp.before.max.ms": str(2**63 - 1),
        "message.timestamp.after.max.ms": str(HOUR),
        "retention.ms": "604800000",
        "retention.bytes": "-1",
    }
    assert await caveats(recording, plain) == []
    assert await caveats(recording, {}) == []


@pytest.mark.parametrize(
    ("config", "kind", "words"),
    [
        ({"message.timestamp.type": "LogAppendTime"}, "append-time", "the time of writing"),
        ({"cleanup.policy": "compact,delete"}, "compaction", "keeps the last record of a key"),
        ({"max.message.bytes": "3000"}, "sizes", "the largest record has 3001"),
        ({"message.timestamp.before.max.ms": "1800000"}, "timestamps", "older than 30 min"),
        ({"message.timestamp.difference.max.ms": "1800000"}, "timestamps", "older than 30 min"),
        ({"retention.ms": "1800000"}, "retention", "keeps records for 30 min"),
        ({"retention.bytes": "100"}, "retention", "keeps 100 bytes a partition"),
    ],
)
async def test_each_is_named_and_has_a_flag(
    recording: Recording, config: dict[str, str], kind: str, words: str
) -> None:
    (caveat,) = await caveats(recording, config)
    assert caveat.kind == kind
    assert words in caveat.words
    with pytest.raises(Halt, match=rf"add --accept {kind}$"):
        require_accepted([caveat], ())
    require_accepted([caveat], (kind,))


async def test_more_partitions_are_named_where_records_keep_theirs(recording: Recording) -> None:
    (caveat,) = await caveats(recording, {}, partitions=6)
    assert caveat.kind == "partitions"
    assert "again has 6 partitions, the recording 4" in caveat.words
    assert await caveats(recording, {}, replace(FAST, partitions="rekey"), 6) == []


async def test_batches_that_a_topic_does_not_take_are_named(tmp_path: Path) -> None:
    log = log_with(record(b"x" * 100, offset) for offset in range(1_000))
    recording = await record_whole(cluster_of(log), tmp_path / "r")
    (caveat,) = await caveats(recording, {"max.message.bytes": "50000"})
    assert (caveat.kind, "takes batches of 50000 bytes" in caveat.words) == ("sizes", True)


async def test_a_recording_of_the_first_format_is_read_for_its_largest_record(
    recording: Recording,
) -> None:
    for segment in recording.manifest.segments:
        segment.longest_line = None
    save_manifest(recording.folder, recording.manifest)
    old = Recording(recording.folder)
    assert [c.kind for c in await caveats(old, {"max.message.bytes": "3000"})] == ["sizes"]
    assert await caveats(old, {"max.message.bytes": "1048588"}) == []


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (FAST, ["timestamps", "retention"]),
        (replace(FAST, timestamps="now"), []),
        (replace(FAST, timestamps="shift", pace=Pace(1.0)), []),
        (replace(FAST, timestamps="shift"), ["timestamps"]),  # an hour ahead within a second
        (replace(FAST, selection=Selection(start_ms=NOW + HOUR)), []),
    ],
)
async def test_it_is_about_the_timestamps_that_are_sent(
    recording: Recording, options: Options, kinds: list[str]
) -> None:
    tight = {"message.timestamp.before.max.ms": "600000", "retention.ms": "600000"}
    found = await caveats(recording, tight | {"message.timestamp.after.max.ms": "1000"}, options)
    assert [caveat.kind for caveat in found] == kinds


async def test_timestamps_that_the_broker_sets_itself_are_not_refused(recording: Recording) -> None:
    config = {"message.timestamp.type": "LogAppendTime", "message.timestamp.before.max.ms": "1"}
    found = await caveats(recording, config | {"retention.ms": "1"})
    assert [caveat.kind for caveat in found] == ["append-time"]


async def test_an_empty_recording_has_no_caveat_but_its_partitions(tmp_path: Path) -> None:
    recording = await record_whole(cluster_of(log_with([])), tmp_path / "r")
    found = await caveats(recording, {"retention.ms": "1", "max.message.bytes": "1"}, partitions=5)
    assert [caveat.kind for caveat in found] == ["partitions"]


def test_all_that_is_missing_is_asked_for_at_once() -> None:
    every: Any = [Caveat(kind, "words") for kind in KINDS]
    with pytest.raises(Halt, match=r"add --accept partitions --accept compaction$"):
        require_accepted(every, ("append-time", "sizes", "timestamps", "retention"))

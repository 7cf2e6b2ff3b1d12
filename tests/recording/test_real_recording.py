"""Record and replay on a real broker: byte for byte, at pace, and killed at random points."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest
import redis
from confluent_kafka.admin import AdminClient, NewPartitions
from kit.events import NOW, encode, synthetic_log, view
from kit.keys import announce
from kit.patience import PATIENCE_S, wait_until
from kit.recordings import everything, seen
from kit.rig import TABLE
from kit.servers import create_topic, create_topics, delete_topic

from streams.recording.damage import quick, thorough
from streams.recording.manifest import MANIFEST
from streams.recording.reader import Recording
from streams.recording.routing import TRACE
from streams.runtime.kafka import KafkaProducer, KafkaReader
from streams.runtime.ports import Outgoing, Record
from streams.settings import load_settings

pytestmark = pytest.mark.real
CONFIG = Path(__file__).parents[2] / "config"
PARTITIONS = 4


class Streams:
    """The command line in processes of its own, against one broker."""

    def __init__(self, brokers: str, prefix: str) -> None:
        self.brokers = brokers
        self.topic = f"{prefix}interactions"
        self.started: list[subprocess.Popen[str]] = []
        self.environment = os.environ | {
            "STREAMS_CONFIG": str(CONFIG),
            "STREAMS_BROKERS": brokers,
            "STREAMS_TOPIC_PREFIX": prefix,
        }

    def start(self, *words: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "streams", *map(str, words)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, env=self.environment, stdout=pipe, stderr=pipe, text=True
        )
        self.started.append(process)
        return process

    def run(self, *words: object, code: int = 0) -> tuple[str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, err
        return out, err

    async def write(self, records: Sequence[Record]) -> None:
        producer = KafkaProducer(self.brokers)
        await producer.start()
        for number in range(PARTITIONS):
            own = [r for r in records if r.partition == number]
            outgoing = [
                Outgoing(self.topic, r.value, r.key, r.headers, number, r.timestamp) for r in own
            ]
            await (await producer.send_batch(self.topic, number, outgoing))
        await producer.stop()

    def measured(self, *words: object) -> tuple[str, float]:
        """Run a command; return what it said and the most memory that it had, in MiB."""
        script = (
            "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
        )
        command = [sys.executable, "-c", script, sys.executable, "-m", "streams", *map(str, words)]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=300
        )
        return done.stderr, int(done.stdout.split()[-1]) / 1024

    async def read(self, topic: str, partitions: int = PARTITIONS) -> list[Record]:
        reader = KafkaReader(self.brokers)
        await reader.start()
        ends = await reader.offsets(topic, range(partitions))
        left = {(topic, number) for number, at in ends.items() if at.end > at.start}
        found: dict[tuple[str, int], list[Record]] = {}
        reader.assign(dict.fromkeys(left, 0))
        while left:
            for place, records in (await reader.fetch(1_000, 20_000)).items():
                found.setdefault(place, []).extend(records)
                if records[-1].offset + 1 >= ends[place[1]].end:
                    left.discard(place)
        await reader.stop()
        return [record for place in sorted(found) for record in found[place]]


@pytest.fixture
def streams(brokers: str, unique: str) -> Iterator[Streams]:
    it = Streams(brokers, unique)
    create_topic(brokers, it.topic, PARTITIONS)
    create_topic(brokers, f"{unique}again", PARTITIONS)
    yield it
    for process in it.started:
        process.kill()
        process.communicate()


def busy(events: int) -> list[Record]:
    return [
        record
        for number in range(PARTITIONS)
        for record in synthetic_log(number + 1, 8, events, number, PARTITIONS)
    ]


def verified(folder: Path) -> int:
    recording = Recording(folder)
    assert quick(recording) == []
    return sum(thorough(recording, place).records for place in recording.places())


async def test_a_replay_into_a_fresh_topic_is_byte_equal_and_so_are_its_receipts(
    streams: Streams, brokers: str, unique: str, tmp_path: Path
) -> None:
    create_topics(brokers, {f"{unique}policies": TABLE}, 1)
    announce(brokers, load_settings(CONFIG, {"topic_prefix": unique}, {}))
    await streams.write(busy(2_000))
    streams.run("record", tmp_path / "one", "--topic", streams.topic, "--to", "now")
    assert verified(tmp_path / "one") == len(await streams.read(streams.topic))
    to = f"{streams.topic}={unique}again"
    words = ("--target", "kafka", "--topic", to, "--speed", "max", "--yes")
    streams.run("replay", tmp_path / "one", *words)
    source, again = await streams.read(streams.topic), await streams.read(f"{unique}again")
    assert seen(again) == seen(source)
    streams.run("record", tmp_path / "two", "--topic", f"{unique}again", "--to", "now")
    digests, receipts = [], []
    for name, topic in (("one", streams.topic), ("two", f"{unique}again")):
        out, _ = streams.run("replay", "verify", tmp_path / name, "--output", "json")
        digests.append([row["digest"] for row in orjson.loads(out)])
        fold = ("--target", "fold", "--topic", topic, "--output", "ndjson")
        receipts.append(streams.run("replay", tmp_path / name, *fold)[0])
    assert digests[0] == digests[1]
    assert receipts[0] == receipts[1] != ""


async def test_a_topic_that_would_expire_what_is_replayed_is_named(
    streams: Streams, brokers: str, unique: str, tmp_path: Path
) -> None:
    await streams.write(busy(50))
    streams.run("record", tmp_path / "one", "--topic", streams.topic, "--to", "now")
    create_topic(brokers, f"{unique}short", PARTITIONS, {"retention.ms": "3600000"})
    words = ("replay", tmp_path / "one", "--target", "kafka", "--topic")
    _, said = streams.run(*words, f"{streams.topic}={unique}short")
    assert f"{unique}short keeps records for 1 h" in said
    assert "--timestamps shift" in said
    _, said = streams.run(*words, f"{streams.topic}={unique}short", "--timestamps", "shift")
    assert "keeps records for" not in said


async def test_ten_times_the_pace_is_that_of_the_records_in_the_topic(
    streams: Streams, brokers: str, unique: str, tmp_path: Path
) -> None:
    draw = random.Random(3)
    moments = sorted(draw.randrange(30_000) for _ in range(400))
    records = [
        Outgoing(
            streams.topic, b"%d" % at, b"k", (), draw.randrange(PARTITIONS), 1_700_000_000_000 + at
        )
        for at in [0, *moments, 30_000]
    ]
    producer = KafkaProducer(brokers)
    await producer.start()
    for record in records:
        await producer.send(record)
    await producer.stop()
    stamped = f"{unique}stamped"
    create_topic(brokers, stamped, PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    streams.run("record", tmp_path / "r", "--topic", streams.topic, "--to", "now")
    to = f"{streams.topic}={stamped}"
    words = ("--target", "kafka", "--topic", to, "--speed", "10", "--yes")
    streams.run("replay", tmp_path / "r", *words, "--accept", "append-time")
    arrived = [(int(r.value or b""), r.timestamp) for r in await streams.read(stamped)]
    late = sorted(at - moment / 10 for moment, at in arrived)
    on_time = late[len(late) // 4] - late[0]
    assert on_time <= 150  # a busy machine may hold up many


async def kill_records(streams: Streams, folder: Path, kills: int, seed: int) -> None:
    """Record live while records are written; kill the recorder again and again."""
    draw = random.Random(seed)
    words: tuple[object, ...] = ("record", folder, "--topic", "interactions")
    for number in range(kills):
        process = streams.start(*words)
        await streams.write(busy(1_500 + number))
        wait_until(lambda: (folder / MANIFEST).exists() and _holds_records(folder))
        await asyncio.sleep(draw.random() * 1.5)  # the random point
        process.send_signal(signal.SIGKILL)
        process.communicate()
        readable = everything(Recording(folder))
        assert readable
        assert verified(folder) == len(readable)
        words = ("record", folder, "--resume")
    process = streams.start(*words)
    await streams.write(busy(700))
    expected = await streams.read(streams.topic)
    wait_until(lambda: Recording(folder).manifest.records >= len(expected))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    recording = Recording(folder)
    assert recording.manifest.complete
    assert seen(everything(recording)) == seen(expected)
    assert verified(folder) == len(expected)


async def test_a_killed_record_is_readable_resumable_and_in_the_end_whole(
    streams: Streams, tmp_path: Path
) -> None:
    await kill_records(streams, tmp_path / "r", kills=4, seed=5)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_thirty_kills_of_a_record_lose_and_repeat_nothing(
    streams: Streams, tmp_path: Path
) -> None:
    await kill_records(streams, tmp_path / "r", kills=30, seed=6)


async def kill_replays(
    streams: Streams, recording: Path, to: str, kills: int, draw: random.Random
) -> int:
    """Replay into a fresh topic, killed up to so many times, and then to the end; return kills."""
    create_topic(streams.brokers, to, PARTITIONS)
    at = recording.parent / f"{to}.json"
    words = ("replay", recording, "--target", "kafka", "--topic", f"interactions={to}", "--yes")
    words += ("--speed", "max", "--checkpoint", at)
    words += ("--rate", "6000/s") if draw.random() < 0.5 else ()
    killed = 0
    while killed < kills:
        process = streams.start(*words, *(("--resume",) if at.exists() else ()))
        before = at.stat().st_mtime_ns if at.exists() else 0
        wait_until(lambda: _changed(at, before) or process.poll() is not None)  # noqa: B023
        await asyncio.sleep(draw.random() * 0.15)  # the random point
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += 1
    if killed and process.returncode != 0:
        streams.run(*words, "--resume")
    return killed


async def test_a_killed_replay_resumes_without_a_gap_and_repeats_nothing(
    streams: Streams, unique: str, tmp_path: Path
) -> None:
    await streams.write(busy(3_000))
    streams.run("record", tmp_path / "r", "--topic", "interactions", "--to", "now")
    source = seen(await streams.read(streams.topic))
    draw, kills = random.Random(9), 0
    for number in range(2):
        to = f"{unique}again{number}"
        kills += await kill_replays(streams, tmp_path / "r", to, 2, draw)
        assert seen(await streams.read(to)) == source
    assert kills >= 2


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_thirty_kills_of_replays_lose_and_repeat_nothing(
    streams: Streams, unique: str, tmp_path: Path
) -> None:
    await streams.write(busy(12_000))
    streams.run("record", tmp_path / "r", "--topic", "interactions", "--to", "now")
    source = seen(await streams.read(streams.topic))
    draw, kills, round_ = random.Random(11), 0, 0
    while kills < 30:
        to = f"{unique}again{round_}"
        kills += await kill_replays(streams, tmp_path / "r", to, min(30 - kills, 4), draw)
        assert seen(await streams.read(to)) == source
        round_ += 1


async def test_partitions_that_are_added_are_recorded_too(
    streams: Streams, brokers: str, tmp_path: Path
) -> None:
    await streams.write(busy(20))
    folder = tmp_path / "r"
    process = streams.start("record", folder, "--topic", "interactions")
    wait_until(lambda: (folder / MANIFEST).exists() and _holds_records(folder))
    _grow(brokers, streams.topic, PARTITIONS + 2)
    producer = KafkaProducer(brokers)
    await producer.start()
    for number in range(PARTITIONS, PARTITIONS + 2):
        sent = [Outgoing(streams.topic, b"%d" % n, b"k", (), number) for n in range(100)]
        await (await producer.send_batch(streams.topic, number, sent))
    await producer.stop()
    wait_until(lambda: len(Recording(folder).places()) == PARTITIONS + 2)
    wait_until(lambda: _counts(folder)[PARTITIONS:] == [100, 100])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert Recording(folder).manifest.complete


async def test_a_topic_that_is_made_again_ends_its_recording(
    streams: Streams, brokers: str, tmp_path: Path
) -> None:
    await streams.write(busy(20))
    folder = tmp_path / "r"
    process = streams.start("record", folder, "--topic", "interactions")
    wait_until(lambda: (folder / MANIFEST).exists() and _holds_records(folder))
    delete_topic(brokers, streams.topic)
    create_topic(brokers, streams.topic, PARTITIONS)
    await streams.write(busy(60))
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, err
    assert not Recording(folder).manifest.complete


async def test_a_target_that_is_made_again_is_not_resumed_into(
    streams: Streams, brokers: str, unique: str, tmp_path: Path
) -> None:
    await streams.write(busy(100))
    streams.run("record", tmp_path / "r", "--topic", "interactions", "--to", "now")
    words = ("replay", tmp_path / "r", "--target", "kafka", "--topic", "interactions=again")
    words += ("--speed", "max", "--checkpoint", tmp_path / "at", "--yes")
    streams.run(*words, "--from", "-99999h")
    _, err = streams.run(*words, "--from", "-99999h", "--resume")  # the same time as before
    assert "0 records sent" in err
    delete_topic(brokers, f"{unique}again")
    create_topic(brokers, f"{unique}again", PARTITIONS)
    _, err = streams.run(*words, "--from", "-99999h", "--resume", code=1)
    assert "was made again" in err


async def test_what_a_target_would_not_keep_wants_a_yes_of_its_own(
    streams: Streams, brokers: str, unique: str, tmp_path: Path
) -> None:
    await streams.write(busy(50))
    streams.run("record", tmp_path / "r", "--topic", "interactions", "--to", "now")
    config = {
        "cleanup.policy": "compact,delete",
        "message.timestamp.before.max.ms": "1000",
        "max.message.bytes": "1000",
        "retention.ms": "3600000",
    }
    create_topic(brokers, f"{unique}odd", PARTITIONS + 1, config)
    words = ("replay", tmp_path / "r", "--target", "kafka", "--topic", "interactions=odd")
    _, plan = streams.run(*words)
    kinds = ("partitions", "compaction", "sizes", "timestamps", "retention")
    assert all(f"(--accept {kind})" in plan for kind in kinds)
    _, err = streams.run(*words, "--yes", "--accept", "sizes", code=1)
    missing = (kind for kind in kinds if kind != "sizes")
    assert " ".join(f"--accept {kind}" for kind in missing) in err
    assert await streams.read(f"{unique}odd") == []


async def test_headers_without_a_value_are_byte_equal_in_the_end(
    streams: Streams, brokers: str, unique: str, tmp_path: Path
) -> None:
    producer = KafkaProducer(brokers)
    await producer.start()
    headers = (("a", None), ("a", b""), ("b", b"\xff"))
    for value in (b"x", None):
        await (await producer.send(Outgoing(streams.topic, value, b"k", headers, 0, 5)))
    await producer.stop()
    streams.run("record", tmp_path / "r", "--topic", "interactions", "--to", "now")
    words = ("--target", "kafka", "--topic", "interactions=again", "--speed", "max", "--yes")
    streams.run("replay", tmp_path / "r", *words)
    again = await streams.read(f"{unique}again")
    assert [(r.value, tuple(r.headers)) for r in again] == [(b"x", headers), (None, headers)]


async def test_imported_uploads_and_feedback_are_replayed_to_their_topics(
    streams: Streams, brokers: str, unique: str, tmp_path: Path
) -> None:
    upload = b'{"type":"upload","id":"u","video":"v","creator":"c","ts":%d,"duration_ms":9}' % NOW
    (tmp_path / "events.ndjson").write_bytes(upload + b"\n" + encode(view()) + b"\n")
    create_topic(brokers, f"{unique}uploads", 8)
    create_topic(brokers, f"{unique}more", 8)
    words = ("replay", tmp_path / "events.ndjson", "--target", "kafka", "--speed", "max", "--yes")
    words += ("--topic", "uploads", "--topic", "interactions=more", "--allow-same-topic")
    streams.run(*words, "--no-trace")
    uploads = await streams.read(f"{unique}uploads", 8)
    views = await streams.read(f"{unique}more", 8)
    assert [[r.value for r in records] for records in (uploads, views)] == [
        [upload],
        [encode(view())],
    ]
    _, err = streams.run(*words, "--where", "video=nobody", code=3)
    assert "no record is selected" in err


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_memory_follows_neither_records_nor_their_size(
    streams: Streams, brokers: str, unique: str, tmp_path: Path
) -> None:
    """3,000 records of 200 kB."""
    draw = random.Random(1)
    producer = KafkaProducer(brokers)
    await producer.start()
    for turn in range(3_000):
        value = b'{"t":"%b"}' % draw.randbytes(100_000).hex().encode()
        written = await producer.send(Outgoing(streams.topic, value, b"k", (), turn % PARTITIONS))
        if turn % 20 == 19:
            await written  # what waits in the producer is bounded
    await producer.stop()
    _, peak = streams.measured("record", tmp_path / "r", "--topic", "interactions", "--to", "now")
    assert _counts(tmp_path / "r") == [750] * PARTITIONS
    assert peak < 250
    words = ("--target", "kafka", "--topic", "interactions=again", "--speed", "max", "--yes")
    _, peak = streams.measured("replay", tmp_path / "r", *words)
    assert peak < 250


async def test_the_recorded_topic_is_not_replayed_into_by_accident(
    streams: Streams, unique: str, tmp_path: Path
) -> None:
    await streams.write(busy(20))
    streams.run("record", tmp_path / "r", "--topic", streams.topic, "--to", "now")
    words = ("replay", tmp_path / "r", "--target", "kafka", "--speed", "max")
    before = len(await streams.read(streams.topic))
    _, err = streams.run(*words, "--yes", code=1)
    assert "--allow-same-topic" in err
    _, err = streams.run(*words, "--topic", f"{streams.topic}={unique}again")
    assert "nothing was sent: add --yes" in err
    out, _ = streams.run(
        *words, "--topic", f"{streams.topic}={unique}again", "--dry-run", "--output", "json"
    )
    assert sum(row["records"] for row in orjson.loads(out)) == before
    assert await streams.read(f"{unique}again") == []
    streams.run(*words, "--yes", "--allow-same-topic")
    assert len(await streams.read(streams.topic)) == 2 * before


async def test_ctrl_c_ends_a_replay_in_order_and_says_how_to_go_on(
    streams: Streams, unique: str, tmp_path: Path
) -> None:
    await streams.write(busy(500))
    at = tmp_path / "at.json"
    streams.run("record", tmp_path / "r", "--topic", streams.topic, "--to", "now")
    to = f"{streams.topic}={unique}again"
    words = ("replay", tmp_path / "r", "--target", "kafka", "--topic", to, "--yes")
    words += ("--checkpoint", at, "--trace")
    process = streams.start(*words, "--speed", "max", "--rate", "300")
    wait_until(lambda: _sent(at) > 0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert f"--resume goes on from {at}" in err
    assert len(await streams.read(f"{unique}again")) == _sent(at)
    streams.run(*words, "--speed", "max", "--resume")
    source, again = await streams.read(streams.topic), await streams.read(f"{unique}again")
    assert [_origin(record) for record in again] == [(r.partition, r.offset) for r in source]


async def test_a_fold_into_redis_keeps_to_a_database_of_its_own(
    streams: Streams, fresh_redis_url: str, tmp_path: Path
) -> None:
    await streams.write(busy(800))
    folder = tmp_path / "r"
    streams.run("record", folder, "--topic", streams.topic, "--to", "now")
    words = ("replay", folder, "--target", "fold", "--topic", streams.topic, "--output", "json")
    own = fresh_redis_url.rsplit("/", 1)[0] + "/7"
    with redis.Redis.from_url(own) as client:
        client.flushdb()
    memory = orjson.loads(streams.run(*words)[0])
    stored = orjson.loads(streams.run(*words, "--redis", own)[0])
    assert stored == memory
    with redis.Redis.from_url(own) as client:
        for row in stored:
            meta = client.hgetall(f"s:{{{row['partition']}}}:meta")
            assert meta[b"digest"].decode() == row["digest"]
            assert int(meta[b"watermark"]) == row["watermark"]
        _, err = streams.run(*words, "--redis", own, code=1)
        assert "an earlier fold of this recording" in err
        assert orjson.loads(streams.run(*words, "--redis", own, "--yes")[0]) == memory
        client.hset("s:{2}:meta", "namespace", "cluster=live")
        _, err = streams.run(*words, "--redis", own, "--yes", code=1)
        assert "this Redis holds live counters" in err
        client.flushdb()


def _holds_records(folder: Path) -> bool:
    return any(path.stat().st_size for path in folder.rglob("segment-*"))


def _grow(brokers: str, topic: str, partitions: int) -> None:
    """Add partitions to a topic and return when the brokers have them."""
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(PATIENCE_S)
    wait_until(
        lambda: (
            len(admin.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions) == partitions
        )
    )


def _counts(folder: Path) -> list[int]:
    """Return how many records the manifest has of each partition, in their order."""
    manifest = Recording(folder).manifest
    return [sum(s.records for s in manifest.of(*place)) for place in Recording(folder).places()]


def _changed(path: Path, before: int) -> bool:
    return path.exists() and path.stat().st_mtime_ns != before


def _sent(path: Path) -> int:
    return int(orjson.loads(path.read_bytes())["sent"]) if path.exists() else 0


def _origin(record: Record) -> tuple[int, int]:
    said = dict(record.headers)
    return int(said[TRACE[1]]), int(said[TRACE[2]])


def _receipts(streams: Streams, folder: Path, topic: str) -> dict[str, bytes]:
    words = ("--target", "fold", "--topic", topic, "--output", "ndjson")
    out, _ = streams.run("replay", folder, *words)
    return {orjson.loads(line)["id"]: line.encode() for line in out.splitlines()}


def _receipts_of(streams: Streams, tmp_path: Path, unique: str) -> dict[str, bytes]:
    again = f"{unique}again"
    streams.run("record", tmp_path / "again", "--topic", again, "--to", "now")
    return _receipts(streams, tmp_path / "again", again)

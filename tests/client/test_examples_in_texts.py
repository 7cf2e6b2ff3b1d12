"""What the texts tell producers to write, run against a real broker."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from kit.events import FOOTBALL
from kit.jars import cache_folder
from kit.servers import create_topic
from kit.serving import entry

from streams.client.intake import take_event
from streams.core.partitioner import partition_of
from streams.runtime.kafka import KafkaReader
from streams.runtime.ports import Record
from streams.runtime.redis import RedisServingIndex
from streams.runtime.redis.serving import keys_of

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
PARTITIONS = 12
VIDEOS = [f"v-{number}" for number in range(40)]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """Return the examples of a text in one language, in their order."""
    found = BLOCK.findall((ROOT / text).read_text(encoding="utf-8"))
    return [code for name, code in found if name == language]


def here(code: str, brokers: str, prefix: str, redis_url: str = "") -> str:
    """Return an example for our broker and Redis, and for topics of our own."""
    code = (
        code.replace("redis://redis:6379/0", redis_url)
        .replace("kafka:9092", brokers)
        .replace('"interactions"', f'"{prefix}interactions"')
    )
    code = code.replace("-t interactions", f"-t {prefix}interactions")
    return re.sub(r'((?:Publisher|Mixes)\("[^"]*", "[^"]*")', rf'\1, topic_prefix="{prefix}"', code)


@pytest.fixture
def prefix(brokers: str, unique: str) -> str:
    """The prefix of this test's topics."""
    for name in ("uploads", "recognitions", "reviews", "interactions"):
        create_topic(brokers, f"{unique}.{name}", PARTITIONS)
    return f"{unique}."


@pytest.fixture
async def offered(fresh_redis_url: str) -> str:
    """The address of a Redis whose serving index offers three videos of football."""
    index = RedisServingIndex(fresh_redis_url)
    videos = [entry(f"v-{number}", score=1_000 * number) for number in (41, 42, 43)]
    await index.apply(FOOTBALL, {0: 1}, videos)
    await index.close()
    return fresh_redis_url


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    return done.stdout


async def records_of(brokers: str, topic: str) -> Sequence[Record]:
    reader, found = KafkaReader(brokers), list[Record]()
    await reader.start()
    try:
        bounds = await reader.offsets(topic, range(PARTITIONS))
        reader.assign({(topic, partition): 0 for partition in bounds})
        while len(found) < sum(bound.end for bound in bounds.values()):
            for records in (await reader.fetch(1_000, 1_000)).values():
                found += records
    finally:
        await reader.stop()
    return found


async def require_well_placed(brokers: str, prefix: str) -> None:
    """Require a valid event of each video in the partition that the pipeline expects."""
    records = await records_of(brokers, f"{prefix}interactions")
    assert sorted(record.key or b"" for record in records) == sorted(v.encode() for v in VIDEOS)
    for record in records:
        taken = take_event(record.value or b"", record.timestamp, 1 << 20)
        assert taken.event.video.encode() == record.key
        assert record.partition == partition_of(record.key, PARTITIONS)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (text, number)
        for text in ("README.md", ".docs/producers.md", ".docs/feed.md")
        for number in range(len(blocks(text, "python")))
    ],
)
async def test_the_texts_publish(
    brokers: str, prefix: str, offered: str, tmp_path: Path, text: str, number: int
) -> None:
    code = here(blocks(text, "python")[number], brokers, prefix, offered)
    (tmp_path / "example.py").write_text(code, "utf-8")
    run(sys.executable, "example.py", folder=tmp_path, PYTHONPATH=str(ROOT))
    records = await records_of(brokers, f"{prefix}interactions")
    records = [*records, *await records_of(brokers, f"{prefix}uploads")]
    assert records
    for record in records:
        value = json.loads(record.value or b"")
        for event in value if isinstance(value, list) else [value]:
            take_event(json.dumps(event).encode(), record.timestamp, 1 << 20)
        assert [name for name, _ in record.headers] == ["x-producer"]


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="install redis-cli")
async def test_any_client_leases_as_the_text_says(offered: str, tmp_path: Path) -> None:
    (code,) = blocks(".docs/feed.md", "sh")
    scripts = ROOT / "streams/runtime/redis"
    answer = run("bash", "-euc", code, folder=tmp_path, SCRIPTS=str(scripts), REDIS=offered)
    words = answer.split()
    assert [words[:4], words[7:11]] == [
        ["v-43", "1", "43000", "rank"],
        ["v-42", "1", "42000", "rank"],
    ]
    index = RedisServingIndex(offered)
    assert [one.left for one in await index.top(FOOTBALL, 3)] == [59, 59, 60]
    assert [(one.asked, one.rank) for one in await index.slots(FOOTBALL, 5)] == [(2, 2)]
    await index.close()


def test_the_text_names_the_keys_that_the_scripts_have() -> None:
    (code,) = blocks(".docs/feed.md", "sh")
    names = re.findall(r"[a-z]+(?::[0-5]c?)?", code[code.index(" in ") + 4 : code.index("; do")])
    assert [f"s:slice:{{{FOOTBALL}}}:{name}" for name in names] == keys_of(FOOTBALL)


CLIENTS = {
    "python": ("publish.py", [sys.executable]),  # librdkafka
    "java": ("Publish.java", ["java", "-cp", f"{cache_folder()}/*"]),
    "sh": ("publish.sh", ["bash"]),  # kcat
}
NEEDED = {"java": "javac", "sh": "kcat"}


@pytest.mark.parametrize(
    "language", [name for name in CLIENTS if shutil.which(NEEDED.get(name, sys.executable))]
)
async def test_other_clients_place_videos_as_we_do(
    brokers: str, prefix: str, tmp_path: Path, language: str
) -> None:
    (code,) = blocks(".docs/clients.md", language)
    name, command = CLIENTS[language]
    (tmp_path / name).write_text(here(code, brokers, prefix), "utf-8")
    run(*command, name, *VIDEOS, folder=tmp_path)
    await require_well_placed(brokers, prefix)

"""Makes the installation of 0.1.0 beside this file, with the code of 0.1.0 itself.

A worker of 0.1.0 counts feedback on an embedded broker and Redis and is stopped; then two more
crowds come and a takedown, which it never sees. `recording` holds the topics `interactions` and
`decisions`, recorded by 0.1.0, `redis.ndjson` every key of Redis as the worker left it. To be run
in a checkout of the last commit whose `pyproject.toml` says 0.1.0, where that is installed:

    PYTHONPATH=. python .../tests/data/first/make.py
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import redis
from aiokafka import AIOKafkaProducer

from streams.core.events import Takedown
from streams.core.partitioner import partition_of
from streams.embedded import EmbeddedBroker, EmbeddedRedis
from streams.runtime.signing import control_record

HERE = Path(__file__).parent
SECRET = "a secret of the tests, 32 bytes.."
PARTITIONS = 2
VIDEOS = ("v0", "v1", "v2", "v3", "v4", "v5")
SLICES = ("discover:football", "discover:dailylife", "nearby:beijing", "following:fans")
TOPICS = ("uploads", "recognitions", "reviews", "interactions", "decisions")


def uploads() -> Iterator[dict[str, object]]:
    titles = ("World Cup final goal", "Noodles at home", "A walk in Beijing")
    for number, video in enumerate(VIDEOS[:5]):  # the last one is never admitted
        yield {
            "type": "upload",
            "id": f"u-{video}",
            "video": video,
            "creator": f"c{number}",
            "ts": time.time_ns() // 1_000_000,
            "duration_ms": 20_000,
            "title": titles[number % 3],
            "city": "beijing" if number % 2 else "",
            "followers": 10 ** (number + 2),
            "commercial": number == 3,
        }


def interactions(chance: Random, count: int, name: str) -> Iterator[dict[str, object]]:
    for number in range(count):
        video, slice_id = chance.choice(VIDEOS), chance.choice(SLICES)
        seen = {
            "video": video,
            "viewer": f"{name}-{chance.randrange(count)}",
            "slice": slice_id,
            "ts": time.time_ns() // 1_000_000,
        }
        yield {"type": "impression", "id": f"{name}i{number}", **seen}
        if chance.random() < 0.8:
            watched = chance.choice((20_000, 19_500, chance.randrange(20_000)))
            view = {"id": f"{name}w{number}", **seen, "watch_ms": watched, "duration_ms": 20_000}
            yield {"type": "view", **view}
        for kind, often in (("like", 0.3), ("unlike", 0.1), ("share", 0.1), ("hide", 0.05)):
            if chance.random() < often:
                yield {"type": kind, "id": f"{name}{kind}{number}", **seen}
        if chance.random() < 0.05:
            yield {"type": "impression", "id": f"{name}i{number}", **seen}  # a repeat


SLICE = """
[[slice]]
id = "{id}"
label = "{id}"
reach = 5_000
prior_mean = 0.4
prior_variance = 0.02
noise_variance = 0.1
price = {price}
{more}
"""


def write_config(folder: Path) -> None:
    """Write the shipped configuration with four slices and small grants."""
    shutil.copytree("config", folder, dirs_exist_ok=True)
    more = {
        "discover:football": 'tags = { "interest.football" = 1 }\nneighbours = { dailylife = 0.6 }',
        "discover:dailylife": "neighbours = { football = 0.5 }",
        "nearby:beijing": 'cities = ["beijing"]',
        "following:fans": "",
    }
    text = 'default = "discover:dailylife"\n' + "".join(
        SLICE.format(id=name, price=0.35 if name in SLICES[:2] else 0.45, more=more[name])
        for name in SLICES
    )
    (folder / "slices.toml").write_text(text, "utf-8")
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text("utf-8").replace("tranche = 60 ", "tranche = 10 "), "utf-8")


def streams(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "streams", *arguments]


async def put(brokers: str, topic: str, events: Iterator[dict[str, object]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=brokers)
    await producer.start()
    for event in events:
        key = str(event["video"]).encode()
        place = partition_of(key, PARTITIONS)
        await producer.send_and_wait(topic, json.dumps(event).encode(), key, place)
    await producer.stop()


async def take_down(brokers: str, video: str, seq: int) -> None:
    """Write a takedown signed as 0.1.0 signs."""
    record = Takedown("takedown-1", video, time.time_ns() // 1_000_000, seq)
    out = control_record("interactions", record, SECRET.encode())
    producer = AIOKafkaProducer(bootstrap_servers=brokers)
    await producer.start()
    place = partition_of(video.encode(), PARTITIONS)
    headers = list(out.headers)
    await producer.send_and_wait("interactions", out.value, out.key, place, headers=headers)
    await producer.stop()


def dump(url: str) -> Iterator[dict[str, object]]:
    with redis.Redis.from_url(url) as client:
        for key in sorted(client.scan_iter("*")):
            raw = base64.b64encode(client.dump(key)).decode()
            row: dict[str, object] = {"key": key.decode(), "dump": raw}
            if client.type(key) == b"hash":
                fields = client.hgetall(key).items()
                row = {"key": row["key"], "hash": {n.decode(): t.decode() for n, t in fields}}
            yield row


def write(name: str, rows: Iterator[dict[str, object]] | list[dict[str, object]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    (HERE / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")


def main() -> None:
    names = [name for topic in TOPICS for name in (topic, f"{topic}.dlq")]
    with EmbeddedBroker(dict.fromkeys(names, PARTITIONS)) as broker, EmbeddedRedis() as store:
        folder = tempfile.mkdtemp()
        write_config(Path(folder))
        brokers, chance = broker.bootstrap, Random(7)
        environment = os.environ | {
            "STREAMS_BROKERS": brokers,
            "STREAMS_REDIS": store.url,
            "STREAMS_SECRET": SECRET,
            "STREAMS_PARTITIONS": str(PARTITIONS),
            "STREAMS_GENERATION_RECORDS": "150",
            "STREAMS_CONFIG": folder,
        }
        worker = subprocess.Popen(streams("worker", "--metrics-port", "0"), env=environment)
        asyncio.run(put(brokers, "uploads", uploads()))
        time.sleep(8)
        asyncio.run(put(brokers, "interactions", interactions(chance, 300, "a")))
        time.sleep(4)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        write("redis.ndjson", dump(store.url))
        asyncio.run(put(brokers, "interactions", interactions(chance, 40, "b")))
        asyncio.run(take_down(brokers, "v0", 1_000))
        asyncio.run(put(brokers, "interactions", interactions(chance, 20, "c")))
        shutil.rmtree(HERE / "recording", ignore_errors=True)
        topics = ("--topic", "interactions", "--topic", "decisions", "--to", "latest")
        record = streams("record", str(HERE / "recording"), *topics)
        subprocess.run(record, env=environment, check=True)


if __name__ == "__main__":
    main()

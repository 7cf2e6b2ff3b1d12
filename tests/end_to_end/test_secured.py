"""The whole pipeline on a Kafka that encrypts, asks for passwords and gives few rights."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Final

import pytest
import redis
from kit.rig import Rig
from kit.secured import PASSWORD, Listener, SecuredKafka

from streams.client import Impression, Like, Mixes, Publisher, Upload, View
from streams.errors import Denied
from streams.ops.rights import Role, rights_of
from streams.runtime.kafka import KafkaProducer
from streams.runtime.ports import Outgoing
from streams.settings import Settings, load_settings

pytestmark = pytest.mark.real
ROLES: Final[Mapping[str, tuple[Role, ...]]] = {
    "producer": ("producer",),
    "feed": ("feed",),
    "worker": ("worker", "control"),
    "operator": ("operator",),
    "analyst": ("analyst",),
}
VIDEOS: Final = [f"v{number}" for number in range(6)]


class Town:
    """A rig whose commands run as somebody: each with the rights of a role, and no more."""

    def __init__(self, secured: SecuredKafka, redis_url: str, prefix: str) -> None:
        self.secured = secured
        self.rig = Rig(secured.open, redis_url, prefix, partitions=2)
        settings = self.settings
        for user, roles in ROLES.items():
            secured.allow(user, [one for role in roles for one in rights_of(role, settings)])

    @property
    def settings(self) -> Settings:
        prefix = self.rig.prefix
        named = {"topic_prefix": prefix, "group": f"{prefix}workers"}
        return load_settings(Path(__file__).parents[2] / "config", named, {})

    def run(
        self, user: str, *words: str, listener: Listener = "password", said: str | None = None
    ) -> "CompletedProcess[str]":
        """Run one of our commands as a user."""
        done = self.rig.run(*words, said=said, **self.secured.settings(user, listener))
        assert PASSWORD not in done.stdout + done.stderr
        return done


@pytest.fixture
async def town(secured: SecuredKafka, fresh_redis_url: str, unique: str) -> AsyncIterator[Town]:
    made = Town(secured, fresh_redis_url, unique)
    yield made
    made.rig.stop()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def uploads() -> list[Upload]:
    title = "周末足球赛"
    return [
        Upload(f"u-{video}", video, "c1", now_ms(), 15_000, title=title, hashtags=("足球",))
        for video in VIDEOS
    ]


def admitted(rig: Rig) -> int:
    with redis.Redis.from_url(rig.redis_url) as client:
        return len(list(client.scan_iter("s:{*}:v:*")))


def feedback() -> list[Impression | View | Like]:
    place, ts = "discover:football", now_ms()
    events: list[Impression | View | Like] = []
    for video in VIDEOS:
        for viewer in range(40):
            name, who = f"{video}-{viewer}", f"w{viewer}"
            events += [
                Impression(f"i-{name}", video, who, place, ts),
                View(f"e-{name}", video, who, place, ts, 14_000, 15_000),
                Like(f"l-{name}", video, who, place, ts),
            ]
    return events


async def test_everybody_does_their_work_with_the_rights_of_their_role_alone(
    town: Town, tmp_path: Path
) -> None:
    rig, secured = town.rig, town.secured
    applied = town.run("operator", "topics", "apply", "--yes")
    assert applied.returncode == 0, applied.stderr
    worker = rig.worker(only=None, **secured.settings("worker"))
    brokers, security = secured.mutual, secured.table("producer", "mutual")
    async with Publisher(brokers, "app", topic_prefix=rig.prefix, security=security) as publisher:
        await publisher.put(*uploads())
        await publisher.flush()
        await rig.until(lambda: admitted(rig) == len(VIDEOS), rig.logs)
        await publisher.put(*feedback())
    await rig.caught_up()
    start = ("--from", "earliest")
    calls = {
        "verify": ("counters", "verify", "--output", "json"),
        "lag": ("lag", "list", "--output", "json"),
        "decisions": ("decisions", "tail", "--no-follow", *start, "--output", "ndjson"),
        "record": ("record", str(tmp_path / "r"), "--topic", "interactions", *start, "--to", "now"),
    }
    with ThreadPoolExecutor() as beside:
        done = dict(
            zip(
                calls,
                beside.map(lambda call: town.run("analyst", *call), calls.values()),
                strict=True,
            )
        )
    assert all(each.returncode == 0 for each in done.values()), done
    verified = json.loads(done["verify"].stdout)
    assert verified["differences"] == 0
    assert verified["checked"] > len(VIDEOS)
    assert {row["group"] for row in json.loads(done["lag"].stdout)} >= {town.settings.group}
    receipts = map(json.loads, done["decisions"].stdout.splitlines())
    assert {receipt["video"] for receipt in receipts} == set(VIDEOS)
    verdict = ("review", "limit", "v0", "--by", "al", "--note", "x", "--yes")
    limited = town.run("operator", *verdict)
    assert limited.returncode == 0, limited.stderr
    assert await worker.terminate() == 0
    assert PASSWORD not in worker.said()


async def test_a_producer_writes_events_and_nothing_that_decides(town: Town) -> None:
    town.rig.create_topics()
    producer = KafkaProducer(town.secured.address("producer"))
    await producer.start()
    for name in ("uploads", "recognitions", "interactions"):
        await (await producer.send(Outgoing(town.settings.topic(name), b"{}", b"k")))
    for name in ("reviews", "policies", "decisions", "traffic", "interactions.dlq"):
        with pytest.raises(Denied, match="producer has not the right"):
            await (await producer.send(Outgoing(town.settings.topic(name), b"{}", b"k")))
    await producer.stop()


async def test_a_feed_reads_the_mix_and_whoever_may_not_is_told(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    town.rig.create_topics()
    prefix, brokers = town.rig.prefix, town.secured.password
    for user, told in (("feed", "there is no mix: the policy"), ("guest", "has not the right")):
        caplog.clear()
        security = town.secured.table(user)
        async with Mixes(brokers, "feed", topic_prefix=prefix, security=security):
            assert told in caplog.text
            assert ("has not the right" in caplog.text) == (user == "guest")


async def test_a_worker_without_its_group_says_so_once_and_doctor_says_who_is_refused(
    town: Town,
) -> None:
    town.rig.create_topics()
    topics = [one for one in rights_of("worker", town.settings) if one.resource == "topic"]
    town.secured.allow("guest", topics)
    worker = town.rig.worker(**town.secured.settings("guest"))
    await worker.says("guest has not the right")
    wrong = {**town.secured.settings("guest"), "kafka_password": "wrong"}
    doctor = town.rig.run("doctor", "--output", "json", **wrong)
    found = {row["check"]: row for row in json.loads(doctor.stdout)}
    assert found["kafka"]["status"] == "fail"
    assert "it refuses guest: wrong name or password" in found["kafka"]["message"]
    assert await worker.terminate() == 0
    assert worker.said().count("guest has not the right") == 1

"""The README's five commands from nothing to an answer, on real servers, as they stand there."""

import re
import shlex
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import redis
from kit.rig import ROOT, Rig

from streams.core.events import Impression, Upload, View
from streams.core.partitioner import partition_of
from streams.runtime.namespace import meta_key, video_key
from streams.runtime.signing import encode

pytestmark = pytest.mark.real
BLOCK = re.compile(r"^\*\*From nothing to an answer.*?^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOOTBALL, BASKETBALL = "discover:football", "discover:basketball"


@pytest.fixture
async def rig(brokers: str, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=4)
    yield made
    made.stop()


def named_in(partition: int, name: str) -> str:
    """Return the name, or the first one after it that lives in a partition."""
    names = (name, *(f"{name}-{number}" for number in range(100)))
    return next(each for each in names if partition_of(each.encode(), 4) == partition)


def first_day(video: str, damaged: str) -> str:
    """A video that football's viewers do not care for and basketball's do, and one of another."""
    now = time.time_ns() // 1_000_000
    title, tags = "周末足球赛 #football", ("足球",)
    events: list[object] = [Upload("u1", video, "c1", now, 15_000, title=title, hashtags=tags)]
    for slice_id, watched in ((FOOTBALL, 100), (BASKETBALL, 14_900)):
        for number in range(60):
            name = f"{slice_id[-4:]}-{number}"
            about = (video, f"v-{name}", slice_id, now)
            events += [Impression(f"i-{name}", *about), View(f"w-{name}", *about, watched, 15_000)]
    events.append(Impression("i-damaged", damaged, "v-1", FOOTBALL, now))
    return "".join(f"{encode(each).decode()}\n" for each in events)


async def test_five_commands_lead_from_nothing_to_which_crowd_stopped_and_why_one_is_behind(
    rig: Rig, tmp_path: Path
) -> None:
    (block,) = BLOCK.findall((ROOT / "README.md").read_text("utf-8"))
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    apply, worker, publish, status, explain = [line[1:] for line in lines]
    assert {line[0] for line in lines} == {"streams"}
    video, damaged = explain[-1], named_in(3, "damaged")
    assert partition_of(video.encode(), 4) != 3
    events = tmp_path / Path(publish[-1]).name
    events.write_text(first_day(video, damaged), "utf-8")

    assert rig.run(*apply).returncode == 0
    assert worker == ["worker", "&"]
    rig.worker(only=None)
    with redis.Redis.from_url(rig.redis_url) as client:  # what an operator would have to find
        await rig.until(lambda: client.exists(meta_key(3)) == 1, rig.logs)
        client.hset(video_key(3, damaged), "video", b"[2,")
    published = rig.run(*publish[:-1], str(events))
    assert published.returncode == 0, published.stderr

    halted = await told_by(rig, status, f"{rig.log}[3] store_corrupt")
    assert "streams counters rebuild --partition 3 --yes" in halted
    words = await told_by(rig, explain, f"stop {FOOTBALL}")
    assert f"stop {FOOTBALL}: not worth another impression here" in words
    assert f"stop {BASKETBALL}" not in words


async def told_by(rig: Rig, command: Sequence[str], words: str) -> str:
    """Return what a command prints once these words are in it."""
    outputs: list[str] = []

    def is_told() -> bool:
        outputs.append(rig.run(*command).stdout)
        return words in outputs[-1]

    await rig.until(is_told, lambda: f"{outputs[-1]} {rig.logs()}")
    return outputs[-1]

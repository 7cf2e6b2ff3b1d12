"""What a moderator does at a terminal, with a worker and a control plane on real servers."""

import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kit.rig import CONFIG, Rig

from streams.client import Leases
from streams.core.events import Upload
from streams.runtime.kafka import KafkaProducer
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode

pytestmark = pytest.mark.real
FOOTBALL = "discover:football"
SAID = ("--by", "alice", "--note", "seen twice", "--yes")


@pytest.fixture
async def rig(brokers: str, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=2)
    assert made.run("topics", "apply", "--yes").returncode == 0
    yield made
    made.stop()


async def test_from_the_queue_to_the_end_of_a_video(rig: Rig) -> None:
    rig.worker(only=None)
    now_ms = time.time_ns() // 1_000_000
    unheard = Upload("u1", "v1", "c1", now_ms, 15_000, title="xyzzy \x1b[2J")
    producer = KafkaProducer(rig.brokers)
    await producer.start()
    await (await producer.send(Outgoing(f"{rig.prefix}uploads", encode(unheard), b"v1")))
    await producer.stop()

    def waiting() -> list[dict[str, object]]:
        rows: list[dict[str, object]] = json.loads(
            rig.run("review", "list", "--output", "json").stdout
        )
        return rows

    await rig.until(lambda: len(waiting()) == 1, rig.logs)
    [row] = waiting()
    assert (row["video"], row["state"], row["why"]) == ("v1", "waiting", "no rule fits")
    table = rig.run("review", "list").stdout
    assert "xyzzy" in table
    assert "\x1b" not in table

    planned = rig.run("review", "approve", "v1", *SAID[:-1])
    assert (planned.returncode, len(waiting())) == (0, 1)
    assert "nothing was said: act with --yes" in planned.stderr
    approved = rig.run("review", "approve", "v1", *SAID)
    assert "in force after" in approved.stdout, approved.stderr
    assert waiting() == []
    shown = json.loads(rig.run("review", "show", "v1", "--output", "json").stdout)
    assert (shown["state"], shown["verdict"]["by"], shown["verdict"]["note"]) == (
        *("public", "alice", "seen twice"),
    )
    looked = rig.run("video", "reconsider", "v1", *SAID)
    assert "evidence had stopped nothing there" in looked.stdout, looked.stderr
    gone = rig.run("video", "takedown", "v1", *SAID)
    assert "it is taken down in every slice, for good; by alice: seen twice" in gone.stdout
    assert "in force after" in gone.stdout, gone.stderr
    words = rig.run("video", "explain", "v1", "--output", "ndjson").stdout
    assert '"reason":"look_again"' in words
    causes = {json.loads(line)["cause"] for line in words.splitlines()}
    assert any(cause.startswith("takedown-alice-") for cause in causes), causes


async def test_who_and_why_are_asked_for(rig: Rig) -> None:
    done = rig.run("review", "reject", "v1", "--yes")
    assert done.returncode == 2
    assert "Missing option '--by'" in done.stderr


async def test_where_people_sign_their_own_key_freezes_a_slice_and_ends_a_video(
    rig: Rig, tmp_path: Path
) -> None:
    key = tmp_path / "alice.key"
    public = rig.run("keys", "new", str(key)).stdout.strip()
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    rules = (config / "review.toml").read_text("utf-8")
    rules = rules.replace("signed = false", "signed = true")
    rules = rules.replace("[reviews.people]", f'[reviews.people]\nalice = ["{public}"]\n')
    (config / "review.toml").write_text(rules, "utf-8")
    rig.worker(only=None, config=config)

    frozen = rig.run("slice", "freeze", FOOTBALL, *SAID, signing_key_file=key)
    assert "gone from the serving index after" in frozen.stdout, frozen.stderr
    (row,) = json.loads(rig.run("slice", "words", "--output", "json").stdout)
    assert (row["slice"], row["state"], row["by"], row["note"]) == (
        *(FOOTBALL, "frozen", "alice", "seen twice"),
    )
    async with Leases(rig.redis_url) as leases:
        assert await leases.take(FOOTBALL, 1) == []

    stranger = rig.run("video", "takedown", "v1", *SAID)  # the control plane's key
    assert stranger.returncode == 3
    assert "was the word refused (`streams dlq list`)" in stranger.stderr
    letters = json.loads(rig.run("dlq", "list", "--output", "json").stdout)
    assert [one["reason"] for one in letters] == ["signature"]

    taken = rig.run("video", "takedown", "v1", *SAID, signing_key_file=key)
    assert "in force after" in taken.stdout, taken.stderr
    shown = rig.run("video", "show", "v1").stdout
    assert "reject by alice: seen twice" in shown
    opened = rig.run("slice", "open", FOOTBALL, *SAID, signing_key_file=key)
    assert "open in the serving index after" in opened.stdout, opened.stderr


async def test_what_no_slice_can_be_called_is_a_mistake(rig: Rig) -> None:
    done = rig.run("slice", "freeze", "cars", *SAID)
    assert done.returncode == 2
    assert "a slice is surface:group, such as discover:cars" in done.stderr

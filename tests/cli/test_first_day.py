"""The five commands with which the README goes from nothing to an answer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kit.rig import Rig

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
FIRST_DAY = "tests/data/first-day.ndjson"


@pytest.fixture
async def rig(brokers: str, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=4)
    yield made
    made.stop()


async def test_they_say_which_crowd_stopped_the_video_and_that_nothing_lags(rig: Rig) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert f"streams publish {FIRST_DAY}\n" in text
    assert "streams video explain match-1" in text
    assert rig.run("topics", "apply", "--yes").returncode == 0
    rig.worker(only=None)
    assert rig.run("publish", str(ROOT / FIRST_DAY)).returncode == 0

    def explained() -> str:
        return rig.run("video", "explain", "match-1").stdout

    await rig.until(lambda: "stop discover:football" in explained(), rig.logs)
    assert "stop discover:football: not worth another impression here" in explained()
    status = rig.run("lag", "status")
    assert status.returncode == 0, status.stdout + status.stderr

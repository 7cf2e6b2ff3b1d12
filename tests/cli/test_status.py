"""`streams status`, `streams slice` and `streams page` over a running pipeline."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from kit.patience import PATIENCE_S
from kit.rig import Rig
from kit.servers import lasting_ports

from streams.core.events import Upload
from streams.runtime.kafka import KafkaProducer
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode

pytestmark = pytest.mark.real


@pytest.fixture
def rig(brokers: str, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=2)
    assert made.run("topics", "apply", "--yes").returncode == 0
    yield made
    made.stop()


def test_before_any_worker_runs_it_is_said_what_is_missing(rig: Rig) -> None:
    done = rig.run("status")
    assert done.returncode == 0, done.stderr
    assert "does a worker run?" in done.stdout
    assert "none in 2 of 2 partitions" in done.stdout.replace(",", "")
    listed = rig.run("slice", "list")
    assert (listed.returncode, "no policy is in force yet" in listed.stderr) == (1, True)


async def test_a_running_pipeline_on_one_screen(rig: Rig) -> None:
    rig.worker(only=None)
    upload = Upload(
        *("u1", "v1", "c1", time.time_ns() // 1_000_000, 15_000),
        title="周末足球赛 #football",
        hashtags=("足球",),
    )
    producer = KafkaProducer(rig.brokers)
    await producer.start()
    await (await producer.send(Outgoing(f"{rig.prefix}uploads", encode(upload), b"v1")))
    await producer.stop()

    def candidates() -> list[dict[str, object]]:
        shown = rig.run("slice", "show", "discover:football", "--output", "json")
        found: list[dict[str, object]] = (
            json.loads(shown.stdout)["candidates"] if shown.returncode == 0 else []
        )
        return found

    await rig.until(lambda: len(candidates()) == 1, rig.logs)
    [one] = candidates()
    assert (one["video"], one["left"]) == ("v1", one["allowance"])
    table = rig.run("slice", "show", "discover:football").stdout
    assert "horizon" in table
    assert "discover:football" in rig.run("slice", "list").stdout

    done = rig.run("status", "--output", "json")
    status = json.loads(done.stdout)
    assert (status["halts"], status["unknown"]) == ([], {})
    [own] = [row for row in status["lag"] if not row["group"].endswith("-control")]
    assert (own["status"], own["lag"], own["members"]) == ("OK", 0, 1)
    [worker] = [one for one in status["workers"] if one["topic"].endswith("interactions")]
    assert worker["partitions"] == "0-1"
    [policy] = status["policy"]
    assert (policy["partitions"], policy["of"]) == (2, 2)
    assert status["guarantee"]["running"] == 1

    told = page_tells(rig, "status", "lag", "flow", "letters", "halts", "slices", "video/v1")
    assert {name: one["why"] for name, one in told.items()} == dict.fromkeys(told)
    assert told["status"]["answer"]["policy"] == status["policy"]
    lags = {row["topic"] for row in told["lag"]["answer"]["rows"]}
    assert f"{rig.prefix}interactions" in lags
    video = told["video/v1"]["answer"]
    assert (video["title"], video["counted"]["stage"]) == (upload.title, "public")
    assert "discover:football" in {crowd["slice"] for crowd in video["crowds"]}


def page_tells(rig: Rig, *views: str) -> dict[str, dict[str, Any]]:
    """Return what the page answers of each view."""
    [port] = lasting_ports(1)
    command = [sys.executable, "-m", "streams", "page", "--port", str(port)]
    with subprocess.Popen(
        command, env=rig.environment(), stderr=subprocess.PIPE, text=True
    ) as page:
        assert page.stderr is not None
        assert "the page is at" in page.stderr.readline()
        told = {}
        for view in views:
            while view not in told or "not read yet" in str(told[view]):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{view}") as answer:
                    told[view] = json.load(answer)
        page.send_signal(signal.SIGINT)
        assert page.wait(PATIENCE_S) == 0
        assert "Traceback" not in page.stderr.read()
    return told

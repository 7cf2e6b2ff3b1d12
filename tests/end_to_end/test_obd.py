"""The Open Bandit sample through the whole pipeline: imported, published, counted, explained."""

import json
from collections.abc import Iterator

import pytest
from kit.rig import ROOT, Rig

pytestmark = pytest.mark.real

SAMPLE = ROOT / "tests" / "data" / "obd" / "random_men.csv"


@pytest.fixture
def rig(brokers: str, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=2)
    yield made
    made.stop()


async def test_a_public_log_is_counted_exactly_and_every_decision_is_explained(rig: Rig) -> None:
    assert rig.run("topics", "apply", "--yes").returncode == 0
    worker = rig.worker(only=None)
    await worker.says("running")

    imported = rig.run("events", "import", "--format", "obd", str(SAMPLE))
    assert imported.returncode == 0, imported.stderr
    lines = [json.loads(line) for line in imported.stdout.splitlines()]
    kinds = [line["type"] for line in lines]
    rows = len(SAMPLE.read_text("utf-8").splitlines()) - 1
    assert (kinds.count("impression"), kinds.count("view")) == (rows, rows)
    uploads = [line["video"] for line in lines if line["type"] == "upload"]
    assert len(uploads) == len(set(uploads)) > 10

    published = rig.run("publish", "--batch", "10", said=imported.stdout)
    assert published.returncode == 0, published.stderr
    views = await counted_views(rig, uploads, rows)
    assert views == rows
    rig.assert_exact()
    await rig.assert_every_decision_once()

    explained = rig.run("video", "explain", uploads[0])
    assert explained.returncode == 0, explained.stderr
    assert len(explained.stdout.splitlines()) >= 1
    told = json.loads(rig.run("video", "explain", uploads[0], "--output", "json").stdout)
    assert [receipt["n"] for receipt in told] == list(range(1, len(told) + 1))
    assert {receipt["video"] for receipt in told} == {uploads[0]}
    assert await worker.terminate() == 0


async def counted_views(rig: Rig, videos: list[str], rows: int) -> int:
    """Return the views counted of these videos, once all are admitted and everything is counted."""
    admitted: list[int] = []

    def done() -> bool:
        shown = [rig.run("video", "show", video, "--output", "json") for video in videos]
        found = [json.loads(one.stdout) for one in shown if not one.returncode]
        counted = sum(row["views"] for one in found for row in one["slices"].values())
        admitted[:] = [counted]
        return counted == rows and all(one["stage"] == "public" for one in found)

    await rig.until(done, lambda: f"{admitted}; {rig.logs()}")
    return admitted[0]

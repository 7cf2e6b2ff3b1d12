"""`streams counters`: verification tells what differs, a rebuild counts the log again."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from kit.events import FOOTBALL, records_of, synthetic_log, view
from kit.rig import Feed, Rig

from streams.cli import cli

pytestmark = pytest.mark.real
ROW = ("s:{0}:v:v0", FOOTBALL)


@pytest.fixture
async def rig(brokers: str, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    """Give a rig whose log is counted and whose worker has stopped."""
    made = Rig(brokers, fresh_redis_url, unique, partitions=1)
    made.create_topics()
    try:
        async with Feed(made) as feed:
            extra = [one._replace(offset=0) for one in records_of([view("x1", video="v0")])]
            await feed.send([*synthetic_log(events=300), *extra])
        await counted(made)
        yield made
    finally:
        made.stop()


async def counted(rig: Rig) -> None:
    worker = rig.worker()
    await rig.caught_up()
    assert await worker.terminate() == 0


def change(rig: Rig, place: int, by: int) -> None:
    """Change one number of one stored row, as no worker would."""
    with redis.Redis.from_url(rig.redis_url) as client:
        row: Any = client.hget(*ROW)
        stored = json.loads(row)
        stored[1][place] += by
        client.hset(*ROW, json.dumps(stored, separators=(",", ":")))


async def test_exact_counters_are_exit_code_0(rig: Rig) -> None:
    done = rig.run("counters", "verify", "--output", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["differences"], found["partitions"]) == (0, 0, 1)
    assert found["checked"] > 100
    assert found["records"] > 100


@pytest.mark.parametrize("by", [-1, 1])
async def test_one_wrong_counter_is_found_in_both_directions(rig: Rig, by: int) -> None:
    change(rig, 1, by)
    done = rig.run("counters", "verify", "--output", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["differences"]) == (3, 1)
    (example,) = found["examples"]
    assert (example["video"], example["slice"], example["counter"]) == ("v0", FOOTBALL, "views")
    assert example["stored"] - example["recounted"] == by
    assert "rebuild" in done.stderr


async def test_a_row_that_is_missing_and_one_too_many_are_found(rig: Rig) -> None:
    with redis.Redis.from_url(rig.redis_url) as client:
        row: Any = client.hget(*ROW)
        client.hset("s:{0}:v:nobody", FOOTBALL, row)
        client.hdel(*ROW)
    found = json.loads(rig.run("counters", "verify", "--output", "json").stdout)
    assert {(one["video"], one["stored"] is None) for one in found["examples"]} >= {
        ("nobody", False),
        ("v0", True),
    }


async def test_an_emptied_redis_does_not_pass_for_exact(rig: Rig) -> None:
    with redis.Redis.from_url(rig.redis_url) as client:
        client.flushdb()
    done = rig.run("counters", "verify", "--output", "json")
    assert done.returncode != 0


async def test_the_table_names_what_differs(rig: Rig) -> None:
    change(rig, 0, 7)
    done = rig.run("counters", "verify")
    assert done.returncode == 3
    assert "impressions" in done.stdout


async def test_a_rebuild_only_plans_without_yes(rig: Rig) -> None:
    before = rig.watermarks()
    done = rig.run("counters", "rebuild")
    assert done.returncode == 0
    assert "nothing was done" in done.stdout
    assert rig.watermarks() == before


async def test_a_rebuild_counts_the_log_again_from_its_beginning(rig: Rig) -> None:
    change(rig, 0, 7)
    assert rig.run("counters", "rebuild", "--yes").returncode == 0
    assert rig.watermarks() == {}
    await counted(rig)
    rig.assert_exact()
    await rig.assert_every_decision_once()


async def test_a_rebuild_is_refused_while_a_worker_runs(rig: Rig) -> None:
    worker = rig.worker()
    await worker.says("assigned")
    before = rig.watermarks()
    done = rig.run("counters", "rebuild", "--yes")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert rig.watermarks() == before
    assert await worker.terminate() == 0


@pytest.mark.parametrize("verb", ["verify", "rebuild"])
def test_help_has_an_example(verb: str) -> None:
    said = CliRunner().invoke(cli, ["counters", verb, "--help"]).output
    assert f"Example: streams counters {verb}" in " ".join(said.split())

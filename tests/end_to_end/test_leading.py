"""Who leads the control planes on a real Kafka: the owner of a partition, and the next one."""

import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kit.rig import Rig, WorkerProcess

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture
async def rig(brokers: str, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=2)
    assert made.run("topics", "apply", "--yes").returncode == 0
    yield made
    made.stop()


def policy(rig: Rig, *words: str) -> Any:
    """Return what `streams policy` says as JSON."""
    done = rig.run("policy", *words, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def leading(planes: list[WorkerProcess], term: int) -> WorkerProcess | None:
    """Return the control plane that said last that it leads in a term."""
    return next((one for one in planes if f"leads in term {term} as" in one.said()), None)


async def becomes(rig: Rig, words: str) -> None:
    """Return when the policy in force shows these words."""

    def shown() -> str:
        return rig.run("policy", "show", "--output", "json").stdout

    await rig.until(lambda: words in shown(), lambda: f"{shown()}; {rig.logs()}")


async def test_when_the_leader_is_killed_another_one_leads_in_the_next_term(rig: Rig) -> None:
    rig.worker()
    planes = [rig.worker(only="control")]
    await planes[0].says("leads in term 1 as")
    planes.append(rig.worker(only="control"))
    await planes[1].says("control running")
    await becomes(rig, '"partitions": "all 2 agree"')
    before = policy(rig, "show")
    assert before["number"] == "1.1"
    terms = before["term"]
    boss = leading(planes, terms)
    assert boss is not None
    rest = [one for one in planes if one is not boss]
    boss.send(signal.SIGKILL)
    await rest[0].says(f"leads in term {terms + 1} as")
    await becomes(rig, f'"term": {terms + 1}')
    after = policy(rig, "show")
    assert (after["number"], after["version"]) == (before["number"], before["version"])
    assert after["partitions"] == "all 2 agree"

    frozen = rig.run("policy", "freeze", "means:discover:football", "--why", "odd night")
    assert "nothing was done" in frozen.stderr
    done = rig.run("policy", "freeze", "means:discover:football", "--why", "odd night", "--yes")
    assert done.returncode == 0, done.stderr
    await becomes(rig, "means:discover:football")
    rows = policy(rig, "history")
    assert [row["number"] for row in rows] == ["1.1", f"{terms + 1}.1"]
    assert "odd night" in rows[-1]["why"]
    assert policy(rig, "diff", "1.1", f"{terms + 1}.1") == []
    assert not await rig.read(rig.letters)

"""The one screen: all sections of an installation, and one that does not answer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from kit.page import BAD, status_sources, trouble
from kit.town import Town

from streams.errors import Retry
from streams.ops.status import SECTIONS, StatusSources, is_well, read_status
from streams.ops.status_text import WORDS, as_lines
from streams.runtime.memory import MemoryCluster, MemoryLog


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    town = await Town().start()
    await town.live(5)
    yield town
    await town.stop()


@pytest.fixture
def sources(town: Town) -> StatusSources:
    return status_sources(town)


async def test_all_is_well_and_said_in_every_section(sources: StatusSources, town: Town) -> None:
    status = await read_status(sources, 10)
    assert status["unknown"] == {}
    assert is_well(status)
    assert WORDS.keys() == {"lag", "workers", *SECTIONS} == status.keys() - {"at", "unknown"}
    [worker] = status["workers"]
    assert (worker["topic"], worker["partitions"]) == ("interactions", "0-3")
    assert [(row["group"], row["status"]) for row in status["lag"]] == [
        ("streams", "OK"),
        ("streams-control", "OK"),
    ]
    [policy] = status["policy"]
    assert (policy["partitions"], policy["of"]) == (4, 4)
    assert status["guarantee"]["running"] + status["guarantee"]["kept"] > 0
    assert status["waiting"]["longest"] is None


async def test_trouble_is_told(sources: StatusSources, town: Town) -> None:
    await trouble(town)
    status = await read_status(sources, 10)
    assert not is_well(status)
    [halt] = status["halts"]
    assert (halt["partition"], halt["code"]) == (3, "data_loss")
    assert "`streams counters rebuild --yes`" in halt["what"]
    reasons = status["letters"]["reasons"]
    assert reasons["json"] == BAD[0][2]
    assert status["letters"]["a_minute"] == sum(reasons.values()) / 10
    assert (status["waiting"]["videos"], status["waiting"]["longest"]["video"]) == (1, "hostile")


async def test_the_flow_is_that_of_the_last_whole_minute(
    sources: StatusSources, town: Town
) -> None:
    town.now_ms += 60_000
    status = await read_status(sources, 10)
    assert status["flow"]["uploads"] > 0
    assert status["flow"]["decisions"] == len(town.world.sent("decisions"))


async def test_what_fails_costs_its_own_section(sources: StatusSources) -> None:
    async def nobody() -> str:
        raise Retry("redis does not answer")

    class Never(MemoryCluster):
        async def describe(self) -> Mapping[str, int]:
            await asyncio.Event().wait()
            return {}

    away = Never(MemoryLog())
    status = await read_status(replace(sources, namespace=nobody, cluster=away), 0.5)
    assert status["unknown"] == {
        "policy": "redis does not answer",
        "guarantee": "redis does not answer",
        "skips": "not read within 0.5 s",
        "flow": "not read within 0.5 s",
        "letters": "topic uploads.dlq does not exist: create it first",
    }
    assert not is_well(status)
    assert status["workers"]
    told = dict(as_lines(status))
    assert told["policy"] == "not known: redis does not answer"
    assert told["halts"] == "none"


async def test_a_partition_without_a_leader_is_named(sources: StatusSources, town: Town) -> None:
    town.world.log.leaderless.add(("interactions", 2))
    status = await read_status(sources, 10)
    assert status["unknown"]["lag"] == "no leader answers for interactions[2]"
    assert status["lag"]


async def test_the_screen_is_words_a_line_each(sources: StatusSources, town: Town) -> None:
    await trouble(town)
    lines = as_lines(await read_status(sources, 10))
    heads = [head for head, _ in lines if head]
    assert heads == list(WORDS)
    told = dict(lines)
    assert told["workers"] == "memory@localhost: interactions 0-3"
    assert told["guarantee"].startswith("kept ")
    assert told["waiting"].startswith('1 video, the longest hostile "<img src=')
    assert told["letters"].endswith("minutes: json 24, missing 9, not_object 9, type_unknown 5")
    assert told["policy"].endswith(", number 1, in 4 of 4 partitions")

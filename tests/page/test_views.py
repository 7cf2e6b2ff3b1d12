"""What each view tells is what the verbs tell, of the same installation."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from kit.page import BAD, HOSTILE, page_sources, trouble
from kit.patience import PATIENCE_S
from kit.town import Town

from streams.cli import VERBS
from streams.errors import Halt
from streams.ops.video import counted_video
from streams.page.desk import Desk
from streams.page.views import VIEWS
from streams.runtime.memory import MemoryReader

pytestmark = pytest.mark.asyncio(loop_scope="module")
Answer = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    town = await Town().start()
    await town.live(8)
    await trouble(town)
    yield town
    await town.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(town: Town) -> AsyncIterator[Desk]:
    desk = Desk(page_sources(town), look_s=0.01)
    watch = asyncio.create_task(desk.watch())
    async with asyncio.timeout(PATIENCE_S):
        while not has_looked(desk):  # noqa: ASYNC110 - nobody tells when it has
            await asyncio.sleep(0)
    yield desk
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


def has_looked(desk: Desk) -> bool:
    """Tell whether the lag was looked at once."""
    with suppress(Halt):
        return bool(desk.report())
    return False


async def answer(
    desk: Desk, name: str, of: str = "", holds: Callable[[Answer], bool] = lambda _: True
) -> Answer:
    """Return what a view answers once it holds: what reads in the background takes a moment."""
    async with asyncio.timeout(PATIENCE_S), VIEWS[name].view(desk, of) as ask:
        while not holds(told := await ask()):  # noqa: ASYNC110 - nobody tells when it does
            await asyncio.sleep(0.01)
    whole: Answer = json.loads(json.dumps(told))
    return whole


def judged(town: Town) -> str:
    """Return the video with the most receipts."""
    videos = [json.loads(one)["video"] for one in town.world.receipts()]
    return max(set(videos), key=videos.count)


async def test_the_status_has_every_section_as_it_becomes_known(desk: Desk) -> None:
    told = await answer(desk, "status", holds=lambda one: not one["unknown"])
    assert {
        "lag",
        "workers",
        "halts",
        "skips",
        "flow",
        "letters",
        "policy",
        "guarantee",
        "shares",
        "waiting",
    } == {*(told.keys() - {"unknown"})}
    assert [halt["partition"] for halt in told["halts"]] == [3]
    assert told["waiting"]["longest"]["title"] == HOSTILE


async def test_the_lag_has_its_history(desk: Desk) -> None:
    told = await answer(desk, "lag")
    worst = told["rows"][0]
    assert (worst["status"], worst["topic"], worst["partition"]) == ("HALTED", "interactions", 3)
    assert all(row["points"][-1][1] >= row["lag"] for row in told["rows"])  # the worst of a minute
    assert [group["group"] for group in told["groups"]] == ["streams", "streams-control"]


async def test_the_flow_has_the_newest_decisions_first(desk: Desk, town: Town) -> None:
    receipts = town.world.receipts()
    told = await answer(
        desk, "flow", holds=lambda one: sum(one["actions"].values()) == len(receipts)
    )
    times = [row["ts"] for row in told["latest"]]
    assert times == sorted(times, reverse=True)
    titles = {video: one.upload.title for video, one in town.people.videos.items()}
    assert all(row["title"] == titles[row["video"]] for row in told["latest"])
    assert len(told["minutes"]["interactions"]) == 30


async def test_the_flow_asks_for_its_minutes_once_a_minute(desk: Desk, town: Town) -> None:
    opened = 0

    @asynccontextmanager
    async def reading() -> AsyncIterator[MemoryReader]:
        nonlocal opened
        opened += 1
        yield MemoryReader(town.world.log)

    status = replace(desk.sources.status, reading=reading)
    own = Desk(replace(desk.sources, status=status))
    async with VIEWS["flow"].view(own, "") as ask:
        first, then = await ask(), await ask()
    assert first["minutes"] == then["minutes"]
    assert opened <= 2  # the receipts are followed by another


async def test_a_video_has_its_crowds_and_its_life_in_words(desk: Desk, town: Town) -> None:
    video = judged(town)
    mine = [r for r in town.world.receipts() if json.loads(r)["video"] == video]
    told = await answer(desk, "video", video)  # the first answer has all of them
    assert told["whole"]
    assert told["title"] == town.people.videos[video].upload.title
    status = desk.sources.status
    counted = await counted_video(status.store, town.world.namespace, video, 4)
    opened = [crowd["slice"] for crowd in counted["open"]]
    assert [row["slice"] for row in told["crowds"]][: len(opened)] == opened
    assert [one["n"] for one in told["timeline"]] == list(range(len(mine), 0, -1))
    assert told["timeline"][-1]["head"].startswith("#1 open ")


async def test_a_video_that_nobody_saw_is_shown_all_the_same(desk: Desk) -> None:
    told = await answer(desk, "video", "hostile")
    assert (told["title"], told["state"]) == (HOSTILE, "waiting")
    assert (told["crowds"], told["timeline"], told["whole"]) == ([], [], True)


async def test_slices_and_their_candidates_are_those_of_the_policy(desk: Desk) -> None:
    told = await answer(desk, "slices")
    assert "discover:football" in {row["slice"] for row in told["slices"]}
    shown = await answer(desk, "slice", "discover:football")
    assert shown["candidates"]
    assert all(one["title"] for one in shown["candidates"])
    learned = shown["learned"]
    assert learned["number"] == "1.2"
    assert learned["moved"] == "mean 0.38 to 0.392, horizon 400 to 520"
    assert learned["evidence"].startswith("410 videos, 6,180 pairs, 1,240 pairs held out")
    assert "predicted better by 0.0213 in log score a pair" in learned["why"]
    with pytest.raises(Halt, match="has no slice discover:nobody"):
        await answer(desk, "slice", "discover:nobody")


async def test_letters_are_counted_and_the_newest_listed(desk: Desk) -> None:
    told = await answer(desk, "letters")
    assert {row["producer"] for row in told["stats"]} == {producer for _, producer, _ in BAD}
    assert len(told["latest"]) == sum(times for *_, times in BAD)
    written = [row["written"] for row in told["latest"]]
    assert written == sorted(written, reverse=True)


async def test_halts_say_what_to_do(desk: Desk) -> None:
    told = await answer(desk, "halts")
    [halt] = told["halts"]
    assert (halt["partition"], halt["code"]) == (3, "data_loss")
    assert "`streams counters rebuild --yes`" in halt["what"]
    assert told["skips"] == []


async def test_before_the_first_look_the_lag_is_not_known(town: Town) -> None:
    with pytest.raises(Halt, match="not read yet"):
        Desk(page_sources(town)).report()


async def test_each_view_names_a_command_that_there_is() -> None:
    for kind in VIEWS.values():
        for command in kind.commands:
            assert command.split()[1] in VERBS

"""A slice as operators see it, over a town in memory."""

from collections.abc import AsyncIterator

import pytest
from kit.control import RULES
from kit.town import Town

from streams.core.outlook import Outlook
from streams.errors import Halt
from streams.ops.slice import any_outlook, slice_rows, slice_shown


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    town = await Town().start()
    yield town
    await town.stop()


async def outlook_of(town: Town) -> Outlook:
    world = town.world
    return await any_outlook(world.store, world.namespace, world.settings)


async def test_before_any_policy_it_is_said_what_is_missing() -> None:
    with pytest.raises(Halt, match="does a control plane run"):
        await outlook_of(Town())


async def test_each_slice_of_the_policy_has_a_row(town: Town) -> None:
    await town.live(1)
    rows = {row["slice"]: row for row in slice_rows(await outlook_of(town))}
    specs = RULES.policy.record(0, 1).slices
    assert rows.keys() == specs.keys()
    assert rows["discover:cars"]["price"] == specs["discover:cars"].price
    assert rows["discover:cars"]["horizon"] == specs["discover:cars"].horizon


async def test_candidates_come_as_a_lease_would_take_them(town: Town) -> None:
    await town.live(4)
    outlook = await outlook_of(town)
    shown = await slice_shown(town.index, outlook, "discover:cars", 5)
    leased = await town.index.lease("discover:cars", 5, 1)
    ranked = [one.video for one in leased if one.via == "rank"]
    assert [one["video"] for one in shown["candidates"]][: len(ranked)] == ranked
    nets = [one["net"] for one in shown["candidates"]]
    assert nets == sorted(nets, reverse=True)
    assert all(one["net"] == one["score"] - one["price"] for one in shown["candidates"])
    assert sum(one["asked"] for one in shown["slots"]) > 0


async def test_a_slice_that_no_policy_has_is_told(town: Town) -> None:
    await town.live(1)
    with pytest.raises(Halt, match="`streams slice list` lists them"):
        await slice_shown(town.index, await outlook_of(town), "discover:nobody", 5)

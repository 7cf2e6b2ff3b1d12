"""The real fold as a contender: bulk feeding changes nothing."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from streams.core.counters import STOPPED, encode_slice, encode_video
from streams.core.receipts import encode
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.loop import run
from streams.lab.simulator.serving import KnowingServers, LaggingServers, LeasingServers
from streams.lab.simulator.tastes import WORLDS
from streams.lab.simulator.traffic import Traffic
from streams.lab.simulator.world import World

BuildWorld = Callable[..., World]


def everything(rule: FoldedRule) -> tuple[list[bytes], dict[str, bytes]]:
    """All receipts, and every row as it would be stored."""
    rows = {}
    for name, video in sorted(rule._state.videos.items()):
        rows[name] = encode_video(video.row)
        for slice_id, row in sorted(video.slices.items()):
            rows[f"{name} {slice_id}"] = encode_slice(row)
    return [encode(receipt) for receipt in rule.receipts], rows


def test_a_tick_without_events_is_folded_too(a_world: BuildWorld) -> None:
    world = a_world()
    rule = FoldedRule(world, KnowingServers())
    traffic = Traffic(world, 1)
    traffic.expose(np.zeros(world.shape, np.int64), 0)
    rule.learn(traffic.due(0), 0)
    assert not rule.receipts


@pytest.mark.parametrize("name", WORLDS)
def test_bulk_feeding_gives_the_receipts_of_event_by_event(name: str, a_world: BuildWorld) -> None:
    whole = a_world(name)
    world = replace(whole, slots=whole.slots // 2)
    bulk = FoldedRule(world, KnowingServers())
    single = FoldedRule(world, KnowingServers(), bulk=False)
    run(world, bulk, 1)
    run(world, single, 1)
    receipts, rows = everything(bulk)
    assert {receipt.action for receipt in bulk.receipts} >= {"open", "keep", "widen"}
    assert receipts == everything(single)[0]
    assert rows == everything(single)[1]


def test_offers_are_those_of_the_rows(a_world: BuildWorld) -> None:
    world = a_world()
    rule = FoldedRule(world, KnowingServers())
    run(world, rule, 1)
    for video, name in enumerate(world.videos):
        for slice_id, row in rule._state.videos[name].slices.items():
            place = world.slices.index(slice_id), video
            if row.status == STOPPED:
                assert rule._allowance[place] == 0
            elif rule._allowance[place]:
                assert rule._allowance[place] == row.allowance


@pytest.mark.parametrize("servers", [KnowingServers, LeasingServers])
def test_leases_hardly_pass_an_allowance_and_a_fleet_without_them_does(
    servers: type[KnowingServers | LeasingServers], a_world: BuildWorld
) -> None:
    world = a_world()
    leasing, lagging = FoldedRule(world, servers()), FoldedRule(world, LaggingServers())
    shown = run(world, leasing, 1).shown.sum()
    run(world, lagging, 1)
    assert leasing.overdrawn <= 0.05 * shown  # a stop that servers do not know yet
    assert lagging.overdrawn > leasing.overdrawn


def test_every_crowd_worth_its_price_is_open_from_the_admission_on(a_world: BuildWorld) -> None:
    world = a_world()
    rule = FoldedRule(world, KnowingServers())
    for video in range(len(world.videos)):
        rule.admit(video)
    opened = {r.video: {crowd.slice for crowd in r.crowds} for r in rule.receipts}
    for video, name in enumerate(world.videos):
        reach = {world.slices[place] for place in np.flatnonzero(world.reachable[:, video])}
        assert opened[name] <= reach
        assert len(opened[name]) > len(reach) // 2
        shown = {world.slices[place] for place in np.flatnonzero(rule._allowance[:, video])}
        assert shown == opened[name]


def test_stopped_pairs_are_those_of_the_rows(a_world: BuildWorld) -> None:
    world = a_world()
    rule = FoldedRule(world, KnowingServers())
    course = run(world, rule, 1)
    videos, standing = list(world.videos), set()
    for receipt in rule.receipts:
        if receipt.reason == "reconsidered":
            standing.discard((receipt.slice, receipt.video))
        elif receipt.action == "stop":
            standing.add((receipt.slice, receipt.video))
    found = zip(*np.nonzero(course.stopped), strict=True)
    assert standing == {(world.slices[place], videos[video]) for place, video in found}

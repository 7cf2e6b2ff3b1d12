"""The rule under the ceiling of one creator: large shares fall, and few creators have none."""

from collections.abc import Callable

import numpy as np
import pytest
from kit.control import RULES

from streams.lab.simulator.capping import SHIPPED, CappedRule
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.loop import run
from streams.lab.simulator.measures import gini
from streams.lab.simulator.serving import KnowingServers
from streams.lab.simulator.world import World

BuildWorld = Callable[..., World]


def test_it_plays_with_the_shipped_numbers() -> None:
    assert RULES.policy.ceiling == SHIPPED


def test_on_a_small_platform_nothing_is_decided_otherwise(a_world: BuildWorld) -> None:
    world = a_world("mixture")
    capped, free = CappedRule(world, KnowingServers()), FoldedRule(world, KnowingServers())
    assert np.array_equal(run(world, capped, 1).shown, run(world, free, 1).shown)
    assert capped.receipts == free.receipts


@pytest.mark.slow
def test_large_shares_fall_and_audiences_are_more_equal(a_world: BuildWorld) -> None:
    world = a_world("mixture", "scarce", 0.06)
    capped, free = CappedRule(world, KnowingServers()), FoldedRule(world, KnowingServers())
    lowered, plain = (run(world, one, 1).shown[world.public].sum(axis=0) for one in (capped, free))
    assert gini(lowered) < gini(plain) - 0.03
    assert lowered.max() < plain.max()
    assert any(each.reason == "ceiling" for each in capped.receipts)

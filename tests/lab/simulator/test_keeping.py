"""The rule under a keeper: it knows what was shown, and what it learns comes into force."""

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from streams.control.policy.evidence import Evidence
from streams.control.policy.horizon import LIFE_DAYS
from streams.control.policy.keeper import Proposal
from streams.core.events import Policy
from streams.core.posterior import solve, sum_factors
from streams.core.rule import estimate_in
from streams.core.units import MICROS
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.keeping import EVERY_TICKS, LIFE_TICKS, KeptRule, apart
from streams.lab.simulator.loop import run
from streams.lab.simulator.serving import KnowingServers
from streams.lab.simulator.world import World, prior_variances

BuildWorld = Callable[..., World]


def never(policy: Policy, evidence: Evidence) -> Proposal:
    return Proposal("nothing moves")


def test_a_keeper_that_moves_nothing_changes_nothing(a_world: BuildWorld) -> None:
    world = a_world()
    kept, bare = KeptRule(world, KnowingServers(), never), FoldedRule(world, KnowingServers())
    assert np.array_equal(run(world, kept, 1).shown, run(world, bare, 1).shown)
    assert kept.receipts == bare.receipts
    assert not kept.proposals


def test_the_keeper_sees_the_rows_of_what_was_shown_and_the_slots_asked_for(
    a_world: BuildWorld,
) -> None:
    world = a_world()
    seen: list[tuple[int, float]] = []

    def watch(policy: Policy, evidence: Evidence) -> Proposal:
        shown = sum(r.impressions for v in evidence.videos.values() for r in v.slices.values())
        seen.append((shown, sum(evidence.slots.values())))
        return never(policy, evidence)

    course = run(world, KeptRule(world, KnowingServers(), watch), 1)
    assert len(seen) == world.ticks // EVERY_TICKS
    assert 0 < seen[0][0] < seen[-1][0] <= course.shown.sum()
    in_a_life = seen[-1][1] * LIFE_DAYS / LIFE_TICKS * EVERY_TICKS
    last = sum(world.slots_at(tick).sum() for tick in range(world.ticks - EVERY_TICKS, world.ticks))
    assert in_a_life == pytest.approx(last)


def test_what_is_proposed_comes_into_force_everywhere(a_world: BuildWorld) -> None:
    world = a_world()

    def dearer(policy: Policy, evidence: Evidence) -> Proposal:
        slices = {n: replace(s, prior_mean=s.prior_mean - 2_000) for n, s in policy.slices.items()}
        return Proposal("means fall", slices=slices)

    kept = KeptRule(world, KnowingServers(), dearer)
    run(world, kept, 1)
    assert len(kept.proposals) == world.ticks // EVERY_TICKS
    outlook = kept._state.outlook
    assert outlook is not None
    assert outlook.policy == kept.policy
    assert kept.receipts[-1].policy.startswith("kept-")
    for place, name in np.argwhere(kept._allowance > 0).tolist():
        video = world.videos[name]
        state, slice_id = kept._state.videos[video], world.slices[place]
        if state.row.commercial:
            continue  # a bid factor moves its score too
        tastes = solve(sum_factors(kept.policy, state))
        score = estimate_in(kept.policy, state, slice_id, tastes).score
        offered = kept._scores[place, name] * MICROS + outlook.price(slice_id, state.row)
        assert offered == pytest.approx(score, abs=10_000)  # small moves are not told


def test_it_starts_with_the_launch_numbers_and_moves_horizons_from_the_slots(
    a_world: BuildWorld,
) -> None:
    world = a_world("hidden")
    kept = KeptRule(world, KnowingServers())
    run(world, kept, 1)
    assert kept.proposals
    horizons = {spec.horizon for spec in kept.policy.slices.values()}
    assert horizons != {spec.horizon for spec in world.policy.slices.values()}


def test_apart_no_crowd_says_anything_of_another_and_variances_stay(a_world: BuildWorld) -> None:
    world = a_world()
    alone = apart(world)
    assert all(spec.loadings == (0, 0, 0) for spec in alone.policy.slices.values())
    assert prior_variances(alone.policy) == pytest.approx(prior_variances(world.policy), abs=3e-6)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("regime", ["middle", "crowded"])
def test_learning_tastes_that_no_file_knows_costs_next_to_nothing(
    regime: str, a_world: BuildWorld
) -> None:
    """At a tenth of the size, in the world whose neighbours mean nothing."""
    from streams.lab.simulator.lineup import CONTENDERS  # noqa: PLC0415 - all contenders at once
    from streams.lab.simulator.measures import measure  # noqa: PLC0415

    world = a_world("hidden", regime, 0.1)
    courses = {
        name: run(world, CONTENDERS[name](world, KnowingServers(), 1), 1)
        for name in ("oracle", "ladder", "rule", "rule-kept")
    }
    value = {
        name: measure(world, course, courses["oracle"], courses["ladder"]).value_share
        for name, course in courses.items()
    }
    assert value["rule-kept"] > value["rule"] - 0.02
    assert value["rule-kept"] > (0.88 if regime == "crowded" else 0.94)

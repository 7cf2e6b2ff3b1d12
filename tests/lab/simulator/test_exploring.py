"""Chance in the simulator: what it has shown, and what its draws say of all crowds."""

from collections.abc import Callable
from dataclasses import replace as with_fields
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from msgspec.structs import replace

from streams.core.receipts import Draw
from streams.lab.simulator.exploring import (
    SIZE,
    Estimated,
    Sampled,
    as_fields,
    estimated,
    explore,
    in_words,
)
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.loop import run
from streams.lab.simulator.names import Cell
from streams.lab.simulator.serving import KnowingServers, Question
from streams.lab.simulator.world import World

BuildWorld = Callable[..., World]
CONFIG = Path(__file__).parents[3] / "config"


def with_chance(world: World, probability: int, fresh_share: int = 500_000) -> World:
    changed = replace(world.policy, explore_probability=probability, fresh_share=fresh_share)
    return with_fields(world, policy=changed)


def cell(seed: int, size: float = SIZE) -> Cell:
    return Cell(CONFIG, "correlated", "scarce", seed, size, "knowing", ())


def test_what_was_drawn_is_shown_first_within_the_slots_of_newcomers(a_world: BuildWorld) -> None:
    world = with_chance(a_world(), 500_000)
    rule = FoldedRule(world, KnowingServers())
    for video in range(len(world.videos)):
        rule.admit(video)
    drawn = [r.draw.slice for r in rule.receipts if isinstance(r.draw, Draw) and r.draw.slice]
    assert drawn
    slots = np.full(len(world.slices), 10)
    room = np.where(world.reachable, world.audience, 0)
    counts = rule.choose(Question(0, slots, room, np.zeros(world.shape, np.int64)))
    assert rule.tried.sum(axis=1).tolist() == [5 * (name in drawn) for name in world.slices]
    assert (counts >= rule.tried).all()
    assert (counts.sum(axis=1) <= slots).all()


def test_chance_that_is_off_shows_nothing(a_world: BuildWorld) -> None:
    world = with_chance(a_world(), 0)
    rule = FoldedRule(world, KnowingServers())
    run(world, rule, 1)
    assert not rule.tried.any()
    assert not any(receipt.draw for receipt in rule.receipts)


def test_each_draw_speaks_for_as_many_as_it_was_drawn_among() -> None:
    mean, half = estimated([Sampled(2, 0.1), Sampled(2, 0.3), Sampled(4, 0.5)])
    assert mean == pytest.approx(0.35)
    error = np.sqrt((0.5**2 + 0.1**2 + 0.6**2) / 64)
    assert half > 1.96 * error


def test_the_interval_of_equal_draws_is_students() -> None:
    values = [0.1, 0.3, 0.4, 0.2, 0.6, 0.35, 0.25, 0.45, 0.5, 0.15, 0.3]
    mean, half = estimated([Sampled(7, value) for value in values])
    assert mean == pytest.approx(fmean(values))
    of_ten_degrees = 2.228
    assert half == pytest.approx(of_ten_degrees * stdev(values) / len(values) ** 0.5, rel=0.02)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_draws_cover_the_truth_and_what_was_shown_does_not(seed: int) -> None:
    found = explore(cell(seed))
    assert found.covered
    assert found.shown > found.truth + 0.05  # what the rule chose is better than all there is
    assert "within" in in_words([found])
    assert as_fields(found)["truth"] == round(found.truth, 4)


def test_a_chance_that_draws_too_often_is_told() -> None:
    biased = Estimated("correlated", 1, 0.3, 0.4, 0.05, False, 0.5, 1_000, 600, 0.5)
    assert in_words([biased]) == (
        "the truth was covered in 0 of 1 runs; chance drew 600 times of 1,000, outside 500 ± 52"
    )


@pytest.mark.slow
def test_in_93_of_100_runs_the_truth_lies_in_the_95_percent_interval() -> None:
    found = [explore(cell(seed)) for seed in range(1, 101)]
    assert sum(each.covered for each in found) >= 93, in_words(found)
    assert "within" in in_words(found)

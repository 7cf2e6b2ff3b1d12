"""Prices that follow demand: by small steps, never below where they began."""

from collections.abc import Callable
from pathlib import Path

import pytest

from streams.lab.simulator.keeping import EVERY_TICKS
from streams.lab.simulator.loop import run
from streams.lab.simulator.names import Cell
from streams.lab.simulator.plots import draw_prices
from streams.lab.simulator.price_steps import as_fields, points, sample
from streams.lab.simulator.pricing import STEP, PricedRule, next_price
from streams.lab.simulator.serving import KnowingServers
from streams.lab.simulator.world import World

BuildWorld = Callable[..., World]
CONFIG = Path(__file__).parents[3] / "config"


def test_a_price_goes_step_by_step_to_what_it_aims_at() -> None:
    assert next_price(350_000, 350_000, 350_500) == 350_500
    assert next_price(360_000, 350_000, 355_000) == 360_000 - STEP
    assert next_price(360_000, 350_000, 350_000, step=20_000) == 350_000


def test_no_price_falls_below_its_launch() -> None:
    assert next_price(350_000, 350_000, 260_000) == 350_000
    assert next_price(351_000, 350_000, 260_000, step=90_000) == 350_000


def test_where_slots_are_short_prices_rise_step_by_step(a_world: BuildWorld) -> None:
    world = a_world("correlated", "crowded")
    rule = PricedRule(world, KnowingServers())
    run(world, rule, 1)
    launched = world.policy.slices
    risen = [spec.price - launched[name].price for name, spec in rule.policy.slices.items()]
    assert min(risen) >= 0
    assert 0 < max(risen) <= STEP * world.ticks // EVERY_TICKS


def test_every_step_stands_beside_frozen_prices_in_rows_and_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.lab.simulator.price_steps.STEPS", (0, 5_000))
    cell = Cell(CONFIG, "correlated", "scarce", 1, 0.005, "knowing", ())
    frozen, moved = points(sample(cell))
    assert (frozen.step, frozen.gain.mean, moved.step) == (0, 0, 5_000)
    gain = moved.value_share.mean - frozen.value_share.mean
    assert as_fields(moved)["gain_%"] == round(100 * gain, 2)
    assert as_fields(moved)["gain_half_%"] is None  # of one seed
    assert b"frozen" in draw_prices([frozen, moved], tmp_path).read_bytes()

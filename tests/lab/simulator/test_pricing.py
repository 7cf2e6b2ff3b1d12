"""Prices that follow demand: by small steps, never below where they began."""

from collections.abc import Callable

from streams.lab.simulator.keeping import EVERY_TICKS
from streams.lab.simulator.loop import run
from streams.lab.simulator.pricing import STEP, PricedRule, next_price
from streams.lab.simulator.serving import KnowingServers
from streams.lab.simulator.world import World

BuildWorld = Callable[..., World]


def test_a_price_goes_to_what_was_leased_last_and_back_where_slots_stay_empty() -> None:
    assert next_price(350_000, 350_000, 500, full=True) == 350_500
    assert next_price(360_000, 350_000, -5_000, full=True) == 360_000 - STEP
    assert next_price(360_000, 350_000, 90_000, full=False) == 360_000 - STEP


def test_no_price_falls_below_its_launch() -> None:
    assert next_price(350_000, 350_000, -90_000, full=True) == 350_000
    assert next_price(350_000, 350_000, 90_000, full=False) == 350_000


def test_where_slots_are_short_prices_rise_step_by_step(a_world: BuildWorld) -> None:
    world = a_world("correlated", "crowded")
    rule = PricedRule(world, KnowingServers())
    run(world, rule, 1)
    launched = world.policy.slices
    risen = [spec.price - launched[name].price for name, spec in rule.policy.slices.items()]
    assert min(risen) >= 0
    assert 0 < max(risen) <= STEP * world.ticks // EVERY_TICKS

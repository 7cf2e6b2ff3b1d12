"""What an attack on today's rule costs; the numbers are its weakness, and known."""

import pytest

from streams.lab.simulator.admission import Platform
from streams.lab.simulator.attack import STOPPING, WIDENING, Attack, Cost, Siege, cost_of

TRIED = ("order", "share", "comment", "full view", "report")


@pytest.fixture(scope="module")
def paid(platform: Platform) -> dict[str, Cost]:
    attacks = [attack for attack in (*WIDENING, *STOPPING) if attack.name in TRIED]
    return {attack.name: cost_of(platform.policy, attack) for attack in attacks}


@pytest.mark.parametrize("name", ["order", "share", "comment"])
def test_one_viewer_buys_a_widening_with_a_handful_of_events(
    name: str, paid: dict[str, Cost]
) -> None:
    assert paid[name].viewers == "one"
    assert paid[name].first_widening is not None
    assert paid[name].first_widening <= 12


def test_what_is_worth_more_buys_a_widening_for_less(paid: dict[str, Cost]) -> None:
    first = {name: cost.first_widening or 10**6 for name, cost in paid.items()}
    assert first["order"] <= first["share"] <= first["comment"] < first["full view"]


def test_the_second_widening_costs_more_than_the_first(paid: dict[str, Cost]) -> None:
    for cost in paid.values():
        if cost.first_widening and cost.second_widening:
            assert cost.second_widening >= cost.first_widening


def test_reports_of_one_viewer_stop_a_good_video(paid: dict[str, Cost]) -> None:
    assert paid["report"].stop is not None
    assert paid["report"].stop < 60


def test_without_an_attack_nothing_is_bought(platform: Platform) -> None:
    for seed in range(1, 6):
        assert not Siege(platform.policy, Attack("none", "one", ()), seed, -100_000).succeeds(
            [1], "widen"
        )
        assert not Siege(platform.policy, Attack("none", "one", ()), seed, 100_000).succeeds(
            [1], "stop"
        )

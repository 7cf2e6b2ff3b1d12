"""What an attack on the rule costs."""

import pytest

from streams.lab.simulator.admission import Platform
from streams.lab.simulator.attack import STOPPING, WIDENING, Attack, Cost, Siege, cost_of

ATTACKS = (*WIDENING, *STOPPING)
Paid = dict[tuple[Attack, bool], Cost]


@pytest.fixture(scope="module")
def paid(platform: Platform) -> Paid:
    return {
        (attack, alone): cost_of(platform.policy, attack, alone=alone)
        for attack in ATTACKS
        for alone in (False, True)
    }


def as_viewers_do(attack: Attack) -> bool:
    """Tell whether it looks like viewers who were shown the video."""
    return attack.viewers == "many" and "impression" in attack.parts


@pytest.mark.parametrize("attack", [each for each in WIDENING if not as_viewers_do(each)])
def test_one_viewer_or_none_who_was_shown_it_buys_nothing(attack: Attack, paid: Paid) -> None:
    assert paid[attack, False].first_widening is None
    assert paid[attack, True].first_widening is None


@pytest.mark.parametrize("attack", [each for each in STOPPING if each.viewers == "one"])
def test_one_viewer_stops_nothing(attack: Attack, paid: Paid) -> None:
    assert paid[attack, False].stop is None
    assert paid[attack, True].stop is None


@pytest.mark.parametrize("attack", [each for each in WIDENING if as_viewers_do(each)])
def test_alone_a_widening_costs_thirty_viewers_and_the_next_ninety(
    attack: Attack, paid: Paid
) -> None:
    cost = paid[attack, True]
    assert cost.first_widening is not None
    assert cost.first_widening >= 30
    assert cost.second_widening is None or cost.first_widening + cost.second_widening >= 90


@pytest.mark.parametrize("attack", [each for each in STOPPING if as_viewers_do(each)])
def test_alone_a_stop_costs_fifteen_viewers(attack: Attack, paid: Paid) -> None:
    stop = paid[attack, True].stop
    assert stop is not None
    assert stop >= 15


@pytest.mark.parametrize("attack", [each for each in ATTACKS if each.viewers == "one that waits"])
def test_who_waits_gains_nothing_alone(attack: Attack, paid: Paid) -> None:
    assert paid[attack, True].first_widening is None
    assert paid[attack, True].stop is None


def test_without_an_attack_nothing_is_bought(platform: Platform) -> None:
    for seed in range(1, 6):
        assert not Siege(platform.policy, Attack("none", "one", ()), seed, -100_000).succeeds(
            [1], "widen"
        )
        assert not Siege(platform.policy, Attack("none", "one", ()), seed, 100_000).succeeds(
            [1], "stop"
        )

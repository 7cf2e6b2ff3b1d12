"""Curves over the policy's numbers."""

from pathlib import Path

import pytest

from streams.lab.simulator.admission import Platform
from streams.lab.simulator.curves import NUMBERS, changed, points, sample, shipped
from streams.lab.simulator.names import Cell
from streams.lab.simulator.plots import draw_curves

CONFIG = Path(__file__).parents[3] / "config"


@pytest.mark.parametrize("number", NUMBERS)
def test_a_curve_goes_through_the_shipped_value(number: str, platform: Platform) -> None:
    assert shipped(platform.policy, number) in NUMBERS[number]


@pytest.mark.parametrize(("number", "values"), NUMBERS.items())
def test_one_number_changes_and_no_other(
    number: str, values: tuple[float, ...], platform: Platform
) -> None:
    for value in values:
        policy = changed(platform.policy, number, value)
        assert shipped(policy, number) == value
        back = changed(policy, number, shipped(platform.policy, number))
        assert back == platform.policy


def test_a_curve_has_a_point_for_every_value_and_is_drawn(
    tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.lab.simulator.curves.NUMBERS", {"open_max": (1, 64)})
    cell = Cell(CONFIG, "correlated", "scarce", 1, 0.005, "knowing", ())
    one, all_open = points(sample(cell), platform.policy)
    assert (one.value, one.shipped, all_open.shipped) == (1, False, True)
    assert one.value_share.mean < all_open.value_share.mean <= 1
    assert b"open_max" in draw_curves([one, all_open], tmp_path).read_bytes()

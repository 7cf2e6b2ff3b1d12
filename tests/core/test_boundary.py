import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.boundary import ln, psi
from streams.core.units import MICROS


def psi_in_floats(s: float) -> float:
    """The closed form as Brezzi and Lai print it."""
    if s <= 0.2:
        return math.sqrt(s / 2)
    if s <= 1:
        return 0.49 - 0.11 / math.sqrt(s)
    if s <= 5:
        return 0.63 - 0.26 / math.sqrt(s)
    if s <= 15:
        return 0.77 - 0.58 / math.sqrt(s)
    return math.sqrt(2 * math.log(s) - math.log(math.log(s)) - math.log(16 * math.pi))


@given(st.integers(1, 10**30))
def test_ln_is_the_natural_logarithm(x: int) -> None:
    assert ln(x) == pytest.approx(math.log(x / MICROS) * MICROS, abs=1.5)


@given(st.integers(0, 10**20))
def test_psi_is_the_published_boundary(s: int) -> None:
    assert psi(s) == pytest.approx(psi_in_floats(s / MICROS) * MICROS, abs=20)


@pytest.mark.parametrize(
    "piece",
    [(1, 200_000), (200_001, 1_000_000), (1_000_001, 5_000_000), (5_000_001, 15_000_000)],
)
def test_psi_rises_within_each_piece_of_its_closed_form(piece: tuple[int, int]) -> None:
    low, high = piece
    boundary = [psi(s) for s in range(low, high, (high - low) // 500)]
    assert boundary == sorted(boundary)


@given(st.integers(15_000_001, 10**18), st.integers(0, 10**18))
def test_psi_rises_beyond_its_last_piece(s: int, more: int) -> None:
    assert psi(s + more) >= psi(s) - 1


@given(st.integers(0, 10**40))
def test_learning_is_never_worth_less_than_nothing(s: int) -> None:
    assert psi(s) >= 0

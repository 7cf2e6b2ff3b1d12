"""From "how alike are two crowds" to loadings on three tastes."""

from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest

from streams.control.policy.catalogue import Catalogue
from streams.control.policy.factors import FACTORS, MOST_COMMON, factorise

SHIPPED = Catalogue.from_toml(Path("config/slices.toml"))


def both_ways(alike: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    return alike | {(other, one): weight for (one, other), weight in alike.items()}


def of_three_tastes(count: int, seed: int) -> dict[tuple[str, str], float]:
    """How alike crowds are that truly have three tastes."""
    chance = Random(seed)
    tastes = {}
    for number in range(count):
        row = np.array([chance.gauss(0, 1) for _ in range(FACTORS)])
        tastes[f"c{number}"] = row / np.linalg.norm(row) * chance.uniform(0.4, 0.9)
    pairs = combinations(tastes, 2)
    return both_ways({(one, two): float(tastes[one] @ tastes[two]) for one, two in pairs})


@pytest.mark.parametrize("seed", range(4))
def test_what_three_tastes_made_is_told_again(seed: int) -> None:
    alike = of_three_tastes(14, seed)
    names = sorted({one for one, _ in alike})
    loadings = factorise(names, alike)
    for (one, two), weight in alike.items():
        assert float(np.dot(loadings[one], loadings[two])) == pytest.approx(weight, abs=0.08)


def test_crowds_without_neighbours_share_nothing() -> None:
    loadings = factorise(["a", "b", "c", "d"], both_ways({("a", "b"): 0.5}))
    assert loadings["c"] == loadings["d"] == [0.0] * FACTORS
    assert float(np.dot(loadings["a"], loadings["b"])) == pytest.approx(0.5, abs=0.05)


def test_no_crowd_gives_all_of_its_variance_away() -> None:
    same = both_ways(dict.fromkeys(combinations("abcd", 2), 1.0))
    for row in factorise(list("abcd"), same).values():
        assert float(np.dot(row, row)) <= MOST_COMMON + 2e-3


def test_the_shipped_table_is_no_covariance_and_its_factors_are_one() -> None:
    names = list(SHIPPED.slices)
    table = np.array(
        [[1.0 if a == b else SHIPPED.alike.get((a, b), 0.0) for b in names] for a in names]
    )
    assert np.linalg.eigvalsh(table)[0] < 0
    rows = np.array([factorise(names, SHIPPED.alike)[name] for name in names])
    fitted = rows @ rows.T
    own = 1 - np.diag(fitted)
    assert own.min() > 0
    assert np.linalg.eigvalsh(fitted + np.diag(own))[0] > 0


def test_it_is_the_same_each_time_in_thousandths() -> None:
    once = factorise(list(SHIPPED.slices), SHIPPED.alike)
    assert once == factorise(list(SHIPPED.slices), SHIPPED.alike)
    assert all(each == round(each, 3) for row in once.values() for each in row)

"""How much a tilt moves, told from the scores of what was shown, against a count of what does."""

from collections.abc import Sequence
from random import Random

import pytest

from streams.control.shares.gain import estimate_gain
from streams.core.shares import Bar
from streams.core.traffic import GAP_MICROS, GAPS, GAPS_BELOW, ClassSums
from streams.core.units import MICROS

FLOOR = Bar("ordinary", 700_000)
PRIVATE = Bar("private", 300_000)
CARS, FOOD, FANS = "discover:cars", "discover:food", "following:fans"


def filled(own: Sequence[int], other: Sequence[int], slots: int, tilt: int = 0) -> list[list[int]]:
    """Return the scores of each side that fill so many slots, the best first."""
    ranked = sorted([(s + tilt, 0, s) for s in own] + [(s, 1, s) for s in other], reverse=True)
    return [[score for _, side, score in ranked[:slots] if side == each] for each in (0, 1)]


def sums_of(slice_id: str, kind: str, scores: Sequence[int]) -> ClassSums:
    gaps = [0] * GAPS
    for score in scores:
        gaps[min(max(score // GAP_MICROS + GAPS_BELOW, 0), GAPS - 1)] += 1
    return ClassSums(slice_id, kind, impressions=len(scores), gaps=gaps)


def by_key(*sums: ClassSums) -> dict[tuple[str, str], ClassSums]:
    return {(each.slice, each.kind): each for each in sums}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", [0.04, 0.08])
def test_it_is_within_twice_of_what_a_tilt_does(seed: int, spread: float) -> None:
    chance = Random(seed)
    own = [round(chance.gauss(0.05, spread) * MICROS) for _ in range(20_000)]
    other = [round(chance.gauss(0.06, spread) * MICROS) for _ in range(20_000)]
    slots, tilt = 10_000, 5_000
    before, after = (len(filled(own, other, slots, each)[0]) for each in (0, tilt))
    true = (after - before) * MICROS / slots * MICROS / tilt
    shown = filled(own, other, slots)
    sums = by_key(sums_of(CARS, "0", shown[0]), sums_of(CARS, "5", shown[1]))
    estimate = estimate_gain(FLOOR, sums)
    assert estimate is not None
    assert true / 2 <= estimate <= true * 2


@pytest.mark.parametrize("cut", range(100_000, 140_001, 5_000))
def test_where_scores_fall_it_is_near_wherever_in_a_bucket_the_cut_lies(cut: int) -> None:
    chance = Random(cut)
    own, other = ([round(chance.gauss(0, 80_000)) for _ in range(200_000)] for _ in range(2))
    shown = [[score for score in side if score >= cut] for side in (own, other)]
    slots = sum(map(len, shown))
    after = len(filled(own, other, slots, 4_000)[0]) - len(filled(own, other, slots, -4_000)[0])
    true = after * MICROS / slots * MICROS / 8_000
    estimate = estimate_gain(
        FLOOR, by_key(sums_of(CARS, "0", shown[0]), sums_of(CARS, "5", shown[1]))
    )
    assert estimate is not None
    assert 0.9 <= estimate / true <= 1.35


def test_slices_count_by_what_they_show_and_only_where_both_sides_compete() -> None:
    here = [sums_of(CARS, kind, [10_000] * 400) for kind in ("0", "5")]
    alone = sums_of(FOOD, "0", [10_000] * 800)
    contested, half = (
        estimate_gain(FLOOR, by_key(*here)),
        estimate_gain(FLOOR, by_key(*here, alone)),
    )
    assert contested is not None
    assert half == contested // 2


def test_of_private_impressions_surfaces_compete() -> None:
    sums = [sums_of(FANS, "0", [10_000] * 400), sums_of(CARS, "0", [10_000] * 400)]
    assert estimate_gain(PRIVATE, by_key(*sums)) is not None
    assert estimate_gain(FLOOR, by_key(*sums)) is None


def test_a_few_scores_say_nothing() -> None:
    few = [sums_of(CARS, kind, [10_000] * 99) for kind in ("0", "5")]
    assert estimate_gain(FLOOR, by_key(*few)) is None
    unscored = [ClassSums(CARS, kind, impressions=10_000) for kind in ("0", "5")]
    assert estimate_gain(FLOOR, by_key(*unscored)) is None

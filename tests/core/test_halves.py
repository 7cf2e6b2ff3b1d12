"""What of a policy is learned, and what stays when the other half changes."""

from typing import Any

import pytest
from kit.events import COOKING, FIXED, FOOTBALL, MUSIC
from msgspec.structs import replace

from streams.core.events import Policy, SlicePolicy
from streams.core.halves import (
    ALL_FAMILIES,
    FAMILIES,
    differing,
    is_freezable,
    unplaced,
    with_learned,
)


def moved(**changes: Any) -> Policy:
    """Return the fixed policy with numbers of its football slice moved."""
    spec = replace(FIXED.slices[FOOTBALL], **changes)
    return replace(FIXED, slices={**FIXED.slices, FOOTBALL: spec})


EVERYTHING = {
    "prior_mean": 1,
    "loadings": (1, 2, 3),
    "own_variance": 4,
    "noise_variance": 5,
    "horizon": 6,
    "price": 7,
    "button_mean": 8,
    "delay_ms": 9,
}


def test_every_number_of_a_slice_is_learned_but_its_reach_and_no_word_of_a_person() -> None:
    assert set(FAMILIES.values()) == set(SlicePolicy.__struct_fields__) - {"reach", "word"}


def test_what_is_learned_is_taken_over_and_the_rest_stays() -> None:
    whole: dict[str, Any] = {"noise_cross": 7, "leans": {"discover:0": 5_000}}
    whole["organic"] = {FOOTBALL: 9}
    source = replace(moved(**EVERYTHING, reach=99), **whole, tranche=99)
    taken = with_learned(FIXED, source)
    assert taken == replace(moved(**EVERYTHING), **whole)
    assert differing(FIXED, taken) == ALL_FAMILIES


def test_only_families_that_moved_are_taken_over() -> None:
    taken = with_learned(FIXED, moved(**EVERYTHING), ["horizons"])
    assert taken == moved(horizon=6)
    assert differing(FIXED, taken) == ("horizons",)


@pytest.mark.parametrize("frozen", ["prices", f"prices:{FOOTBALL}"])
def test_what_is_frozen_stays(frozen: str) -> None:
    assert with_learned(FIXED, moved(price=7, horizon=6), frozen=[frozen]) == moved(horizon=6)


def test_a_frozen_slice_keeps_no_other_from_moving() -> None:
    source = moved(price=7)
    assert with_learned(FIXED, source, frozen=[f"prices:{MUSIC}"]) == source


def test_a_slice_that_is_new_keeps_its_own_numbers() -> None:
    fewer = replace(moved(price=7), slices={FOOTBALL: moved(price=7).slices[FOOTBALL]})
    assert with_learned(FIXED, fewer) == moved(price=7)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("prices", True),
        ("cross", True),
        (f"prices:{COOKING}", True),
        ("price", False),
        ("weights", False),
        ("prices:discover:chess", False),
        (f"cross:{COOKING}", False),
        (COOKING, False),
    ],
)
def test_numbers_have_names(name: str, *, is_one: bool) -> None:
    assert is_freezable(name, FIXED.slices) == is_one


def test_one_content_broadcast_twice_is_one_content() -> None:
    again = replace(FIXED, id="p", ts=FIXED.ts + 1, seq=9, term=3, by="x", why="y")
    assert unplaced(again) == unplaced(FIXED)
    assert unplaced(replace(again, frozen=("prices",))) != unplaced(FIXED)

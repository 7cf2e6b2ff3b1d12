"""A policy in numbers that people read, and two policies beside each other."""

from typing import Any

from kit.events import FANS, FIXED, FOOTBALL, MUSIC, WEIGHTS
from msgspec.structs import replace

from streams.core.events import Policy
from streams.ops.policy_figures import (
    Difference,
    Figure,
    differences,
    figures,
    moved_in_words,
    slice_row,
)


def with_spec(**changes: Any) -> Policy:
    spec = replace(FIXED.slices[FOOTBALL], **changes)
    return replace(FIXED, slices={**FIXED.slices, FOOTBALL: spec})


def test_numbers_have_a_half_and_a_unit_and_no_micros() -> None:
    shown = figures(FIXED)
    assert shown["weight of like"] == Figure("operators", 0.5, "value")
    assert shown["late after"] == Figure("operators", 1, "hours")
    assert shown["discover:football price"] == Figure("learned", 0.33, "value per view")
    assert shown["discover:football horizon"] == Figure("learned", 400, "impressions")
    assert shown["discover:football taste 1"] == Figure("learned", 0.11, "value per view")
    assert shown["discover:football reach"] == Figure("operators", 5_000, "impressions")
    assert str(shown["discover:football reach"]) == "5,000 impressions"
    assert str(shown["weight of like"]) == "0.5 value"
    assert shown["noise cross"] == Figure("learned", 0.15, "share")


def test_every_number_of_a_policy_is_shown() -> None:
    no_numbers = {"id", "ts", "seq", "term", "version", "files", "moved", "frozen", "pinned"}
    no_numbers |= {
        "by",
        "why",
        "evidence",
        "rule",
        "weights",
        "slices",
        "terms",
        "leans",
        "organic",
    }
    no_numbers |= {"explore_key"}
    shown = figures(FIXED)
    for field in set(Policy.__struct_fields__) - no_numbers:
        value = getattr(FIXED, field)
        more = (*value, 30) if isinstance(value, tuple) else value + 1
        assert differences(FIXED, replace(FIXED, **{field: more})), field
    assert len(shown) == 9 + 23 + len(FIXED.terms) + len(FIXED.slices) * 11


def test_what_the_shares_come_to_is_shown_by_class() -> None:
    leaning = replace(FIXED, leans={"discover:0": 25_000})
    (found,) = differences(FIXED, leaning)
    assert (found.name, found.half, found.after) == ("lean of discover:0", "learned", 0.025)
    assert moved_in_words(FIXED, leaning) == "shares"


def test_a_slice_is_a_row() -> None:
    assert slice_row(FOOTBALL, FIXED.slices[FOOTBALL]) == {
        "slice": FOOTBALL,
        "mean": 0.35,
        "spread": 0.0075,
        "noise": 0.1,
        "horizon": 400,
        "price": 0.33,
        "buttons": 0.0,
        "delay": 0.0,
        "tastes": "0.11 0.02 0",
    }


def test_differences_name_number_half_and_change() -> None:
    changed = replace(with_spec(price=363_000), tranche=30)
    assert differences(FIXED, changed) == [
        Difference("tranche", "operators", 20, 30, "+50 %", "impressions"),
        Difference("discover:football price", "learned", 0.33, 0.363, "+10 %", "value per view"),
    ]
    assert differences(FIXED, FIXED) == []


def test_what_only_one_has_is_new_or_gone() -> None:
    fewer = {name: spec for name, spec in FIXED.slices.items() if name != MUSIC}
    gone = differences(FIXED, replace(FIXED, slices=fewer))
    assert {each.change for each in gone} == {"gone"}
    assert {each.name.rpartition(" ")[0] for each in gone} == {MUSIC, f"{MUSIC} taste"}
    assert moved_in_words(replace(FIXED, slices=fewer), FIXED) == "1 slices new"


def test_what_moved_is_said_by_family() -> None:
    changed = replace(with_spec(price=1, prior_mean=2), noise_cross=3)
    spec = replace(FIXED.slices[FANS], price=4)
    changed = replace(changed, slices={**changed.slices, FANS: spec})
    words = "means of 1 slices, prices of 2 slices, cross"
    assert moved_in_words(FIXED, changed) == words
    like = replace(changed, weights=replace(WEIGHTS, like=1), tranche=7)
    assert moved_in_words(FIXED, like) == f"{words}, 2 numbers of the operators"

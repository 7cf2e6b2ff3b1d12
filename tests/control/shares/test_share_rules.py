"""What is promised of which impressions, and files that promise what nothing could hold."""

import tomllib
from typing import Any

import pytest
from kit.control import RULES
from kit.twins import CONFIG

from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import PolicyRules
from streams.errors import Misconfigured


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.from_toml(CONFIG / "slices.toml")


@pytest.fixture
def file() -> dict[str, Any]:
    return tomllib.loads((CONFIG / "policy.toml").read_text(encoding="utf-8"))


def test_the_shipped_promises_come_in_the_order_in_which_they_count() -> None:
    rules = RULES.policy.shares
    named = [(bar.name, bar.bound, bar.ceiling) for bar in rules.bars]
    assert named == [
        ("private", 300_000, False),
        ("ordinary", 700_000, False),
        ("commercial", 150_000, True),
    ]
    assert (rules.tilt_max, rules.term_max, rules.gain) == (100_000, 50_000, 3_000_000)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"private": 0.4}, "the floors private and ordinary sum to 1.1: lower them"),
        ({"ordinary": 1.2}, "shares.ordinary: 1.2 is out of range: use 0 to 1"),
        ({"private": -0.1}, "shares.private: -0.1 is out of range"),
        ({"tilt_max": 0}, "shares.tilt_max: 0 is out of range: use more than 0, at most 1"),
        ({"term_max": 0}, "shares.term_max: 0 is out of range"),
        ({"gain": 0}, "shares.gain: 0 is out of range"),
        ({"commercial": 0.01}, "shares.commercial: 0.01 leaves no room"),
        ({"feeds": "grids"}, "feeds"),
    ],
)
def test_what_nothing_could_hold_is_refused_with_the_reason(
    changes: dict[str, Any], reason: str, file: dict[str, Any], catalogue: Catalogue
) -> None:
    file["shares"] |= changes
    with pytest.raises(Misconfigured) as refused:
        PolicyRules.parse(file, catalogue, where="policy.toml")
    assert reason in str(refused.value)


def test_a_private_floor_without_a_slice_of_followers_is_refused(
    file: dict[str, Any], catalogue: Catalogue
) -> None:
    public = Catalogue(
        (spec for spec in catalogue.slices.values() if spec.surface != "following"),
        catalogue.default,
    )
    with pytest.raises(Misconfigured, match="no following slice"):
        PolicyRules.parse(file, public, where="policy.toml")
    file["shares"]["private"] = 0
    assert not PolicyRules.parse(file, public, where="policy.toml").shares.bars[0].is_on

"""Which impressions a promise is of, and which it wants."""

import pytest

from streams.core.shares import ORDINARY, Bar
from streams.core.traffic import UNKNOWN, ClassSums
from streams.core.units import MICROS
from streams.runtime.leases import CLASSES

PRIVATE, ORDINARY_BAR = Bar("private", 300_000), Bar("ordinary", 700_000)
COMMERCIAL = Bar("commercial", 150_000)
BARS = (PRIVATE, ORDINARY_BAR, COMMERCIAL)
SHOWN = {
    ("following:fans", "0"): 300,
    ("following:fans", "5c"): 10,
    ("discover:cars", "0"): 40,
    ("discover:cars", "4"): 60,
    ("nearby:xian", "2"): 20,
    ("discover:cars", "5"): 50,
    ("discover:cars", "0c"): 30,
    ("discover:", UNKNOWN): 5,
}
SUMS = {key: ClassSums(*key, impressions=count) for key, count in SHOWN.items()}


def test_loops_aim_a_point_inside_of_what_is_promised() -> None:
    assert [bar.target for bar in BARS] == [310_000, 710_000, 140_000]


def test_private_is_of_all_impressions() -> None:
    assert PRIVATE.count(SUMS) == (310, 515)


def test_ordinary_is_of_the_public_ones_where_adverts_and_unknown_ones_count_as_others() -> None:
    assert ORDINARY_BAR.count(SUMS) == (120, 205)


def test_commercial_is_of_the_public_ones_too() -> None:
    assert COMMERCIAL.count(SUMS) == (30, 205)
    assert COMMERCIAL.share(SUMS) == 30 * MICROS // 205
    assert COMMERCIAL.share({}) is None


def test_a_floor_of_nothing_and_a_ceiling_of_all_promise_nothing() -> None:
    assert [Bar("ordinary", bound).is_on for bound in (0, 1)] == [False, True]
    ceilings = [Bar("commercial", bound) for bound in (MICROS, MICROS - 1, 0)]
    assert [bar.is_on for bar in ceilings] == [False, True, True]


def test_what_raises_a_share() -> None:
    raised = {bar.name: {kind for kind in CLASSES if bar.raises(kind)} for bar in BARS}
    others = {kind for kind in CLASSES if not kind.endswith("c")}
    assert raised == {"private": set(CLASSES), "ordinary": ORDINARY, "commercial": others}


@pytest.mark.parametrize(
    ("bar", "share", "off"), [(ORDINARY_BAR, 700_000, 10_000), (COMMERCIAL, 100_000, -40_000)]
)
def test_off_is_to_the_wrong_side(bar: Bar, share: int, off: int) -> None:
    assert bar.off(share) == off

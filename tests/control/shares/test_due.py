"""The share of a slice's slots that newcomers need."""

from hypothesis import given
from hypothesis import strategies as st

from streams.control.shares.due import DueShare, due_share
from streams.control.shares.rules import DUE_MOST
from streams.runtime.leases import Newcomers

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOW = 1_700_000_000_000


def share(*dues: tuple[int, int], pairs: int | None = None, slots: float = 100.0) -> DueShare:
    """Return the share of newcomers with so many hours left and so many impressions owed."""
    by = [(NOW + hours * HOUR_MS, due) for hours, due in dues]
    return due_share(Newcomers(pairs or len(by), by), slots, NOW, DAY_MS)


def test_nobody_is_owed_nothing() -> None:
    assert share() == DueShare(0, is_short=False)


def test_it_is_a_fifth_more_than_what_is_owed_over_the_slots_until_then() -> None:
    assert share((10, 600)) == DueShare(12_000, is_short=False)  # 1 of 100 slots a minute


def test_the_deadline_that_needs_most_decides() -> None:
    assert share((1, 60), (24, 60)).share == share((1, 60)).share
    assert share((1, 60), (2, 300)).share == round(1_200_000 * 360 / 120 / 100)
    assert share((2, 300), (1, 60)) == share((1, 60), (2, 300))


def test_what_chance_drew_comes_before_them_and_is_given_a_day_alone() -> None:
    drawn, owed = (0, 1_440), (NOW + 10 * HOUR_MS, 600)
    alone = due_share(Newcomers(1, [drawn]), 100.0, NOW, DAY_MS)
    assert alone == DueShare(12_000, is_short=False)  # 1 of 100 slots a minute
    both = due_share(Newcomers(2, [drawn, owed]), 100.0, NOW, DAY_MS)
    assert both.share == share((10, 2_040)).share


def test_more_than_may_be_is_told_before_anybody_missed_it() -> None:
    assert share((1, 600)) == DueShare(DUE_MOST, is_short=True)


def test_newcomers_that_are_only_counted_are_owed_as_much_as_the_others() -> None:
    assert share((24, 10), pairs=1_000).share == share((24, 10_000)).share


def test_a_slice_without_slots_is_short() -> None:
    assert share((24, 1), slots=0.0) == DueShare(DUE_MOST, is_short=True)


def test_what_missed_its_deadline_needs_nothing_any_more() -> None:
    assert share((-1, 60)) == DueShare(0, is_short=False)


@given(
    st.lists(st.tuples(st.integers(-5, 48), st.integers(0, 10**6)), max_size=20),
    st.integers(0, 10**6),
    st.floats(0, 1e9),
)
def test_it_is_always_a_share(dues: list[tuple[int, int]], more: int, slots: float) -> None:
    found = share(*dues, pairs=len(dues) + more, slots=slots)
    assert 0 <= found.share <= DUE_MOST

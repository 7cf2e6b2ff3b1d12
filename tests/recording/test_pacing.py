"""Records are due by the original gaps over all partitions together, or by a rate."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.recording.pacing import Pace, Pacer


def dues(pace: Pace, timestamps: Sequence[int]) -> Any:
    pacer = Pacer(pace)
    return [pacer.due(timestamp) for timestamp in timestamps]


def test_ten_times_the_pace_is_a_tenth_of_the_gaps() -> None:
    assert dues(Pace(10), [1_000, 1_500, 6_000]) == pytest.approx([0, 0.05, 0.5])


def test_as_fast_as_possible_is_always_due() -> None:
    assert dues(Pace(None), [1_000, 9_000_000]) == [0, 0]


def test_long_gaps_are_shortened_and_short_ones_are_not() -> None:
    assert dues(Pace(1, max_gap_ms=2_000), [0, 1_000, 61_000, 62_000]) == [0, 1, 3, 4]


def test_a_timestamp_that_goes_back_costs_no_time_and_gains_none() -> None:
    assert dues(Pace(1), [1_000, 500, 2_000]) == [0, 0, 1]


def test_a_rate_holds_back_what_the_pace_would_send() -> None:
    assert dues(Pace(None, rate=4), [0, 0, 0]) == [0, 0.25, 0.5]
    assert dues(Pace(1, rate=4), [0, 0, 9_000]) == [0, 0.25, 9]


@given(st.lists(st.integers(0, 10**7)), st.floats(0.1, 1000))
def test_due_times_never_go_back(timestamps: Sequence[int], speed: Any) -> None:
    times = dues(Pace(speed), timestamps)
    assert times == sorted(times)
    if timestamps:
        greatest = max(timestamps) - timestamps[0]
        assert times[-1] == pytest.approx(greatest / 1000 / speed)

"""The share of bad records: counted by minutes, alarms above 1 %, asks for a pause above 20 %."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.runtime.bad_input import LEAST_EVENTS, MINUTE_S, BadInput


def test_a_minute_of_good_records_is_fine() -> None:
    guard = BadInput()
    assert {guard.note(second, 10_000, 0) for second in range(60)} == {"fine"}


def test_exactly_one_percent_is_fine_and_more_is_an_alarm() -> None:
    assert BadInput().note(0.0, 1_000, 10) == "fine"
    assert BadInput().note(0.0, 1_000, 11) == "alarm"


def test_an_alarm_is_given_once_a_minute() -> None:
    guard = BadInput()
    given_at = [second for second in range(180) if guard.note(float(second), 1_000, 50) == "alarm"]
    assert given_at == [0, 60, 120]


def test_exactly_a_fifth_only_alarms_and_more_asks_for_a_pause() -> None:
    assert BadInput().note(0.0, 1_000, 200) == "alarm"
    assert BadInput().note(0.0, 1_000, 201) == "pause"


def test_a_minute_with_few_events_says_nothing() -> None:
    assert BadInput().note(0.0, LEAST_EVENTS - 1, LEAST_EVENTS - 1) == "fine"
    assert BadInput().note(0.0, LEAST_EVENTS, LEAST_EVENTS) == "pause"


def test_the_next_minute_forgets_the_bad_ones() -> None:
    guard = BadInput()
    assert guard.note(0.0, 1_000, 200) == "alarm"
    assert guard.note(MINUTE_S - 0.001, 1_000, 300) == "pause"
    assert guard.note(MINUTE_S, 1_000, 5) == "fine"


@pytest.mark.parametrize("start", [0.0, 1e6, 1.7e9])
def test_the_clock_may_begin_anywhere(start: float) -> None:
    guard = BadInput()
    assert guard.note(start, 1_000, 201) == "pause"
    assert guard.note(start + MINUTE_S, 1_000, 0) == "fine"


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500)), min_size=1, max_size=50))
def test_a_pause_is_asked_for_whenever_a_minute_is_above_a_fifth(
    batches: list[tuple[int, int]],
) -> None:
    guard = BadInput()
    records = bad = 0
    for count, wrong in batches:
        records, bad = records + count, bad + min(count, wrong)
        judged = guard.note(1.0, count, min(count, wrong))
        assert (judged == "pause") == (records >= LEAST_EVENTS and bad * 5 > records)

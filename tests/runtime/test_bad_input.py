"""The share of bad records: by minutes, said from the first, alarms above 1 %, rests above 20 %."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.units import MICROS
from streams.runtime.bad_input import (
    LEAST_RECORDS,
    MINUTE_S,
    PAUSE_S,
    TRICKLE_S,
    BadInput,
    Judgement,
    Rest,
)


def note(share: BadInput, now: float, records: int, bad: int) -> Judgement:
    return share.note(now, records, bad * MICROS)


def test_a_minute_of_good_records_is_fine() -> None:
    share = BadInput()
    assert {note(share, second, 10_000, 0) for second in range(60)} == {"fine"}


def test_exactly_one_percent_is_only_noticed_and_more_is_an_alarm() -> None:
    assert note(BadInput(), 0.0, 1_000, 10) == "notice"
    assert note(BadInput(), 0.0, 1_000, 11) == "alarm"


def test_an_alarm_is_given_once_a_minute() -> None:
    share = BadInput()
    given_at = [at for at in range(180) if note(share, float(at), 1_000, 50) == "alarm"]
    assert given_at == [0, 60, 120]


def test_the_first_bad_record_of_a_minute_is_noticed_whatever_the_rate() -> None:
    share = BadInput()
    seen = [note(share, float(at), 1, int(at % 30 == 10)) for at in range(120)]
    assert [at for at, judgement in enumerate(seen) if judgement == "notice"] == [10, 70]
    assert set(seen) == {"fine", "notice"}


def test_exactly_a_fifth_only_alarms_and_more_asks_for_a_pause() -> None:
    assert note(BadInput(), 0.0, 1_000, 200) == "alarm"
    assert note(BadInput(), 0.0, 1_000, 201) == "pause"


def test_a_minute_with_few_records_is_no_reason_to_pause() -> None:
    assert note(BadInput(), 0.0, LEAST_RECORDS - 1, LEAST_RECORDS - 1) == "notice"
    assert note(BadInput(), 0.0, LEAST_RECORDS, LEAST_RECORDS) == "pause"


def test_parts_of_records_add_up() -> None:
    assert BadInput().note(0.0, 1_000, 1_000 * MICROS // 50) == "alarm"
    assert BadInput().note(0.0, 1_000, 1_000 * MICROS // 4) == "pause"


def test_the_next_minute_forgets_the_bad_ones() -> None:
    share = BadInput()
    assert note(share, 0.0, 1_000, 200) == "alarm"
    assert note(share, MINUTE_S - 0.001, 1_000, 300) == "pause"
    assert note(share, MINUTE_S, 1_000, 0) == "fine"


@pytest.mark.parametrize("start", [0.0, 1e6, 1.7e9])
def test_the_clock_may_begin_anywhere(start: float) -> None:
    share = BadInput()
    assert note(share, start, 1_000, 201) == "pause"
    assert note(share, start + MINUTE_S, 1_000, 0) == "fine"


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500)), min_size=1, max_size=50))
def test_a_pause_is_asked_for_whenever_a_minute_is_above_a_fifth(
    batches: list[tuple[int, int]],
) -> None:
    share = BadInput()
    records = bad = 0
    for count, wrong in batches:
        records, bad = records + count, bad + min(count, wrong)
        judged = note(share, 1.0, count, min(count, wrong))
        assert (judged == "pause") == (records >= LEAST_RECORDS and bad * 5 > records)


def test_a_rest_is_long_at_first_then_short_until_few_records_are_bad() -> None:
    rest = Rest()
    assert not rest.resting
    rest.begin(100.0)
    assert (rest.resting, rest.until) == (True, 100.0 + PAUSE_S)
    assert not rest.note(120.0, 100, 21 * MICROS)
    assert (rest.resting, rest.until) == (True, 120.0 + TRICKLE_S)
    assert rest.note(130.0, 100, 20 * MICROS)
    assert not rest.resting
    assert rest.until < 130.0

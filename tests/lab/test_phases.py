"""Videos brought in and the events behind them are told apart, by when watermarks moved."""

import pytest

from streams.lab.phases import BenchLog, CountedRates, Timeline, rates_of

LOG = BenchLog({0: 100, 1: 100}, {0: 1_000, 1: 1_000}, 200, 2_000)


def test_admissions_end_when_the_last_partition_has_counted_its_own() -> None:
    seen: Timeline = {
        0: [(-1, 0.0), (49, 1.0), (99, 2.0), (299, 3.0), (1_099, 5.0)],
        1: [(-1, 0.0), (49, 2.0), (99, 3.0), (1_099, 5.0)],
    }
    rates = rates_of(seen, LOG)
    assert rates.videos == pytest.approx(200 * 150 / 200 / 2)  # 50 were there at 1.0
    assert rates.feedback_events == pytest.approx(2_000 * 1_800 / 2_000 / 2)  # 200 at 3.0
    assert rates.mixed_events == pytest.approx(2_000 * 2_150 / 2_200 / 4)


def test_the_mixed_rate_has_the_time_of_the_admissions_and_the_other_one_has_not() -> None:
    seen: Timeline = {p: [(-1, 0.0), (9, 1.0), (99, 9.0), (1_099, 10.0)] for p in range(2)}
    rates = rates_of(seen, LOG)
    assert rates.feedback_events == pytest.approx(2_000)
    assert rates.mixed_events < 250


def test_a_log_that_is_counted_at_once_divides_by_no_zero() -> None:
    rates = rates_of({p: [(1_099, 1.0)] for p in range(2)}, LOG)
    assert rates == CountedRates(0, 0, 0)

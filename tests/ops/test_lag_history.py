from itertools import pairwise

from streams.ops.lag_history import DAY_MS, MINUTE_MS, History, sparkline
from streams.ops.lag_status import WINDOW, Sample


def looked(lags: dict[int, int]) -> History:
    history = History()
    for at_ms, lag in lags.items():
        history.add(Sample(at_ms, 0, lag, owned=True))
    return history


def test_the_last_looks_are_kept_as_they_were() -> None:
    history = looked({at: at for at in range(0, 200_000, 10_000)})
    assert [sample.lag for sample in history.window] == list(range(100_000, 200_000, 10_000))
    assert len(history.window) == WINDOW


def test_of_a_minute_its_worst_look_is_kept() -> None:
    points = looked({0: 1, 10_000: 9, 50_000: 2, 60_000: 3}).points()
    assert [(point.at_ms, point.lag) for point in points] == [(10_000, 9), (60_000, 3)]


def test_a_day_is_kept_and_no_more_at_falling_resolution() -> None:
    history = looked({at: at // MINUTE_MS for at in range(0, 2 * DAY_MS, MINUTE_MS // 2)})
    points = history.points()
    assert len(points) == 60 + 92  # an hour of minutes, quarters before
    steps = [later.at_ms - one.at_ms for one, later in pairwise(points)]
    assert set(steps[-59:]) == {MINUTE_MS}
    assert set(steps[:91]) == {15 * MINUTE_MS}
    assert 0.95 * DAY_MS < points[-1].at_ms - points[0].at_ms < DAY_MS


def test_a_spike_of_the_morning_is_still_seen_in_the_evening() -> None:
    lags = dict.fromkeys(range(0, DAY_MS // 2, 10_000), 0) | {3_000_000: 7_000}
    assert max(point.lag for point in looked(lags).points()) == 7_000


def test_the_bars_show_the_worst_of_each_part_and_blanks_where_nothing_is_known() -> None:
    history = looked(dict.fromkeys(range(1800000, 3600000, MINUTE_MS), 0) | {3_600_000: 5})
    assert sparkline(history.points(), 3_600_000, 3_600_000, 8) == "    ▁▁▁█"
    assert sparkline([], 3_600_000, 3_600_000, 8) == " " * 8

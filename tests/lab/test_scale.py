"""The scale is measured over ever more pairs, more workers, and a hot video."""

import pytest
from kit.events import FIXED

from streams.lab.bench import Sizes
from streams.lab.scale import HOT_SHARE, settings_of


@pytest.mark.parametrize(
    ("events", "pairs"),
    [
        (9_999, []),
        (10_000, [10_000]),
        (2_000_000, [10_000, 100_000, 1_000_000]),
        (10_000_000, [10_000, 100_000, 1_000_000, 10_000_000]),
    ],
)
def test_there_are_no_more_pairs_than_events(events: int, pairs: list[int]) -> None:
    *even, spread, hot = settings_of(Sizes(events, 20_000, 1), FIXED)
    assert [setting.shape.pairs for setting in even] == pairs
    assert spread.workers == (1, 2, 3, 4)
    assert [setting.events for setting in even] == [max(each, spread.events) for each in pairs]
    assert spread.events == hot.events == min(events, 1_000_000)
    assert (hot.shape.hot, hot.workers) == (HOT_SHARE, (1,))

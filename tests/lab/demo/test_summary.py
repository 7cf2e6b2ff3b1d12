"""The summary of a demo says what to remember of it, in lines that do not wrap."""

from typing import Any

import pytest
from kit.stories import TITLES, busy_story, rendered
from rich.cells import cell_len

from streams.lab.demo.promised import ShownShare
from streams.lab.demo.summary import summary
from streams.lab.story import Story

REPORT: dict[str, Any] = {
    "events": 1_234_567,
    "seconds": 600.0,
    "duplicates": 23_456,
    "videos": 4_321,
    "lag": 0,
    "seed": 1,
    "counters": {"checked": 2_561, "differences": 0},
}
SHARES = [ShownShare("private", 345_678, 300_000, held=True)]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("story", [busy_story(), Story()], ids=["busy", "nothing"])
def test_the_summary_does_not_wrap(width: int, story: Story) -> None:
    lines = rendered(summary(REPORT, story, TITLES, SHARES, width), width)
    assert all(cell_len(text) <= width for text in lines)
    assert len(lines) <= 23
    assert "shown:  private 34.6 ≥ 30 %" in lines
    assert "2,561 counters compared with a second count of the log: all equal" in lines


def test_the_summary_names_counters_that_differ() -> None:
    report = {**REPORT, "counters": {"checked": 2_561, "differences": 2}}
    assert "2 of 2,561 counters differ from the log" in rendered(
        summary(report, Story(), {}, SHARES, 80), 80
    )


def test_the_summary_says_why_nothing_was_compared() -> None:
    report = {**REPORT, "counters": {"checked": 0, "differences": None, "why": "too long"}}
    assert "Counters not compared: too long" in rendered(
        summary(report, Story(), {}, SHARES, 80), 80
    )


ROOM: dict[str, Any] = {
    "viewers": 500_000,
    "arrived_in_s": 61.2,
    "visits_per_second": 8_170,
    "events_per_second": 14_321,
    "partition": 11,
    "lag_s": {"median": 0.5, "most": 12.25},
    "others_lag_s": {"median": 0.0, "most": 0.75},
    "caught_up_after_s": 12.3,
    "off_index_s": 0.97,
    "counted_visits": 500_000,
}


def test_of_a_live_room_both_lags_are_told_and_its_end() -> None:
    lines = rendered(summary(REPORT | {"room": ROOM}, Story(), {}, SHARES, 80), 80)
    assert all(cell_len(text) <= 80 for text in lines)
    first = lines.index("the live room")
    assert lines[first + 1 : first + 6] == [
        "  500,000 viewers came in 61 s: 8,170 visits, 14,321 events a second",
        "  its partition 11 lagged by 0.50 s in the median, 12.25 s at most",
        "  the other ones by 0.00 s in the median, 0.75 s at most",
        "  500,000 visits counted, 12.3 s after all had left",
        "  off the index 0.97 s after it ended",
    ]
    stuck = REPORT | {"room": ROOM | {"off_index_s": None}}
    assert "  it did not leave the index" in rendered(summary(stuck, Story(), {}, SHARES, 80), 80)

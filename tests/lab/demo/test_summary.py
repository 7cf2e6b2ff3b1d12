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

"""The screen of `streams demo` fits the terminal it is shown on."""

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from streams.cli.demo_screen import line, screen, summary
from streams.core.receipts import ACTIONS, Action, Reason, Receipt
from streams.lab.demo import Moment
from streams.lab.story import Story

TITLES = {f"square-dance-{n}": "周末足球赛,最后一分钟点球:我们舞队的新广场舞" for n in range(60)}
NOW = Moment(
    elapsed_s=75,
    seconds=90,
    events=1_234_567,
    events_per_second=2_013.4,
    duplicates=23_456,
    lag=3,
    lags=(0, 9, 3),
    videos=4_321,
    brokers="127.0.0.1:45337",
    redis="redis://127.0.0.1:43581/0",
    note="",
)
REPORT: dict[str, Any] = {
    "events": 1_234_567,
    "seconds": 600.0,
    "duplicates": 23_456,
    "videos": 4_321,
    "lag": 0,
    "seed": 1,
    "counters": {"checked": 2_561, "differences": 0},
}
REASONS: dict[Action, Reason] = {
    "start": "next_after_stop",
    "widen": "mean_beats_price",
    "keep": "allowance_nearly_used",
    "stop": "index_below_price",
}


def busy_story() -> Story:
    story = Story()
    order: tuple[Action, ...] = ("keep", "widen", "stop", "start", "widen")
    for number in range(60):
        for n, action in enumerate(order, start=1):
            numbers = dict.fromkeys(Receipt.__struct_fields__, 0)
            said = {
                "n": n,
                "video": f"square-dance-{number}",
                "slice": "discover:photography" if n > 3 else "discover:square-dance",
                "action": action,
                "reason": REASONS[action],
                "views": 12_345,
                "allowance": 123_456,
                "stage": 3,
                "mean": 410_000,
                "index": 320_000,
                "price": 350_000,
            }
            story.add(Receipt(**{**numbers, **said}))
    return story


def rendered(what: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=100, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60), (79, 24), (60, 20)])
@pytest.mark.parametrize("story", [busy_story(), Story()], ids=["busy", "nothing yet"])
def test_it_fits(width: int, height: int, story: Story) -> None:
    lines = rendered(screen(NOW, story, TITLES, height, width), width)
    assert len(lines) <= height
    assert all(cell_len(text) <= width for text in lines)


def test_eighty_columns_show_every_part_whole() -> None:
    text = "\n".join(rendered(screen(NOW, busy_story(), TITLES, 24, 80), 80))
    for part in ("2,013 events/s", "lag 3", "1:15 of 1:30", NOW.brokers, "Ctrl-C ends it"):
        assert part in text
    for action in ACTIONS:
        assert f"{action} " in text
    assert "index below price" in text
    assert "12,345 0.32 < 0.35" in text
    assert "square-dance-59 square-dance › photograp" in text


def test_a_log_line_takes_the_place_of_the_tip() -> None:
    lines = rendered(screen(NOW._replace(note="ERROR redis"), Story(), {}, 24, 80), 80)
    assert lines[-1].startswith("ERROR redis")


def test_the_plain_line_says_the_same() -> None:
    assert line(NOW, busy_story()) == (
        "75 s: 1,234,567 events (2,013/s), lag 3, 4321 videos; "
        "60 start, 120 widen, 60 keep, 60 stop; 60 switched"
    )


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("story", [busy_story(), Story()], ids=["busy", "nothing"])
def test_the_summary_does_not_wrap(width: int, story: Story) -> None:
    lines = rendered(summary(REPORT, story, TITLES, width), width)
    assert all(cell_len(text) <= width for text in lines)
    assert len(lines) <= 23
    assert "2,561 counters compared with a second count of the log: all equal" in lines


def test_the_summary_names_counters_that_differ() -> None:
    report = {**REPORT, "counters": {"checked": 2_561, "differences": 2}}
    assert "2 of 2,561 counters differ from the log" in rendered(
        summary(report, Story(), {}, 80), 80
    )


def test_the_summary_says_why_nothing_was_compared() -> None:
    report = {**REPORT, "counters": {"checked": 0, "differences": None, "why": "too long"}}
    assert "Counters not compared: too long" in rendered(summary(report, Story(), {}, 80), 80)

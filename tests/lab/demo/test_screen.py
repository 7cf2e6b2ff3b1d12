"""The screen of `streams demo` fits the terminal it is shown on."""

from typing import get_args

import pytest
from kit.stories import TITLES, busy_story, rendered
from rich.cells import cell_len

from streams.core.events import Upload
from streams.core.receipts import ACTIONS, Reason, Receipt
from streams.lab.demo.run import Hero, Moment
from streams.lab.demo.screen import line, screen
from streams.lab.demo.words import number, title_of
from streams.lab.story import Story

NOW = Moment(
    elapsed_s=75,
    seconds=90,
    events=1_234_567,
    events_per_second=2_013.4,
    duplicates=23_456,
    lag=3,
    lags=(0, 9, 3),
    videos=4_321,
    hero=None,
    brokers="127.0.0.1:45337",
    redis="redis://127.0.0.1:43581/0",
    note="",
)


def told(story: Story, video: str = "square-dance-59") -> Moment:
    """Return a moment that tells the life of a video."""
    title = TITLES[video]
    upload = Upload(
        id="up-1", video=video, creator="c1", ts=1_700_000_000_000, duration_ms=9_000, title=title
    )
    tale = story.tale(video)
    shown = {name: receipt.allowance // 2 for name, receipt in tale.crowds().items()}
    return NOW._replace(hero=Hero(upload, 12.0, tale, shown))


SIZES = [(80, 24), (120, 40), (200, 50), (200, 60), (79, 24), (60, 20)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("told_of", [True, False], ids=["a life", "no life yet"])
@pytest.mark.parametrize("story", [busy_story(), Story()], ids=["busy", "nothing yet"])
def test_it_fits(width: int, height: int, story: Story, told_of: bool) -> None:
    now = told(story) if told_of else NOW
    lines = rendered(screen(now, story, height, width), width)
    assert len(lines) <= height
    assert all(cell_len(text) <= width for text in lines)


def test_eighty_columns_show_every_part_whole() -> None:
    story = busy_story()
    text = "\n".join(rendered(screen(told(story), story, 24, 80), 80))
    for part in ("2,013 events/s", "Kafka ─► worker ─► Redis ─► feed", "1:15 of 1:30", NOW.brokers):
        assert part in text
    assert "lag ▁█▃ 3 records, 9 at most" in text
    for action in ACTIONS:
        assert f"{action} " in text
    assert "index 0.32 < price 0.35" in text
    for word in ("value:", "price:", "index:", "granted:", "Ctrl-C ends it"):
        assert word in text


def test_a_life_is_told_from_upload_over_crowds_to_spread_and_stop() -> None:
    story = busy_story()
    text = "\n".join(rendered(screen(told(story), story, 24, 80), 80))
    assert "square-dance-59" in text
    assert "uploaded at 0:12" in text
    assert "approved › 2 crowds: widened 2, stopped 1" in text
    assert "61,728 of 123,456 widen" in text


def test_every_crowd_has_a_bar_as_long_as_what_it_was_granted() -> None:
    story = busy_story()
    bars = [text for text in rendered(screen(told(story), story, 50, 200), 200) if "░" in text]
    assert len(bars) == 2
    assert len({text.count("█") + text.count("░") for text in bars}) == 1


@pytest.mark.parametrize("reason", sorted(get_args(Reason)))
def test_a_number_never_contradicts_its_reason(reason: Reason) -> None:
    close = {"mean": 350_010, "index": 349_990, "price": 350_000}
    numbers = {**dict.fromkeys(Receipt.__struct_fields__, 0), **close}
    receipt = Receipt(**{**numbers, "action": "stop", "reason": reason})
    text = number(receipt)
    if reason == "index_below_price":
        assert text == "index 0.34999 < price 0.35000"
    if reason == "mean_beats_price":
        assert text == "value 0.35001 > price 0.35000"


def test_a_title_comes_with_what_it_says_in_english() -> None:
    assert title_of("橘猫又偷吃了").plain == "橘猫又偷吃了  The ginger cat stole food again"


def test_a_log_line_takes_the_place_of_the_tip() -> None:
    lines = rendered(screen(NOW._replace(note="ERROR redis"), Story(), 24, 80), 80)
    assert lines[-1].startswith("ERROR redis")


def test_the_plain_line_says_the_same() -> None:
    assert line(NOW, busy_story()) == (
        "75 s: 1,234,567 events (2,013/s), lag 3, 4321 videos; "
        "60 start, 120 widen, 60 keep, 60 stop; 60 switched"
    )

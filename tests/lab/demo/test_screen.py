"""The screen of `streams demo` fits the terminal it is shown on."""

import re
from typing import get_args

import pytest
from kit.events import BASKETBALL, FIXED, FOOTBALL
from kit.stories import TITLES, busy_story, receipt, rendered
from rich.cells import cell_len

from streams.core.events import Upload
from streams.core.receipts import ACTIONS, Crowd, Reason
from streams.lab.demo.promised import ShownShare
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
    shares=(
        ShownShare("private", 345_678, 300_000, held=True),
        ShownShare("ordinary", 690_000, 700_000, held=False),
        ShownShare("commercial", 123_456, 150_000, held=True),
    ),
)


def told(story: Story, video: str = "square-dance-59") -> Moment:
    """Return a moment that tells the life of a video."""
    title = TITLES[video]
    upload = Upload(
        id="up-1", video=video, creator="c1", ts=1_700_000_000_000, duration_ms=9_000, title=title
    )
    tale = story.tale(video)
    shown = {name: standing.allowance // 2 for name, standing in tale.crowds().items()}
    return NOW._replace(hero=Hero(upload, 12.0, tale, shown, FIXED))


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
    assert "shown:  private 34.6 ≥ 30 %  ordinary people 69 < 70 %  adverts 12.3 ≤ 15 %" in text
    for action in ACTIONS:
        assert f"{action} " in text
    assert "score 0.32 < price 0.35" in text
    for word in ("mean:", "price:", "score:", "allowed: impressions so far", "Ctrl-C ends it"):
        assert word in text


def test_a_life_is_told_from_upload_over_crowds_to_spread_and_stop() -> None:
    story = busy_story()
    text = "\n".join(rendered(screen(told(story), story, 24, 80), 80))
    assert "square-dance-59" in text
    assert "uploaded at 0:12" in text
    assert "approved › 2 crowds: widened 1, stopped 1, open 0" in text
    assert "61,728 of 123,456 widen" in text


def test_a_life_of_many_crowds_tells_of_those_that_widened_stopped_and_saw_most() -> None:
    names = [f"discover:g{n}" for n in range(33)]
    story = Story()
    story.add(receipt("open", crowds=tuple(Crowd(name, 0, 400_000, 60) for name in names)))
    story.add(receipt("widen", n=2, slice="discover:g30"))
    for n in range(3, 9):
        story.add(receipt("stop", n=n, slice=f"discover:g{n}"))
    upload = Upload("up-1", "v1", "c1", 1_700_000_000_000, 9_000)
    hero = Hero(upload, 1.0, story.tale("v1"), {"discover:g20": 9}, FIXED)
    text = rendered(screen(NOW._replace(hero=hero), story, 24, 80), 80)
    assert "33 crowds: widened 1, stopped 6, open 26" in "".join(text)
    bars = [line.split()[0] for line in text if line.startswith("  discover:g")]
    assert bars == ["discover:g30", "discover:g20", "discover:g3", "discover:g4"]


def test_the_latest_lesson_is_told_in_a_line() -> None:
    story = Story()
    story.add(receipt("open", crowds=(Crowd(FOOTBALL, 0, 0, 60), Crowd(BASKETBALL, 0, 0, 60))))
    sums = (2 * 10**12, 0, 0, 10**12, 0, 10**12, -(10**12), 0, 0)
    spec = FIXED.slices[FOOTBALL]
    dislike = {
        "views": 100,
        "weighed": 100,
        "value": 0,
        "base": 350_000,
        "loadings": spec.loadings,
        "own_variance": spec.own_variance,
    }
    story.add(receipt("stop", n=2, slice=FOOTBALL, sums=sums, **dislike))
    upload = Upload("up-1", "v1", "c1", 1_700_000_000_000, 9_000)
    hero = Hero(upload, 1.0, story.tale("v1"), {}, FIXED)
    text = "\n".join(rendered(screen(NOW._replace(hero=hero), story, 24, 80), 80))
    assert "learned: " in text
    assert re.search(r"football moves basketball by -0\.\d{3}", text)


def test_every_crowd_has_a_bar_as_long_as_what_it_was_granted() -> None:
    story = busy_story()
    bars = [text for text in rendered(screen(told(story), story, 50, 200), 200) if "░" in text]
    assert len(bars) == 2
    assert len({text.count("█") + text.count("░") for text in bars}) == 1


@pytest.mark.parametrize("reason", sorted(get_args(Reason)))
def test_a_number_never_contradicts_its_reason(reason: Reason) -> None:
    close = {"mean": 350_010, "score": 349_990, "price": 350_000}
    text = number(receipt("stop", reason=reason, **close))
    if reason == "index_below_price":
        assert text == "score 0.34999 < price 0.35000"
    if reason == "mean_beats_price":
        assert text == "mean 0.35001 > price 0.35000"


def test_a_title_comes_with_what_it_says_in_english() -> None:
    assert title_of("橘猫又偷吃了").plain == "橘猫又偷吃了  The ginger cat stole food again"


def test_a_log_line_takes_the_place_of_the_tip() -> None:
    lines = rendered(screen(NOW._replace(note="ERROR redis"), Story(), 24, 80), 80)
    assert lines[-1].startswith("ERROR redis")


def test_the_plain_line_says_the_same() -> None:
    assert line(NOW, busy_story()) == (
        "75 s: 1,234,567 events (2,013/s), lag 3, 4321 videos; "
        "60 open, 60 widen, 60 keep, 60 stop, 0 review; 120 crowds opened"
    )

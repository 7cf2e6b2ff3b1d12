"""What receipts come to, whatever is repeated."""

from collections.abc import Sequence

from kit.stories import CROWDS, DANCE, PHOTOGRAPHY, receipt

from streams.core.receipts import Receipt
from streams.lab.story import KEPT, Story, Tale


def told(receipts: Sequence[Receipt]) -> Story:
    story = Story()
    for each in receipts:
        story.add(each)
    return story


LIFE = [
    receipt("open", n=1),
    receipt("stop", n=2, slice=DANCE),
    receipt("widen", n=3, slice=PHOTOGRAPHY, stage=1, allowance=240),
]


def test_an_opening_counts_its_crowds() -> None:
    assert told(LIFE).opened == len(CROWDS) == 2


def test_repeats_after_a_crash_count_nothing() -> None:
    story = told([*LIFE, *LIFE[1:], *LIFE])
    assert story.actions == {"open": 1, "stop": 1, "widen": 1}
    assert story.opened == 2


def test_a_video_that_one_crowd_stopped_and_another_widened_splits_them() -> None:
    assert told(LIFE[:2]).splits() == []
    assert [(s.stop.slice, s.widen.slice) for s in told(LIFE).splits()] == [(DANCE, PHOTOGRAPHY)]


def test_a_crowd_that_widened_a_video_and_stops_it_later_is_no_split() -> None:
    late = receipt("stop", n=3, slice=PHOTOGRAPHY)
    assert told([LIFE[0], receipt("widen", n=2, slice=PHOTOGRAPHY), late]).splits() == []


def test_moderation_is_no_crowd_that_stopped_it() -> None:
    takedown = receipt("stop", n=4, slice="", reason="takedown", crowds=CROWDS)
    assert told([LIFE[0], LIFE[2], takedown]).splits() == []


def test_a_tale_knows_how_the_video_stands_in_every_crowd() -> None:
    crowds = told(LIFE[:2]).tale("v1").crowds()
    assert [(s.slice, s.action, s.allowance) for s in crowds.values()] == [
        (DANCE, "stop", 123_456),
        (PHOTOGRAPHY, "open", 60),
    ]


def test_a_takedown_ends_every_crowd_that_it_lists() -> None:
    takedown = receipt("stop", n=4, slice="", reason="takedown", crowds=CROWDS)
    crowds = Tale("v1", (*LIFE, takedown)).crowds()
    assert {standing.action for standing in crowds.values()} == {"stop"}


def test_a_tale_with_a_stop_and_a_widening_is_worth_most() -> None:
    dull = receipt("open", n=1, video="v2")
    story = told([*LIFE, dull])
    best = story.best_tale()
    assert best is not None
    assert best.video == "v1"
    other = story.best_tale(besides="v1")
    assert other is not None
    assert other.video == "v2"


def test_the_widest_comes_first_each_video_once() -> None:
    story = told(
        [
            receipt("widen", n=1, slice=DANCE, stage=1, allowance=240),
            receipt("widen", n=2, slice=PHOTOGRAPHY, stage=2, allowance=780),
            receipt("widen", n=1, video="v2", slice=DANCE, stage=3, allowance=2_400),
        ]
    )
    assert [(r.video, r.slice) for r in story.widest(5)] == [("v2", DANCE), ("v1", PHOTOGRAPHY)]


def test_a_long_run_is_kept_in_bounds() -> None:
    story = Story()
    for n in range(1, 2 * KEPT):
        story.add(receipt("widen", n=n, slice=f"discover:g{n}"))
    assert story.actions["widen"] == 2 * KEPT - 1
    assert len(story.widened) == len(story.latest) == KEPT
    assert story.latest[0].n == 2 * KEPT - 1

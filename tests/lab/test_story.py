"""What receipts come to, whatever is repeated."""

from typing import Any

from streams.core.receipts import Receipt
from streams.lab.story import KEPT, Story


def receipt(n: int, action: str, reason: str, **changes: Any) -> Receipt:
    numbers = dict.fromkeys(Receipt.__struct_fields__, 0)
    said = {
        "id": f"v1.{n}",
        "n": n,
        "video": "v1",
        "slice": "discover:food",
        "action": action,
        "reason": reason,
        "cause": "e1",
        "policy": "p1",
    }
    return Receipt(**{**numbers, **said, **changes})


def handed_on() -> list[Receipt]:
    return [
        receipt(1, "start", "first_crowd"),
        receipt(2, "stop", "index_below_price"),
        receipt(3, "start", "next_after_stop", slice="discover:pets"),
    ]


def told(receipts: list[Receipt]) -> Story:
    story = Story()
    for each in receipts:
        story.add(each)
    return story


def test_a_stop_and_the_next_crowd_are_one_switch() -> None:
    story = told(handed_on())
    assert story.switched == 1
    assert [(s.stop.slice, s.start.slice) for s in story.switches] == [
        ("discover:food", "discover:pets")
    ]


def test_repeats_after_a_crash_count_nothing() -> None:
    story = told([*handed_on(), *handed_on()[1:], *handed_on()])
    assert story.actions == {"start": 2, "stop": 1}
    assert len(story.switches) == 1


def test_a_switch_to_a_crowd_that_widens_it_is_a_rescue() -> None:
    story = told(handed_on())
    assert story.rescued() == []
    story.add(receipt(4, "widen", "mean_beats_price", slice="discover:pets"))
    assert [s.start.slice for s in story.rescued()] == ["discover:pets"]


def test_the_widest_comes_first() -> None:
    story = told(
        [
            receipt(1, "widen", "mean_beats_price", stage=1, allowance=240),
            receipt(2, "widen", "mean_beats_price", stage=2, allowance=780, slice="discover:pets"),
            receipt(3, "widen", "mean_beats_price", stage=2, allowance=780),
        ]
    )
    assert [(r.slice, r.stage) for r in story.widest(5)] == [
        ("discover:food", 2),
        ("discover:pets", 2),
    ]


def test_a_long_run_is_kept_in_bounds() -> None:
    story = Story()
    for n in range(1, 2 * KEPT):
        story.add(receipt(n, "widen", "mean_beats_price", slice=f"discover:g{n}"))
    assert story.actions["widen"] == 2 * KEPT - 1
    assert len(story.widened) == len(story.latest) == KEPT
    assert story.latest[0].n == 2 * KEPT - 1

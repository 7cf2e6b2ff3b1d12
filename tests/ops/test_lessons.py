"""What crowds teach each other, recomputed from receipts, is what the fold expects of them."""

import pytest
from kit.events import (
    BASKETBALL,
    COOKING,
    FIXED,
    FOOTBALL,
    admit,
    impression,
    policy,
    view,
)
from kit.folding import Folding, placed

from streams.core.events import LogRecord
from streams.core.posterior import solve, sum_factors
from streams.core.receipts import Receipt
from streams.core.rule import estimate_in
from streams.ops.lessons import Lesson, lesson_of, lessons


def watched(slice_id: str, count: int, share: float, first: int = 0) -> list[LogRecord]:
    """Return impressions and views of one crowd, each of which watched the same share."""
    events: list[LogRecord] = []
    for n in range(first, first + count):
        about = {"viewer": f"u{n}", "slice_id": slice_id}
        events.append(impression(f"i{n}", **about))
        events.append(view(f"w{n}", watch_ms=int(10_000 * share), **about))
    return events


def folded(*feedback: list[LogRecord]) -> Folding:
    log: list[LogRecord] = [FIXED, admit()]
    return Folding().fold(placed([*log, *(event for part in feedback for event in part)]))


def latest(folding: Folding, slice_id: str) -> Receipt:
    return [each for each in folding.receipts if each.slice == slice_id][-1]


def expected_in(folding: Folding, slice_id: str) -> int:
    """Return what the fold expects of a crowd now."""
    video = folding.state.videos["v1"]
    tastes = solve(sum_factors(FIXED, video))
    return estimate_in(FIXED, video, slice_id, tastes).mean


def test_what_the_others_think_is_what_was_expected_before_its_own_views() -> None:
    bad_football = watched(FOOTBALL, 16, 0.02)
    before = expected_in(folded(bad_football), BASKETBALL)
    stop = latest(folded(bad_football, watched(BASKETBALL, 16, 0.02, first=100)), BASKETBALL)
    lesson = lesson_of(stop, FIXED, FIXED.slices)
    assert lesson is not None
    assert lesson.before == stop.base
    assert lesson.after == pytest.approx(before, abs=2)
    assert lesson.after < lesson.before


def test_what_a_crowd_teaches_most_is_what_the_fold_then_expects_elsewhere() -> None:
    folding = folded(watched(FOOTBALL, 16, 0.02))
    stop = latest(folding, FOOTBALL)
    lesson = lesson_of(stop, FIXED, [FOOTBALL, BASKETBALL, COOKING])
    assert lesson is not None
    assert lesson.elsewhere == BASKETBALL
    base = FIXED.slices[BASKETBALL].prior_mean
    then = expected_in(folded(watched(FOOTBALL, stop.views, 0.02)), BASKETBALL)
    assert base + lesson.moved == pytest.approx(then, abs=2)


def test_the_first_crowd_learned_nothing_from_others() -> None:
    lesson = lesson_of(latest(folded(watched(FOOTBALL, 16, 0.02)), FOOTBALL), FIXED, [BASKETBALL])
    assert lesson is not None
    assert lesson.after == pytest.approx(lesson.before, abs=2)


def test_a_crowd_without_a_taste_in_common_is_taught_nothing() -> None:
    slices = {name: FIXED.slices[name] for name in (FOOTBALL, "nearby:shenyang")}
    stop = latest(folded(watched(FOOTBALL, 16, 0.02)), FOOTBALL)
    lesson = lesson_of(stop, FIXED, slices)
    assert lesson is not None
    assert (lesson.elsewhere, lesson.moved) == ("", 0)


def test_of_another_policy_is_told_what_the_receipt_says_and_not_what_it_gave() -> None:
    folding = folded(watched(FOOTBALL, 16, 0.02), watched(BASKETBALL, 16, 0.02, first=100))
    stop = latest(folding, BASKETBALL)
    whole = lesson_of(stop, FIXED, FIXED.slices)
    assert whole is not None
    assert whole.moved
    for other in (policy(version="other"), None):
        assert lesson_of(stop, other, FIXED.slices) == whole._replace(elsewhere="", moved=0)


def test_a_receipt_of_the_whole_video_teaches_nothing() -> None:
    assert lesson_of(folded().receipts[0], FIXED, FIXED.slices) is None


def test_the_lessons_of_a_video_come_in_the_order_of_its_receipts() -> None:
    folding = folded(watched(FOOTBALL, 16, 0.02), watched(BASKETBALL, 16, 0.02, first=100))
    taught = lessons(folding.receipts, [FIXED])
    assert [isinstance(each, Lesson) for each in taught] == [
        bool(each.slice) for each in folding.receipts
    ]
    for known, alone in zip(taught, lessons(folding.receipts, []), strict=True):
        assert (known and known._replace(elsewhere="", moved=0)) == alone

"""Worlds are steered by what the leader reads, as late as it comes, and by nothing else."""

import pytest
from kit.control import RULES

from streams.core.shares import Bar
from streams.lab.shares.course import SharesCourse, play
from streams.lab.shares.goals import share_of
from streams.lab.shares.guarantee import Owing
from streams.lab.shares.worlds import DAY, SHARE_WORLDS, SLOTS, STEP_AT, ShareWorld

RULES_OF_SHARES = RULES.policy.shares
FLOOR = Bar("ordinary", 700_000)
FEW = ShareWorld("few", 90, ordinary=0.55)


def played(world: ShareWorld, seed: int = 1) -> SharesCourse:
    return play(world, RULES_OF_SHARES, seed)


def test_the_same_seed_is_the_same_course() -> None:
    assert played(FEW).minutes == played(FEW).minutes
    assert played(FEW).minutes != played(FEW, seed=2).minutes


def test_what_few_upload_is_raised_to_its_floor() -> None:
    course = played(FEW)
    assert share_of(FLOOR, course, forced=False).mean() < 0.6
    assert share_of(FLOOR, course)[-20:].mean() == pytest.approx(0.71, abs=0.015)


def test_feeds_hear_of_a_minute_three_minutes_later() -> None:
    tilted = [minute.is_tilted for minute in played(FEW).minutes[:6]]
    assert tilted == [False, False, False, True, True, True]


def test_without_a_leader_the_last_tilts_stay_and_fade_in_hours() -> None:
    course = played(ShareWorld("dead", STEP_AT + 240, ordinary=0.55, dead=240))
    share = share_of(FLOOR, course)
    assert share[STEP_AT : STEP_AT + 15].mean() == pytest.approx(0.71, abs=0.015)
    assert share[STEP_AT + 100 : STEP_AT + 120].mean() > 0.62
    assert share[-10:].mean() < 0.6


def test_minutes_that_never_come_are_nothing_that_is_owed() -> None:
    lost = played(ShareWorld("lost", 60, ordinary=0.55, lost=1.0))
    assert not any(minute.promises for minute in lost.minutes)
    late = played(ShareWorld("late", 90, ordinary=0.55, late=0.5, partitions=4))
    assert late.minutes[-1].promises["ordinary"].tilt > 0


def test_newcomers_have_their_audience_in_time_also_when_many_come_at_once() -> None:
    owing = Owing(ShareWorld("spam", spam=8.0))
    shown = [sum(owing.serve(minute, SLOTS, 0.85).values()) for minute in range(1, 2 * DAY)]
    assert owing.due > 0
    assert owing.missed == 0
    assert max(shown) <= 0.05 * SLOTS


def test_spam_is_owed_less_than_as_many_creators_would_be() -> None:
    spam = ShareWorld("spam", spam=30.0)
    bounded, free = Owing(spam), Owing(spam, beyond=60)
    taken = [
        sum(sum(owing.serve(minute, SLOTS, 0.85).values()) for minute in range(1, 2 * DAY))
        for owing in (bounded, free)
    ]
    assert taken[0] < taken[1] / 2
    assert bounded.missed == 0 < free.missed


def test_worlds_are_named_once() -> None:
    assert all(name == world.name for name, world in SHARE_WORLDS.items())

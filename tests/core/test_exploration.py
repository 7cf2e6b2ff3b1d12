"""Which crowd chance draws, what a receipt says of it, and what is shown of it."""

from collections import Counter
from itertools import count
from math import sqrt

import pytest
from kit.events import (
    BASKETBALL,
    COOKING,
    DRAWING,
    FANS,
    FIXED,
    FOOTBALL,
    MUSIC,
    NOW,
    SHENYANG,
    admit,
    hold,
    impression,
    policy,
    release,
    revise,
    takedown,
    view,
)
from kit.folding import Folding, placed
from msgspec.structs import replace

from streams.core.counters import ACTIVE, STOPPED, Trial
from streams.core.events import LogRecord, Policy
from streams.core.exploration import draw
from streams.core.receipts import Draw, Receipt, encode
from streams.core.serving import Entry
from streams.core.ticks import read_stored
from streams.core.traffic import ClassSums
from streams.core.units import MICROS

PUBLIC = [BASKETBALL, COOKING, FOOTBALL, MUSIC, SHENYANG]
PLACES = {FANS: MICROS, SHENYANG: 500_000}
DRAWS = policy(**DRAWING)
Z_999 = 3.291
"""Two-sided 99.9 % quantile of the normal distribution."""


def draws_at(probability: int, key: str = "chance") -> Policy:
    return policy(explore_probability=probability, explore_key=key)


def fresh(*events: LogRecord, under: Policy = DRAWS) -> Folding:
    return Folding().fold(placed([under, *events]))


def drawn(receipt: Receipt) -> Draw:
    assert isinstance(receipt.draw, Draw)
    return receipt.draw


def opened(video: str, under: Policy = DRAWS) -> Draw:
    return drawn(fresh(admit(video=video, fits=PLACES), under=under).receipts[0])


def video_that_draws(slice_id: str) -> str:
    """A video whose opening draws this slice, or none."""
    return next(name for n in count() if opened(name := f"v{n}").slice == slice_id)


def shown(
    video: str, times: int, watch_ms: int, slice_id: str = FOOTBALL, first: int = 0
) -> list[LogRecord]:
    """Impressions, each followed by its view."""
    names = [f"{slice_id.replace(':', '_')}-{n}" for n in range(first, first + times)]
    return [
        event
        for name in names
        for event in (
            impression(f"i-{name}", video=video, slice_id=slice_id),
            view(f"w-{name}", video=video, slice_id=slice_id, watch_ms=watch_ms),
        )
    ]


# ---------------------------------------------------------------- who is drawn


def test_without_a_probability_nothing_is_drawn_and_no_receipt_speaks_of_it() -> None:
    events = [admit(fits=PLACES), *shown("v1", 40, 9_000)]
    off = fresh(*events, under=policy(explore_key="chance"))
    assert off.told() == fresh(*events, under=FIXED).told()
    assert [encode(each) for each in off.receipts] == [
        encode(each) for each in fresh(*events, under=FIXED).receipts
    ]
    assert all(b"draw" not in encode(each) for each in off.receipts)
    assert off.own().trials == {}


def test_a_receipt_that_draws_says_so_also_when_nothing_was_drawn() -> None:
    draws = [opened(f"v{number}") for number in range(20)]
    assert {(each.probability, each.among) for each in draws} == {(500_000, 5)}
    assert "" in {each.slice for each in draws}
    assert b'"draw":{"probability":500000,"among":5,"slice":"' in encode(
        fresh(admit(fits=PLACES)).receipts[0]
    )


@pytest.mark.parametrize("probability", [20_000, 100_000, 500_000])
def test_so_many_are_drawn_as_the_policy_says_and_each_crowd_as_often(probability: int) -> None:
    tries, share = 20_000, probability / MICROS
    of = draws_at(probability)
    draws = Counter(draw(of, f"v{number}.1", PUBLIC).slice for number in range(tries))
    around = Z_999 * sqrt(tries * share * (1 - share))
    assert abs(tries - draws[""] - tries * share) < around
    each = share / len(PUBLIC)
    assert all(
        abs(draws[name] - tries * each) < 4 * sqrt(tries * each * (1 - each)) for name in PUBLIC
    )


def test_whom_a_key_draws_another_key_does_not() -> None:
    names = [f"v{number}.1" for number in range(1_000)]
    by_key = [[draw(draws_at(500_000, key), n, PUBLIC).slice for n in names] for key in "ab"]
    same = sum(one == other for one, other in zip(*by_key, strict=True))
    assert 200 < same < 400  # both nothing: a quarter; both the same: a twentieth


def test_only_public_crowds_that_nobody_was_shown_the_video_in_are_drawn() -> None:
    before = [impression("e1", slice_id=FOOTBALL), impression("e2", slice_id=FANS)]
    done = fresh(*before, admit(fits=PLACES))
    assert drawn(done.receipts[0]).among == len(PUBLIC) - 1
    alone = fresh(admit(fits=PLACES, limited=True))
    assert drawn(alone.receipts[0]) == Draw(500_000, 0, "")


def test_a_crowd_is_drawn_once() -> None:
    video = video_that_draws(COOKING)
    done = fresh(admit(video=video, fits=PLACES), *shown(video, 40, 9_000))
    widening = next(each for each in done.receipts if each.action == "widen")
    assert drawn(widening).among == len(PUBLIC) - 2  # shown in one, drawn in one


def test_each_widening_draws() -> None:
    done = fresh(admit(fits=PLACES), *shown("v1", 200, 9_000), hold())
    widened = [each for each in done.receipts if each.action == "widen"]
    assert len(widened) == 2
    assert all(drawn(each).probability == 500_000 for each in widened)
    others = [each for each in done.receipts if each.action not in {"open", "widen"}]
    assert others
    assert all(not each.draw for each in others)


def test_the_end_of_a_hold_draws_nothing_and_the_public_anew_does() -> None:
    paused = fresh(admit(fits=PLACES), hold(), release())
    assert [bool(each.draw) for each in paused.receipts] == [True, False, False]
    limited = fresh(admit(fits=PLACES, limited=True), revise(limited=False))
    assert [drawn(each).among for each in limited.receipts] == [0, len(PUBLIC)]


def test_a_video_without_a_budget_left_draws_none() -> None:
    spent = policy(**DRAWING, budget=20)
    done = fresh(impression("e1"), admit(fits=PLACES), under=spent)
    assert done.own().granted == 20
    assert drawn(done.receipts[0]) == Draw(500_000, 0, "")


def test_a_policy_that_draws_by_no_key_never_comes_into_force() -> None:
    done = fresh(under=policy(explore_probability=1))
    assert done.state.policy is None
    (refused,) = done.rejected
    assert refused.reason == "missing"
    assert refused.message == "policy 0.1 draws by chance and has no key to draw by"


# ---------------------------------------------------------------- what is shown of it


def test_a_drawn_tranche_is_shown_to_its_end_whatever_is_thought_of_it() -> None:
    for slice_id, impressions in ((FOOTBALL, 20), ("", 10)):
        video = video_that_draws(slice_id)
        stop = fresh(admit(video=video, fits=PLACES), *shown(video, 40, 100)).receipts[1]
        assert (stop.action, stop.reason) == ("stop", "index_below_price")
        assert stop.impressions == impressions


@pytest.mark.parametrize("end", [hold, takedown])
def test_a_persons_word_ends_it_at_once(end: type) -> None:
    video = video_that_draws(FOOTBALL)
    done = fresh(admit(video=video, fits=PLACES), *shown(video, 3, 100)).flush()
    done.fold(placed([end(video=video)], 20)).flush()
    assert done.entries[FOOTBALL][0].score is None
    assert done.row(FOOTBALL, video).status != ACTIVE


def entries(done: Folding) -> dict[str, Entry]:
    return {name: entry for name, (entry,) in done.flush().entries.items()}


def test_feeds_are_told_that_it_comes_first_until_it_was_shown() -> None:
    video = video_that_draws(MUSIC)
    done = fresh(admit(video=video, fits=PLACES, guarantee=60))
    told = entries(done)
    assert (told[MUSIC].due, told[MUSIC].deadline) == (20, 0)
    owed = {name: (entry.due, entry.deadline) for name, entry in told.items() if entry.deadline}
    assert set(owed.values()) == {(20, NOW + FIXED.guarantee_ms)}
    done.fold(placed(shown(video, 19, 5_000, MUSIC), 10))
    assert (entries(done)[MUSIC].due, done.entries[MUSIC][0].deadline) == (1, 0)
    done.evict().fold(placed([impression("again", video=video, slice_id=FOOTBALL)], 90))
    assert (entries(done)[MUSIC].due, done.entries[MUSIC][0].deadline) == (1, 0)
    done.fold(placed(shown(video, 1, 5_000, MUSIC, 19), 100))
    assert entries(done)[MUSIC].due == 0


def test_a_widening_tells_what_it_drew_though_as_much_was_owed_there() -> None:
    owed_there = policy(**DRAWING, guarantee_slices=5)
    for number in count():
        video = f"w{number}"
        done = fresh(admit(video=video, fits=PLACES, guarantee=100), under=owed_there)
        before = entries(done)
        if drawn(done.receipts[0]).slice:
            continue
        done.fold(placed(shown(video, 20, 9_000), 10))
        widening = next(each for each in done.receipts if each.action == "widen")
        if name := drawn(widening).slice:
            told = entries(done)
            assert (before[name].due, before[name].deadline) == (20, NOW + FIXED.guarantee_ms)
            assert (told[name].due, told[name].deadline) == (20, 0)
            return


def test_what_was_drawn_and_held_is_not_due_until_the_hold_ends() -> None:
    video = video_that_draws(MUSIC)
    done = fresh(admit(video=video, fits=PLACES), *shown(video, 5, 5_000, MUSIC))
    assert entries(done)[MUSIC].due == 15
    done.fold(placed([hold(video=video)], 20)).flush()
    done.fold(placed([release(video=video)], 21))
    assert entries(done)[MUSIC].due == 15


def test_a_drawn_crowd_that_is_stopped_afterwards_is_due_no_more() -> None:
    video = video_that_draws(MUSIC)
    done = fresh(admit(video=video, fits=PLACES), *shown(video, 40, 100, MUSIC))
    assert done.row(MUSIC, video).status == STOPPED
    assert entries(done)[MUSIC] == Entry(video, done.offset, None)


def summed(done: Folding) -> ClassSums:
    """What the open tick sums, of one slice and class."""
    (sums,) = read_stored(done.flush().meta.traffic).sums
    return sums


def test_traffic_sums_what_was_expected_of_a_drawn_tranche_and_what_came_of_it() -> None:
    video = video_that_draws(MUSIC)
    done = fresh(admit(video=video, fits=PLACES), *shown(video, 19, 5_000, MUSIC))
    assert summed(done).trials == 0
    done.fold(placed(shown(video, 20, 5_000, MUSIC, 19), 100))
    sums = summed(done)
    assert (sums.trials, sums.hoped, sums.found) == (1, 350_000, 300_000)
    assert sums.apart == 50_000**2 // MICROS
    assert done.own(video).trials == {}
    done.fold(placed(shown(video, 20, 5_000, MUSIC, 40), 200))
    assert summed(done).trials == 1


def test_what_was_drawn_is_stored() -> None:
    video = video_that_draws(MUSIC)
    done = fresh(admit(video=video, fits=PLACES)).flush()
    assert done.evict().own(video).trials == {MUSIC: Trial(20, 350_000)}


def test_batches_and_evictions_change_nothing() -> None:
    names = [f"v{number}" for number in range(12)]
    events: list[LogRecord] = [DRAWS]
    events += [admit(f"a-{name}", video=name, fits=PLACES) for name in names]
    for step in range(20):
        for at, name in enumerate(names):
            slice_id = PUBLIC[(at + step // 4) % 5]
            some = shown(name, 2, 9_000 - 700 * at, slice_id, 2 * step)
            events += [replace(event, id=f"{name}-{event.id}") for event in some]
    whole = Folding().fold(placed(events)).flush()
    assert sum(bool(each.draw and each.draw.slice) for each in whole.receipts) > 3
    parts = Folding()
    for place in placed(events):
        parts.fold([place]).evict()
    assert parts.bytes() == whole.bytes()

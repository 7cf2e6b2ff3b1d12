"""What evidence stopped comes back where evidence speaks for it."""

from collections.abc import Sequence

import pytest
from kit.events import (
    BASKETBALL,
    FIXED,
    FOOTBALL,
    admit,
    hold,
    impression,
    like,
    policy,
    reconsider,
    release,
    takedown,
    view,
)
from kit.folding import Folding, folded, placed
from msgspec.structs import replace

from streams.core.counters import ACTIVE, LAPSED, STOPPED
from streams.core.events import LogRecord, Policy
from streams.core.rule import MOST_RETURNS

BOTH = {name: FIXED.slices[name] for name in (FOOTBALL, BASKETBALL)}
TWO = policy(slices=BOTH, tranche=20, budget=100_000)
POOR, LOVED = 3_000, 9_900


def priced(price: int, seq: int = 2) -> Policy:
    """The two slices, football at another price."""
    slices = BOTH | {FOOTBALL: replace(BOTH[FOOTBALL], price=price)}
    return policy(id=f"p{seq}", seq=seq, version=f"p{seq}", slices=slices, budget=100_000)


def watched(count: int, watch_ms: int, slice_id: str = FOOTBALL, first: int = 0) -> list[LogRecord]:
    group = slice_id.replace(":", "_")
    return [
        act
        for number in range(first, first + count)
        for act in (
            impression(f"i-{group}-{number}", viewer=f"u{number}", slice_id=slice_id),
            view(f"w-{group}-{number}", viewer=f"u{number}", slice_id=slice_id, watch_ms=watch_ms),
        )
    ]


def stopped(by: Policy = TWO) -> Folding:
    """A video that football's viewers do not care for."""
    done = folded([by, admit(), *watched(20, POOR)])
    assert done.row(FOOTBALL).status == STOPPED
    assert done.row(FOOTBALL).cause == LAPSED
    assert done.own().lapsed == 1
    return done


def returns(done: Folding) -> list[str]:
    return [each.slice for each in done.receipts if each.reason == "reconsidered"]


def test_a_price_that_fell_brings_a_slice_back_when_somebody_asks() -> None:
    done = stopped()
    done.fold(placed([priced(100_000), reconsider()], 500))
    row, receipt = done.row(FOOTBALL), done.receipts[-1]
    assert (receipt.slice, receipt.action, receipt.reason) == (FOOTBALL, "open", "reconsidered")
    assert (receipt.tranche, receipt.stage) == (20, 0)
    assert receipt.score >= receipt.price + TWO.return_margin
    assert (row.status, row.stage, row.returns, row.cause) == (ACTIVE, 0, 1, 0)
    assert row.allowance == receipt.allowance
    assert done.own().lapsed == 0


def test_receipts_name_who_had_it_looked_at_again_and_what_was() -> None:
    done = stopped()
    said = reconsider(by="alice", note="shown at night")
    done.fold(placed([priced(100_000), said], 500))
    *_, looked, back = done.receipts
    assert (looked.slice, looked.action, looked.reason) == ("", "review", "look_again")
    assert [crowd.slice for crowd in looked.crowds] == [FOOTBALL]
    assert (back.slice, back.reason) == (FOOTBALL, "reconsidered")
    assert {(each.by, each.note) for each in (looked, back)} == {("alice", "shown at night")}


def test_the_tranche_of_a_return_is_charged_to_the_budget() -> None:
    done = stopped()
    before = done.own().granted
    done.fold(placed([priced(100_000), reconsider()], 500))
    assert done.own().granted == before + 20


def test_nothing_comes_back_within_the_margin() -> None:
    done = stopped()
    score = done.receipts[-1].score
    term = FIXED.terms.get("discover:5", 0)
    for margin, back in ((TWO.return_margin - 10_000, []), (TWO.return_margin, [FOOTBALL])):
        again = stopped()
        again.fold(placed([priced(score - term - margin - 1_000), reconsider()], 500))
        assert returns(again) == back


def test_the_margin_doubles_with_each_return_and_three_are_the_most() -> None:
    done, price, seq = stopped(), 320_000, 2
    for time in range(MOST_RETURNS + 1):
        first = 1_000 * (time + 1)
        low = priced(price - 250_000 - (TWO.return_margin << time), seq)
        done.fold(placed([low, reconsider(f"r{time}", seq=seq)], first))
        back = priced(700_000, seq + 1)
        done.fold(placed([back, *watched(15, POOR, first=first)], first + 100))
        seq += 2
    assert len(returns(done)) == MOST_RETURNS
    assert done.row(FOOTBALL).status == STOPPED


def test_another_crowds_widening_looks_at_what_was_stopped() -> None:
    done = folded([TWO, admit(), *watched(300, POOR), reconsider()])
    assert done.own().next_look == 315
    done.fold(placed([priced(100_000), *watched(12, LOVED, BASKETBALL)], 1_000))
    reasons = [each.reason for each in done.receipts[-2:]]
    assert reasons == ["mean_beats_price", "reconsidered"]


def test_it_is_looked_at_once_per_twentieth_of_the_videos_views() -> None:
    plain = policy(slices=BOTH, budget=100_000, widen_z=10_000_000)
    done = folded([plain, admit(), *watched(20, POOR)])
    cheap = replace(priced(100_000), widen_z=10_000_000)
    done.fold(placed([cheap, *watched(40, 5_500, BASKETBALL)], 500))
    assert "widen" not in {each.action for each in done.receipts}
    assert returns(done) == [FOOTBALL]
    assert done.own().next_look > 20


def test_late_buttons_bring_back_what_was_stopped_too_soon() -> None:
    done = stopped()
    likes = [like(f"l{n}", viewer=f"u{n}") for n in range(10)]
    done.fold(placed(likes, 500))
    assert returns(done) == [FOOTBALL]
    assert done.receipts[-1].cause.startswith("l")


@pytest.mark.parametrize(
    "end",
    [
        [takedown()],
        [hold(), reconsider("again", seq=3)],
    ],
)
def test_moderations_word_stands(end: Sequence[LogRecord]) -> None:
    done = stopped()
    done.fold(placed([priced(100_000), *end], 500))
    if end[0].id == "takedown-1":  # type: ignore[union-attr]
        done.fold(placed([reconsider(seq=10)], 900))
    assert returns(done) == []
    assert done.row(FOOTBALL).status == STOPPED


def test_what_everybody_has_seen_does_not_come_back() -> None:
    small = policy(slices=BOTH | {FOOTBALL: replace(BOTH[FOOTBALL], reach=60)}, budget=100_000)
    done = folded([small, admit(), *watched(70, LOVED), reconsider()])
    assert (FOOTBALL, "stop", "reach_used") in done.told()
    assert returns(done) == []


def test_a_look_at_one_slice_leaves_the_others() -> None:
    done = stopped()
    done.fold(placed([priced(100_000), reconsider(slices=[BASKETBALL])], 500))
    assert returns(done) == []
    done.fold(placed([reconsider("r2", seq=3, slices=[FOOTBALL])], 600))
    assert returns(done) == [FOOTBALL]


def test_fakes_that_leave_nothing_to_judge_do_not_bring_it_back() -> None:
    done = stopped()
    flood = [view(f"f{n}", viewer="bot", watch_ms=LOVED) for n in range(60)]
    done.fold(placed([*flood, priced(250_000), reconsider()], 500))
    assert returns(done) == []


def test_feeds_are_told_of_a_slice_that_came_back() -> None:
    done = stopped().flush()
    done.fold(placed([like(f"l{n}", viewer=f"u{n}") for n in range(10)], 500)).flush()
    told = {entry.video: entry for entry in done.entries[FOOTBALL]}
    assert told["v1"].score is not None
    assert told["v1"].allowance > told["v1"].impressions


@pytest.mark.parametrize("length", [1, 5, 1_000])
def test_batches_and_evictions_change_nothing(length: int) -> None:
    log = placed(
        [
            *(TWO, admit(), *watched(20, POOR), *watched(40, LOVED, BASKETBALL)),
            *(priced(100_000), reconsider(), *watched(40, POOR, first=100)),
            *(hold(seq=3), release(seq=4), reconsider("r2", seq=5)),
        ]
    )
    whole, done = Folding().fold(log).flush(), Folding()
    assert returns(whole)
    for first in range(0, len(log), length):
        done.fold(log[first : first + length]).evict()
    assert done.bytes() == whole.bytes()

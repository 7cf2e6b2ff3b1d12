"""The ceiling of one creator in the fold: a handicap re-orders on public surfaces, no more."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import (
    COOKING,
    FANS,
    FIXED,
    FOOTBALL,
    NOW,
    SHENYANG,
    admit,
    impression,
    policy,
    revise,
    signed_record,
    takedown,
    view,
)
from kit.folding import Folding, folded, placed
from kit.keys import INSTALLATION, SPELLING, STRANGER, TRUST

from streams.core.events import LogRecord
from streams.core.fields import HANDICAP_MOST
from streams.core.partition_control import Lead
from streams.core.receipts import Receipt
from streams.core.serving import Entry
from streams.core.units import MICROS, surface_of
from streams.runtime.codec import decode_log
from streams.runtime.signing import Signer

ADMIT = admit(fits={FANS: MICROS, SHENYANG: 500_000}, guarantee=60)
LOWERED = revise("h1", handicap=30_000, term=1, note="too much of the day")
LEAD = [Lead("lead-1", NOW, 1, "host"), Lead("lead-2", NOW, 2, "other")]
FIXED_IN_2 = policy(id="policy-2-1", term=2)


def shown(count: int, slice_id: str = FOOTBALL, watch_ms: int = 10_000) -> list[LogRecord]:
    pairs = [
        (impression(f"i{slice_id}{n}", slice_id=slice_id, viewer=f"u{n}"),
         view(f"w{slice_id}{n}", slice_id=slice_id, viewer=f"u{n}", watch_ms=watch_ms))
        for n in range(count)
    ]  # fmt: skip
    return [event for pair in pairs for event in pair]


def told(done: Folding) -> dict[str, Entry]:
    return {name: entry for name, (entry,) in done.flush().entries.items()}


def scores(*events: LogRecord) -> dict[str, int]:
    entries = told(folded([FIXED, *events]))
    return {name: entry.score for name, entry in entries.items() if entry.score is not None}


def prices(done: Folding, names: Sequence[str]) -> dict[str, int]:
    assert done.state.outlook is not None
    return {name: done.state.outlook.price(name, done.own()) for name in names}


# ---------------------------------------------------------------- what feeds are told


def test_the_score_falls_on_public_surfaces_down_to_the_price_and_never_for_followers() -> None:
    plain, lowered = scores(ADMIT), scores(ADMIT, LOWERED)
    price = prices(folded([FIXED, ADMIT]), list(plain))
    assert plain.keys() == lowered.keys()
    assert {surface_of(name) for name in plain} == {"following", "nearby", "discover"}
    for name, score in plain.items():
        fallen = min(score, max(score - 30_000, price[name]))
        assert lowered[name] == (score if surface_of(name) == "following" else fallen)
    assert lowered[FOOTBALL] == plain[FOOTBALL] - 30_000


def test_a_handicap_takes_nothing_below_its_price() -> None:
    most = revise("h1", handicap=HANDICAP_MOST, term=1)
    plain, lowered = (
        scores(ADMIT, *shown(12, watch_ms=6_000)),
        scores(ADMIT, *shown(12, watch_ms=6_000), most),
    )
    done = folded([FIXED, ADMIT, *shown(12, watch_ms=6_000), most])
    price = prices(done, list(plain))
    public = [name for name in plain if surface_of(name) != "following"]
    assert any(lowered[name] == price[name] < plain[name] for name in public)
    assert all(lowered[name] >= min(price[name], plain[name]) for name in public)


def test_feeds_are_told_at_once_and_again_when_it_is_taken_back() -> None:
    done = folded([FIXED, ADMIT, *shown(12)])
    before = told(done)
    lowered = told(done.fold(placed([LOWERED], done.offset + 1)))
    back = told(done.fold(placed([revise("h2", seq=3, handicap=0, term=1)], done.offset + 1)))
    assert FANS in before
    assert FANS not in {**lowered, **back}
    assert FOOTBALL in lowered
    assert back[FOOTBALL].score == before[FOOTBALL].score


def test_who_reads_the_rows_anew_tells_the_same() -> None:
    done = folded([FIXED, ADMIT, LOWERED, *shown(3)]).evict()
    again = done.fold(placed(shown(4)[6:], done.offset + 1)).flush().entries
    kept = folded([FIXED, ADMIT, LOWERED, *shown(4)]).flush().entries
    assert again[FOOTBALL][0].score == kept[FOOTBALL][0].score
    assert done.own().handicap == 30_000


def test_a_first_audience_that_is_owed_stays_owed() -> None:
    plain, lowered = told(folded([FIXED, ADMIT])), told(folded([FIXED, ADMIT, LOWERED]))
    owed = {name: (entry.due, entry.deadline) for name, entry in plain.items()}
    assert owed == {name: (entry.due, entry.deadline) for name, entry in lowered.items()}
    assert any(due for due, _ in owed.values())


# ---------------------------------------------------------------- what evidence decides


def decided(receipts: Sequence[Receipt]) -> list[Receipt]:
    """Return the decisions with what numbers them and what a handicap says taken out."""
    bare = {"id": "", "n": 0, "handicap": msgspec.UNSET}
    return [msgspec.structs.replace(each, **bare) for each in receipts if each.reason != "ceiling"]


@given(
    st.lists(st.tuples(st.sampled_from((FOOTBALL, COOKING, SHENYANG)), st.integers(0, 12_000))),
    st.sampled_from((10_000, HANDICAP_MOST)),
)
def test_no_stop_widening_or_grant_moves(tastes: list[tuple[str, int]], handicap: int) -> None:
    events: list[LogRecord] = []
    for number, (slice_id, watch_ms) in enumerate(tastes):
        about = {"slice_id": slice_id, "viewer": f"u{number}"}
        for n in range(15):
            events.append(impression(f"i{number}-{n}", **about))  # type: ignore[arg-type]
            events.append(view(f"w{number}-{n}", watch_ms=watch_ms, **about))  # type: ignore[arg-type]
    plain = folded([FIXED, ADMIT, *events])
    lowered = folded([FIXED, ADMIT, revise("h1", handicap=handicap, term=1), *events])
    assert decided(lowered.receipts) == decided(plain.receipts)
    assert lowered.video().slices.keys() == plain.video().slices.keys()
    for name, row in plain.video().slices.items():
        other = lowered.row(name)
        assert (other.status, other.stage, other.allowance) == (
            row.status, row.stage, row.allowance,
        )  # fmt: skip


# ---------------------------------------------------------------- receipts


def test_a_receipt_says_by_how_much_and_why() -> None:
    done = folded([FIXED, ADMIT, LOWERED, revise("h2", seq=3, handicap=0, term=1, note="less now")])
    lowered, back = [each for each in done.receipts if each.reason == "ceiling"]
    assert (lowered.slice, lowered.action, lowered.handicap) == ("", "review", 30_000)
    assert (lowered.note, lowered.by, lowered.cause) == ("too much of the day", "", "h1")
    assert (back.handicap, back.note) == (0, "less now")
    assert (done.own().handicap, done.own().handicapped) == (0, NOW)


def test_every_later_receipt_has_it_but_those_of_followers() -> None:
    done = folded([FIXED, ADMIT, LOWERED, *shown(40), *shown(40, FANS)])
    later = [each for each in done.receipts if each.n > 2]
    assert {surface_of(each.slice) for each in later} == {"discover", "following"}
    for each in later:
        followers = surface_of(each.slice) == "following"
        assert each.handicap == (msgspec.UNSET if followers else 30_000)


def test_without_one_nothing_is_said() -> None:
    assert all(each.handicap is msgspec.UNSET for each in folded([FIXED, ADMIT]).receipts)


# ---------------------------------------------------------------- whose word counts


def test_what_is_said_twice_counts_once() -> None:
    done = folded([FIXED, ADMIT, LOWERED, LOWERED, revise("h2", seq=3, handicap=30_000, term=1)])
    assert [each.reason for each in done.receipts].count("ceiling") == 1
    assert done.outcomes["revise", "duplicate"] == 1
    assert not done.rejected


def test_an_old_leaders_is_refused_by_its_term() -> None:
    old = revise("h1", handicap=30_000, term=1, fits={}, limited=True)
    done = folded([*LEAD, FIXED_IN_2, ADMIT, old, revise("h2", handicap=20_000, term=2)])
    assert [(each.reason, each.message) for each in done.rejected] == [
        ("stale", "a handicap of term 1, in term 2")
    ]
    assert (done.own().handicap, done.own().stage) == (20_000, "public")
    assert done.own().fits == ADMIT.fits


def test_what_no_leader_says_needs_no_term() -> None:
    done = folded([*LEAD, FIXED_IN_2, ADMIT, revise("r1", fits={COOKING: 5})])
    assert not done.rejected


def test_a_forged_one_is_refused() -> None:
    stranger = Signer(INSTALLATION.id, STRANGER)
    read = decode_log([signed_record(LOWERED, signer=stranger)], TRUST, SPELLING)
    assert (list(read.events), [each.reason for each in read.refusals]) == ([], ["signature"])


@pytest.mark.parametrize("handicap", [-1, HANDICAP_MOST + 1])
def test_one_out_of_its_bounds_is_refused(handicap: int) -> None:
    read = decode_log([signed_record(revise("h1", handicap=handicap))], TRUST, SPELLING)
    assert [each.reason for each in read.refusals] == ["range"]


def test_of_an_unknown_video_there_is_nothing_to_lower() -> None:
    done = folded([FIXED, LOWERED])
    assert [each.reason for each in done.rejected] == ["illegal_move"]
    assert done.own().handicap == 0


def test_a_removed_video_stays_removed() -> None:
    done = folded([FIXED, ADMIT, takedown(seq=2), revise("h1", seq=3, handicap=10_000, term=1)])
    assert done.own().stage == "removed"
    assert all(entry.score is None for entry in told(done).values())

"""A log that 0.1.0 began and its `upgrade` record: the log alone decides what a row becomes."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import FANS, FOOTBALL, MUSIC, NOW, WEIGHTS, admit, like, policy, view
from kit.first import FIRST_POLICY, UPGRADE, first_admit, first_log, upgraded_log
from kit.folding import Folding, Placed, decoded, placed
from kit.keys import OLD_META, OLD_TRUST, SECRET
from msgspec.structs import replace

from streams.core.counters import VIDEO_ROW, Slice, decode_slice, decode_video
from streams.core.events import Profile, Weights
from streams.core.first.translation import policy_of
from streams.core.first.upgrade import BUTTONS, turn_slice
from streams.core.first_rows import (
    DEFAULT_WEIGHTS,
    SHARED,
    FirstSlice,
    decode_first_slice,
    decode_first_video,
)
from streams.core.units import MICROS, NEVER
from streams.ops.recount import Recount
from streams.runtime.codec import Spelling

GENERATION = 300
LOG = decoded(upgraded_log(events=1_500), Spelling(1 << 20, SECRET), OLD_TRUST)
PLACE = next(at for at, place in enumerate(LOG) if place.event == UPGRADE)


def begun() -> Folding:
    return Folding(GENERATION, meta=OLD_META)


WHOLE = begun().fold(LOG).flush()


def runs(length: int) -> Iterator[list[Placed]]:
    for first in range(0, len(LOG), length):
        yield LOG[first : first + length]


# ---------------------------------------------------------------- the log alone decides


@pytest.mark.parametrize("length", [1, 7, 500])
def test_batches_change_nothing(length: int) -> None:
    done = begun()
    for run in runs(length):
        done.fold(run).flush()
    assert done.bytes() == WHOLE.bytes()
    assert done.meta == WHOLE.meta
    assert done.outcomes == WHOLE.outcomes


def test_a_video_that_left_memory_before_the_upgrade_turns_too() -> None:
    done = begun()
    for place in LOG:
        done.fold([place]).evict()
    assert done.bytes() == WHOLE.bytes()


@pytest.mark.parametrize("at", [PLACE - 200, PLACE - 1, PLACE, PLACE + 1, PLACE + 200])
def test_a_restart_anywhere_changes_nothing(at: int) -> None:
    done = begun().fold(LOG[:at]).flush().restart(LOG[:at]).fold(LOG[at:]).flush()
    assert done.bytes() == WHOLE.bytes()


def test_the_rows_of_0_1_0_go_on_to_the_same_bytes() -> None:
    """What stands in the Redis of 0.1.0 is what the fold of its log stores up to the upgrade."""
    before = begun().fold(LOG[:PLACE]).flush()
    taken = Folding(GENERATION, meta=before.meta, rows=before.rows)
    taken.restart(LOG[:PLACE]).fold(LOG[PLACE:]).flush()
    assert taken.rows == WHOLE.rows
    assert taken.meta == WHOLE.meta


@pytest.mark.parametrize("length", [PLACE - 1, PLACE, PLACE + 1, len(LOG)])
def test_the_recount_comes_to_the_same_counters(length: int) -> None:
    recount = Recount(0, 1, GENERATION, first=True)
    for event, offset, _ in LOG[:length]:
        recount.add(event, offset)
    rows = begun().fold(LOG[:length]).flush().rows
    decode = decode_first_slice if length <= PLACE else decode_slice
    assert recount.counts == {
        (video, name): {counter: getattr(decode(raw), counter) for counter in recount.names}
        for video, fields in rows.items()
        for name, raw in fields.items()
        if name != VIDEO_ROW
    }


def test_no_counter_of_any_row_is_lost_at_the_upgrade() -> None:
    before, after = (begun().fold(LOG[:end]).flush().rows for end in (PLACE, PLACE + 1))
    assert before.keys() == after.keys()
    rows = [(before[video], fields) for video, fields in after.items()]
    for old, new in rows:
        assert old.keys() == new.keys()
        for name in old.keys() - {VIDEO_ROW}:
            first, row = decode_first_slice(old[name]), decode_slice(new[name])
            assert [getattr(first, each) for each in SHARED] == [
                getattr(row, each) for each in SHARED
            ]
            assert row.estimated == row.views
    assert {video for video in before if VIDEO_ROW in before[video]}


# ---------------------------------------------------------------- what a row becomes


WEIGHED = st.builds(
    Weights,
    watch=st.sampled_from([600_000, 1, 0, -5, 1_000_000]),
    **dict.fromkeys(("complete", *BUTTONS), st.integers(-2_000_000, 2_000_000)),
)
COUNTED = st.fixed_dictionaries(
    {f"{name}s": st.integers(0, 30) for name in BUTTONS} | {"views": st.integers(0, 50)}
)


@given(WEIGHED, COUNTED, st.integers(0, 50), st.integers(), st.integers(0))
def test_an_estimate_is_always_possible(
    weights: Weights, counted: dict[str, int], completes: int, value: int, square: int
) -> None:
    views = counted["views"]
    first = FirstSlice(**counted, completes=min(completes, views), value_sum=value, value_sq=square)
    row = turn_slice(first, weights)
    assert 950_000 * row.completes <= row.ratio_sum <= views * MICROS
    assert row.ratio_sq <= row.ratio_sum
    assert not views or row.ratio_sq >= row.ratio_sum * row.ratio_sum // (views * MICROS)


@given(st.lists(st.one_of(st.integers(0, 949_999), st.just(MICROS)), max_size=40), COUNTED)
def test_what_the_weights_in_force_valued_is_found_again(
    shares: list[int], counted: dict[str, int]
) -> None:
    weights, first = DEFAULT_WEIGHTS, FirstSlice()
    for share in shares:
        first.views += 1
        first.completes += share == MICROS
        first.add_value(weights.watch * share // MICROS + (share == MICROS) * weights.complete)
    for name in BUTTONS:
        for _ in range(counted[f"{name}s"]):
            first.add_value(getattr(weights, name))
        setattr(first, f"{name}s", counted[f"{name}s"])
    row = turn_slice(first, weights)
    assert abs(row.ratio_sum - sum(shares)) <= 2 * len(shares) + 2
    exact = sum(share * share // MICROS for share in shares)
    assert abs(row.ratio_sq - exact) <= 10 * len(shares) + 10 * sum(counted.values()) + 10


def test_everything_else_of_a_row_goes_on_as_it_stands() -> None:
    raw = b"[90,40,360000,4,3,2,1,1,0,0,0,11000000,9000000,1,2,140,80,385000,700000,50,124,36]"
    row = turn_slice(decode_first_slice(raw), DEFAULT_WEIGHTS)
    kept = (row.status, row.stage, row.allowance, row.tranche, row.granted_views)
    assert kept == (1, 2, 140, 80, 36)
    assert (row.check_views, row.check_impressions) == (50, 124)


def test_a_video_keeps_its_word_and_the_crowds_it_began_in_by_name() -> None:
    done = begun().fold(placed([FIRST_POLICY, first_admit(), like("l1", slice_id=MUSIC), UPGRADE]))
    own = done.own()
    assert (own.stage, own.seq, own.decisions, own.granted, own.band) == ("public", 1, 2, 20, 0)
    assert own.fits == {FANS: MICROS, FOOTBALL: 700_000}
    idle: Slice = done.row(MUSIC)
    assert (idle.likes, idle.check_views, idle.check_impressions) == (1, 10, 10)
    assert done.row(FOOTBALL).check_views != NEVER


def test_the_policy_in_force_goes_on_in_todays_words() -> None:
    done = begun().fold(placed([FIRST_POLICY, UPGRADE]))
    assert done.state.policy == policy_of(FIRST_POLICY)
    assert done.state.version == FIRST_POLICY.version
    taken = Folding(meta=done.flush().meta)
    assert taken.state.policy == policy_of(FIRST_POLICY)


def test_before_any_policy_the_weights_of_then_stand_for_it() -> None:
    events = [view("e1", watch_ms=6_000, duration_ms=10_000), like("l1", viewer="u2")]
    done = begun().fold(placed([*events, UPGRADE])).flush()
    [row] = done.video().slices.values()
    assert (row.ratio_sum, row.ratio_sq, row.estimated) == (600_000, 360_000, 1)
    assert VIDEO_ROW in done.rows["v1"], "its slice stood outside every policy"


# ---------------------------------------------------------------- and the rule


def test_todays_word_is_no_word_before_the_upgrade_and_that_of_then_none_behind_it() -> None:
    done = begun().fold(placed([policy(seq=1), admit(), UPGRADE, UPGRADE]))
    assert [refusal.reason for refusal in done.rejected] == ["illegal_move", "illegal_move"]
    assert done.outcomes["upgrade", "applied"] == done.outcomes["upgrade", "duplicate"] == 1


def test_what_0_1_0_did_not_know_is_refused_before_the_upgrade_and_counted_behind_it() -> None:
    before, behind = (Profile(f"p{n}", "v1", "u1", FOOTBALL, NOW) for n in range(2))
    log = placed([before, UPGRADE, behind])
    done, again = begun().fold(log), Recount(0, 1, GENERATION, first=True)
    for event, offset, _ in log:
        again.add(event, offset)
    assert [one.reason for one in done.rejected] == ["type_unknown"]
    assert done.row(FOOTBALL).profiles == again.counts["v1", FOOTBALL]["profiles"] == 1


def test_a_first_policy_that_changed_its_weights_is_turned_by_those_in_force() -> None:
    dear = replace(FIRST_POLICY, seq=2, weights=replace(WEIGHTS, like=0))
    seen = view("e1", watch_ms=5_000, duration_ms=10_000)
    both = [FIRST_POLICY, seen, like("l1", viewer="u2"), dear, UPGRADE]
    row = begun().fold(placed(both)).row(FOOTBALL)
    assert row.ratio_sum == 950_000, "the like's worth is taken for watching, as far as it can be"


def test_a_stored_row_of_another_time_is_named() -> None:
    with pytest.raises(ValueError, match="values"):
        decode_first_slice(b"[1,2,3]")
    with pytest.raises(ValueError, match="field video"):
        begun().state.load("v1", {VIDEO_ROW: b'[2,"public"]'})
    assert decode_first_video(b'["public","established",true,3,2,20,0,{}]').tier == "established"
    assert decode_video(WHOLE.rows["v0"][VIDEO_ROW]).band in {0, 5}


def test_the_log_of_these_tests_holds_what_they_are_about() -> None:
    assert len(first_log()) > 1_000
    assert {each.action for each in WHOLE.first_receipts} == {"start", "widen", "keep", "stop"}
    assert {each.action for each in WHOLE.receipts} >= {"open", "widen", "keep", "stop"}
    assert json.loads(WHOLE.meta.policy)["noise_cross"] == 150_000

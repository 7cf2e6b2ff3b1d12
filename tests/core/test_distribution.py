from collections import Counter
from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from kit.events import (
    BASKETBALL,
    COOKING,
    FANS,
    FIXED,
    FOOTBALL,
    MUSIC,
    SHENYANG,
    admit,
    hold,
    impression,
    policy,
    release,
    revise,
    slice_policy,
    takedown,
    view,
)
from kit.folding import Folding, folded, placed

from streams.core.counters import ACTIVE, HELD, IDLE, STOPPED
from streams.core.events import (
    Admit,
    LogRecord,
    Policy,
)
from streams.core.posterior import sum_factors
from streams.core.receipts import Receipt
from streams.core.units import MICROS, SURFACES, surface_of
from streams.core.words import SliceReview

LOVED = 9_000
HATED = 100
PLACES = {FANS: MICROS, SHENYANG: 500_000}
ADMIT = admit(fits=PLACES)
ONLY_FOOTBALL = policy(slices={FOOTBALL: FIXED.slices[FOOTBALL]})


def shown(
    count: int, watch_ms: int = LOVED, slice_id: str = FOOTBALL, first: int = 0
) -> list[LogRecord]:
    """Impressions, each followed by its view."""
    group = slice_id.replace(":", "_")
    events: list[LogRecord] = []
    for number in range(first, first + count):
        events.append(impression(f"i-{group}-{number}", slice_id=slice_id))
        events.append(view(f"w-{group}-{number}", slice_id=slice_id, watch_ms=watch_ms))
    return events


def seen_in(*slices: str) -> list[LogRecord]:
    """One impression in each of these."""
    return [impression(f"first-{name.replace(':', '_')}", slice_id=name) for name in slices]


def crowds(receipt: Receipt) -> list[str]:
    assert receipt.slice == ""
    return [each.slice for each in receipt.crowds]


# ---------------------------------------------------------------- open everywhere


def test_nothing_is_granted_before_an_admission() -> None:
    done = folded([FIXED, *shown(500)])
    assert not done.receipts
    assert done.row(FOOTBALL).allowance == 0


def test_an_admission_opens_every_crowd_best_first_in_one_receipt() -> None:
    done = folded([FIXED, ADMIT])
    assert done.told() == [("", "open", "admitted")]
    assert crowds(done.receipts[0]) == [SHENYANG, FANS, BASKETBALL, FOOTBALL, MUSIC, COOKING]
    assert {each.allowance for each in done.receipts[0].crowds} == {20}
    assert not done.video().slices  # nobody was shown it anywhere
    assert done.own().granted == 0


def test_the_receipt_says_what_each_crowd_is_expected_to_think() -> None:
    opening = folded([FIXED, admit(fits={FOOTBALL: MICROS})]).receipts[0]
    means = {each.slice: each.mean for each in opening.crowds}
    assert means == dict.fromkeys((BASKETBALL, COOKING, MUSIC), 350_000) | {FOOTBALL: 400_000}
    assert all(each.score > each.mean for each in opening.crowds)


def test_no_more_crowds_are_open_than_the_policy_lets() -> None:
    done = folded([policy(open_max=2), ADMIT, *seen_in(SHENYANG, COOKING)])
    assert crowds(done.receipts[0]) == [SHENYANG, FANS]
    assert done.row(SHENYANG).status == ACTIVE
    assert done.row(COOKING).status == IDLE  # counted, nothing more


def test_a_row_begins_with_the_first_impression_and_then_its_tranche_is_charged() -> None:
    done = folded([FIXED, ADMIT, *seen_in(FOOTBALL)])
    row = done.row(FOOTBALL)
    assert (row.status, row.allowance, row.tranche, row.impressions) == (ACTIVE, 20, 20, 1)
    assert done.own().granted == 20
    done.fold(placed(seen_in(FANS), 100))
    assert done.row(FANS).allowance == 20
    assert done.own().granted == 20  # followers are no budget's matter


def test_a_crowd_outside_the_video_is_counted_only() -> None:
    done = folded([FIXED, admit(), *shown(30, LOVED, SHENYANG)])
    assert done.row(SHENYANG).status == IDLE
    assert done.row(SHENYANG).views == 30
    assert len(done.receipts) == 1


def test_an_admission_finds_the_evidence_of_before() -> None:
    done = folded([FIXED, *shown(12, HATED), admit()])
    assert done.told() == [("", "open", "admitted"), (FOOTBALL, "stop", "index_below_price")]
    assert done.receipts[1].views == 12
    assert {each.cause for each in done.receipts} == {"admit-1"}


def test_what_is_granted_lies_above_what_was_shown_before_the_admission() -> None:
    done = folded([FIXED, *shown(500, 6_000), admit()])
    assert done.row(FOOTBALL).status == ACTIVE
    assert done.row(FOOTBALL).allowance > done.row(FOOTBALL).impressions
    opened = {each.slice: each.allowance for each in done.receipts[0].crowds}
    assert opened[FOOTBALL] == 520


@pytest.mark.parametrize("before", [185, 195, 200, 230])
def test_a_grant_on_top_of_what_was_shown_stays_within_the_reach(before: int) -> None:
    seen = [impression(f"i{number}", slice_id=MUSIC) for number in range(before)]
    done = folded([FIXED, *seen, admit()])
    assert done.row(MUSIC).allowance <= FIXED.slices[MUSIC].reach


@pytest.mark.parametrize("band", range(6))
@pytest.mark.parametrize("commercial", [False, True])
def test_the_first_tranche_is_the_same_for_every_creator(band: int, commercial: bool) -> None:
    done = folded([FIXED, admit(band=band, commercial=commercial), *seen_in(FOOTBALL)])
    assert done.row(FOOTBALL).tranche == FIXED.tranche
    assert {each.allowance for each in done.receipts[0].crowds} == {FIXED.tranche}


def test_the_first_grant_is_smaller_than_the_next_ones() -> None:
    careful = policy(first=12)
    done = folded([careful, admit(), *seen_in(FOOTBALL)])
    assert {each.allowance for each in done.receipts[0].crowds} == {12}
    assert (done.row(FOOTBALL).allowance, done.own().granted) == (12, 12)
    later = [each for each in folded([careful, admit(), *shown(30)]).receipts if each.tranche]
    assert later[0].tranche in {FIXED.tranche, FIXED.tranche * FIXED.growth}


def test_the_video_keeps_what_the_admission_said() -> None:
    record = admit(band=3, commercial=True, creator="c7", format="live", guarantee=60)
    own = folded([FIXED, record]).own()
    assert (own.band, own.commercial, own.creator, own.format) == (3, True, "c7", "live")
    assert (own.guarantee, own.admitted) == (60, record.ts)
    assert folded([FIXED, admit(limited=True, guarantee=60)]).own().guarantee == 0


def test_receipts_name_creator_and_class() -> None:
    record = admit(band=3, commercial=True, creator="c7", format="live")
    for each in folded([FIXED, record, *shown(60)]).receipts:
        assert (each.creator, each.band, each.commercial, each.format) == ("c7", 3, True, "live")


def test_a_second_admission_changes_nothing() -> None:
    done = folded([FIXED, admit(), admit("admit-2", seq=2, fits=PLACES, limited=True)])
    assert done.told() == [("", "open", "admitted")]
    assert done.own().fits == {}


def test_an_admission_that_names_no_slice_is_rejected_whole() -> None:
    done = folded([FIXED, admit(fits={"mars:people": 1})])
    assert [each.reason for each in done.rejected] == ["slice"]
    assert not done.receipts
    assert done.own().stage == "unknown"


# ---------------------------------------------------------------- widen, keep, stop


def test_a_loved_video_is_widened_stage_by_stage() -> None:
    done = folded([FIXED, admit(), *shown(1_000)])
    mine = [each for each in done.receipts if each.slice == FOOTBALL]
    assert [each.tranche for each in mine if each.action == "widen"] == [60, 180, 540]
    assert done.row(FOOTBALL).stage == FIXED.top_stage


def test_a_hated_video_is_stopped_and_goes_on_elsewhere() -> None:
    done = folded([FIXED, admit(), *shown(20, HATED), *seen_in(MUSIC)])
    assert done.told() == [("", "open", "admitted"), (FOOTBALL, "stop", "index_below_price")]
    assert done.receipts[1].score < done.receipts[1].price
    assert done.row(FOOTBALL).status == STOPPED
    assert done.row(MUSIC).status == ACTIVE


def test_a_stop_gives_back_what_was_not_shown() -> None:
    done = folded([FIXED, admit(), *shown(20, HATED)])
    stop = done.receipts[1]
    assert (stop.impressions, stop.returned, stop.allowance) == (10, 10, 10)
    assert done.own().granted == 10
    assert done.row(FOOTBALL).allowance == 10


def test_what_comes_after_a_stop_is_counted_and_moves_nothing() -> None:
    done = folded([FIXED, admit(), *shown(10, HATED)])
    again = folded([FIXED, admit(), *shown(10, HATED), *shown(300, LOVED, first=10)])
    assert again.receipts == done.receipts
    assert again.row(FOOTBALL).views == 310


def test_a_crowd_that_loves_it_lets_its_neighbour_expect_more() -> None:
    done = folded([FIXED, ADMIT, *shown(200), hold()])
    before, after = ({each.slice: each.mean for each in done.receipts[at].crowds} for at in (0, -1))
    assert after[BASKETBALL] > before[BASKETBALL] + 50_000
    assert after[SHENYANG] == before[SHENYANG]


def test_followers_go_on_receiving_a_video_that_nobody_watches() -> None:
    done = folded([FIXED, ADMIT, *shown(300, 0, FANS)])
    assert {each.action for each in done.receipts} == {"open", "keep"}
    assert done.row(FANS).status == ACTIVE


def test_a_crowd_that_has_seen_it_all_is_stopped() -> None:
    done = folded([FIXED, admit(), *shown(260, LOVED, MUSIC)])
    assert done.told()[-1] == (MUSIC, "stop", "reach_used")
    assert done.row(MUSIC).allowance == FIXED.slices[MUSIC].reach


def test_a_crowd_that_was_shown_more_than_was_granted_has_still_seen_it_all() -> None:
    seen = [impression(f"i{number}", slice_id=MUSIC) for number in range(190)]
    over = [impression(f"o{number}", slice_id=MUSIC) for number in range(30)]
    done = folded([FIXED, *seen, admit(), *over])
    assert done.told()[1] == (MUSIC, "stop", "reach_used")


def test_a_spent_budget_ends_the_video() -> None:
    done = folded([policy(budget=70), admit(), *shown(200)])
    assert done.told()[-1] == (FOOTBALL, "stop", "budget_spent")
    assert done.own().granted == 70


def test_a_crowd_waits_for_a_budget_that_a_stop_gives_back() -> None:
    lavish = [*shown(9, HATED), *seen_in(MUSIC)]
    done = folded([policy(budget=20), admit(), *lavish])
    assert done.row(MUSIC).status == IDLE  # football has the whole budget
    done.fold(placed([*shown(1, HATED, first=9), *shown(12, LOVED, MUSIC)], 100))
    assert done.row(FOOTBALL).status == STOPPED
    assert done.row(MUSIC).status == ACTIVE
    assert done.own().granted <= 20


def test_the_receipt_carries_the_numbers_of_its_decision() -> None:
    stop = folded([FIXED, admit(), *shown(20, HATED)]).receipts[1]
    assert (stop.id, stop.n, stop.video, stop.policy, stop.rule) == ("v1.2", 2, "v1", "fixed-1", 2)
    assert stop.views == 10
    assert stop.value == 10 * 6_000
    assert (stop.base, stop.price) == (350_000, 330_000)
    assert len(stop.sums) == 9
    assert stop.z < 0


def test_decisions_name_the_policy_that_was_in_force() -> None:
    later = policy(seq=2, version="fixed-2")
    done = folded([FIXED, admit(), *shown(9), later, *shown(20, first=9)])
    assert [each.policy for each in done.receipts[:2]] == ["fixed-1", "fixed-2"]


# ---------------------------------------------------------------- a slice goes and comes back

WITHOUT = policy(
    seq=2,
    version="without",
    slices={name: spec for name, spec in FIXED.slices.items() if name != FOOTBALL},
)
AGAIN = policy(seq=3, version="again")


def test_a_slice_that_left_the_policy_goes_to_idle_with_what_was_not_shown() -> None:
    done = folded([FIXED, admit(), *shown(5), WITHOUT, *shown(20, first=5)])
    assert done.told()[1:] == [(FOOTBALL, "stop", "slice_gone")]
    assert done.row(FOOTBALL).status == IDLE
    assert done.own().granted == done.receipts[1].impressions
    assert done.row(FOOTBALL).views == 25


def test_a_slice_that_came_back_is_judged_again() -> None:
    done = folded([FIXED, admit(), *shown(10), WITHOUT, *shown(20, first=10)])
    assert done.row(FOOTBALL).status == IDLE
    done.fold(placed([AGAIN, *shown(40, first=30)], 1_000))
    assert done.row(FOOTBALL).status == ACTIVE
    assert (FOOTBALL, "widen", "mean_beats_price") in done.told()[2:]


# ---------------------------------------------------------------- a person freezes a slice


def frozen(seq: int, *slices: str, shut: bool = True) -> Policy:
    """Return a policy that bears a person's word on some slices."""
    specs = {
        name: msgspec.structs.replace(
            FIXED.slices[name], word=SliceReview("w1", name, FIXED.ts, shut, "alice", "a riot")
        )
        for name in slices
    }
    return policy(seq=seq, version=f"words-{seq}", slices={**FIXED.slices, **specs})


@pytest.mark.parametrize("slice_id", [FOOTBALL, FANS])
def test_a_frozen_slice_goes_to_idle_and_the_receipt_says_who_froze_it(slice_id: str) -> None:
    first, later = shown(5, slice_id=slice_id), shown(20, slice_id=slice_id, first=5)
    done = folded([FIXED, ADMIT, *first, frozen(2, slice_id), *later])
    assert done.told()[1:] == [(slice_id, "stop", "slice_frozen")]
    receipt = done.receipts[-1]
    assert (receipt.by, receipt.note, receipt.policy) == ("alice", "a riot", "words-2")
    row = done.row(slice_id)
    assert (row.status, row.views, row.allowance) == (IDLE, 25, receipt.impressions)
    assert receipt.returned > 0


def test_nothing_opens_in_a_frozen_slice() -> None:
    done = folded([frozen(1, FOOTBALL), admit(), *shown(20)])
    assert FOOTBALL not in {crowd.slice for crowd in done.receipts[0].crowds}
    assert done.row(FOOTBALL).status == IDLE
    assert done.row(FOOTBALL).views == 20
    assert len(done.receipts) == 1


def test_a_slice_that_is_open_again_goes_on_with_what_was_seen() -> None:
    done = folded([FIXED, admit(), *shown(5), frozen(2, FOOTBALL), *shown(20, first=5)])
    again = frozen(3, FOOTBALL, shut=False)
    done.fold(placed([again, *shown(40, first=25)], 1_000))
    assert done.row(FOOTBALL).status == ACTIVE
    assert (FOOTBALL, "widen", "mean_beats_price") in done.told()[2:]


def test_a_held_video_that_is_released_stays_out_of_a_frozen_slice() -> None:
    later = [frozen(2, FOOTBALL), release(), *shown(20, first=5)]
    done = folded([FIXED, admit(), *shown(5), hold(), *later])
    assert done.row(FOOTBALL).status == IDLE


def test_a_crowd_too_dear_at_the_admission_opens_when_its_price_falls() -> None:
    dear = msgspec.structs.replace(FIXED.slices[FOOTBALL], price=900_000)
    costly = policy(slices={**FIXED.slices, FOOTBALL: dear})
    done = folded([costly, *shown(5), admit(), *shown(5, first=5)])
    assert done.row(FOOTBALL).status == IDLE
    done.fold(placed([policy(seq=2, version="cheaper"), *shown(30, first=10)], 1_000))
    assert done.row(FOOTBALL).status == ACTIVE


def test_followers_keep_a_slice_that_left_the_policy() -> None:
    gone = policy(seq=2, version="no-fans", slices={FOOTBALL: FIXED.slices[FOOTBALL]})
    done = folded([FIXED, ADMIT, *shown(5, LOVED, FANS), gone, *shown(40, LOVED, FANS, 5)])
    assert done.row(FANS).status == ACTIVE
    assert len(done.receipts) == 1


# ---------------------------------------------------------------- moderation


def test_a_limited_video_reaches_followers_only() -> None:
    limited = admit(fits=PLACES, limited=True)
    done = folded([FIXED, limited, *shown(400, LOVED, FANS), *shown(20)])
    assert crowds(done.receipts[0]) == [FANS]
    assert {each.slice for each in done.receipts} == {"", FANS}
    assert done.row(FOOTBALL).status == IDLE


def test_a_takedown_ends_every_crowd_at_once_and_says_which() -> None:
    done = folded([FIXED, ADMIT, *seen_in(FOOTBALL, FANS), takedown(), *shown(100)])
    assert done.told()[1:] == [("", "stop", "takedown")]
    assert set(crowds(done.receipts[1])) == set(FIXED.slices)
    assert {row.status for row in done.video().slices.values()} == {STOPPED}
    assert done.row(FOOTBALL).views == 100  # counted all the same
    assert done.own().granted == 1


def test_a_takedown_reaches_held_slices_too() -> None:
    done = folded([FIXED, ADMIT, *seen_in(FOOTBALL, FANS), hold(), takedown()])
    assert {row.status for row in done.video().slices.values()} == {STOPPED}


def test_a_takedown_needs_no_policy() -> None:
    done = folded([takedown(seq=1), FIXED, admit(seq=2)])
    assert done.own().stage == "removed"
    assert not done.receipts


def test_a_hold_pauses_every_crowd_and_a_release_goes_on_where_it_was() -> None:
    done = folded([FIXED, ADMIT, *shown(5), hold(), *shown(40, first=5)])
    assert done.told()[1:] == [("", "stop", "held")]
    assert set(crowds(done.receipts[1])) == set(FIXED.slices)
    assert done.row(FOOTBALL).status == HELD
    before = done.row(FOOTBALL).allowance, done.own().granted
    assert before == (20, 20)
    done.fold(placed([release()], 1_000))
    released = next(each for each in done.receipts if each.reason == "released")
    assert set(crowds(released)) == set(FIXED.slices)
    assert done.row(FOOTBALL).status == ACTIVE
    assert done.row(FOOTBALL).allowance >= before[0]


def test_a_release_without_a_hold_says_nothing() -> None:
    done = folded([FIXED, ADMIT, release(seq=2), release("again", seq=3)])
    assert done.told() == [("", "open", "admitted")]


def test_a_second_hold_says_nothing() -> None:
    done = folded([FIXED, ADMIT, hold(), hold("again", seq=3)])
    assert done.told() == [("", "open", "admitted"), ("", "stop", "held")]


def test_feedback_during_a_hold_opens_nothing() -> None:
    done = folded([FIXED, ADMIT, hold(), *shown(30), release()])
    assert done.told()[:3] == [
        ("", "open", "admitted"),
        ("", "stop", "held"),
        ("", "open", "released"),
    ]
    assert done.row(FOOTBALL).status == ACTIVE


def test_a_release_judges_what_arrived_while_the_video_was_held() -> None:
    first, late = shown(10), [impression(f"late{number}") for number in range(10)]
    seen = [event for event in first if type(event).__name__ == "Impression"]
    views = [event for event in first if type(event).__name__ == "View"][:8]
    done = folded([FIXED, admit(), *seen, hold(), *late, *views, release()])
    row = done.row(FOOTBALL)
    assert row.impressions == 20
    assert row.allowance > row.impressions or row.status != ACTIVE


def test_limiting_withdraws_the_public_and_widening_opens_it_again() -> None:
    done = folded([FIXED, ADMIT, *shown(3), *seen_in(FANS), revise(limited=True)])
    assert done.told()[1:] == [("", "stop", "limited")]
    assert set(crowds(done.receipts[1])) == set(FIXED.slices) - {FANS}
    assert done.row(FANS).status == ACTIVE
    assert done.row(FOOTBALL).status == IDLE
    assert done.own().granted == 3
    done.fold(placed([revise("revise-2", seq=3, limited=False)], 100))
    assert done.receipts[-1].reason == "audience_widened"
    assert set(crowds(done.receipts[-1])) == set(FIXED.slices)
    assert done.row(FOOTBALL).status == ACTIVE
    assert (done.row(FOOTBALL).allowance, done.own().granted) == (23, 23)


@pytest.mark.parametrize(
    "words",
    [
        [hold(seq=2), revise(seq=3, limited=True), revise(seq=4, limited=False)],
        [revise(seq=2, limited=True), hold(seq=3), revise(seq=4, limited=False)],
    ],
    ids=["limited_and_widened_while_held", "widened_while_held"],
)
def test_a_video_widened_while_held_is_shown_to_nobody_before_its_release(
    words: list[LogRecord],
) -> None:
    done = folded([FIXED, ADMIT, *seen_in(FANS, FOOTBALL), *words])
    assert done.own().stage == "held_public"
    assert ACTIVE not in {row.status for row in done.video().slices.values()}
    assert done.receipts[-1].action == "stop"
    done.fold(placed([release(seq=9)], 100))
    assert done.own().stage == "public"
    assert set(crowds(done.receipts[-1])) == set(FIXED.slices)
    assert {row.status for row in done.video().slices.values()} == {ACTIVE}


def test_a_revision_of_fits_alone_opens_and_stops_nothing() -> None:
    done = folded([FIXED, ADMIT, *shown(5), revise(fits={COOKING: 900_000})])
    assert len(done.receipts) == 1
    assert done.own().fits == {COOKING: 900_000}


def test_a_revision_of_fits_moves_what_is_expected_from_the_next_judgement_on() -> None:
    fits = {FOOTBALL: MICROS}
    done = folded([FIXED, admit(), *shown(9, HATED), revise(fits=fits), *shown(1, HATED, first=9)])
    plain = folded([FIXED, admit(), *shown(10, HATED)]).receipts[-1]
    assert done.receipts[-1].base == plain.base + FIXED.fit_value
    assert done.receipts[-1].mean > plain.mean
    assert done.receipts[-1].sums != plain.sums


def test_what_was_seen_is_weighed_anew_after_a_revision_of_fits() -> None:
    done, fits = folded([FIXED, admit(), *shown(10, 6_000)]), {FOOTBALL: MICROS}
    before = sum_factors(FIXED, done.video())
    done.fold(placed([revise(fits=fits)], 100))
    assert sum_factors(FIXED, done.video()).b1 < before.b1


@pytest.mark.parametrize("seq", [1, 2])
def test_an_older_control_record_is_rejected_as_stale(seq: int) -> None:
    done = folded([FIXED, admit(seq=3), hold(seq=seq), *seen_in(FOOTBALL)])
    assert [each.reason for each in done.rejected] == ["stale"]
    assert done.row(FOOTBALL).status == ACTIVE


def test_a_repeated_control_record_counts_once() -> None:
    done = folded([FIXED, admit(), admit()])
    assert done.outcomes["admit", "duplicate"] == 1
    assert len(done.receipts) == 1


def test_an_older_policy_never_comes_back() -> None:
    done = folded([policy(seq=5, version="new"), policy(seq=4, version="old"), admit()])
    assert [each.reason for each in done.rejected] == ["stale"]
    assert done.receipts[0].policy == "new"


# ---------------------------------------------------------------- it always goes on or ends


class Crowd:
    """Viewers who use every allowance, and whose views are lost on the way six times in ten."""

    def __init__(self, seed: int, in_force: Policy, record: Admit) -> None:
        self.random = Random(seed)
        self.policy = in_force
        self.done = Folding()
        self.number = 0
        self.loved = {name: self.random.uniform(0.05, 1.0) for name in in_force.slices}
        self.waiting: list[LogRecord] = []
        self._fold([in_force, record])

    def _fold(self, events: Sequence[LogRecord]) -> None:
        self.done.fold(placed(events, self.number))
        self.number += len(events)

    def watch(self) -> None:
        """Go on until no slice has an impression to show and no view is on its way."""
        self._fold(seen_in(*(each.slice for each in self.done.receipts[0].crowds)))
        while (offers := self._offers()) or self.waiting:
            if offers and (not self.waiting or self.random.random() < 0.5):
                self._show(self.random.choice(offers))
            else:
                place = self.random.randrange(len(self.waiting))
                self._fold([self.waiting.pop(place)])

    def _offers(self) -> list[str]:
        return [
            name
            for name, row in sorted(self.done.video().slices.items())
            if row.status == ACTIVE and row.impressions < row.allowance
        ]

    def _show(self, name: str) -> None:
        event_id = f"e{self.number}"
        self._fold([impression(event_id, slice_id=name)])
        if self.random.random() < 0.4:
            share = min(max(self.random.gauss(self.loved[name], 0.3), 0), 1)
            watched = int(share * 10_000)
            self.waiting.append(view(f"w{event_id}", slice_id=name, watch_ms=watched))


SMALL = policy(
    slices={
        name: msgspec.structs.replace(spec, reach=min(spec.reach, 600))
        for name, spec in FIXED.slices.items()
    }
)


@pytest.mark.parametrize("seed", range(12))
def test_distribution_never_stops_in_silence(seed: int) -> None:
    crowd = Crowd(seed, SMALL, ADMIT)
    crowd.watch()
    for name, row in crowd.done.video().slices.items():
        if surface_of(name) == "following":
            assert row.allowance == SMALL.slices[name].reach
        else:
            assert row.status == STOPPED, f"{name} waits for ever"
    last = {each.slice: each for each in crowd.done.receipts if each.slice}
    assert {each.reason for name, each in last.items() if name != FANS} <= {
        "index_below_price",
        "reach_used",
        "budget_spent",
    }


@pytest.mark.parametrize("seed", range(6))
def test_no_grant_ever_exceeds_reach_or_budget(seed: int) -> None:
    crowd = Crowd(seed, SMALL, ADMIT)
    crowd.watch()
    rows = crowd.done.video().slices
    assert all(row.allowance <= SMALL.slices[name].reach for name, row in rows.items())
    public = sum(row.allowance for name, row in rows.items() if surface_of(name) != "following")
    assert public == crowd.done.own().granted <= SMALL.budget


@pytest.mark.parametrize("seed", range(4))
def test_the_grants_on_the_receipts_add_up_to_the_allowance(seed: int) -> None:
    crowd = Crowd(seed, SMALL, ADMIT)
    crowd.watch()
    granted: Counter[str] = Counter(dict.fromkeys(SMALL.slices, SMALL.tranche))
    for each in crowd.done.receipts:
        if each.slice:
            granted[each.slice] += each.tranche - each.returned
            assert each.allowance == granted[each.slice]
            assert surface_of(each.slice) in SURFACES
    assert [each.n for each in crowd.done.receipts] == [*range(1, len(crowd.done.receipts) + 1)]


def test_many_crowds_that_all_hate_it_end_within_one_record() -> None:
    names = [f"discover:crowd{number}" for number in range(256)]
    many = {name: slice_policy(price=250_000) for name in names}
    seen = [
        act
        for number, name in enumerate(names)
        for again in range(30)
        for act in (
            impression(f"i{number}-{again}", viewer=f"u{again}", slice_id=name),
            view(f"e{number}-{again}", slice_id=name, watch_ms=0),
        )
    ]
    wide = policy(slices=many, tranche=1, budget=10**6, open_max=256)
    done = folded([wide, *seen, admit()])
    assert Counter(each.action for each in done.receipts) == {"open": 1, "stop": 256}

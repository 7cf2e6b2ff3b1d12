from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import get_args

import msgspec
import pytest
from kit.events import (
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
from streams.core.events import Admit, LogRecord, Policy, Tier
from streams.core.units import SURFACES, surface_of

LOVED = 9_000
HATED = 100
EVERYWHERE = (FANS, FOOTBALL, SHENYANG)


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


# ---------------------------------------------------------------- approval comes first


def test_nothing_is_granted_before_an_admission() -> None:
    done = folded([FIXED, *shown(500)])
    assert not done.receipts
    assert done.row(FOOTBALL).allowance == 0


def test_the_admission_starts_its_first_crowds() -> None:
    done = folded([FIXED, admit(starts=EVERYWHERE)])
    assert done.told() == [(name, "start", "first_crowd") for name in EVERYWHERE]
    assert [said.tranche for said in done.receipts] == [20, 20, 20]


def test_an_admission_finds_the_evidence_of_before() -> None:
    done = folded([FIXED, *shown(12, HATED), admit()])
    assert done.told()[:2] == [
        (FOOTBALL, "start", "first_crowd"),
        (FOOTBALL, "stop", "index_below_price"),
    ]
    assert done.receipts[0].views == 12
    assert {said.cause for said in done.receipts} == {"admit-1"}


def test_what_is_granted_lies_above_what_was_shown_before_the_admission() -> None:
    done = folded([FIXED, *shown(500, 6_000), admit()])
    assert done.row(FOOTBALL).status == ACTIVE
    assert done.row(FOOTBALL).allowance > done.row(FOOTBALL).impressions


@pytest.mark.parametrize("before", [185, 195, 200, 230])
def test_a_grant_on_top_of_what_was_shown_stays_within_the_reach(before: int) -> None:
    seen = [impression(f"i{number}", slice_id=MUSIC) for number in range(before)]
    done = folded([FIXED, *seen, admit(starts=[MUSIC])])
    assert done.row(MUSIC).allowance <= FIXED.slices[MUSIC].reach


@pytest.mark.parametrize("tier", get_args(Tier))
@pytest.mark.parametrize("commercial", [False, True])
def test_the_first_tranche_is_the_same_for_every_creator(tier: Tier, commercial: bool) -> None:
    done = folded([FIXED, admit(tier=tier, commercial=commercial)])
    assert [said.tranche for said in done.receipts] == [FIXED.tranche]


def test_an_admission_does_not_know_how_many_followers_a_creator_has() -> None:
    assert not [name for name in Admit.__struct_fields__ if "follow" in name]


def test_a_second_admission_changes_nothing() -> None:
    done = folded([FIXED, admit(), admit("admit-2", seq=2, starts=[COOKING], limited=True)])
    assert done.told() == [(FOOTBALL, "start", "first_crowd")]


@pytest.mark.parametrize("where", ["starts", "fits"])
def test_an_admission_that_names_no_slice_is_rejected_whole(where: str) -> None:
    bad = admit(starts=["mars:people"]) if where == "starts" else admit(fits={"mars:people": 1})
    done = folded([FIXED, bad])
    assert [said.reason for said in done.rejected] == ["slice"]
    assert not done.receipts
    assert done.own().stage == "unknown"


# ---------------------------------------------------------------- widen, keep, stop


def test_a_loved_video_is_widened_stage_by_stage_and_handed_on_from_the_top() -> None:
    done = folded([FIXED, admit(), *shown(1_000)])
    mine = [said for said in done.receipts if said.slice == FOOTBALL]
    assert [said.tranche for said in mine if said.action == "widen"] == [60, 180, 540]
    assert done.told()[-1][1:] != ("start", "next_after_stop")
    assert ("start", "next_after_top") in {said[1:] for said in done.told()}


def test_a_hated_video_is_stopped_and_handed_to_another_crowd() -> None:
    done = folded([FIXED, admit(), *shown(20, HATED)])
    assert [said[1:] for said in done.told()] == [
        ("start", "first_crowd"),
        ("stop", "index_below_price"),
        ("start", "next_after_stop"),
    ]
    assert done.receipts[1].index < done.receipts[1].price
    assert done.receipts[2].slice != FOOTBALL


def test_followers_go_on_receiving_a_video_that_nobody_watches() -> None:
    done = folded([FIXED, admit(starts=[FANS]), *shown(300, 0, FANS)])
    assert {said.action for said in done.receipts} == {"start", "keep"}
    assert done.row(FANS).status == ACTIVE


def test_a_crowd_that_has_seen_it_all_hands_on() -> None:
    done = folded([FIXED, admit(starts=[MUSIC]), *shown(260, LOVED, MUSIC)])
    assert (MUSIC, "stop", "reach_used") in done.told()
    assert "next_after_reach" in {reason for _, _, reason in done.told()}
    assert done.row(MUSIC).allowance == FIXED.slices[MUSIC].reach


def test_a_crowd_that_was_shown_more_than_was_granted_has_still_seen_it_all() -> None:
    seen = [impression(f"i{number}", slice_id=MUSIC) for number in range(190)]
    over = [impression(f"o{number}", slice_id=MUSIC) for number in range(30)]
    done = folded([FIXED, *seen, admit(starts=[MUSIC]), *over])
    assert done.told()[1] == (MUSIC, "stop", "reach_used")


def test_a_spent_budget_ends_the_video() -> None:
    done = folded([policy(budget=70), admit(), *shown(200)])
    assert done.told()[-1] == (FOOTBALL, "stop", "budget_spent")
    assert done.own().granted == 70


def test_the_receipt_carries_the_numbers_of_its_decision() -> None:
    stop = folded([FIXED, admit(), *shown(20, HATED)]).receipts[1]
    assert (stop.id, stop.n, stop.video, stop.policy) == ("v1.2", 2, "v1", "fixed-1")
    assert stop.views == 10
    assert stop.value_sum == 10 * 6_000
    assert stop.price == 330_000
    assert stop.allowance == 20
    assert stop.z < 0


def test_a_slice_that_the_policy_dropped_hands_the_video_on() -> None:
    less = {name: spec for name, spec in FIXED.slices.items() if name != FOOTBALL}
    gone = policy(seq=2, version="without", slices=less)
    done = folded([FIXED, admit(), gone, *shown(20)])
    assert (FOOTBALL, "stop", "slice_gone") in done.told()
    assert done.told()[-1][1] == "start"


def test_decisions_name_the_policy_that_was_in_force() -> None:
    later = policy(seq=2, version="fixed-2")
    done = folded([FIXED, admit(), *shown(9), later, *shown(20, first=9)])
    assert [said.policy for said in done.receipts[:2]] == ["fixed-1", "fixed-2"]


def test_a_chain_of_crowds_that_all_hate_it_ends_within_one_record() -> None:
    names = [f"discover:crowd{number}" for number in range(256)]
    crowds = {name: slice_policy(price=250_000) for name in names}
    seen = [
        view(f"e{number}-{again}", slice_id=name, watch_ms=0)
        for number, name in enumerate(names)
        for again in range(300)
    ]
    wide = policy(slices=crowds, tranche=1, budget=10**6)
    done = folded([wide, *seen, admit(starts=names[:1])])
    assert Counter(said.action for said in done.receipts) == {"start": 256, "stop": 256}


# ---------------------------------------------------------------- moderation


def test_a_limited_video_reaches_followers_only() -> None:
    done = folded([FIXED, admit(starts=EVERYWHERE, limited=True), *shown(400, LOVED, FANS)])
    assert {said.slice for said in done.receipts} == {FANS}


def test_a_takedown_stops_every_slice_at_once() -> None:
    done = folded([FIXED, admit(starts=EVERYWHERE), takedown(), *shown(100)])
    assert done.told()[3:] == [(name, "stop", "takedown") for name in sorted(EVERYWHERE)]
    assert {row.status for row in done.video().slices.values()} == {STOPPED}
    assert done.row(FOOTBALL).views == 100  # counted all the same


def test_a_takedown_reaches_held_slices_too() -> None:
    done = folded([FIXED, admit(starts=EVERYWHERE), hold(), takedown()])
    assert {row.status for row in done.video().slices.values()} == {STOPPED}


def test_a_takedown_needs_no_policy() -> None:
    done = folded([takedown(seq=1), FIXED, admit(seq=2)])
    assert done.own().stage == "removed"
    assert not done.receipts


def test_a_hold_pauses_every_slice_and_a_release_goes_on_where_it_was() -> None:
    done = folded([FIXED, admit(starts=EVERYWHERE), *shown(5), hold(), *shown(40, first=5)])
    assert [said[1:] for said in done.told()[3:]] == [("stop", "held")] * 3
    assert {row.status for row in done.video().slices.values()} == {HELD}
    allowances = {name: row.allowance for name, row in done.video().slices.items()}
    done.fold(placed([release()], 1_000))
    released = [said for said in done.receipts if said.reason == "released"]
    assert [said.slice for said in released] == sorted(EVERYWHERE)
    assert [said.tranche for said in released] == [0] * 3
    assert {row.status for row in done.video().slices.values()} == {ACTIVE}
    assert all(done.row(name).allowance >= allowances[name] for name in EVERYWHERE)


def test_a_release_judges_what_arrived_while_the_video_was_held() -> None:
    first, late = shown(10), [impression(f"late{number}") for number in range(10)]
    seen = [event for event in first if type(event).__name__ == "Impression"]
    views = [event for event in first if type(event).__name__ == "View"][:8]
    done = folded([FIXED, admit(), *seen, hold(), *late, *views, release()])
    row = done.row(FOOTBALL)
    assert row.impressions == 20
    assert row.allowance > row.impressions or row.status != ACTIVE


def test_limiting_withdraws_the_public_slices_and_widening_starts_again() -> None:
    done = folded([FIXED, admit(starts=EVERYWHERE), revise(limited=True)])
    assert done.told()[3:] == [(FOOTBALL, "stop", "limited"), (SHENYANG, "stop", "limited")]
    assert done.row(FANS).status == ACTIVE
    assert done.row(FOOTBALL).status == IDLE
    done.fold(placed([revise("revise-2", seq=3, limited=False)], 100))
    assert done.receipts[-1].reason == "audience_widened"
    assert surface_of(done.receipts[-1].slice) != "following"


@pytest.mark.parametrize(
    "words",
    [
        [admit(), hold(seq=2), revise(seq=3, limited=True), revise(seq=4, limited=False)],
        [admit(limited=True), hold(seq=2), revise(seq=3, limited=False)],
    ],
    ids=["limited_and_widened_while_held", "widened_while_held"],
)
def test_a_video_widened_while_held_reaches_the_public_after_its_release(
    words: list[LogRecord],
) -> None:
    done = folded([FIXED, *words, release(seq=9)])
    assert done.own().stage == "public"
    active = [name for name, row in done.video().slices.items() if row.status == ACTIVE]
    assert [name for name in active if surface_of(name) != "following"]


def test_a_held_video_goes_to_no_new_crowd() -> None:
    done = folded([FIXED, admit(), hold(), revise(seq=3, fits={COOKING: 1}), *shown(50, HATED)])
    assert [said[1:] for said in done.told()] == [("start", "first_crowd"), ("stop", "held")]


def test_a_revision_of_fits_alone_starts_and_stops_nothing() -> None:
    done = folded([FIXED, admit(), revise(fits={COOKING: 900_000})])
    assert len(done.receipts) == 1
    assert done.own().fits == {COOKING: 900_000}


@pytest.mark.parametrize("seq", [1, 2])
def test_an_older_control_record_is_rejected_as_stale(seq: int) -> None:
    done = folded([FIXED, admit(seq=3), hold(seq=seq)])
    assert [said.reason for said in done.rejected] == ["stale"]
    assert done.row(FOOTBALL).status == ACTIVE


def test_a_repeated_control_record_counts_once() -> None:
    done = folded([FIXED, admit(), admit()])
    assert done.outcomes["admit", "duplicate"] == 1
    assert len(done.receipts) == 1


def test_an_older_policy_never_comes_back() -> None:
    done = folded([policy(seq=5, version="new"), policy(seq=4, version="old"), admit()])
    assert [said.reason for said in done.rejected] == ["stale"]
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
    crowd = Crowd(seed, SMALL, admit(starts=EVERYWHERE, fits={SHENYANG: 500_000}))
    crowd.watch()
    for name, row in crowd.done.video().slices.items():
        if surface_of(name) == "following":
            assert row.allowance == SMALL.slices[name].reach
        else:
            assert row.status == STOPPED, f"{name} waits for ever"
    last = {said.slice: said for said in crowd.done.receipts}
    assert {said.reason for name, said in last.items() if name != FANS} <= {
        "index_below_price",
        "reach_used",
        "budget_spent",
    }


@pytest.mark.parametrize("seed", range(6))
def test_no_grant_ever_exceeds_reach_or_budget(seed: int) -> None:
    crowd = Crowd(seed, SMALL, admit(starts=EVERYWHERE))
    crowd.watch()
    rows = crowd.done.video().slices
    assert all(row.allowance <= SMALL.slices[name].reach for name, row in rows.items())
    public = sum(row.allowance for name, row in rows.items() if surface_of(name) != "following")
    assert public == crowd.done.own().granted <= SMALL.budget


@pytest.mark.parametrize("seed", range(4))
def test_the_grants_on_the_receipts_add_up_to_the_allowance(seed: int) -> None:
    crowd = Crowd(seed, SMALL, admit(starts=EVERYWHERE))
    crowd.watch()
    granted: Counter[str] = Counter()
    for said in crowd.done.receipts:
        granted[said.slice] += said.tranche
        assert said.allowance == granted[said.slice]
        assert surface_of(said.slice) in SURFACES
    assert [said.n for said in crowd.done.receipts] == [*range(1, len(crowd.done.receipts) + 1)]

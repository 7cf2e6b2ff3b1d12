from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.events import (
    BASKETBALL,
    COOKING,
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
    synthetic_log,
    takedown,
    view,
)
from kit.folding import Folding, decoded, placed

from streams.core.counters import ACTIVE, IDLE, Slice, Video, VideoState
from streams.core.events import LogRecord
from streams.core.outlook import Outlook
from streams.core.posterior import solve, sum_factors
from streams.core.rule import estimate_in
from streams.core.serving import STEP, Entry, entries
from streams.core.stages import VideoStage
from streams.core.units import MICROS, surface_of

OPEN = admit(fits={FANS: MICROS, SHENYANG: 500_000})
EVERYWHERE = {FANS, SHENYANG, FOOTBALL, BASKETBALL, COOKING, MUSIC}
LOVED, HATED = 9_000, 100
DEAR = msgspec.structs.replace(FIXED.slices[SHENYANG], price=MICROS)


def shown(count: int, watch_ms: int, slice_id: str, first: int = 0) -> list[LogRecord]:
    group = slice_id.replace(":", "_")
    events: list[LogRecord] = []
    for number in range(first, first + count):
        events.append(impression(f"i-{group}-{number}", slice_id=slice_id))
        events.append(view(f"w-{group}-{number}", slice_id=slice_id, watch_ms=watch_ms))
    return events


class Feeds:
    """What feeds know of one video: they take what each flush tells them."""

    def __init__(self, *events: LogRecord) -> None:
        self.done = Folding()
        self.known: dict[str, Entry] = {}
        self.latest: dict[str, Entry] = {}
        self.fold(FIXED, *events)

    def fold(self, *events: LogRecord) -> "Feeds":
        """Fold events, flush, and hear what is told."""
        self.done.fold(placed(events, self.done.offset + 1)).flush()
        self.latest = {name: entry for name, (entry,) in self.done.entries.items()}
        for name, entry in self.latest.items():
            if entry.score is None:
                self.known.pop(name, None)
            else:
                self.known[name] = entry
        return self

    def due(self) -> dict[str, int]:
        return {name: entry.due for name, entry in self.known.items() if entry.due}


# ---------------------------------------------------------------- what is told, and when


def test_before_an_admission_feeds_are_told_nothing_to_show() -> None:
    assert not Feeds(view("e1")).known


@given(
    st.sampled_from(["public", "limited", "held_public", "removed", "unknown"]),
    st.dictionaries(st.sampled_from([FANS, SHENYANG, MUSIC]), st.integers(0, MICROS)),
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from([0, 100]),
    st.sampled_from([0, FIXED.budget - 5, FIXED.budget]),
)
def test_a_video_without_rows_is_told_as_one_with_a_row_that_nothing_happened_in(
    stage: VideoStage, fits: dict[str, int], band: int, commercial: bool, guarantee: int, used: int
) -> None:
    outlook, told = Outlook(FIXED), []
    for rows in ({}, {FOOTBALL: Slice()}):
        state = VideoState()
        state.row = Video(stage=stage, fits=fits, band=band, commercial=commercial, granted=used)
        state.row.guarantee, state.controlled, state.slices = guarantee, True, rows
        told.append([*entries(outlook, "v1", state, [], 7)])
        told.append([*entries(outlook, "v1", state, [FOOTBALL], 8)])
    assert told[:2] == told[2:]


def test_an_admission_tells_every_open_slice_though_nobody_was_shown_anything() -> None:
    feeds = Feeds(OPEN)
    assert set(feeds.known) == EVERYWHERE
    opened = {each.slice: each for each in feeds.done.receipts[0].crowds}
    for name, entry in feeds.known.items():
        assert (entry.video, entry.offset) == ("v1", 1)
        assert (entry.score, entry.allowance) == (opened[name].score, 20)
        assert (entry.impressions, entry.due, entry.deadline) == (0, 0, 0)


def test_entries_carry_the_class_of_the_video() -> None:
    for entry in Feeds(admit(band=2, commercial=True)).known.values():
        assert (entry.band, entry.commercial) == (2, True)


def test_an_impression_tells_its_own_slice_only_with_the_score_of_before() -> None:
    feeds = Feeds(OPEN)
    before = feeds.known[FOOTBALL]
    feeds.fold(impression("e1"))
    assert set(feeds.latest) == {FOOTBALL}
    assert feeds.known[FOOTBALL] == before._replace(offset=2, impressions=1)


def test_a_judgement_tells_its_own_slice_at_once() -> None:
    feeds = Feeds(OPEN).fold(*shown(9, LOVED, FOOTBALL))
    waiting = feeds.known[FOOTBALL].score
    feeds.fold(*shown(1, LOVED, FOOTBALL, 9))
    assert set(feeds.latest) == {FOOTBALL}
    assert feeds.known[FOOTBALL].score == score_now(feeds, FOOTBALL) != waiting


def test_what_one_crowd_thinks_is_told_of_the_crowds_whose_score_it_moves_and_no_others() -> None:
    feeds = Feeds(OPEN)
    before = dict(feeds.known)
    feeds.fold(*shown(70, LOVED, FOOTBALL))
    assert {FOOTBALL, BASKETBALL, MUSIC} <= set(feeds.latest)
    assert not {SHENYANG, FANS} & set(feeds.latest)  # they share no taste with football
    for name in (BASKETBALL, MUSIC):
        assert feeds.known[name].score == score_now(feeds, name) != before[name].score


def test_small_moves_do_not_add_up_unsaid() -> None:
    feeds, first = Feeds(OPEN), 0
    for number, views in enumerate((70, 60, 60, 70, 90, 120, 160, 210)):
        feeds.fold(*shown(views, 6_000 + 250 * number, FOOTBALL, first))
        first += views
        for name, entry in feeds.known.items():
            assert entry.score == pytest.approx(score_now(feeds, name), abs=STEP)


def score_now(feeds: Feeds, slice_id: str) -> int:
    video = feeds.done.video()
    tastes = solve(sum_factors(FIXED, video))
    return estimate_in(FIXED, video, slice_id, tastes).score


def test_nothing_is_told_of_a_video_that_nothing_happened_to() -> None:
    feeds = Feeds(OPEN)
    assert not feeds.fold(view("other", video="v2")).latest


def test_what_comes_in_a_crowd_that_a_policy_opened_later_is_told_under_the_next_one_too() -> None:
    shut = policy(seq=2, slices=FIXED.slices | {SHENYANG: DEAR})
    feeds = Feeds(shut, OPEN, *shown(2, LOVED, SHENYANG))
    assert SHENYANG not in feeds.known
    feeds.fold(policy(seq=3), *shown(70, LOVED, FOOTBALL))
    assert feeds.known[SHENYANG].impressions == 2
    feeds.fold(policy(seq=4))
    told = feeds.fold(impression("i1", slice_id=SHENYANG)).latest[SHENYANG]
    assert told.impressions == 3
    assert told.score == score_now(feeds, SHENYANG)


def test_a_crowd_that_the_next_policy_prices_out_is_taken_off_with_its_next_impression() -> None:
    feeds = Feeds(OPEN, *shown(3, LOVED, FOOTBALL))
    feeds.fold(policy(seq=2, slices=FIXED.slices | {SHENYANG: DEAR}))
    assert SHENYANG not in feeds.fold(impression("i1", slice_id=SHENYANG)).known


# ---------------------------------------------------------------- what is taken off


def test_a_stopped_slice_is_taken_off() -> None:
    feeds = Feeds(OPEN)
    feeds.fold(*shown(10, HATED, FOOTBALL))
    assert feeds.latest[FOOTBALL].score is None
    assert set(feeds.known) == EVERYWHERE - {FOOTBALL}


@pytest.mark.parametrize("word", [hold(), takedown()])
def test_a_hold_or_takedown_takes_everything_off_shown_or_not(word: LogRecord) -> None:
    feeds = Feeds(OPEN, *shown(3, LOVED, FOOTBALL))
    feeds.fold(word)
    assert set(feeds.latest) == EVERYWHERE
    assert not feeds.known


@pytest.mark.parametrize("word", [hold(), takedown()])
def test_a_verdict_on_a_forgotten_video_takes_off_what_nobody_was_shown_too(
    word: LogRecord,
) -> None:
    feeds = Feeds(OPEN, *shown(3, LOVED, FOOTBALL))
    feeds.done.evict()
    assert not feeds.fold(word).known
    limited = Feeds(OPEN, *shown(3, LOVED, FOOTBALL))
    limited.done.evict()
    assert set(limited.fold(revise(limited=True)).known) == {FANS}


def test_new_tags_of_a_forgotten_video_take_off_the_crowds_that_they_close() -> None:
    feeds = Feeds(OPEN, *shown(3, LOVED, FOOTBALL))
    feeds.done.evict()
    assert set(feeds.fold(revise(fits={FANS: MICROS})).known) == EVERYWHERE - {SHENYANG}


REFIT = revise(fits={FANS: MICROS, SHENYANG: MICROS})
UNFIT = revise("r3", seq=3, fits={FANS: MICROS})


@pytest.mark.parametrize(
    ("first", "then"), [(REFIT, UNFIT), (REFIT, hold(seq=3)), (hold(), release(seq=3))]
)
def test_whoever_was_told_of_rows_between_two_tellings_is_right_after_the_second_one(
    first: LogRecord, then: LogRecord
) -> None:
    """A filling reads rows that a flush stored and told nobody of."""
    feeds = Feeds(admit(fits={FANS: MICROS}), *shown(1, LOVED, FOOTBALL))
    between = Feeds(admit(fits={FANS: MICROS}), *shown(1, LOVED, FOOTBALL), first)
    feeds.done.fold(placed([first], feeds.done.offset + 1))
    feeds.done.state.take_changes()
    feeds.known = dict(between.known)
    feeds.fold(then)
    assert feeds.known.keys() == between.fold(then).known.keys()


def test_what_was_left_to_the_rows_is_told_as_nobody_knows_it() -> None:
    feeds = Feeds(admit(fits={FANS: MICROS}), *shown(1, LOVED, FOOTBALL))
    feeds.done.fold(placed([REFIT], feeds.done.offset + 1))
    feeds.done.state.take_changes()
    feeds.done.state.forget_untold()
    assert SHENYANG in feeds.fold(UNFIT).latest


@pytest.mark.parametrize("fits", [{FANS: MICROS, SHENYANG: 500_000}, {FANS: MICROS}])
def test_an_admission_tells_of_nothing_that_is_not_open(fits: dict[str, int]) -> None:
    assert all(entry.score is not None for entry in Feeds(admit(fits=fits)).latest.values())


def test_a_release_puts_everything_back() -> None:
    assert set(Feeds(OPEN, hold()).fold(release()).known) == EVERYWHERE


def test_a_limited_video_keeps_its_followers() -> None:
    feeds = Feeds(OPEN, *shown(3, LOVED, FOOTBALL))
    assert set(feeds.fold(revise(limited=True)).known) == {FANS}
    assert set(feeds.fold(revise("r2", seq=3, limited=False)).known) == EVERYWHERE


def test_a_slice_that_left_the_policy_is_taken_off_at_the_next_judgement() -> None:
    rest = {name: spec for name, spec in FIXED.slices.items() if name != MUSIC}
    feeds = Feeds(OPEN, *shown(3, LOVED, FOOTBALL))
    feeds.fold(policy(seq=2, slices=rest), *shown(10, LOVED, FOOTBALL, 3))
    assert set(feeds.known) == EVERYWHERE - {MUSIC}


def test_a_loved_slice_stays_though_nobody_would_begin_there_at_todays_price() -> None:
    dear = msgspec.structs.replace(FIXED.slices[FOOTBALL], price=700_000)
    likes = [event for number in range(300) for event in shown(1, 10_000, FOOTBALL, number)]
    feeds = Feeds(OPEN, *likes)
    dearer = policy(seq=2, slices={**FIXED.slices, FOOTBALL: dear}, widen_z=10**7)
    feeds.fold(dearer, view("one", slice_id=FOOTBALL, watch_ms=10_000), revise(fits={}))
    assert feeds.done.row(FOOTBALL).status == ACTIVE
    assert FOOTBALL in feeds.known


def test_a_forgotten_video_is_told_again_as_it_is() -> None:
    feeds = Feeds(OPEN, *shown(3, LOVED, FOOTBALL))
    feeds.done.evict()
    feeds.fold(impression("again"))
    assert set(feeds.latest) == {FOOTBALL}
    assert feeds.latest[FOOTBALL].score == score_now(feeds, FOOTBALL)
    feeds.done.evict()
    feeds.fold(*shown(10, HATED, FOOTBALL, 10))
    assert set(feeds.latest) == EVERYWHERE


def test_a_slice_without_a_budget_left_has_nothing_to_show() -> None:
    feeds = Feeds(policy(seq=2, budget=20), OPEN, *shown(3, LOVED, FOOTBALL))
    feeds.fold(impression("beyond", slice_id=MUSIC))
    assert feeds.known[MUSIC].allowance == feeds.known[MUSIC].impressions == 1


# ---------------------------------------------------------------- the guarantee

GUARANTEED = admit(fits={FANS: MICROS, SHENYANG: 500_000}, guarantee=60)


def test_the_guarantee_is_spread_over_the_three_best_public_crowds() -> None:
    feeds = Feeds(GUARANTEED)
    opened = [each.slice for each in feeds.done.receipts[0].crowds if each.slice != FANS]
    assert feeds.due() == dict.fromkeys(opened[:3], 20)
    deadline = GUARANTEED.ts + FIXED.guarantee_ms
    assert {entry.deadline for entry in feeds.known.values() if entry.due} == {deadline}


def test_what_was_shown_anywhere_in_public_is_not_owed_any_more() -> None:
    feeds = Feeds(GUARANTEED)
    feeds.fold(*shown(5, LOVED, SHENYANG))
    assert feeds.due() == {SHENYANG: 15, BASKETBALL: 20, FOOTBALL: 20}
    feeds.fold(*shown(9, LOVED, FANS))
    assert sum(feeds.due().values()) == 55
    feeds.fold(*shown(50, 6_000, COOKING))
    assert sum(feeds.due().values()) == 5
    feeds.fold(*shown(5, 6_000, COOKING, 50))
    assert not feeds.due()


def test_of_a_forgotten_video_too_feeds_hear_what_is_owed_no_more() -> None:
    admission = admit(fits={FANS: MICROS, SHENYANG: 500_000}, guarantee=6)
    kept, forgotten = Feeds(admission), Feeds(admission)
    for number in range(6):
        assert sum(kept.due().values()) == 6 - number
        event = impression(f"e{number}", slice_id=COOKING)
        forgotten.done.evict()
        assert forgotten.fold(event).due() == kept.fold(event).due()
        assert forgotten.known.keys() == kept.known.keys() == EVERYWHERE
    assert not kept.due()


def test_a_crowd_that_is_open_no_more_is_taken_off_where_something_was_owed() -> None:
    dear = msgspec.structs.replace(FIXED.slices[FOOTBALL], price=900_000)
    feeds = Feeds(GUARANTEED)
    assert FOOTBALL in feeds.due()
    feeds.done.evict()
    feeds.fold(
        view("one", slice_id=SHENYANG), policy(seq=2, slices={**FIXED.slices, FOOTBALL: dear})
    )
    assert FOOTBALL not in feeds.known


def test_what_a_stopped_crowd_leaves_moves_on_to_the_next() -> None:
    feeds = Feeds(GUARANTEED)
    feeds.fold(*shown(10, HATED, SHENYANG))
    assert SHENYANG not in feeds.known
    assert feeds.due() == {BASKETBALL: 20, FOOTBALL: 20, MUSIC: 10}


def test_all_is_owed_in_the_crowds_that_are_left() -> None:
    lone = policy(seq=2, slices={FOOTBALL: FIXED.slices[FOOTBALL]})
    feeds = Feeds(lone, GUARANTEED)
    assert feeds.due() == {FOOTBALL: 60}
    assert feeds.fold(*shown(25, LOVED, FOOTBALL)).due() == {FOOTBALL: 35}


def test_nothing_is_owed_where_moderation_stands_before_it() -> None:
    assert not Feeds(admit(limited=True, fits={FANS: MICROS}, guarantee=60)).due()
    assert not Feeds(GUARANTEED, hold()).due()
    assert Feeds(GUARANTEED, hold()).fold(release()).due()


def test_who_followers_alone_could_see_is_owed_a_guarantee_from_when_the_public_may() -> None:
    feeds = Feeds(admit(limited=True, fits={FANS: MICROS}, guarantee=60))
    assert not feeds.fold(revise(fits={})).due()
    feeds.fold(revise("r2", seq=3, limited=False, ts=NOW + 7, guarantee=40))
    deadlines = {entry.deadline for entry in feeds.known.values() if entry.due}
    assert deadlines == {NOW + 7 + FIXED.guarantee_ms}
    assert sum(feeds.due().values()) == 40


def test_a_guarantee_is_given_once() -> None:
    feeds = Feeds(GUARANTEED).fold(revise("r2", limited=True))
    feeds.fold(revise("r3", seq=3, limited=False, ts=NOW + 7, guarantee=40))
    deadlines = {entry.deadline for entry in feeds.known.values() if entry.due}
    assert deadlines == {NOW + FIXED.guarantee_ms}
    assert sum(feeds.due().values()) == 60


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 200))
def test_what_is_known_is_due_and_shown_makes_the_guarantee(seed: int, guarantee: int) -> None:
    """Whatever happens in whatever order, as long as any public crowd is open."""
    chance = Random(seed)
    feeds = Feeds(admit(fits={SHENYANG: 500_000}, guarantee=guarantee))
    for number in range(40):
        name = chance.choice(sorted(EVERYWHERE))
        watch_ms = chance.choice([HATED, LOVED])
        feeds.fold(*shown(chance.randrange(1, 4), watch_ms, name, 10 * number))
        rows = feeds.done.video().slices.items()
        public = sum(row.impressions for name, row in rows if surface_of(name) != "following")
        is_open = any(surface_of(name) != "following" for name in feeds.known)
        owing = max(guarantee - public, 0) if is_open else 0
        assert sum(feeds.due().values()) == owing


# ---------------------------------------------------------------- against the rows, always


@pytest.mark.parametrize("seed", [0, 2, 3, 4])
@pytest.mark.parametrize("batch", [1, 40])
def test_what_feeds_know_is_what_the_rows_say(seed: int, batch: int) -> None:
    log = decoded(synthetic_log(seed=seed, videos=6, events=1_500))
    done, known = Folding(), dict[tuple[str, str], Entry]()
    for first in range(0, len(log), batch):
        done.fold(log[first : first + batch]).flush()
        for name, some in done.entries.items():
            for entry in some:
                known[entry.video, name] = entry
    shown_now = {place: entry for place, entry in known.items() if entry.score is not None}
    assert shown_now
    for (video, name), entry in shown_now.items():
        state = done.state.videos[video]
        row = state.slices.get(name)
        assert state.row.stage in {"public", "limited"}
        if row is not None and row.status == ACTIVE:
            assert (entry.allowance, entry.impressions) == (row.allowance, row.impressions)
        else:
            assert row is None or row.status == IDLE
    outlook = done.state.outlook
    assert outlook is not None
    for video, state in done.state.videos.items():
        told = {name for about, name in shown_now if about == video}
        assert all(outlook.reaches(name, state.row) for name in told)
        for name, row in state.slices.items():
            assert row.status != ACTIVE or name in told or not outlook.reaches(name, state.row)

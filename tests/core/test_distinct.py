"""What evidence weighs by who stands behind it."""

import dataclasses
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import FIXED, FOOTBALL, NOW, admit, impression, like, policy, view
from kit.folding import Folding, folded, placed
from kit.rows import honest

from streams.core.counters import ACTIVE, STOPPED, load_video
from streams.core.distinct import (
    BUTTONS,
    EVERYONE,
    VIEWER_BITS,
    show,
    viewers_of,
    weighing_buttons,
    weighing_views,
)
from streams.core.events import Comment, Follow, Hide, LogRecord, Order, Report, Share
from streams.core.posterior import weigh, weighed
from streams.core.rule import assess
from streams.core.units import MICROS, NEVER

GUARDED = policy(
    tranche=60, widen_viewers=(30, 90), stop_viewers=15, annoyed_share=30_000, budget=100_000
)
LOVED, GOOD, BAD = 10_000, 7_000, 2_000
RARE = (Comment, Share, Follow, Hide, Report, Order)


def watched(count: int, watch_ms: int, who: str = "fan") -> list[LogRecord]:
    """Impressions of viewers who differ, each followed by its view."""
    events: list[LogRecord] = []
    for number in range(count):
        events.append(impression(f"i-{who}-{number}", viewer=f"{who}{number}"))
        events.append(
            view(f"w-{who}-{number}", viewer=f"{who}{number}", watch_ms=watch_ms),
        )
    return events


def presses(kind: type, count: int, who: str = "bot", slice_id: str = FOOTBALL) -> list[LogRecord]:
    """So many buttons of one viewer."""
    return [
        kind(f"{kind.__name__}-{who}-{n}", "v1", who, slice_id, NOW)  # type: ignore[misc]
        for n in range(count)
    ]


def acts(done: Folding) -> list[str]:
    return [each.action for each in done.receipts if each.slice == FOOTBALL]


# ---------------------------------------------------------------- counting viewers


@given(st.sets(st.text("abcxyz0123456789", min_size=1, max_size=20), max_size=300))
def test_set_bits_never_exceed_the_viewers(viewers: set[str]) -> None:
    row = honest(viewers=0)
    for viewer in [*viewers, *viewers]:
        show(row, viewer)
    assert row.viewers.bit_count() <= len(viewers)


@pytest.mark.parametrize("count", [10, 30, 100, 250])
def test_viewers_are_estimated_to_a_tenth(count: int) -> None:
    chance, estimates = Random(count), []
    for _ in range(200):
        row = honest(viewers=0)
        for _ in range(count):
            show(row, f"u{chance.randrange(10**9)}")
        estimates.append(viewers_of(row))
    assert fmean(estimates) == pytest.approx(count, rel=0.1)


def test_ids_that_count_up_spread_as_chance_would() -> None:
    fewest = []
    for prefix in range(300):
        row = honest(viewers=0)
        for number in range(30):
            show(row, f"u-i{prefix}-{number}")
        fewest.append(row.viewers.bit_count())
    expected = VIEWER_BITS * (1 - (1 - 1 / VIEWER_BITS) ** 30)
    assert fmean(fewest) == pytest.approx(expected, abs=0.5)
    assert min(fewest) >= 20


def test_very_many_viewers_are_not_counted_any_more() -> None:
    assert viewers_of(honest()) == NEVER
    assert viewers_of(honest(viewers=EVERYONE >> 7)) == NEVER
    assert viewers_of(honest(viewers=EVERYONE >> 8)) < 400


# ---------------------------------------------------------------- views


def test_a_view_weighs_with_its_impression_only() -> None:
    assert weighing_views(honest(views=50)) == 50
    assert weighing_views(honest(views=50, impressions=0, allowance=60)) == 0
    assert weighing_views(honest(views=53, impressions=50, allowance=60)) == 53  # overtook theirs
    assert weighing_views(honest(views=90, impressions=50, allowance=60)) == 0


def test_views_beyond_the_allowance_and_a_twentieth_weigh_nothing() -> None:
    assert weighing_views(honest(views=63, allowance=60)) == 63
    assert weighing_views(honest(views=300, allowance=60)) == 63


def test_the_same_viewer_again_and_again_leaves_nothing_to_judge() -> None:
    few = (1 << 10) - 1
    assert weighing_views(honest(views=11, viewers=few)) == 11
    assert weighing_views(honest(views=60, viewers=few)) == 0


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, EVERYONE), st.integers(0, 300))
def test_more_impressions_or_viewers_never_take_weight_away(
    views: int, impressions: int, viewers: int, more: int
) -> None:
    row = honest(views=views, impressions=impressions, viewers=viewers, allowance=400)
    shown = dataclasses.replace(row, impressions=impressions + more, viewers=viewers | more)
    assert 0 <= weighing_views(row) <= weighing_views(shown) <= views


def test_what_does_not_weigh_leaves_what_was_expected() -> None:
    spec = FIXED.slices[FOOTBALL]
    unseen = honest(views=40, impressions=0, ratio_sum=40 * MICROS, ratio_sq=40 * MICROS)
    weighed = weigh(FIXED, spec, unseen, 0)
    assert (weighed.views, weighed.value, weighed.weight, weighed.pull) == (0, 0, 0, 0)
    assert weighed.noise == spec.noise_variance


def test_what_was_weighed_before_is_what_the_rows_say_now() -> None:
    """Views wait for their impressions, and what lies beyond the allowance for a grant."""
    early: list[LogRecord] = [view(f"early{number}", watch_ms=GOOD) for number in range(12)]
    late: list[LogRecord] = [impression(f"late{number}") for number in range(12)]
    done, weighing = folded([GUARDED, admit()]), set()
    for place in placed([*watched(20, GOOD), *early, *late, *watched(90, GOOD, "more")], 100):
        done.fold([place])
        video, outlook = done.video(), done.state.outlook
        again = load_video("v1", {**done.rows.get("v1", {}), **done.flush().rows["v1"]})
        assert outlook is not None
        here = assess(outlook, video, FOOTBALL, video.slices[FOOTBALL])
        assert here == assess(outlook, again, FOOTBALL, again.slices[FOOTBALL])
        weighing.add(video.slices[FOOTBALL].views - here.views)
    assert len(weighing) > 3
    assert "keep" in acts(done) or "widen" in acts(done)


def test_a_grant_lets_weigh_what_was_seen_before_it() -> None:
    done = folded([GUARDED, *watched(40, GOOD)])

    def weighing() -> int:
        outlook = done.state.outlook
        assert outlook is not None
        return assess(outlook, done.video(), FOOTBALL, done.row(FOOTBALL)).views

    assert weighing() == 0  # nobody was to be shown it
    done.fold(placed([admit()], 1_000))
    assert weighing() == 40


def test_a_further_grant_lets_weigh_what_lay_beyond_the_one_before() -> None:
    done = folded([GUARDED, admit(), *watched(12, GOOD, "early")])
    row = done.row(FOOTBALL)
    row.allowance = 5  # as if the others had been shown beyond it
    done.fold(placed(watched(13, GOOD, "later"), 1_000))
    assert row.allowance > row.views == 25
    assert weigh(GUARDED, GUARDED.slices[FOOTBALL], row, 0).views == 25
    assert weighed(GUARDED, FOOTBALL, row, {}).views == 25


# ---------------------------------------------------------------- buttons


def pressed(**numbers: int) -> dict[str, int]:
    row = honest(views=100, **numbers)
    weighing = weighing_buttons(row, GUARDED.annoyed_share)
    return {name: count for name, count in zip(BUTTONS, weighing, strict=False) if count}


def test_buttons_weigh_once_a_view_and_about_once_a_viewer() -> None:
    assert pressed(likes=30, orders=9) == {"like": 30, "order": 9}
    assert pressed(likes=300) == {"like": 100}
    assert pressed(orders=9, pressers=0b1) == {"order": 1}
    assert pressed(likes=9, likers=0b11) == {"like": 3}


def test_comments_of_one_viewer_weigh_once() -> None:
    assert pressed(comments=40, commenters=1) == {"comment": 1}


def test_hides_and_reports_weigh_up_to_their_share_of_the_views() -> None:
    assert pressed(hides=2, reports=3) == {"hide": 2, "report": 3}
    assert pressed(hides=50, reports=50) == {"hide": 3, "report": 3}


@pytest.mark.parametrize("kind", [*RARE, "like"])
def test_who_was_not_shown_the_video_presses_in_vain(kind: type | str) -> None:
    stranger = like("l", viewer="bot") if kind == "like" else presses(kind, 1)[0]  # type: ignore[arg-type]
    row = folded([FIXED, admit(), *watched(3, GOOD), stranger]).row(FOOTBALL)
    assert (row.likers, row.pressers) == (0, 0)
    shown = impression("shown", viewer="bot")
    row = folded([FIXED, admit(), *watched(3, GOOD), shown, stranger]).row(FOOTBALL)
    assert (row.likers | row.pressers).bit_count() == 1


@pytest.mark.parametrize("kind", [Comment, Share, Report, Order])
def test_each_is_counted_and_a_viewers_first_weighs(kind: type) -> None:
    counter = f"{kind.__name__.lower()}s"
    first = {Comment: "commenters", Share: "sharers", Report: "reporters", Order: "buyers"}[kind]
    done = folded([*presses(kind, 5), *presses(kind, 2, "other")])
    row = done.row(FOOTBALL)
    assert (getattr(row, counter), getattr(row, first)) == (7, 2)


# ---------------------------------------------------------------- what an attacker pays


def test_a_widening_needs_thirty_different_viewers_and_the_next_one_ninety() -> None:
    done = Folding()
    done.fold(placed([GUARDED, admit(), *watched(29, LOVED)]))
    assert "widen" not in acts(done)
    done.fold(placed(watched(40, LOVED, "more"), 1_000))
    widened = [each for each in done.receipts if each.action == "widen"]
    assert [each.stage for each in widened] == [1]
    assert widened[0].viewers >= 30
    done.fold(placed(watched(300, LOVED, "many"), 2_000))
    second = next(each for each in done.receipts if each.action == "widen" and each.stage == 2)
    assert second.viewers >= 90


def test_a_stop_needs_fifteen_different_viewers() -> None:
    done = folded([GUARDED, admit(), *watched(14, 0)])
    assert done.row(FOOTBALL).status == ACTIVE
    done.fold(placed(watched(20, 0, "more"), 1_000))
    stop = done.receipts[-1]
    assert (stop.action, stop.reason) == ("stop", "index_below_price")
    assert stop.viewers >= 15


def test_who_waits_for_the_window_of_duplicates_to_pass_stays_one_viewer() -> None:
    done = Folding(generation=10).fold(placed([GUARDED, admit(), *watched(60, BAD)]))
    before = done.row(FOOTBALL)
    for number in range(40):
        about = ("v1", "fan1", FOOTBALL, NOW)
        shown = [
            impression(f"again{number}", viewer="fan1"),
            Order(f"o{number}", *about),
            view(f"v{number}", viewer="fan1", watch_ms=LOVED),
        ]
        done.fold(placed(shown, 1_000 + 30 * number))
    row = done.row(FOOTBALL)
    assert row.buyers == 40  # each in a window of its own
    assert row.viewers == before.viewers
    assert weighing_buttons(row, 0)[-1] == 1
    assert "widen" not in acts(done)


@pytest.mark.parametrize("kind", RARE)
def test_buttons_of_one_viewer_buy_and_stop_nothing(kind: type) -> None:
    flood = presses(kind, 50)
    for watch_ms in (BAD, GOOD):
        plain = folded([GUARDED, admit(), *watched(70, watch_ms)])
        flooded = folded([GUARDED, admit(), *watched(1, watch_ms, "first"), *flood])
        flooded.fold(placed(watched(69, watch_ms), 1_000))
        assert acts(flooded) == acts(plain)


def test_three_early_reports_do_not_stop_a_good_video() -> None:
    for who in (["bot"] * 3, ["bot1", "bot2", "bot3"], ["fan0", "fan1", "fan2"]):
        reports = [Report(f"r{n}", "v1", one, FOOTBALL, NOW) for n, one in enumerate(who)]
        done = folded([GUARDED, admit(), *watched(4, GOOD), *reports])
        done.fold(placed(watched(90, GOOD, "more"), 1_000))
        assert "stop" not in acts(done)


@pytest.mark.parametrize("impressions", [False, True])
@pytest.mark.parametrize("viewers", ["one", "many"])
def test_empty_views_of_one_viewer_or_without_impressions_stop_nothing(
    impressions: bool, viewers: str
) -> None:
    if impressions and viewers == "many":
        return  # that is what viewers look like
    done = folded([GUARDED, admit(), *watched(5, GOOD)])
    for number in range(40):
        who = "bot" if viewers == "one" else f"bot{number}"
        empty: list[LogRecord] = [view(f"empty{number}", viewer=who, watch_ms=0)]
        if impressions:
            empty.insert(0, impression(f"shown{number}", viewer=who))
        done.fold(placed(empty, 100 + 2 * number))
    done.fold(placed(watched(60, GOOD, "more"), 1_000))
    assert done.row(FOOTBALL).status != STOPPED


@pytest.mark.parametrize("who", ["one", "many"])
def test_full_views_without_impressions_buy_nothing(who: str) -> None:
    full = [
        view(f"full{n}", viewer="bot" if who == "one" else f"bot{n}", watch_ms=LOVED)
        for n in range(40)
    ]
    done = folded([GUARDED, admit(), *watched(3, BAD), *full])
    done.fold(placed(watched(60, BAD, "more"), 1_000))
    assert "widen" not in acts(done)

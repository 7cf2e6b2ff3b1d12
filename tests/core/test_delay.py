"""Buttons that come later than their view."""

import pytest
from kit.events import FIXED, FOOTBALL, NOW, admit, impression, like, policy, view
from kit.folding import Folding, folded, placed
from kit.rows import honest
from msgspec.structs import replace

from streams.core.delay import LATE_JUDGEMENTS, turn, with_young
from streams.core.events import LogRecord

DELAY_MS = 10_000
SPEC = replace(FIXED.slices[FOOTBALL], button_mean=80_000, delay_ms=DELAY_MS)
PATIENT = policy(slices={FOOTBALL: SPEC}, tranche=60)
HASTY = policy(slices={FOOTBALL: replace(SPEC, delay_ms=0)}, tranche=60)
START = NOW // DELAY_MS * DELAY_MS


def watched(count: int, watch_ms: int, ts: int, first: int = 0) -> list[LogRecord]:
    return [
        act
        for number in range(first, first + count)
        for act in (
            impression(f"i{number}", viewer=f"u{number}", ts=ts),
            view(f"w{number}", viewer=f"u{number}", watch_ms=watch_ms, ts=ts),
        )
    ]


def liked(viewers: range, ts: int) -> list[LogRecord]:
    return [like(f"l{number}", viewer=f"u{number}", ts=ts) for number in viewers]


def test_views_are_counted_in_the_current_and_the_previous_bucket_of_delay() -> None:
    done, seen = folded([PATIENT, admit()]), []
    for number, later in enumerate((0, 9_999, 10_000, 19_999, 20_000, 45_000)):
        done.fold(placed([view(f"e{number}", ts=START + later)], 10 + number))
        row = done.row(FOOTBALL)
        seen.append((row.maturing, row.young))
    assert seen == [(0, 1), (0, 2), (2, 1), (2, 2), (2, 1), (0, 1)]


def test_an_older_view_is_as_young_as_the_newest() -> None:
    views = [view("e1", ts=START), view("e2", ts=START - 50_000)]
    row = folded([PATIENT, admit(), *views]).row(FOOTBALL)
    assert (row.young, row.maturing, row.turn_ms) == (2, 0, START + DELAY_MS)


def test_a_button_ages_the_views_before_it() -> None:
    done = folded([PATIENT, admit(), *watched(5, 5_000, START)])
    done.fold(placed([like("l", viewer="u1", ts=START + 2 * DELAY_MS)], 100))
    row = done.row(FOOTBALL)
    assert (row.young, row.maturing) == (0, 0)


def test_young_views_count_with_the_mean_of_buttons_in_place_of_theirs() -> None:
    row = honest(views=100, young=20, maturing=30)
    assert with_young(row, SPEC, 0) == 50 * 80_000
    assert with_young(row, SPEC, 6_000_000) == 3_000_000 + 50 * 80_000
    assert with_young(row, SPEC, 50_000_000) == 50_000_000  # they came already
    assert with_young(row, replace(SPEC, delay_ms=0), 0) == 0
    assert with_young(honest(views=100), SPEC, 6_000_000) == 6_000_000


def test_a_row_of_no_slice_of_the_policy_has_its_buckets_too() -> None:
    row = honest(views=1)
    turn(row, START, None)
    assert row.turn_ms > START


def test_views_without_their_likes_do_not_stop_what_late_likes_carry() -> None:
    """Two fifths of what it is worth come by likes, eight seconds after the views."""

    def run(by: object) -> Folding:
        done = folded([by, admit(band=5)])  # type: ignore[list-item]
        for second in range(40):
            at = START + 1_000 * second
            done.fold(placed(watched(3, 4_000, at, 3 * second), 100 + 20 * second))
            if second >= 8:
                first = 3 * (second - 8)
                done.fold(placed(liked(range(first, first + 1), at), 110 + 20 * second))
        return done

    assert (FOOTBALL, "stop", "index_below_price") in run(HASTY).told()
    assert {action for _, action, _ in run(PATIENT).told()} == {"open", "keep", "widen"}


def test_what_is_only_hoped_for_widens_nothing() -> None:
    """Poor without buttons, good with the mean of them; none ever comes."""
    done = folded([PATIENT, admit(), *watched(170, 5_000, START)])
    assert {action for _, action, _ in done.told()} == {"open", "keep"}
    kept = done.receipts[-1]
    assert kept.hoped == 80_000 * kept.weighed
    own, noise = SPEC.own_variance, kept.noise_variance
    hoped = own * kept.hoped // (noise + kept.weighed * own)
    assert kept.z == (kept.mean - hoped - kept.price) * 1_000_000 // kept.sd


def test_late_buttons_are_a_reason_to_judge_what_is_used_up() -> None:
    done = folded([PATIENT, admit(), *watched(100, 4_100, START)])
    before = len(done.receipts)
    done.fold(placed(liked(range(3), START + 9_000), 500))
    assert len(done.receipts) == before
    done.fold(placed(liked(range(3, 60), START + 9_500), 600))
    assert [each.action for each in done.receipts[before:]] == ["widen"]
    assert done.receipts[-1].cause.startswith("l")


def test_buttons_ask_three_times_at_most() -> None:
    done = folded([PATIENT, admit(), *watched(40, 4_500, START)])
    row = done.row(FOOTBALL)
    done.fold(placed(liked(range(100), START + 9_000), 500))
    assert row.late_judgements == LATE_JUDGEMENTS
    done.fold(placed(watched(20, 4_500, START + 9_500, 50), 900))
    assert row.late_judgements == 0


@pytest.mark.parametrize("length", [1, 7, 1_000])
def test_batches_and_evictions_change_nothing(length: int) -> None:
    events = [PATIENT, admit(), *watched(57, 3_000, START), *liked(range(40), START + 9_000)]
    whole = Folding().fold(placed(events)).flush()
    done, places = Folding(), placed(events)
    for first in range(0, len(places), length):
        done.fold(places[first : first + length]).evict()
    assert done.bytes() == whole.bytes()

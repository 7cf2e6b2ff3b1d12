"""Minutes of all partitions, read and summed for whoever steers."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from kit.events import FOOTBALL, MUSIC, synthetic_log
from kit.folding import Folding, decoded

from streams.core.traffic import ClassSums, Tick
from streams.core.traffic_view import TrafficView


def tick(partition: int, minute: int, impressions: int = 1, slice_id: str = FOOTBALL) -> Tick:
    sums = (ClassSums(slice_id, "0", impressions=impressions),)
    return Tick(f"{partition}.{minute}", partition, minute, sums)


def view_of(ticks: Iterable[Tick], partitions: int = 3, minutes: int = 10) -> TrafficView:
    view = TrafficView(partitions, minutes)
    for each in ticks:
        view.take(each)
    return view


def test_before_any_record_nothing_is_known_and_nothing_measured() -> None:
    window = TrafficView(2, 5).window(5)
    assert (window.last, dict(window.sums), window.unmeasured) == (0, {}, (0, 1))


def test_a_record_that_comes_twice_counts_once() -> None:
    ticks = [tick(0, 7, 2), tick(1, 7, 3), tick(0, 7, 2), tick(0, 8, 5), tick(0, 7, 2), tick(1, 8)]
    window = view_of(ticks).window(2)
    assert window.sums[FOOTBALL, "0"].impressions == 2 + 3 + 5 + 1


def test_minutes_before_the_window_are_left_out() -> None:
    window = view_of(tick(0, minute) for minute in range(100, 110)).window(3)
    assert (window.first, window.last) == (107, 109)
    assert window.sums[FOOTBALL, "0"].impressions == 3


def test_a_partition_that_fell_silent_is_unmeasured_and_not_waited_for() -> None:
    ticks = [tick(p, minute) for minute in range(100, 120) for p in range(3) if p or minute < 105]
    window = view_of(ticks).window(5)
    assert window.unmeasured == (0,)
    assert window.sums[FOOTBALL, "0"].impressions == 2 * 5


def test_a_partition_whose_clock_is_an_hour_ahead_is_unmeasured_and_moves_no_other() -> None:
    ticks = [tick(p, minute + 60 * (p == 1)) for minute in range(100, 120) for p in range(3)]
    window = view_of(ticks).window(5)
    assert (window.last, window.unmeasured) == (119, (1,))
    assert window.sums[FOOTBALL, "0"].impressions == 2 * 5


def test_crowds_and_classes_are_summed_apart() -> None:
    window = view_of([tick(0, 7, 2), tick(1, 7, 3, MUSIC)]).window(1)
    assert {key: each.impressions for key, each in window.sums.items()} == {
        (FOOTBALL, "0"): 2,
        (MUSIC, "0"): 3,
    }


def test_what_was_taken_is_not_changed_by_summing() -> None:
    one, other = tick(0, 7, 2), tick(1, 7, 3)
    view = view_of([one, other])
    assert view.window(1).sums[FOOTBALL, "0"].impressions == 5
    assert view.window(1).sums[FOOTBALL, "0"].impressions == 5
    assert one.sums[0].impressions == 2


FOLDED = Folding(200).fold(decoded(synthetic_log(seed=5, videos=10, events=2_500))).ticks


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), max_size=8))
def test_repeats_as_crashes_make_them_change_no_sum(lives: list[tuple[int, int]]) -> None:
    """After a crash a partition's latest minutes are written again, from some place on."""
    view, at = TrafficView(1, len(FOLDED)), 0
    for written, lost in [*lives, (len(FOLDED), 0)]:
        for each in FOLDED[at : at + written]:
            view.take(each)
        at = max(min(at + written, len(FOLDED)) - lost, 0)
    shown = sum(each.impressions for each in view.window(1_000).sums.values())
    assert shown == sum(each.impressions for one in FOLDED for each in one.sums)

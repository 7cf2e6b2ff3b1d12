from kit.events import COOKING, FIXED, FOOTBALL, WEIGHTS, policy

from streams.control.shares.organic import LEAST_VIEWS, MEAN_STEP, MEAN_TICKS, OrganicMeans
from streams.core.traffic import ClassSums
from streams.core.units import MICROS

WORTH = 600_000
"""Of a view that is watched to its end without pressing anything, in FIXED's weights."""


def minute(*sums: ClassSums) -> dict[tuple[str, str], ClassSums]:
    return {(each.slice, each.kind): each for each in sums}


def watched(kind: str, share: int, views: int = LEAST_VIEWS, **more: int) -> ClassSums:
    return ClassSums(FOOTBALL, kind, views=views, ratio_sum=share * views, **more)


def after(*minutes: dict[tuple[str, str], ClassSums]) -> OrganicMeans:
    means = OrganicMeans()
    for sums in minutes:
        means.take(WEIGHTS, sums)
    return means


def test_the_mean_is_that_of_a_view_over_all_bands() -> None:
    means = after(minute(watched("0", MICROS), watched("5", MICROS // 2)))
    assert means.moved(FIXED) == {FOOTBALL: 3 * WORTH // 4}


def test_neither_adverts_nor_what_nobody_admitted_counts() -> None:
    noise = [watched("3c", 0, 9 * LEAST_VIEWS), watched("unknown", 0, 9 * LEAST_VIEWS)]
    assert after(minute(watched("0", MICROS), *noise)).moved(FIXED) == {FOOTBALL: WORTH}


def test_orders_are_no_part_of_it_other_buttons_are() -> None:
    sums = watched("0", MICROS // 2, orders=500, likes=200)
    means = after(minute(sums)).moved(FIXED)
    assert means == {FOOTBALL: WORTH // 2 + 200 * WEIGHTS.like // LEAST_VIEWS}


def test_nothing_is_said_of_a_slice_with_few_views_or_of_one_that_is_gone() -> None:
    few = watched("0", MICROS, LEAST_VIEWS - 1)
    gone = ClassSums("discover:gone", "0", views=9_000, ratio_sum=9_000 * MICROS)
    assert after(minute(few, gone)).moved(FIXED) == {}


def test_a_policy_keeps_its_mean_until_another_is_a_step_off() -> None:
    means = after(minute(watched("0", MICROS)))
    near = policy(organic={FOOTBALL: WORTH - MEAN_STEP + 1, COOKING: 5})
    assert means.moved(near) == near.organic
    far = policy(organic={FOOTBALL: WORTH - MEAN_STEP, COOKING: 5})
    assert means.moved(far) == {FOOTBALL: WORTH, COOKING: 5}


def test_means_are_of_hours_a_minute_moves_them_little() -> None:
    usual = minute(watched("0", MICROS // 2))
    means = after(*[usual] * MEAN_TICKS, minute(watched("0", MICROS)))
    moved = means.moved(policy(organic={FOOTBALL: 0}))[FOOTBALL]
    assert WORTH // 2 < moved < WORTH // 2 + WORTH // 100
    later = after(*[usual] * MEAN_TICKS, *[minute(watched("0", MICROS))] * (3 * MEAN_TICKS))
    assert later.moved(FIXED)[FOOTBALL] > WORTH * 95 // 100

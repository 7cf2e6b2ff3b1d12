"""What `streams ads report` says, from the counters of a log that a worker counted."""

import pytest
from kit.events import FANS, FOOTBALL, NOW, admit, impression, policy, records_of, view
from kit.twins import World, counted

from streams.core.events import LogRecord, Order
from streams.core.units import MICROS
from streams.ops.adverts import AdvertReport, AdvertRow, as_fields, rank_correlation, report_adverts

FREE = policy(terms={}, stop_viewers=100, organic={FOOTBALL: 400_000})
PRICE = 40


def shown(
    video: str, count: int, watch_ms: int, slice_id: str = FOOTBALL, paid: int = 0
) -> list[LogRecord]:
    events: list[LogRecord] = []
    for number in range(count):
        name = f"{video}-{slice_id[0]}{number}"
        where = {"video": video, "slice_id": slice_id}
        events.append(impression(f"i-{name}", **where, amount=paid))
        events.append(view(f"w-{name}", **where, watch_ms=watch_ms))
    return events


def bought(video: str, count: int, amount: int) -> list[LogRecord]:
    return [
        Order(f"o-{video}-{n}", video, f"u-i-{video}-d{n}", FOOTBALL, NOW, amount)
        for n in range(count)
    ]


def advert(video: str) -> LogRecord:
    fits = {FANS: MICROS}
    return admit(f"a-{video}", video=video, commercial=True, creator=f"c-{video}", fits=fits)


async def report(*events: LogRecord) -> AdvertReport:
    world = World()
    world.put(records_of([FREE, *events]))
    await counted(world)
    return await report_adverts(world.store, world.namespace, 1)


def rows(known: AdvertReport) -> dict[str, AdvertRow]:
    return {row.video: row for row in known.rows}


@pytest.fixture
async def known() -> AdvertReport:
    events = [
        *(advert(name) for name in ("good", "middling", "bad", "unseen")),
        admit("a-plain", video="plain"),
        *shown("plain", 60, 6_000),
        *shown("good", 20, 9_500, paid=PRICE),
        *shown("good", 5, 9_500, FANS),
        *shown("middling", 15, 6_000, paid=PRICE),
        *shown("bad", 10, 500, paid=PRICE),
        *bought("good", 4, 1_000),
        *bought("middling", 1, 900),
    ]
    return await report(*events)


def test_each_advert_has_its_money_from_the_log_the_most_shown_first(known: AdvertReport) -> None:
    assert [row.video for row in known.rows] == ["good", "middling", "bad", "unseen"]
    good = rows(known)["good"]
    assert (good.impressions, good.public, good.orders) == (25, 20, 4)
    assert (good.amount, good.spend, good.roi) == (4_000, 800, 5 * MICROS)
    assert (good.creator, good.stage, good.stopped) == ("c-good", "public", 0)


def test_worth_stands_beside_what_is_usual_and_the_factor_follows(known: AdvertReport) -> None:
    by = rows(known)
    assert by["middling"].usual == by["bad"].usual == 400_000
    assert by["good"].usual == (20 * 400_000 + 5 * 350_000) // 25
    worths = [by[name].worth for name in ("good", "middling", "bad")]
    assert worths == sorted(worths, key=lambda each: each or 0, reverse=True)
    good, bad = by["good"].factor, by["bad"].factor
    assert good is not None
    assert bad is not None
    assert good > MICROS > bad


def test_an_advert_that_nobody_was_shown_is_said_to_be_worth_nothing_known(
    known: AdvertReport,
) -> None:
    unseen = rows(known)["unseen"]
    assert (unseen.worth, unseen.factor, unseen.roi, unseen.impressions) == (None, None, None, 0)


def test_all_together_are_summed_and_ranked(known: AdvertReport) -> None:
    assert (known.adverts, known.impressions, known.formula) == (4, 50, 1)
    assert (known.amount, known.spend, known.roi) == (4_900, 1_800, 4_900 * MICROS // 1_800)
    assert (known.measured, known.correlation) == (3, MICROS)


def test_an_advert_displaces_an_organic_impression_with_each_public_one(
    known: AdvertReport,
) -> None:
    assert known.displaced == 20 + 15 + 10
    assert known.share == 45 * MICROS // (45 + 60)


async def test_bad_adverts_cost_viewers_value_and_good_ones_do_not() -> None:
    good = await report(advert("one"), *shown("one", 20, 9_900))
    bad = await report(advert("one"), *shown("one", 20, 500))
    assert bad.forgone > 0 > good.forgone


async def test_orders_leave_the_worth_of_an_advert_where_it_is() -> None:
    ad = [advert("one"), *shown("one", 20, 6_000)]
    plain, sold = await report(*ad), await report(*ad, *bought("one", 15, 1))
    assert sold.rows[0].worth == plain.rows[0].worth
    assert sold.rows[0].orders == 15


async def test_without_any_spend_there_is_no_return() -> None:
    known = await report(advert("one"), *shown("one", 20, 6_000), *bought("one", 3, 9))
    assert (known.spend, known.roi, known.correlation, known.measured) == (0, None, None, 0)


async def test_an_empty_installation_has_an_empty_report() -> None:
    known = await report()
    assert (known.adverts, known.share, known.rows) == (0, None, [])


def test_as_many_adverts_as_are_wanted_go_to_json(known: AdvertReport) -> None:
    fields = as_fields(known, 2)
    assert [row["video"] for row in fields["rows"]] == ["good", "middling"]
    assert fields["adverts"] == 4


def test_ranks_agree_turn_and_tie() -> None:
    assert rank_correlation([(1, 5), (2, 6), (3, 700)]) == MICROS
    assert rank_correlation([(1, 9), (2, 6), (3, 1)]) == -MICROS
    assert rank_correlation([(1, 5), (2, 5), (3, 5)]) is None
    assert rank_correlation([(1, 5), (2, 6)]) is None
    assert rank_correlation([(1, 1), (1, 2), (2, 3), (2, 4)]) == 894_427

"""What is measured of the shares, beside the mix in force."""

from collections.abc import Mapping
from typing import Any

import pytest
from kit.keys import INSTALLATION, SIGNER, STRANGER
from kit.twins import settings_of

from streams.core.traffic import UNKNOWN, ClassSums, Tick, encode
from streams.errors import Retry
from streams.ops.shares import (
    DAY,
    WINDOW,
    ShareCounts,
    SharesReport,
    as_fields,
    promise_rows,
    read_shares,
)
from streams.ops.shares_text import class_for_people, for_people, mix_facts, promise_line
from streams.runtime.installation import installation_record
from streams.runtime.memory import MemoryLog, MemoryReader
from streams.runtime.mixes import FADED_MS, KEPT_MS, Ceiling, Mix, Promise, mix_record
from streams.runtime.ports import Outgoing
from streams.runtime.signing import Signer
from streams.runtime.signing import encode as as_json

MINUTE = 28_333_333
NOW = (MINUTE + 1) * 60_000
PARTITIONS = 2
SETTINGS = settings_of(partitions=PARTITIONS)
CARS, FANS, XIAN = "discover:cars", "following:fans", "nearby:xian"
FINE = {(FANS, "2"): 40, (CARS, "0"): 30, (XIAN, "4"): 15, (CARS, "5"): 12, (CARS, "1c"): 3}
CROWDED = {(FANS, "2"): 40, (CARS, "0"): 30, (CARS, "5"): 30}
ORDINARY = Promise("ordinary", 700_000, owed=7, tilt=9_000, short="bound", cost=2_000)
MIX = Mix(3, MINUTE, NOW - 4_000, "host-1", promises=(ORDINARY,), private_slots=4, worth=1_000_000)


def tick(minute: int, shown: Mapping[tuple[str, str], int], partition: int = 0) -> Tick:
    sums = tuple(
        ClassSums(*key, impressions=count, steered=count // 2) for key, count in shown.items()
    )
    return Tick(f"{partition}.{minute}", partition, minute, sums)


def counted(minutes: int, shown: Mapping[tuple[str, str], int]) -> ShareCounts:
    counts = ShareCounts(PARTITIONS)
    for minute in range(MINUTE - minutes + 1, MINUTE + 1):
        counts.take(tick(minute, shown))
    return counts


def rows(counts: ShareCounts, mix: Mix | None = None) -> dict[str, dict[str, Any]]:
    return {row["promise"]: row for row in promise_rows(counts, mix)}


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    made.create("policies", 1)
    made.create("mix", 1)
    made.create("traffic", PARTITIONS)
    made.append(installation_record(SETTINGS, INSTALLATION))
    return made


def write(log: MemoryLog, *ticks: Tick) -> None:
    for each in ticks:
        log.append(Outgoing("traffic", encode(each), b"%d" % each.partition, (), each.partition))


async def read(log: MemoryLog) -> SharesReport:
    return await read_shares(MemoryReader(log), SETTINGS, 0, NOW)


def test_shares_are_of_all_or_of_the_public_impressions() -> None:
    shares = {name: row["window"] for name, row in rows(counted(5, FINE)).items()}
    assert shares == {"private": 400_000, "ordinary": 750_000, "commercial": 50_000}


def test_a_minute_the_window_and_the_day_are_told_apart_and_the_trend() -> None:
    counts = counted(DAY + 10, FINE)
    for minute in range(MINUTE + 1, MINUTE + WINDOW):
        counts.take(tick(minute, FINE))
    counts.take(tick(MINUTE + WINDOW, CROWDED))
    row = rows(counts)["ordinary"]
    assert (row["minute"], row["day"] > 740_000) == (500_000, True)
    assert row["window"] == (4 * 45 + 30) * 1_000_000 // (5 * 60)
    assert row["trend"] == row["window"] - 750_000


def test_only_what_was_promised_and_is_more_than_a_point_off_is_missed() -> None:
    just = {(CARS, "0"): 690, (CARS, "5"): 310}
    held = [rows(counted(5, just), MIX)["ordinary"]["held"]]
    held.append(rows(counted(5, {**just, (CARS, "5"): 311}), MIX)["ordinary"]["held"])
    held.append(rows(counted(5, CROWDED))["ordinary"]["held"])
    assert held == [True, False, None]
    ceiling = Mix(1, 1, NOW, promises=(Promise("commercial", 150_000),))
    ads = {(CARS, "0"): 840, (CARS, "0c"): 160}
    assert rows(counted(5, ads), ceiling)["commercial"]["held"] is True
    assert rows(counted(5, {**ads, (CARS, "0c"): 170}), ceiling)["commercial"]["held"] is False


def test_a_row_says_how_the_promise_stands() -> None:
    row = rows(counted(5, CROWDED), MIX)["ordinary"]
    assert (row["owed"], row["tilt"], row["short"], row["cost"]) == (7, 9_000, "bound", 2_000)
    assert promise_line(row) == (
        "ordinary 50.0 % of 70.0 %, owed 7, tilt 0.009: the tilt is at its bound"
    )
    assert promise_line(rows(counted(5, CROWDED))["private"]) == "private 40.0 %"
    assert for_people(row)["cost"] == "0.2 %"


async def test_what_was_written_is_read_each_minute_once(log: MemoryLog) -> None:
    write(log, tick(MINUTE, FINE), tick(MINUTE, CROWDED), tick(MINUTE, FINE, 1))
    log.append(Outgoing("traffic", b"nonsense", b"0", (), 0))
    log.append(Outgoing("traffic", None, b"0", (), 0))
    log.append(mix_record(SETTINGS, MIX, SIGNER))
    report = await read(log)
    assert (report.minute, report.mix, report.age_ms) == (MINUTE, MIX, 4_000)
    assert (report.unsteered, report.unmeasured, report.missed) == (510_000, (), [])
    shown = [(r["surface"], r["band"], r["commercial"], r["window"]) for r in report.classes]
    assert shown == [
        ("discover", 0, False, 60),
        ("discover", 1, True, 6),
        ("discover", 5, False, 24),
        ("following", 2, False, 80),
        ("nearby", 4, False, 30),
    ]
    assert as_json(as_fields(report))


async def test_a_partition_that_tells_nothing_is_unmeasured(log: MemoryLog) -> None:
    write(log, tick(MINUTE, {**CROWDED, (CARS, UNKNOWN): 1}))
    log.append(mix_record(SETTINGS, MIX, SIGNER))
    report = await read(log)
    assert (report.unmeasured, report.missed) == ((1,), ["ordinary"])
    assert dict(mix_facts(report))["unmeasured"] == "partitions 1"


async def test_without_a_mix_the_shares_are_told_all_the_same(log: MemoryLog) -> None:
    write(log, tick(MINUTE, CROWDED))
    log.append(mix_record(SETTINGS, MIX, Signer(INSTALLATION.id, STRANGER)))
    report = await read(log)
    assert (report.mix, report.why, report.missed) == (None, "no leader wrote one", [])
    assert dict(mix_facts(report))["mix"] == "none: no leader wrote one"
    log.leaderless.add(("mix", 0))
    assert (await read(log)).why == "mix does not answer"


async def test_partitions_that_do_not_answer_cost_themselves_alone(log: MemoryLog) -> None:
    write(log, tick(MINUTE, CROWDED))
    log.leaderless.add(("traffic", 1))
    report = await read(log)
    assert (report.minute, report.unmeasured) == (MINUTE, (1,))
    log.leaderless.add(("traffic", 0))
    with pytest.raises(Retry, match="traffic does not answer"):
        await read(log)


async def test_before_any_minute_is_closed_nothing_is_told(log: MemoryLog) -> None:
    report = await read(log)
    assert (report.minute, report.unsteered, list(report.classes)) == (0, None, [])
    assert {row["window"] for row in report.promises} == {None}
    assert dict(mix_facts(report))["minute"] == "none is closed yet"


async def test_the_mix_is_told_in_words(log: MemoryLog) -> None:
    write(log, tick(MINUTE, FINE))
    mix = Mix(3, MINUTE, NOW, "host-1", due={CARS: 30_000}, private_slots=4, short=(XIAN,))
    log.append(mix_record(SETTINGS, mix, SIGNER))
    facts = dict(mix_facts(await read(log)))
    assert facts["mix"] == "of 2023-11-14T22:13, 0 s old, term 3 by host-1"
    assert facts["newcomers"] == "3.0 % of the slots at most; too few in nearby:xian"
    assert facts["by no mix"].endswith(" %")
    assert facts["ceiling"] == "creators are not looked at yet"


async def test_of_a_mix_that_no_other_one_follows_it_is_told_what_is_left(log: MemoryLog) -> None:
    write(log, tick(MINUTE, FINE))
    old = Mix(3, MINUTE, NOW - KEPT_MS - FADED_MS // 4, "host-1")
    log.append(mix_record(SETTINGS, old, SIGNER))
    told = dict(mix_facts(await read(log)))["mix"]
    assert told.endswith(
        "3,780 s old, term 3 by host-1: no other one follows, 75.0 % of its tilts are left"
    )


async def test_impressions_by_class_are_counts_and_a_share_of_the_window(log: MemoryLog) -> None:
    write(
        log,
        *(tick(MINUTE - ago, {(CARS, "0"): 3_000, (CARS, "5"): 1_000}) for ago in range(9, -1, -1)),
    )
    first = class_for_people((await read(log)).classes[0])
    assert [first[name] for name in ("minute", "window", "day")] == ["3,000", "15,000", "30,000"]
    assert first["share"] == "75.0 %"


async def test_the_ceiling_of_one_creator_is_told_in_words(log: MemoryLog) -> None:
    write(log, tick(MINUTE, FINE))
    known = "0.5 % for one creator: 2 above, 3 ranked less, by 0.02 at most"
    unknown = "the shares of the day are not known, 0 ranked less"
    stands = ((Ceiling(MINUTE, 5_000, 2, 3, 20_000), known), (Ceiling(MINUTE), unknown))
    for seq, (ceiling, words) in enumerate(stands, start=1):
        log.append(mix_record(SETTINGS, Mix(3, seq, NOW, "host-1", ceiling=ceiling), SIGNER))
        assert dict(mix_facts(await read(log)))["ceiling"] == f"{words}; looked at 2023-11-14T22:13"

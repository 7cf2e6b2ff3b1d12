"""What waits for people, and how what they say takes effect."""

import itertools
from collections.abc import Awaitable
from typing import Any

import pytest
from kit.control import NOW, Office, Process, upload
from kit.events import FOOTBALL, impression, view
from kit.twins import LOG

from streams.control.moderation import (
    EFFECTS,
    Opinion,
    Plea,
    case_of,
    counted,
    in_force,
    looked_at,
    rejected_cases,
    say,
)
from streams.core.events import InteractionRecord, Recognition, Report, Tag
from streams.core.fields import VerdictWord
from streams.core.partitioner import partition_of
from streams.core.receipts import decode as decode_receipt
from streams.errors import Halt, Misconfigured, Retry
from streams.ops.explain import explain
from streams.ops.waiting import waiting_rows
from streams.runtime.memory import MemoryProducer, MemoryReader
from streams.runtime.ports import Document, Outgoing
from streams.runtime.signing import encode

HOUR_MS = 3_600_000
UNKNOWN = {"title": "xyzzy", "hashtags": ()}


@pytest.fixture
async def process() -> Process:
    return await Process(Office()).start()


def opinion(word: VerdictWord, video: str = "v1") -> Opinion:
    return Opinion(video, word, "alice", "seen twice")


async def test_what_no_rule_decides_waits_the_longest_first(process: Process) -> None:
    office = process.office
    await process.take(
        upload("young", **UNKNOWN, ts=NOW),
        upload("old", **UNKNOWN, ts=NOW - HOUR_MS),
        upload("fine"),
        upload("bets", title="online casino", hashtags=()),
    )
    rows = await rows_of(office, NOW + 5_000)
    assert [(row["video"], row["waited_s"]) for row in rows] == [("old", 3_605), ("young", 5)]
    assert {(row["cause"], row["why"]) for row in rows} == {("gate", "no rule fits")}
    (kept,) = await rejected_cases(office.dossiers, NOW)
    assert (kept["video"], kept["cause"], kept["state"], kept["rule"]) == (
        *("bets", "gate", "rejected", "gambling"),
    )


async def rows_of(office: Office, now_ms: int) -> list[dict[str, Any]]:
    return await waiting_rows(MemoryReader(office.world.log), office.world.settings, now_ms)


async def test_whom_somebody_judged_waits_no_more(process: Process) -> None:
    await process.take(upload(**UNKNOWN))
    office = process.office
    producer = MemoryProducer(office.world.log)
    await say(producer, office.world.settings, opinion("limit").review(NOW))
    await process.work()
    assert await office.waiting() == await rejected_cases(office.dossiers, NOW) == []
    case = await case_of(office.dossiers, 2, "v1", NOW)
    assert (case["state"], case["upload"]["title"]) == ("followers", "xyzzy")
    assert (case["verdict"]["by"], case["verdict"]["note"]) == ("alice", "seen twice")


async def test_of_a_video_nobody_told_of_nothing_is_known(process: Process) -> None:
    with pytest.raises(Halt, match="nothing is known of video v9"):
        await case_of(process.office.dossiers, 2, "v9", NOW)


async def test_a_dossier_that_cannot_be_read_is_named(process: Process) -> None:
    process.office.dossiers.shelves[0].documents["v1"] = Document(1, b"{")
    with pytest.raises(Halt, match="the dossier of v1 cannot be read"):
        await rejected_cases(process.office.dossiers, NOW)


@pytest.mark.parametrize("word", ["approve", "limit", "reject"])
async def test_a_verdict_is_in_force_once_the_counters_bear_it(
    process: Process, word: VerdictWord
) -> None:
    office = process.office
    await process.take(upload(**UNKNOWN))
    said, clock = opinion(word), itertools.count(0.0).__next__  # a second passes at each look

    before = await counted(office.world.store, "v1", 2)

    async def passed(patience_s: float) -> float | None:
        return await in_force(office.world.store, said, before, clock, patience_s)

    assert await passed(0.5) is None
    await say(MemoryProducer(office.world.log), office.world.settings, said.review(NOW))
    await process.work()
    await office.count()
    assert office.row().stage == EFFECTS[word][0]
    assert await passed(5) == 1


async def test_receipts_name_who_took_a_video_down_as_their_cause(process: Process) -> None:
    """A control record's id bears that of the review, and that begins with its author."""
    await process.take(upload())
    await process.take(opinion("reject").review(NOW))
    [taken] = [one for one in process.office.controls() if one.id.startswith("takedown")]
    assert taken.id.startswith("takedown-alice-")


def test_two_verdicts_never_have_the_same_id_and_every_name_fits_one() -> None:
    names = {Opinion("v1", "limit", "a" * 64, "n").review(NOW).id for _ in range(50)}
    assert len(names) == 50
    assert max(map(len, names)) <= 64


@pytest.mark.parametrize("change", [{"by": "no spaces"}, {"note": "x" * 2_001}, {"video": "{b}"}])
def test_what_the_control_plane_would_refuse_is_not_said(change: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="the verdict would be refused"):
        opinion("reject")._replace(**change).review(NOW)


# ---------------------------------------------------------------- what the topic `waiting` holds


def listed(office: Office) -> list[tuple[bytes | None, bool]]:
    """Return key and whether it waits of every record but the one that says that it was begun."""
    records = office.world.sent("waiting")
    return [(each.key, each.value is not None) for each in records if each.key != b"gate:"]


async def test_a_video_is_listed_once_and_taken_off_with_the_verdict(process: Process) -> None:
    office = process.office
    await process.take(upload(**UNKNOWN), upload(**UNKNOWN), upload("fine"))
    assert listed(office) == [(b"gate:v1", True)]
    await process.take(opinion("approve").review(NOW))
    assert listed(office) == [(b"gate:v1", True), (b"gate:v1", False)]
    assert await office.waiting() == []


async def test_one_that_an_edit_holds_waits_since_then(process: Process) -> None:
    edit = upload(title="guaranteed returns", id="u2", ts=NOW + 5)
    await process.take(upload(), edit)
    (row,) = await rows_of(process.office, NOW + 1_005)
    assert (row["since"], row["waited_s"], row["rule"]) == (NOW + 5, 1, "finance-claims")
    more = Recognition("r2", "v1", NOW + 90, "ear", (Tag("emotion", "sad", 900_000),))
    await process.take(more)
    assert [row["since"] for row in await rows_of(process.office, NOW)] == [NOW + 5]


async def test_what_was_stored_and_not_listed_is_listed_when_the_event_comes_again() -> None:
    office = Office()
    process = await Process(office, producer=Failing(MemoryProducer(office.world.log))).start()
    with pytest.raises(Retry):
        await process.take(upload(**UNKNOWN))
    assert process.office.known() is not None
    await process.work()
    assert await office.waiting() == [("v1", "gate")]


class Failing:
    """A producer that loses the first record for the topic `waiting`."""

    def __init__(self, producer: MemoryProducer) -> None:
        self._producer = producer
        self._failed = False

    async def send(self, outgoing: Outgoing) -> Awaitable[None]:
        if outgoing.topic == "waiting" and not self._failed:
            self._failed = True
            raise Retry("the broker is away")
        return await self._producer.send(outgoing)


async def test_a_topic_that_is_new_or_made_again_is_filled_from_the_dossiers(
    process: Process,
) -> None:
    office = process.office
    await process.take(upload(**UNKNOWN), upload("fine"))
    office.world.log.delete("waiting")
    office.world.log.create("waiting", 2)
    await process.register.list_all()
    await process.register.list_all()
    assert listed(office) == [(b"gate:v1", True)]


async def test_a_verdict_takes_off_what_no_dossier_remembers(process: Process) -> None:
    office = process.office
    await process.take(upload(**UNKNOWN))
    office.flush()
    for topic in ("uploads", "dossiers"):
        office.world.log.delete(topic)
        office.world.log.create(topic, 2)
    again = await Process(office).start()
    await again.take(upload(), opinion("approve").review(NOW + 1))
    assert await office.waiting() == []


async def test_reports_are_listed_by_the_worker_and_settled_by_an_approval(
    process: Process,
) -> None:
    office = process.office
    await process.take(upload())
    mob = [f"u{number}" for number in range(40)]
    events: list[InteractionRecord] = [impression(f"i-{name}", viewer=name) for name in mob]
    events += [Report(f"r-{name}", "v1", name, FOOTBALL, NOW) for name in mob[:7]]
    home = partition_of(b"v1", 2)
    for event in events:
        office.world.log.append(Outgoing(LOG, encode(event), b"v1", (), home))
    await office.count()
    (row,) = await rows_of(office, NOW)
    assert (row["video"], row["cause"]) == ("v1", "reports")
    assert row["why"] == "7 viewers report it, of 40 impressions"
    await process.take(opinion("approve").review(NOW))
    await office.count()
    assert await office.waiting() == []
    reported = office.row().reported
    assert (office.row().stage, reported and reported.verdicts) == ("public", 1)


async def test_a_word_to_look_again_says_what_came_of_it(process: Process) -> None:
    office, clock = process.office, itertools.count(0.0).__next__
    await process.take(upload())
    viewers = [f"u{number}" for number in range(60)]
    home = partition_of(b"v1", 2)

    async def bring(*events: InteractionRecord) -> None:
        for event in events:
            office.world.log.append(Outgoing(LOG, encode(event), b"v1", (), home))
        await office.count()

    await bring(*[impression(f"i-{name}", viewer=name) for name in viewers])
    await bring(*[view(f"w-{name}", viewer=name, watch_ms=10) for name in viewers])
    before = await counted(office.world.store, "v1", 2)
    assert before.stopped(()) == [FOOTBALL]
    plea = Plea("v1", (FOOTBALL,), "alice", "shown at night")
    assert await looked_at(office.world.store, plea, before, clock, 0.5) is None
    producer, settings = MemoryProducer(office.world.log), office.world.settings
    await say(producer, settings, plea.second_look(NOW))
    await process.work()
    await office.count()
    looked = await looked_at(office.world.store, plea, before, clock, 5)
    assert looked is not None
    assert (looked.back, looked.left) == ([], [FOOTBALL])
    receipts = [decode_receipt(raw) for raw in office.world.receipts()]
    (told,) = [each for each in receipts if each.reason == "look_again"]
    assert (told.by, told.note, told.crowds[0].slice) == ("alice", "shown at night", FOOTBALL)
    assert "alice said so: shown at night" in explain(told)

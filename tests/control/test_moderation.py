"""What waits for people, and how what they say takes effect."""

import itertools

import pytest
from kit.control import NOW, Office, Process, upload

from streams.control.moderation import EFFECTS, Opinion, case_of, in_force, open_cases, say
from streams.core.fields import VerdictWord
from streams.errors import Halt, Misconfigured
from streams.runtime.memory import MemoryProducer
from streams.runtime.ports import Document

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
    rows = await open_cases(office.dossiers, NOW + 5_000)
    assert [(row["video"], row["waited_s"]) for row in rows] == [("old", 3_605), ("young", 5)]
    assert {row["why"] for row in rows} == {"no rule fits"}
    kept = await open_cases(office.dossiers, NOW, rejected=True)
    assert [row["video"] for row in kept] == ["old", "bets", "young"]
    assert [(row["state"], row["rule"]) for row in kept if row["video"] == "bets"] == [
        ("rejected", "gambling")
    ]


async def test_whom_somebody_judged_waits_no_more(process: Process) -> None:
    await process.take(upload(**UNKNOWN))
    office = process.office
    producer = MemoryProducer(office.world.log)
    await say(producer, office.world.settings, opinion("limit").review(NOW))
    await process.work()
    assert await open_cases(office.dossiers, NOW, rejected=True) == []
    case = await case_of(office.dossiers, 2, "v1", NOW)
    assert (case["state"], case["upload"]["title"]) == ("followers", "xyzzy")
    assert (case["verdict"]["by"], case["verdict"]["note"]) == ("alice", "seen twice")


async def test_of_a_video_nobody_told_of_nothing_is_known(process: Process) -> None:
    with pytest.raises(Halt, match="nothing is known of video v9"):
        await case_of(process.office.dossiers, 2, "v9", NOW)


async def test_a_dossier_that_cannot_be_read_is_named(process: Process) -> None:
    process.office.dossiers.shelves[0].documents["v1"] = Document(1, b"{")
    with pytest.raises(Halt, match="the dossier of v1 cannot be read"):
        await open_cases(process.office.dossiers, NOW)


@pytest.mark.parametrize("word", ["approve", "limit", "reject"])
async def test_a_verdict_is_in_force_once_the_counters_bear_it(
    process: Process, word: VerdictWord
) -> None:
    office = process.office
    await process.take(upload(**UNKNOWN))
    said, clock = opinion(word), itertools.count(0.0).__next__  # a second passes at each look

    async def passed(patience_s: float) -> float | None:
        return await in_force(office.world.store, said, 2, clock, patience_s)

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

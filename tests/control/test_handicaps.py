"""The ceiling held by a leader: dossiers, log and counters on the twins, whoever leads or fails."""

from collections.abc import Mapping

import pytest
from kit.control import NOW, Office, Process, review, upload

from streams.control.handicaps import CreatorsSeen, Handicaps
from streams.control.shares.ceiling import STEP
from streams.core.creators import DAY_MINUTES, CreatorTotals, DayStart
from streams.core.events import Revise
from streams.errors import Retry
from streams.runtime.creators import creator_totals
from streams.runtime.memory import MemoryProducer, MemoryStore
from streams.runtime.mixes import Mix, Promise
from streams.runtime.ports import Outgoing, Stored

MINUTE = NOW // 60_000 // DAY_MINUTES * DAY_MINUTES + 720
OTHERS = {f"o{number}": CreatorTotals(public=1_000) for number in range(500)}
MIX = Mix(1, MINUTE, NOW, promises=(Promise("ordinary", 700_000),))


class Held:
    """An office where c1 has two videos; its leader looks at creators when a test says so."""

    def __init__(self) -> None:
        self.office = Office()
        self.process = Process(self.office)
        self.public = 50_000
        self.minute = MINUTE

    async def begin(self) -> "Held":
        await self.process.start()
        await self.process.take(*(upload(video, followers=200_000) for video in ("v1", "v2")))
        await self.office.count()
        return self

    def handicaps(self, process: Process | None = None) -> Handicaps:
        process = process or self.process
        place = process.log.namespace, process.log.partitions
        rules = process.rules.policy.ceiling
        return Handicaps(process.ports.store, place, lambda: rules, process.register.revise)

    async def seen(self, days: Mapping[int, DayStart] | None = None) -> CreatorsSeen:
        totals = await creator_totals(self.office.world.store, *self.place)
        totals["c1"].public = self.public
        begun = {self.minute // DAY_MINUTES: DayStart(MINUTE - 720, {})}
        return CreatorsSeen(self.minute, totals | OTHERS, begun if days is None else days)

    @property
    def place(self) -> tuple[str, int]:
        return self.process.log.namespace, self.process.log.partitions

    async def look(
        self,
        process: Process | None = None,
        *,
        term: int = 1,
        mix: Mix | None = MIX,
        days: Mapping[int, DayStart] | None = None,
    ) -> Handicaps:
        """Look once, and have what is said counted."""
        held = self.handicaps(process)
        await held.follow(await self.seen(days), term, mix)
        await self.office.count()
        return held

    def rows(self) -> list[int]:
        return [self.office.row(video).handicap for video in ("v1", "v2")]

    def said(self) -> list[Revise]:
        return [each for each in self.office.controls() if isinstance(each, Revise)]


@pytest.fixture
async def held() -> Held:
    return await Held().begin()


async def test_all_videos_of_who_is_above_go_down_and_come_back_a_step_an_hour(held: Held) -> None:
    for handicap in (STEP, 2 * STEP, 3 * STEP):
        await held.look()
        assert held.rows() == [handicap, handicap]
        held.minute += 60
    held.public = 100
    for handicap in (2 * STEP, STEP, 0, 0):
        await held.look()
        assert held.rows() == [handicap, handicap]
        held.minute += 60
    assert len(held.said()) == 2 * 6


async def test_the_record_says_who_asks_and_why(held: Held) -> None:
    await held.look()
    said = held.said()[0]
    assert (said.term, said.seq, said.by) == (1, 2, "")
    assert (said.fits, said.limited, said.guarantee) == (None, None, 0)
    assert said.note == (
        "its creator has 9.09 % of the day's public impressions, the ceiling is 0.50 %"
    )


async def test_within_the_hour_nothing_more_is_said_whoever_leads(held: Held) -> None:
    await held.look()
    held.minute += 59
    await held.look()
    await held.look(Process(held.office), term=1)
    assert held.rows() == [STEP, STEP]
    assert len(held.said()) == 2


async def test_a_new_video_of_who_is_above_starts_where_the_others_are(held: Held) -> None:
    await held.look()
    await held.process.take(upload("v3"))
    await held.office.count()
    held.minute += 30
    await held.look()
    assert held.office.row("v3").handicap == STEP
    assert held.rows() == [STEP, STEP]


async def test_records_are_numbered_with_what_else_is_said_of_a_video(held: Held) -> None:
    await held.look()
    await held.process.take(review("limit"))
    await held.office.count()
    row, known = held.office.row(), held.office.known()
    assert known is not None
    assert (row.stage, row.handicap, row.seq) == ("limited", STEP, known.seq)
    assert known.unsent == ()
    held.minute += 60
    await held.look()
    assert held.rows() == [2 * STEP, 2 * STEP]
    assert held.office.refused("interactions") == []


async def test_what_moderation_removed_is_left_alone(held: Held) -> None:
    await held.process.take(review("reject"))
    await held.office.count()
    await held.look()
    assert held.rows() == [0, STEP]


# ---------------------------------------------------------------- what is not known


async def test_while_partitions_are_unmeasured_none_is_new_and_those_that_stand_fade(
    held: Held,
) -> None:
    deaf = Mix(1, MINUTE, NOW, unmeasured=(1,))
    standing = (await held.look(mix=deaf)).standing
    assert held.rows() == [0, 0]
    assert standing is not None
    assert (standing.share, standing.above) == (None, 0)
    await held.look()
    held.minute += 60
    standing = (await held.look(mix=deaf)).standing
    assert held.rows() == [0, 0]
    assert "the shares of the day are not known" in held.said()[-1].note


async def test_a_day_that_nobody_saw_begin_lowers_nobody(held: Held) -> None:
    await held.look(days={})
    assert held.said() == []


async def test_without_a_mix_nobody_goes_down(held: Held) -> None:
    await held.look(mix=None)
    assert held.said() == []


async def test_ordinary_people_come_back_while_their_floor_is_short(held: Held) -> None:
    await held.process.take(upload("v4", creator="c4", followers=50))
    await held.office.count()
    seen = await held.seen()
    seen.totals["c4"].public = 50_000
    short = Mix(1, MINUTE, NOW, promises=(Promise("ordinary", 700_000, short="bound"),))
    await held.handicaps().follow(seen, 1, short)
    await held.office.count()
    assert held.rows() == [STEP, STEP]
    assert held.office.row("v4").handicap == 0


# ---------------------------------------------------------------- faults


class DeafProducer(MemoryProducer):
    """Takes so many records of the log and no more."""

    left = 1

    async def send(self, record: Outgoing) -> object:  # type: ignore[override]
        if record.topic == "interactions":
            if not self.left:
                raise Retry("deaf")
            self.left -= 1
        return await super().send(record)


async def test_what_kafka_did_not_take_is_said_at_the_next_look(held: Held) -> None:
    deaf = Process(held.office, producer=DeafProducer(held.office.world.log))
    with pytest.raises(Retry):
        await held.look(deaf)
    await held.office.count()
    assert sorted(held.rows()) == [0, STEP]
    await held.look()
    assert held.rows() == [STEP, STEP]
    assert held.office.refused("interactions") == []


class AwayStore(MemoryStore):
    async def meta(self, partition: int, namespace: str) -> Stored | None:  # noqa: ARG002
        raise Retry("away")


async def test_what_redis_does_not_tell_moves_nothing(held: Held) -> None:
    away = Process(held.office, store=AwayStore())
    with pytest.raises(Retry):
        await held.look(away)
    assert held.said() == []


async def test_a_video_without_a_dossier_is_left_for_later(held: Held) -> None:
    held.office.dossiers.shelves.clear()
    await held.look(Process(held.office))
    assert held.said() == []


async def test_an_old_leader_that_slept_lowers_nobody_and_the_new_one_does(held: Held) -> None:
    await held.process.step()
    new = Process(held.office)
    await held.process.leader.election.stop()
    await new.start()
    await new.step()
    assert (held.process.leader.led or new.leader.led) is not None
    assert new.leader.led is not None
    term = new.leader.led.term
    await held.look(term=term - 1)
    assert held.rows() == [0, 0]
    refused = held.office.refused("interactions")
    assert refused == ["stale", "stale"]
    await held.look(new, term=term)
    assert held.rows() == [STEP, STEP]

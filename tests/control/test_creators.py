"""The leader's look at creators, on the twins."""

from collections.abc import Mapping

import pytest
from kit.events import FANS, FIXED, FOOTBALL, NOW, admit, impression
from kit.folding import Folding, placed
from prometheus_client import CollectorRegistry

from streams.control.creators import AGAIN_S, LOOK_S, CreatorMetrics, CreatorsLook
from streams.control.handicaps import Handicaps
from streams.control.shares.ceiling import FEW, STEP, CeilingRules
from streams.core.creators import DAY_MINUTES, DayStart
from streams.core.events import Revise
from streams.errors import Retry
from streams.runtime.memory import MemoryDossiers, MemoryStore
from streams.runtime.mixes import Mix
from streams.runtime.ports import Stored

DAY = NOW // 60_000 // DAY_MINUTES
MIDNIGHT = DAY * DAY_MINUTES


class AwayStore(MemoryStore):
    """Counts the looks at it, and answers none while it is away."""

    away = False
    looks = 0

    async def meta(self, partition: int, namespace: str) -> Stored | None:
        self.looks += 1
        if self.away:
            raise Retry("away")
        return await super().meta(partition, namespace)


class Watch:
    """A leader's look at one partition of counters, and its clock."""

    def __init__(self) -> None:
        self.store, self.dossiers = AwayStore(), MemoryDossiers()
        self.registry = CollectorRegistry()
        self.now = 0.0
        self.rules = CeilingRules(5_000, 2_000_000, 100_000)
        self.revised: list[Revise] = []
        self.deaf = False
        self.watermark = -1
        self.folding = Folding().fold(placed([FIXED, admit()]))
        self.look = self.another()

    def another(self) -> CreatorsLook:
        metrics = CreatorMetrics(self.registry if self.now == 0 else None)
        place = ("ns", 1)
        held = Handicaps(self.store, place, lambda: self.rules, self.revise)
        return CreatorsLook(self.store, self.dossiers, place, metrics, held, lambda: self.now)

    async def revise(self, revisions: Mapping[str, Revise]) -> None:
        if self.deaf:
            raise Retry("deaf")
        self.revised += revisions.values()

    async def show(self, public: int, private: int = 0) -> None:
        """Have so many impressions counted and stored."""
        first = self.folding.offset + 1
        events = [
            impression(f"{first}-{slice_id[:2]}-{n}", slice_id=slice_id)
            for slice_id, count in ((FOOTBALL, public), (FANS, private))
            for n in range(count)
        ]
        self.folding.fold(placed(events, first))
        changes = self.folding.state.take_changes()
        await self.store.flush(0, "ns", self.watermark, self.folding.offset, changes)
        self.watermark = self.folding.offset
        self.folding.state.stored(changes.epoch)

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"streams_creators_{name}", {"of": "all"})


@pytest.fixture
def watch() -> Watch:
    return Watch()


async def test_what_creators_had_when_a_day_began_is_kept(watch: Watch) -> None:
    await watch.show(7, 3)
    await watch.look.step(MIDNIGHT + 1)
    await watch.show(5, 2)
    watch.now += LOOK_S
    await watch.look.step(MIDNIGHT + 61)
    assert watch.dossiers.day_starts == {DAY: DayStart(MIDNIGHT + 1, {"c1": (7, 3)})}
    await watch.look.step(MIDNIGHT + DAY_MINUTES)
    assert watch.dossiers.day_starts[DAY + 1].totals == {"c1": (12, 5)}


async def test_it_looks_once_an_hour_and_when_a_day_begins(watch: Watch) -> None:
    await watch.show(1)
    for minute, seconds, looks in (
        (MIDNIGHT, 0.0, 1),
        (MIDNIGHT + 1, LOOK_S - 1, 1),
        (MIDNIGHT + 2, 1.0, 2),
        (MIDNIGHT + DAY_MINUTES, 1.0, 3),
        (MIDNIGHT + DAY_MINUTES, 1.0, 3),
    ):
        watch.now += seconds
        await watch.look.step(minute)
        assert watch.store.looks == looks


async def test_a_look_without_all_rows_keeps_nothing_and_is_done_again(watch: Watch) -> None:
    await watch.show(4)
    watch.store.away = True
    with pytest.raises(Retry):
        await watch.look.step(MIDNIGHT)
    assert watch.dossiers.day_starts == {}
    watch.store.away = False
    await watch.look.step(MIDNIGHT)
    assert watch.dossiers.day_starts == {}  # not at once
    watch.now += AGAIN_S
    await watch.look.step(MIDNIGHT + 1)
    assert watch.dossiers.day_starts[DAY].totals == {"c1": (4, 0)}


async def test_another_leader_goes_on_with_the_day_that_was_kept(watch: Watch) -> None:
    await watch.show(4)
    await watch.look.step(MIDNIGHT)
    await watch.show(9)
    watch.now = 1.0
    await watch.another().step(MIDNIGHT + 30)
    assert watch.dossiers.day_starts[DAY] == DayStart(MIDNIGHT, {"c1": (4, 0)})


async def test_the_metrics_tell_what_fans_lacked_yesterday(watch: Watch) -> None:
    for ago, private in ((2, 0), (1, 400)):
        start = DayStart((DAY - ago) * DAY_MINUTES, {"c1": (0, private)})
        await watch.dossiers.keep_day(DAY - ago, start)
    await watch.show(3, 500)
    await watch.look.step(MIDNIGHT)
    assert watch.value("private_lost_ratio") == 0.75
    assert (watch.value("gini_ratio"), watch.value("top_share_ratio")) == (0.0, 1.0)


async def test_who_leads_no_more_shows_nothing(watch: Watch) -> None:
    await watch.show(3)
    await watch.look.step(MIDNIGHT)
    assert watch.value("gini_ratio") is not None
    assert watch.value("private_lost_ratio") is None
    watch.look.rest()
    assert watch.value("gini_ratio") is None


async def lowers(watch: Watch, minute: int, term: int = 7) -> list[int | None]:
    """Look where c1 has nearly all of a day that a hundred others have a part of."""
    before = {f"o{n}": (-1, 0) for n in range(100)} | {"c1": (-2 * FEW, 0)}
    await watch.dossiers.keep_day(DAY, DayStart(MIDNIGHT, before))
    await watch.look.step(minute, term, Mix(term, minute, NOW))
    return [each.handicap for each in watch.revised]


async def test_who_is_above_the_ceiling_is_lowered_by_the_leader_of_the_term(watch: Watch) -> None:
    watch.rules = CeilingRules(5_000, 1_000_000, 100_000)
    await watch.show(1)
    for other in range(100):
        creator, video = f"o{other}", f"w{other}"
        watch.folding.fold(
            placed(
                [admit(f"a{other}", video=video, creator=creator), impression(video, video=video)],
                watch.folding.offset + 1,
            )
        )
    await watch.show(1)
    assert await lowers(watch, MIDNIGHT + 720) == [STEP]
    assert watch.revised[0].term == 7
    assert watch.value("ceiling_ratio") == (1_000_000 // 101) / 1_000_000
    assert (watch.value("above"), watch.value("lowered")) == (1, 1)
    watch.look.rest()
    assert watch.value("above") is None


async def test_what_could_not_be_said_is_looked_at_again_within_a_minute(watch: Watch) -> None:
    await test_who_is_above_the_ceiling_is_lowered_by_the_leader_of_the_term(watch)
    watch.deaf, watch.revised = True, []
    with pytest.raises(Retry):
        await lowers(watch, MIDNIGHT + 780)
    watch.deaf = False
    watch.now += AGAIN_S
    assert await lowers(watch, MIDNIGHT + 781) == [STEP]

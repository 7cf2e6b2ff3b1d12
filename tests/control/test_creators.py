"""The leader's look at creators, on the twins."""

import pytest
from kit.events import FANS, FIXED, FOOTBALL, NOW, admit, impression
from kit.folding import Folding, placed
from prometheus_client import CollectorRegistry

from streams.control.creators import AGAIN_S, LOOK_S, CreatorMetrics, CreatorsLook
from streams.core.creators import DAY_MINUTES, DayStart
from streams.errors import Retry
from streams.runtime.memory import MemoryDossiers, MemoryStore
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
        self.watermark = -1
        self.folding = Folding().fold(placed([FIXED, admit()]))
        self.look = self.another()

    def another(self) -> CreatorsLook:
        metrics = CreatorMetrics(self.registry if self.now == 0 else None)
        return CreatorsLook(self.store, self.dossiers, ("ns", 1), metrics, lambda: self.now)

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

"""What `streams guarantee` says, from the counters of a log that a worker counted."""

import pytest
from kit.events import FOOTBALL, NOW, admit, impression, policy, records_of, view
from kit.twins import World, counted

from streams.core.events import LogRecord
from streams.core.units import surface_of
from streams.ops.guarantee import (
    GuaranteeReport,
    facts_for_people,
    miss_for_people,
    report_guarantee,
)

FREE = policy(terms={}, stop_viewers=5)
DAY = FREE.guarantee_ms
OWED = 60
PUBLIC = [name for name in FREE.slices if surface_of(name) != "following"]


def promised(video: str) -> LogRecord:
    return admit(f"a-{video}", video=video, creator=f"c-{video}", guarantee=OWED)


def shown(
    video: str, count: int, watch_ms: int = 9_000, slice_id: str = FOOTBALL
) -> list[LogRecord]:
    events: list[LogRecord] = []
    for number in range(count):
        where, name = (
            {"video": video, "slice_id": slice_id},
            f"{video}-{slice_id.replace(':', '-')}{number}",
        )
        events.append(impression(f"i-{name}", **where))
        events.append(view(f"w-{name}", **where, watch_ms=watch_ms))
    return events


async def report(later_ms: int) -> GuaranteeReport:
    world = World()
    events = [
        *(promised(name) for name in ("seen", "few", "bad")),
        admit("a-free", video="free"),
        *shown("seen", OWED),
        *shown("few", 5),
        *(event for name in PUBLIC for event in shown("bad", 11, 100, name)),
    ]
    world.put(records_of([FREE, *events]))
    await counted(world)
    return await report_guarantee(world.store, world.namespace, 1, NOW + later_ms)


async def test_until_its_time_is_over_nothing_is_missed() -> None:
    early = await report(DAY // 2)
    assert (early.kept, early.running, early.misses) == (1, 2, [])
    assert dict(facts_for_people(early))["kept"] == "1 (100.0 % of those whose time is over)"


async def test_who_missed_is_named_with_what_was_shown_and_why() -> None:
    late = await report(2 * DAY)
    assert (late.kept, late.running) == (1, 0)
    by = {miss.video: miss for miss in late.misses}
    assert {name: miss.cause for name, miss in by.items()} == {"few": "slots", "bad": "stopped"}
    assert (by["few"].shown, by["few"].guarantee, by["few"].creator) == (5, OWED, "c-few")


async def test_people_read_shares_causes_in_words_and_times() -> None:
    late = await report(2 * DAY)
    facts = dict(facts_for_people(late))
    assert facts["kept"] == "1 (33.3 % of those whose time is over)"
    assert facts["missed: slots"] == "1, too few slots were asked for in their crowds"
    assert miss_for_people(late.misses[0])["deadline"] == "2023-11-15T22:13"


@pytest.mark.parametrize("moment", [0, 1])
async def test_nothing_stored_is_nothing_kept(moment: int) -> None:
    world = World()
    nothing = await report_guarantee(world.store, world.namespace, 1, moment)
    assert dict(facts_for_people(nothing)) == {"kept": "0", "running": "0", "missed": "0"}

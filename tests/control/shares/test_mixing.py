"""The leader's minutes on the twins: traffic in, signed mixes out, whatever is missing between."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import pytest
from kit.control import Office, Process
from kit.keys import SIGNER, STRANGER, TRUST
from kit.serving import entry
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from streams.control.metrics import ControlMetrics
from streams.control.shares.law import LOOP
from streams.control.shares.mixing import LEAN_S, READ_S, Mixing
from streams.control.shares.traffic import KEPT_TICKS
from streams.core.events import Policy
from streams.core.traffic import ClassSums, Tick, encode
from streams.core.units import MICROS
from streams.errors import Retry
from streams.runtime.memory import MemoryProducer
from streams.runtime.mixes import Mix, Promise, mix_record, read_mix
from streams.runtime.ports import Outgoing
from streams.runtime.signing import Signer

CARS, FANS = "discover:football", "following:fans"
MINUTE = 28_333_333
CROWDED = {(FANS, "3"): 4_000, (CARS, "0"): 3_000, (CARS, "5"): 3_000}
"""Half of the public impressions are of ordinary people."""
FINE = {(FANS, "3"): 4_000, (CARS, "0"): 5_000, (CARS, "5"): 1_000}


class Desk:
    """A leader's mixing in an office whose traffic a test writes."""

    def __init__(self, partitions: int = 2, **ports: Any) -> None:
        self.office = Office(partitions)
        self.process = Process(self.office, **ports)
        self.now = 0.0
        self.registry = CollectorRegistry()
        self.metrics = ControlMetrics(self.registry)
        self.mixing = self.another()

    def another(self) -> Mixing:
        process = self.process
        rules = process.rules.policy.shares
        return Mixing(
            *(self.office.world.settings, process.log, process.ports),
            lambda: rules,
            self.metrics,
            lambda: self.now,
        )

    @property
    def policy(self) -> Policy:
        return self.process.rules.policy.draft

    def tell(self, minute: int, shown: dict[tuple[str, str], int], *partitions: int) -> None:
        """Write a closed minute of partitions, of all of them without any."""
        for partition in partitions or range(self.office.world.partitions):
            sums = tuple(ClassSums(*key, impressions=count) for key, count in shown.items())
            tick = Tick(f"{partition}.{minute}", partition, minute, sums)
            key = b"%d" % partition
            self.office.world.log.append(Outgoing("traffic", encode(tick), key, (), partition))

    async def step(self, term: int = 1, policy: Policy | None = None) -> None:
        self.now += READ_S
        await self.mixing.step(term, policy or self.policy, "host-1")

    async def go(self, minutes: int, shown: dict[tuple[str, str], int], first: int = MINUTE) -> Mix:
        for minute in range(first, first + minutes):
            self.tell(minute, shown)
            await self.step()
        return self.mixes()[-1]

    def mixes(self) -> Sequence[Mix]:
        records = self.office.world.log.records("mix", 0)
        return [mix for one in records if (mix := read_mix(one, TRUST)) is not None]

    async def stock(self, slice_id: str, *entries: Any) -> None:
        await self.process.ports.index.apply(slice_id, {0: 9}, entries)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def promise(mix: Mix, name: str = "ordinary") -> Promise:
    return next(each for each in mix.promises if each.name == name)


def owed_after(minutes: int, of: int) -> Any:
    """Return what is owed once a share was 21 points off for so long: what tilts move comes off."""
    owed = [0.0, 0.0, 0.0]
    for _ in range(minutes):
        owed.append(owed[-1] + of * 0.21 - (owed[-1] - owed[-3]) * LOOP / MICROS)
    return pytest.approx(owed[-1], rel=0.002)


async def test_there_is_a_mix_of_every_minute_and_no_other(desk: Desk) -> None:
    await desk.step()
    assert desk.mixes() == []
    await desk.go(3, FINE)
    await desk.step()
    assert [(mix.term, mix.seq, mix.by) for mix in desk.mixes()] == [
        (1, MINUTE + number, "host-1") for number in range(3)
    ]


async def test_traffic_is_looked_at_every_few_seconds(desk: Desk) -> None:
    desk.tell(MINUTE, FINE)
    await desk.step()
    desk.tell(MINUTE + 1, FINE)
    await desk.mixing.step(1, desk.policy)
    assert len(desk.mixes()) == 1


async def test_shares_that_hold_by_themselves_have_no_tilt(desk: Desk) -> None:
    mix = await desk.go(20, FINE)
    assert (mix.tilts, mix.private_slots) == ({}, 3)
    assert {each.short for each in mix.promises} == {""}
    assert await desk.mixing.next_policy(desk.policy) is None


async def test_what_is_owed_raises_its_class(desk: Desk) -> None:
    await desk.stock(CARS, entry("v1", band=0, allowance=10**6))
    mix = await desk.go(2, CROWDED)
    assert promise(mix).owed == owed_after(2, 12_000)
    assert mix.tilts["discover:0"] == promise(mix).tilt > 0
    assert promise(mix).short == ""


async def test_what_has_nothing_left_to_show_is_said_in_the_first_minute(desk: Desk) -> None:
    await desk.stock(CARS, entry("v1", band=5, allowance=10**6))
    first = await desk.go(1, CROWDED)
    assert promise(first).short == "supply"
    later = await desk.go(50, CROWDED, MINUTE + 1)
    assert promise(later).owed == promise(first).owed  # nothing is saved up meanwhile


async def test_an_index_that_does_not_answer_costs_what_it_knows_alone() -> None:
    class Away:
        def __getattr__(self, name: str) -> Any:
            async def away(*_: Any) -> Any:
                raise Retry(f"{name}: away")

            return away

    desk = Desk(index=Away())
    mix = await desk.go(1, CROWDED)
    assert promise(mix).owed > 0
    assert (promise(mix).short, mix.due) == ("", {})


async def test_a_partition_that_is_silent_is_unmeasured_and_the_others_steer(desk: Desk) -> None:
    await desk.stock(CARS, entry("v1", band=0, allowance=10**6))
    for minute in range(MINUTE, MINUTE + 5):
        desk.tell(minute, CROWDED, 1)
        await desk.step()
    mix = desk.mixes()[-1]
    assert (mix.seq, mix.unmeasured) == (MINUTE + 4, (0,))
    assert promise(mix).owed == owed_after(5, 6_000)


async def test_with_most_partitions_silent_no_more_is_owed() -> None:
    desk = Desk(partitions=4)
    for minute in range(MINUTE, MINUTE + 5):
        desk.tell(minute, CROWDED, 1)
        await desk.step()
    assert promise(desk.mixes()[-1]).short == "unmeasured"
    assert promise(desk.mixes()[-1]).owed == promise(desk.mixes()[0]).owed


async def test_a_minute_that_comes_late_counts_once(desk: Desk) -> None:
    await desk.stock(CARS, entry("v1", band=0, allowance=10**6))
    desk.tell(MINUTE, CROWDED, 0)
    await desk.step()
    assert promise(desk.mixes()[-1]).owed == round(6_000 * 0.21)
    desk.tell(MINUTE, CROWDED, 1)
    desk.tell(MINUTE + 1, CROWDED)
    desk.tell(MINUTE + 1, CROWDED)
    await desk.step()
    late = promise(desk.mixes()[-1])
    first = 6_000 * 0.21
    own = 3 * first * (1 - LOOP / MICROS)
    assert late.owed == pytest.approx(first * late.pace / 6_000 + own, abs=2)


async def test_what_no_worker_wrote_is_read_over(desk: Desk) -> None:
    for value in (None, b"", b"{}", encode(Tick("1.9", 1, MINUTE + 9, ()))):
        desk.office.world.log.append(Outgoing("traffic", value, b"0", (), 0))
    mix = await desk.go(1, FINE)
    assert mix.seq == MINUTE


async def test_another_leader_goes_on_where_the_last_one_was(desk: Desk) -> None:
    await desk.stock(CARS, entry("v1", band=0, allowance=10**6))
    last = await desk.go(3, CROWDED)
    desk.mixing = desk.another()
    await desk.step(term=2)
    assert desk.mixes()[-1] == last  # there is nothing new to say
    desk.tell(MINUTE + 3, CROWDED)
    await desk.step(term=2)
    mix = desk.mixes()[-1]
    assert (mix.term, promise(mix).owed) == (2, owed_after(4, 12_000))


async def test_of_a_long_silence_only_the_latest_minutes_are_owed(desk: Desk) -> None:
    await desk.stock(CARS, entry("v1", band=0, allowance=10**6))
    await desk.go(1, CROWDED)
    for minute in range(MINUTE + 1, MINUTE + 1 + KEPT_TICKS):
        desk.tell(minute, CROWDED)
    desk.mixing = desk.another()
    await desk.step(term=2)
    assert promise(desk.mixes()[-1]).owed <= 5 * round(2 * 6_000 * 0.21)


async def test_a_mix_that_is_nobody_s_is_not_gone_on_from(desk: Desk) -> None:
    settings = desk.office.world.settings
    forged = Mix(9, MINUTE + 50, 1_700_000_000_000, promises=(Promise("ordinary", 1, owed=10**9),))
    record = mix_record(settings, forged, Signer(SIGNER.installation, STRANGER))
    desk.office.world.log.append(record)
    mix = await desk.go(1, FINE)
    assert (mix.seq, promise(mix).owed) == (MINUTE, 0)


async def test_who_does_not_lead_shows_nothing(desk: Desk) -> None:
    await desk.go(1, CROWDED)
    assert gauge(desk, "streams_floor_share_ratio", floor="ordinary") == 0.5
    assert gauge(desk, "streams_mix_unsteered_ratio", leader="host-1") == 1.0
    assert gauge(desk, "streams_floor_short", floor="ordinary", cause="supply") == 1
    desk.mixing.rest()
    assert gauge(desk, "streams_floor_share_ratio", floor="ordinary") is None
    assert await desk.mixing.next_policy(desk.policy) is None


def gauge(desk: Desk, name: str, **labels: str) -> float | None:
    return desk.registry.get_sample_value(name, labels)


async def test_what_the_topic_does_not_take_comes_with_the_next_minute(desk: Desk) -> None:
    class Away(MemoryProducer):
        away = True

        async def send(self, record: Outgoing) -> Any:
            if self.away:
                raise Retry("the broker is away")
            return await super().send(record)

    producer = Away(desk.office.world.log)
    desk.process = Process(desk.office, producer=producer)
    desk.mixing = desk.another()
    desk.tell(MINUTE, CROWDED)
    with pytest.raises(Retry):
        await desk.step()
    producer.away = False
    desk.tell(MINUTE + 1, CROWDED)
    await desk.step()
    assert [mix.seq for mix in desk.mixes()] == [MINUTE + 1]


async def test_newcomers_get_the_slots_that_they_need(desk: Desk) -> None:
    index = desk.process.ports.index
    in_an_hour = time.time_ns() // 1_000_000 + 3_600_000
    newcomer = entry("v1", score=1, allowance=60, deadline=in_an_hour, due=20)
    await desk.stock(CARS, newcomer)
    await index.lease(CARS, 100, 1)
    mix = await desk.go(1, FINE)
    assert 0 < mix.due[CARS] < 20_000
    assert mix.short == ()
    many = [newcomer._replace(video=f"v{n}", allowance=600, due=600) for n in range(2, 50)]
    await desk.stock(CARS, *many)
    mix = await desk.go(1, FINE, MINUTE + 1)
    assert (mix.due[CARS], mix.short) == (50_000, (CARS,))


async def until_it_leans(desk: Desk) -> tuple[int, Policy]:
    """Return the minute whose mix has the prices lean, and the policy in which they do."""
    await desk.stock(CARS, entry("v1", band=0, allowance=10**9))
    for minute in range(MINUTE, MINUTE + 100):
        await desk.go(1, CROWDED, minute)
        moved = await desk.mixing.next_policy(desk.policy)
        if moved is not None:
            return minute, moved
    raise AssertionError("the prices never lean")


async def test_what_was_tilted_for_hours_becomes_a_part_of_the_prices(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    minute, moved = await until_it_leans(desk)
    mix = desk.mixes()[-1]
    assert moved.leans["discover:0"] == promise(mix).slow // 5_000 * 5_000 > 0
    assert ("shares" in moved.moved, moved.version != desk.policy.version) == (True, True)
    assert "lean" in moved.why
    assert await desk.mixing.next_policy(desk.policy) is None  # not yet again
    desk.tell(minute + 1, CROWDED)
    await desk.step(policy=moved)
    desk.now += LEAN_S
    assert await desk.mixing.next_policy(moved) is None  # it leans already


async def test_a_tilt_is_lowered_by_the_very_mix_with_which_the_prices_lean(desk: Desk) -> None:
    minute, moved = await until_it_leans(desk)
    before, mix = desk.mixes()[-2:]
    assert before.tilts["discover:0"] == promise(before).tilt
    assert mix.tilts["discover:0"] == promise(mix).tilt - moved.leans["discover:0"]
    desk.tell(minute + 1, CROWDED)
    await desk.step(policy=moved)
    after = desk.mixes()[-1]
    assert after.tilts["discover:0"] == promise(after).tilt - moved.leans["discover:0"]


async def test_where_no_policy_follows_the_next_mixes_take_the_prices_as_they_are(
    desk: Desk,
) -> None:
    await desk.stock(CARS, entry("v1", band=0, allowance=10**9))
    mixes = [await desk.go(1, CROWDED, MINUTE + number) for number in range(80)]
    lowered = [mix.seq for mix in mixes if mix.tilts["discover:0"] != promise(mix).tilt]
    assert len(lowered) == 1
    desk.now += LEAN_S
    mix = await desk.go(1, CROWDED, MINUTE + 80)
    again = await desk.mixing.next_policy(desk.policy)
    assert again is not None
    assert mix.tilts["discover:0"] == promise(mix).tilt - again.leans["discover:0"]


@pytest.mark.parametrize("changes", [{"frozen": ("shares",)}, {"pinned": "1.1"}])
async def test_what_operators_hold_does_not_lean(desk: Desk, changes: dict[str, Any]) -> None:
    await desk.stock(CARS, entry("v1", band=0, allowance=10**9))
    held = replace(desk.policy, **changes)
    for minute in range(MINUTE, MINUTE + 80):
        desk.tell(minute, CROWDED)
        await desk.step(policy=held)
        assert await desk.mixing.next_policy(held) is None
    mix = desk.mixes()[-1]
    assert mix.tilts["discover:0"] == promise(mix).tilt > 0


async def test_the_policy_follows_what_organic_traffic_is_worth(desk: Desk) -> None:
    watched = {"views": 900, "ratio_sum": 900_000_000}
    for partition in (0, 1):
        sums = ClassSums(CARS, "0", impressions=1_000, **watched)
        tick = Tick(f"{partition}.{MINUTE}", partition, MINUTE, (sums,))
        key = b"%d" % partition
        desk.office.world.log.append(Outgoing("traffic", encode(tick), key, (), partition))
    await desk.step()
    moved = await desk.mixing.next_policy(desk.policy)
    assert moved is not None
    assert moved.organic == {CARS: desk.policy.weights.watch}
    assert (moved.moved, moved.leans) == (("organic",), {})
    assert "organic traffic" in moved.why
    desk.now += LEAN_S
    assert await desk.mixing.next_policy(moved) is None
    frozen = replace(desk.policy, frozen=("organic",))
    assert await desk.mixing.next_policy(frozen) is None

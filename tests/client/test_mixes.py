"""What feeds go by: the mix in force, that wrong ones change nothing, how an old one fades."""

import asyncio
import logging

import pytest
from kit.keys import INSTALLATION, SIGNER, STRANGER
from kit.patience import PATIENCE_S
from kit.serving import CARS, FANS, entry
from kit.twins import settings_of
from msgspec.structs import replace

from streams.client import BlockingLeases, Leases, Mixes
from streams.client import mixes as module
from streams.core.units import MICROS
from streams.embedded import EmbeddedBroker
from streams.errors import Retry, Unreachable
from streams.runtime.installation import Installation, installation_record
from streams.runtime.memory import MemoryLog, MemoryReader, MemoryServingIndex
from streams.runtime.mixes import FADED_MS, KEPT_MS, Mix, mix_record
from streams.runtime.signing import Signer

SETTINGS = settings_of()
SEQ = 28_333_333
TILTS = {"discover:0": 100_000, "following:3": 400_000}


class Town:
    """The topics that a feed server reads, and its clock."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.now = 1_000.0
        for topic in ("policies", "mix"):
            self.log.create(topic, 1)
        self.install(INSTALLATION)
        self.mixes = Mixes(MemoryReader(self.log), clock=lambda: self.now)

    def install(self, installation: Installation) -> None:
        self.log.append(installation_record(SETTINGS, installation))

    def write(self, mix: Mix, signer: Signer = SIGNER) -> None:
        self.log.append(mix_record(SETTINGS, mix, signer))

    async def look(self, seconds: float = 1.0) -> None:
        self.now += seconds
        await self.mixes.look()

    @property
    def tilts(self) -> dict[str, int]:
        return dict(self.mixes.in_force.tilts(CARS))


def mix(seq: int = SEQ, **changes: object) -> Mix:
    return replace(Mix(1, seq, module.now_ms(), tilts=TILTS), **changes)  # type: ignore[arg-type]


@pytest.fixture
async def town() -> Town:
    made = Town()
    await made.mixes.start()
    await made.mixes.close()  # tests look by themselves
    made.mixes._reader = MemoryReader(made.log)
    return made


async def test_without_a_mix_prices_alone_decide(town: Town) -> None:
    await town.look()
    known = town.mixes.in_force
    assert (known.seq, known.due(CARS), town.tilts, town.mixes.private_slots) == (None, None, {}, 0)


async def test_the_latest_mix_is_in_force(town: Town) -> None:
    town.write(mix(private_slots=4, due={CARS: 12_000}))
    town.write(mix(SEQ + 1, private_slots=5, due={CARS: 13_000}))
    await town.look()
    known = town.mixes.in_force
    assert (known.seq, known.due(CARS), known.due(FANS)) == (SEQ + 1, 13_000, None)
    assert (town.tilts, town.mixes.private_slots) == ({"0": 100_000}, 5)


async def test_a_leader_that_slept_changes_nothing(town: Town) -> None:
    town.write(mix(term=2))
    await town.look()
    town.write(mix(SEQ + 9, term=1, tilts={}))
    await town.look()
    assert town.tilts == {"0": 100_000}


async def test_a_forged_mix_changes_nothing_and_is_told(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    town.write(mix())
    await town.look()
    town.write(mix(SEQ + 1, tilts={"discover:5": 10**6}), Signer(INSTALLATION.id, STRANGER))
    await town.look()
    assert town.mixes.in_force.seq == SEQ
    assert "1 records of the topic mix are nobody's" in caplog.text


async def test_a_new_leader_s_key_is_found_out(town: Town) -> None:
    town.write(mix())
    await town.look()
    town.install(replace(INSTALLATION, keys=(STRANGER.public,)))
    town.now += 60
    town.write(mix(SEQ + 1), Signer(INSTALLATION.id, STRANGER))
    await town.look()
    assert town.mixes.in_force.seq == SEQ + 1


async def test_the_last_one_is_kept_then_fades_and_that_is_told(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    town.write(mix(due={CARS: 12_000}, private_slots=4))
    await town.look()
    caplog.clear()
    await town.look(KEPT_MS / 1_000 - 5)
    assert (town.tilts, caplog.messages) == ({"0": 100_000}, [])
    assert town.mixes.in_force.due(CARS) == 12_000
    await town.look(FADED_MS / 2_000)
    assert 49_000 <= town.tilts["0"] <= 51_000
    assert (town.mixes.in_force.due(CARS), town.mixes.private_slots) == (None, 4)
    await town.look(FADED_MS / 2_000 + 5)
    known = town.mixes.in_force
    assert (town.tilts, known.due(CARS), town.mixes.private_slots) == ({"0": 0}, None, 0)
    assert known.seq == SEQ  # impressions go on to say what they went by
    town.write(mix(SEQ + 1))
    await town.look()
    assert town.tilts == {"0": 100_000}
    assert [message.split(":")[0] for message in caplog.messages] == [
        "no mix follows the one in force",
        "the mix in force is too old",
        "a mix is in force",
    ]


async def test_who_begins_with_an_old_mix_takes_it_for_what_it_is(town: Town) -> None:
    town.write(mix(ts=module.now_ms() - KEPT_MS - FADED_MS // 2))
    await town.look()
    assert 0 < town.tilts["0"] < 60_000


async def test_a_mix_of_a_clock_that_is_ahead_is_a_new_one(town: Town) -> None:
    town.write(mix(ts=module.now_ms() + 10**9))
    await town.look()
    assert town.tilts == {"0": 100_000}


async def test_brokers_that_are_away_change_nothing(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    town.write(mix())
    await town.look()
    caplog.clear()
    town.log.leaderless.add(("mix", 0))
    await town.look()
    assert (town.tilts, caplog.messages) == ({"0": 100_000}, [])
    await town.look(KEPT_MS / 1_000 + 60)
    assert "(mix does not answer)" in caplog.text


async def test_a_topic_that_was_made_again_is_read_from_its_beginning(town: Town) -> None:
    for number in range(5):
        town.write(mix(SEQ + number))
    await town.look()
    town.log.delete("mix")
    town.log.create("mix", 1)
    town.write(mix(SEQ + 9))
    for _ in range(3):
        await town.look()
    assert town.mixes.in_force.seq == SEQ + 9


async def test_what_a_feed_takes_goes_by_the_mix_and_says_so(town: Town) -> None:
    index = MemoryServingIndex()
    await index.apply(CARS, {0: 1}, [entry("people", score=500_000, band=0)])
    await index.apply(CARS, {0: 1}, [entry("famous", score=550_000, band=5)])
    await index.apply(FANS, {0: 1}, [entry("friend", score=200_000, band=3)])
    leases = Leases(index, mixes=town.mixes)
    taken = [(one.video, one.net, one.mix) for one in await leases.take([CARS, FANS], 3)]
    assert taken == [
        ("famous", 550_000, None),
        ("people", 500_000, None),
        ("friend", 200_000, None),
    ]
    town.write(mix())
    await town.look()
    taken = [(one.video, one.net, one.mix) for one in await leases.take([CARS, FANS], 3)]
    assert taken == [
        *(("people", 600_000, SEQ), ("friend", 600_000, SEQ), ("famous", 550_000, SEQ))
    ]
    assert {one.video for one in await leases.take([CARS, FANS], 2)} == {"people", "friend"}
    (best,) = await leases.take(CARS, 1)
    assert (best.video, best.score, best.net) == ("people", 500_000, 600_000)


async def test_newcomers_get_the_share_that_the_mix_says(town: Town) -> None:
    index = MemoryServingIndex()
    best = entry("best", score=500_000, allowance=10_000)
    soon = entry("new", score=0, allowance=60, deadline=10**15, due=60)
    await index.apply(CARS, {0: 1}, [best, soon])
    town.write(mix(due={CARS: MICROS // 2}))
    await town.look()
    leases = Leases(index, mixes=town.mixes)
    taken = await leases.take(CARS, 10, most_each=10)
    assert {one.via: one.impressions for one in taken} == {"fresh": 5, "rank": 5}


async def test_it_follows_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    town = Town()
    async with town.mixes as mixes, asyncio.timeout(PATIENCE_S):
        town.write(mix())
        while mixes.in_force.seq != SEQ:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    await mixes.close()


def test_a_server_without_an_event_loop_follows_it_too() -> None:
    town = Town()
    town.write(mix())
    index = MemoryServingIndex()
    asyncio.run(index.apply(CARS, {0: 1}, [entry("people", score=500_000, band=0)]))
    with BlockingLeases(index, mixes=town.mixes) as leases:
        (taken,) = leases.take(CARS, 1)
    assert (taken.net, taken.mix) == (600_000, SEQ)


async def test_nobody_there_is_told_at_the_start() -> None:
    with pytest.raises(Unreachable):
        await Mixes("127.0.0.1:1").start()
    with (
        pytest.raises(Unreachable),
        BlockingLeases(MemoryServingIndex(), mixes=Mixes("127.0.0.1:1")),
    ):
        pass


async def test_it_reads_a_broker(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with EmbeddedBroker({"policies": 1, "mix": 1}) as broker:
        async with Mixes(broker.bootstrap) as mixes:
            assert mixes.in_force.seq is None
            assert mixes.age_s < 60
    assert "there is no mix" in caplog.text
    assert issubclass(Unreachable, Retry)

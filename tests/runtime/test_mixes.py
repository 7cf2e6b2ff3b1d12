"""The topic `mix`: who wrote what counts, which one is in force, and what is left of an old one."""

import pytest
from kit.keys import INSTALLATION, SIGNER, STRANGER, TRUST
from kit.twins import settings_of
from msgspec.structs import replace

from streams.core.units import MICROS
from streams.errors import Retry
from streams.runtime.memory import MemoryLog, MemoryReader
from streams.runtime.mixes import (
    FADED_MS,
    KEPT_MS,
    LATEST,
    Mix,
    Promise,
    latest_mix,
    mix_records,
    read_mix,
    remains,
    tilts_on,
)
from streams.runtime.mixes import mix_record as record_of
from streams.runtime.ports import Outgoing, Record
from streams.runtime.signing import Signer

SETTINGS = settings_of()
TS = 1_700_000_000_000
MIX = Mix(
    2,
    28_333_333,
    TS,
    tilts={"discover:0": 30_000, "discover:0c": -7, "following:0": 5},
    due={"discover:cars": 12_000},
    private_slots=3,
    promises=(Promise("ordinary", 700_000, owed=5, short="bound"),),
)


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    made.create("mix", 1)
    return made


def written(log: MemoryLog, *mixes: Mix, signer: Signer = SIGNER) -> None:
    for mix in mixes:
        log.append(record_of(SETTINGS, mix, signer))


def records(log: MemoryLog) -> list[Record]:
    return list(log.records("mix", 0))


def test_what_is_written_is_read(log: MemoryLog) -> None:
    written(log, MIX)
    assert read_mix(records(log)[0], TRUST) == MIX


def test_each_leader_has_a_record_of_its_own(log: MemoryLog) -> None:
    written(log, MIX, replace(MIX, seq=MIX.seq + 1), replace(MIX, term=3))
    assert [record.key for record in records(log)] == [b"mix 2", b"mix 2", b"mix 3"]


def test_the_latest_of_the_latest_leader_is_in_force(log: MemoryLog) -> None:
    newer, slept = replace(MIX, term=3, seq=5), replace(MIX, seq=MIX.seq + 100)
    written(log, MIX, newer, slept)
    assert latest_mix(records(log), TRUST) == newer
    assert latest_mix(records(log), TRUST, known=replace(newer, seq=6)) == replace(newer, seq=6)
    assert latest_mix([], TRUST) is None


def test_what_nobody_in_force_signed_is_not_there(log: MemoryLog) -> None:
    forged = replace(MIX, term=9)
    written(log, forged, signer=Signer(INSTALLATION.id, STRANGER))
    written(log, forged, signer=Signer("another installation", SIGNER.key))
    true = record_of(SETTINGS, MIX, SIGNER)
    log.append(Outgoing("mix", true.value, b"mix 9", true.headers, 0))  # another key
    log.append(Outgoing("mix", true.value, true.key, (), 0))
    log.append(Outgoing("mix", None, true.key, (), 0))
    log.append(Outgoing("mix", b"{}", b"mix 1", [SIGNER.header(b"mix 1", b"{}")], 0))
    elsewhere = SIGNER.header(b"mix 2", (true.value or b"") + b" ")
    log.append(Outgoing("mix", true.value, true.key, [elsewhere], 0))
    assert {read_mix(record, TRUST) for record in records(log)} == {None}


async def test_who_begins_reads_the_latest_alone_and_then_what_is_new(log: MemoryLog) -> None:
    written(log, *(replace(MIX, seq=number) for number in range(1, LATEST + 11)))
    reader = MemoryReader(log)
    some, position = await mix_records(reader, SETTINGS)
    assert [read_mix(one, TRUST).seq for one in some] == list(range(11, LATEST + 11))  # type: ignore[union-attr]
    assert await mix_records(reader, SETTINGS, position) == ([], position)
    written(log, MIX)
    some, _ = await mix_records(reader, SETTINGS, position)
    assert [read_mix(one, TRUST) for one in some] == [MIX]


async def test_a_topic_that_does_not_answer_is_no_mix(log: MemoryLog) -> None:
    log.leaderless.add(("mix", 0))
    with pytest.raises(Retry, match="mix does not answer"):
        await mix_records(MemoryReader(log), SETTINGS)


def test_an_old_mix_fades() -> None:
    ages = (-5, 0, KEPT_MS, KEPT_MS + FADED_MS // 2, KEPT_MS + FADED_MS, 10**12)
    assert [remains(age) for age in ages] == [MICROS, MICROS, MICROS, MICROS // 2, 0, 0]


def test_tilts_are_those_of_the_surface_and_fade_to_nothing() -> None:
    assert tilts_on(MIX, "discover") == {"0": 30_000, "0c": -7}
    assert tilts_on(MIX, "following", MICROS // 5) == {"0": 1}
    assert set(tilts_on(MIX, "discover", 0).values()) == {0}

"""Control records in another installation: counted before they are refused, or signed anew."""

from dataclasses import replace
from pathlib import Path

import pytest
from kit.events import FIXED, NOW, admit, hold, records_of, signed_record, view
from kit.keys import (
    INSTALLATION,
    KEY,
    NEXT_KEY,
    NEXT_SIGNER,
    SPELLING,
    STRANGER,
    key_of,
)
from kit.recordings import FAST, TOPIC, cluster_of, log_with, replayer_into, target
from kit.recordings import record as record_whole
from kit.twins import settings_of
from msgspec.structs import replace as changed

from streams.core.partition_control import Key, Upgrade
from streams.errors import Halt
from streams.recording.reader import Recording
from streams.recording.resigning import Signatures, plan_signatures, target_installation
from streams.runtime.codec import decode_log
from streams.runtime.installation import Installation, installation_record
from streams.runtime.memory import MemoryCluster, MemoryLog, MemoryReader
from streams.runtime.signing import Signer

THERE_KEY = key_of(9)
THERE = Installation("fedcba9876543210", (THERE_KEY.public,), (THERE_KEY.public,), fresh=True)
INTO_LOG = {TOPIC: "x.interactions"}


@pytest.fixture
async def recording(tmp_path: Path) -> Recording:
    """Six records that counted, a forged one, and two about the keys of where it was recorded."""
    forged = Signer(INSTALLATION.id, STRANGER)
    rotated = Key("keys-1", NOW, 1, (NEXT_KEY.public,))
    records = [
        signed_record(Upgrade("upgrade-1", NOW), 0),
        signed_record(FIXED, 1),
        signed_record(admit(), 2),
        signed_record(hold(), 3, signer=forged),
        signed_record(rotated, 4),
        signed_record(hold("late"), 5),  # its key is retired
        signed_record(hold("held"), 6, signer=NEXT_SIGNER),
        *(one._replace(offset=7) for one in records_of([view()])),
    ]
    return await record_whole(cluster_of(log_with(records, 1)), tmp_path / "r")


def plan(recording: Recording, **changes: object) -> Signatures:
    given = {"installation": THERE, "key": None, "topics": INTO_LOG} | changes
    return plan_signatures(
        recording,
        given["topics"],
        given["installation"],
        given["key"],
        SPELLING,  # type: ignore[arg-type]
    )


def test_another_installation_refuses_and_that_is_said_with_the_number(
    recording: Recording,
) -> None:
    words, resigner = plan(recording)
    assert words.startswith("7 control records were not signed for installation fedcba9876543210")
    assert "--resign KEY" in words
    assert resigner is None


def test_the_same_installation_and_a_topic_that_is_no_log_have_nothing_to_say(
    recording: Recording,
) -> None:
    assert plan(recording, installation=INSTALLATION) == Signatures()
    assert plan(recording, installation=None) == Signatures()


def test_what_is_signed_anew_and_what_is_not_is_said(recording: Recording) -> None:
    words, _ = plan(recording, key=THERE_KEY)
    assert "3 control records are signed anew for installation fedcba9876543210" in words
    assert "4 that did not count, or change keys, will be refused there" in words


def test_a_key_that_does_not_count_there_is_refused(recording: Recording) -> None:
    with pytest.raises(Halt, match="does not count in installation fedcba9876543210"):
        plan(recording, key=KEY)
    with pytest.raises(Halt, match="no target topic is the log of an installation"):
        plan(recording, installation=None, key=THERE_KEY)


async def test_what_counted_counts_there_and_no_forgery_is_blessed(recording: Recording) -> None:
    log, cluster = target(1, "x.interactions")
    options = replace(FAST, resigner=plan(recording, key=THERE_KEY).resigner)
    replayer = replayer_into(recording, cluster, options, to="x.interactions")
    assert await replayer.run(lambda: False)
    arrived = log.records("x.interactions", 0)
    out = decode_log(arrived, THERE.trust(), SPELLING)
    assert [event.id for event in out.events] == ["policy-1", "admit-1", "held", "e1"]
    assert [refusal.offset for refusal in out.refusals] == [0, 3, 4, 5]
    assert {refusal.reason for refusal in out.refusals} == {"signature"}
    assert [one.value for one in arrived] == [
        one.value for chunk in recording.chunks((TOPIC, 0)) for one in chunk
    ]


async def test_without_resigning_every_header_is_as_it_was(recording: Recording) -> None:
    log, cluster = target(1, "x.interactions")
    assert await replayer_into(recording, cluster, to="x.interactions").run(lambda: False)
    headers = [tuple(one.headers) for one in log.records("x.interactions", 0)]
    recorded = [one for chunk in recording.chunks((TOPIC, 0)) for one in chunk]
    assert headers == [tuple(one.headers) for one in recorded]


async def test_the_installation_is_that_of_the_target_topic() -> None:
    log = MemoryLog()
    for name in ("x.interactions", "interactions", "again", "x.policies", "policies"):
        log.create(name, 1)
    log.append(installation_record(settings_of(), INSTALLATION))
    log.append(installation_record(settings_of(topic_prefix="x."), THERE))
    found = []
    for to in ("x.interactions", "interactions", "again", "y.interactions"):
        at = (MemoryCluster(log), MemoryReader(log), settings_of(), {TOPIC: to})
        found.append(await target_installation(*at))
    assert found == [THERE, INSTALLATION, None, None]


def test_the_recording_of_a_log_that_nobody_knows_signs_nothing_anew(recording: Recording) -> None:
    recording.manifest.installation = None
    words, resigner = plan(recording, key=THERE_KEY)
    assert words.startswith("0 control records are signed anew")
    assert resigner is not None
    assert changed(THERE, seq=1).id == resigner.signer.installation

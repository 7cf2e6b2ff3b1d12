"""What Redis lost of the dossiers is read again from the topics, on the twins in memory."""

import logging
from copy import deepcopy

import pytest
from kit.control import NOW, RULES, Office, Process, review, upload
from kit.events import view
from kit.keys import SIGNER, STRANGER
from kit.twins import LOG

from streams.control.admission.acknowledged import FellBack
from streams.control.admission.register import TOPICS
from streams.errors import Retry
from streams.runtime.ports import Outgoing
from streams.runtime.signing import Signer, encode

OTHER = Signer("fedcba9876543210", STRANGER)


@pytest.fixture
def office() -> Office:
    return Office()


async def lived(office: Office) -> Process:
    """Return a control plane that admitted four videos: public, limited, waiting, removed."""
    process = await Process(office).start()
    await process.take(
        upload("v1"),
        upload("v2"),
        upload("v3", title="?", duration_ms=4_000_000),
        upload("v4"),
        review("limit", "v2"),
        review("reject", "v4"),
    )
    await office.count()
    assert stages(office) == ["public", "limited", "unknown", "removed"]
    return process


def stages(office: Office) -> list[str]:
    return [office.row(f"v{number}").stage for number in range(1, 5)]


async def test_a_verdict_counts_after_redis_was_emptied_and_counted_again(office: Office) -> None:
    await lived(office)
    said = [office.said(f"v{number}") for number in range(1, 5)]
    office.flush()
    again = await Process(office).start()
    assert [office.said(f"v{number}") for number in range(1, 5)] == said  # the log has it all
    await again.take(review("limit", "v1", name="m9"), review("approve", "v3", name="m9"))
    await office.count()
    assert stages(office) == ["limited", "limited", "public", "removed"]
    assert office.refused("interactions") == []


async def test_without_copies_nothing_is_said_before_all_facts_are_learned(office: Office) -> None:
    await lived(office)
    said = [office.said(f"v{number}") for number in range(1, 5)]
    office.flush()
    office.world.log.create("dossiers", 2)
    again = await Process(office).start()
    assert [office.said(f"v{number}") for number in range(1, 5)] == said
    assert all(office.copies(f"v{number}") for number in range(1, 5))
    await again.take(review("limit", "v1", name="m9"), review("approve", "v3", name="m9"))
    await office.count()
    assert stages(office) == ["limited", "limited", "public", "removed"]


async def test_a_first_start_behind_uploads_is_no_loss_and_no_warning(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "streams.control"):
        office.world.log.append(Outgoing("uploads", encode(upload("v1")), b"v1"))
        assert await Process(office).recovery.look()
        first = caplog.records[-1]
        await lived(office)
        office.flush()
        caplog.clear()
        assert await Process(office).recovery.look()
    assert (first.levelname, "a first time: partitions" in first.getMessage()) == ("INFO", True)
    assert caplog.records[-1].levelname == "WARNING"
    assert "reading the control topics again" in caplog.records[-1].getMessage()


async def test_nothing_is_learned_before_the_log_is_counted_again(office: Office) -> None:
    await lived(office)
    said = [office.said(f"v{number}") for number in range(1, 5)]
    office.flush()
    early = Process(office)
    assert await early.recovery.look()
    with pytest.raises(Retry, match="waiting for a worker"):
        await early.recovery.run()
    assert early.metrics.recovering._value.get() == 1
    assert (await early.register.positions())["uploads", 0] == 0
    assert [office.said(f"v{number}") for number in range(1, 5)] == said
    await office.count()
    await early.recovery.run()
    assert early.metrics.recovering._value.get() == 0
    assert office.known("v2") is not None


async def test_a_log_in_use_is_counted_far_enough_some_day(office: Office) -> None:
    await lived(office)
    office.flush()
    early = Process(office)
    for _ in range(3):
        await early.recovery.look()
        needed = dict(early.log.counted)
        office.world.log.append(Outgoing(LOG, encode(view("e1", video="v1")), b"v1"))
    await early.recovery.look()
    assert early.log.counted == needed


async def test_a_log_without_a_leader_is_counted_far_enough_once_it_has_one(office: Office) -> None:
    """Another control plane has put the dossiers right meanwhile."""
    other = await lived(office)
    office.flush()
    late, places = Process(office), {(LOG, 0), (LOG, 1)}
    office.world.log.leaderless.update(places)
    assert await late.recovery.look()
    office.world.log.leaderless.difference_update(places)
    await office.count()
    assert await other.recovery.look()
    await other.recovery.run()
    assert await late.recovery.look()
    await late.recovery.run()
    await late.take(upload("v5"))
    await office.count()
    assert office.row("v5").stage == "public"


async def test_an_older_redis_is_noticed_before_an_event_is_handled(office: Office) -> None:
    process = await Process(office).start()
    older = deepcopy(office.dossiers.__dict__)
    await process.take(upload())
    office.dossiers.__dict__.update(older)
    with pytest.raises(FellBack, match="Redis holds uploads"):
        await process.take(review("limit"))
    assert await process.recovery.look()
    await office.count()
    await process.recovery.run()
    await process.work()
    await office.count()
    assert office.row().stage == "limited"


async def test_an_older_redis_is_noticed_without_events_and_by_the_next_process(
    office: Office,
) -> None:
    process = await Process(office).start()
    older = deepcopy(office.dossiers.__dict__)
    await process.take(upload())
    assert not await Process(office).recovery.look()
    office.dossiers.__dict__.update(older)
    with pytest.raises(FellBack):
        await process.register.positions()
    assert await Process(office).recovery.look()  # the group had committed more


async def test_a_loss_between_reading_and_writing_changes_nothing(office: Office) -> None:
    process = await lived(office)
    events = office.world.log.records("uploads", 0)
    read = office.dossiers.read

    async def lose(partition: int, log: str, videos: list[str]) -> object:
        kept = await read(partition, log, videos)
        office.dossiers.shelves[partition].positions.clear()
        return kept

    office.dossiers.read = lose  # type: ignore[method-assign,assignment]
    with pytest.raises(FellBack):
        await process.register.handle("uploads", events)


async def test_what_is_not_known_of_a_lost_upload_is_known_by_its_row(office: Office) -> None:
    await lived(office)
    office.flush()
    for partition in range(2):  # retention
        office.world.log.forget(
            "uploads", partition, office.world.log.offsets("uploads", partition).end
        )
    again = await Process(office).start()
    await again.take(
        review("limit", "v1", name="m9"), review("approve", "v2", name="m9", ts=NOW + 1)
    )
    await office.count()
    assert stages(office) == ["limited", "public", "unknown", "removed"]


async def test_videos_admitted_in_another_installation_are_admitted_again(office: Office) -> None:
    await Process(office).start()
    wrong = Process(office, signer=OTHER)
    await wrong.take(upload("v1"), upload("v2"), review("limit", "v2"), upload("v4"))
    await office.count()
    assert office.said() == ["admit"]
    assert set(office.refused("interactions")) == {"signature"}
    right = await Process(office, signer=SIGNER).start()
    await office.count()
    assert stages(office) == ["public", "limited", "unknown", "public"]
    await right.take(review("reject", "v4"))
    await office.count()
    assert office.row("v4").stage == "removed"


async def test_letters_of_what_was_handled_are_not_written_again(office: Office) -> None:
    process = await Process(office).start()
    office.bring(upload("v1"), partition=0)
    office.bring(upload("v1"), partition=1)
    await process.work()
    assert office.refused("uploads") == ["misrouted"]
    office.flush()
    await Process(office).start()
    assert office.refused("uploads") == ["misrouted"]


async def test_a_loss_right_behind_a_recovery_is_noticed(office: Office) -> None:
    await lived(office)
    office.flush()
    again = await Process(office).start()
    office.flush()
    with pytest.raises(FellBack):
        await again.register.positions()


async def test_what_was_never_handled_is_handled_by_the_recovery(office: Office) -> None:
    office.bring(upload(), review("limit"))
    bad = Outgoing("uploads", b"{", b"v1")
    office.world.log.append(bad)
    await Process(office).start()
    await office.count()
    assert office.row().stage == "limited"
    assert office.refused("uploads") == ["json"]


async def test_what_retention_took_unread_is_said(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    process = await Process(office).start()
    office.bring(upload())
    for partition in range(2):
        office.world.log.forget("uploads", partition, 5)
    with caplog.at_level(logging.ERROR, "streams.control"):
        await process.recovery.look()
    assert "offsets 0 to 4 are no longer in the topic" in caplog.text


async def test_a_topic_that_was_made_again_is_read_from_its_beginning(office: Office) -> None:
    process = await lived(office)
    for topic in TOPICS:
        office.world.log.create(topic, 2)
    office.world.log.append(Outgoing("uploads", b"{", b"v1"))
    office.bring(upload("v9"))
    again = await Process(office).start()
    await again.work()
    await office.count()
    assert office.row("v9").stage == "public"
    assert process.log.name == again.log.name
    assert office.refused("uploads") == ["json"]


async def test_forgotten_positions_are_read_again_and_nothing_is_said_twice(office: Office) -> None:
    await lived(office)
    said = [office.said(f"v{number}") for number in range(1, 5)]
    documents = office.documents()
    forgotten = [await office.dossiers.forget(partition) for partition in range(2)]
    assert forgotten == [4, 5]  # and the count of claims
    await Process(office).start()
    assert office.documents() == documents
    assert [office.said(f"v{number}") for number in range(1, 5)] == said


async def test_a_recovery_puts_the_policy_behind_what_must_be_counted(office: Office) -> None:
    await lived(office)
    before = len(office.policies())
    office.flush()
    await Process(office).start()
    policies = office.policies()
    assert len(policies) == before + 2
    assert {one.version for one in policies} == {RULES.policy.version}

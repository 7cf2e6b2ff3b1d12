"""Copies of dossiers in the topic `dossiers`, compared with Redis, on the twins in memory."""

import logging
from collections.abc import Awaitable
from copy import deepcopy

import pytest
from kit.control import NOW, RULES, Office, Process, review, upload
from kit.twins import LOG
from msgspec.structs import replace

from streams.control.admission import dossier
from streams.control.admission.register import TOPICS
from streams.core.events import Recognition, Tag
from streams.core.partitioner import partition_of
from streams.errors import Retry
from streams.runtime.documents import copy_of
from streams.runtime.memory import MemoryProducer
from streams.runtime.ports import Document, Outgoing

HOME = partition_of(b"v1", 2)


@pytest.fixture
def office() -> Office:
    return Office()


async def settled(process: Process) -> None:
    """Compare as often as it takes to be sure of every copy."""
    for _ in range(3):
        await process.recovery.compare()


def lost(office: Office, video: str = "v1") -> Document:
    """Take a video's document out of Redis."""
    return office.dossiers.shelves[partition_of(video.encode(), 2)].documents.pop(video)


def write(office: Office, document: Document, video: str = "v1", partition: int = HOME) -> None:
    office.world.log.append(copy_of(office.world.settings, partition, video, document))


# What is written


async def test_every_change_has_one_copy_at_its_revision_and_repeats_have_none(
    office: Office,
) -> None:
    process = await Process(office).start()
    await process.take(upload(), review("limit"))
    await process.take(review("limit"))
    await process.take(review("approve", name="m2", ts=NOW + 1))
    assert office.copies() == [1, 2, 3]
    stored = office.document()
    assert stored is not None
    assert stored.revision == 3


async def test_facts_that_say_nothing_are_copied_too(office: Office) -> None:
    process = await Process(office).start()
    await process.take(review("limit"))
    assert (office.said(), office.copies()) == ([], [1])


class Listening(MemoryProducer):
    """Notes the topic of every record, and fails to write to one of them."""

    def __init__(self, office: Office) -> None:
        super().__init__(office.world.log)
        self.topics: list[str] = []
        self.fails_in = ""

    async def send(self, record: Outgoing) -> Awaitable[None]:
        self.topics.append(record.topic)
        if record.topic == self.fails_in:
            raise Retry("no leader")
        return await super().send(record)


async def test_what_is_to_be_said_is_copied_before_it_is_said(office: Office) -> None:
    producer = Listening(office)
    process = await Process(office, producer=producer).start()
    producer.topics.clear()
    await process.take(upload())
    assert producer.topics == ["dossiers", LOG]


@pytest.mark.parametrize("event", [upload(), review("limit")], ids=["said", "not said"])
async def test_an_event_whose_copy_was_not_written_is_not_handled(
    office: Office, event: object
) -> None:
    producer = Listening(office)
    process = await Process(office, producer=producer).start()
    producer.topics.clear()
    producer.fails_in = "dossiers"
    office.bring(event)  # type: ignore[arg-type]
    with pytest.raises(Retry):
        await process.work()
    assert LOG not in producer.topics
    producer.fails_in = ""
    other = await Process(office).start()
    await other.work()  # it knows the event already, and yet not the topic
    assert office.copies()
    known = office.known()
    assert known is not None
    assert not known.uncopied


async def test_what_would_make_a_dossier_too_large_is_a_letter_and_a_verdict_is_not(
    office: Office,
) -> None:
    process = await Process(office).start()
    process.register._settings = replace(office.world.settings, record_bytes=1_300)
    words = [
        Recognition(f"r{n}", "v1", NOW, f"eye{n}", (Tag("scene", "x" * 600, 1),)) for n in range(3)
    ]
    await process.take(upload(), *words)
    assert office.refused("recognitions") == ["too_large"]
    await process.take(review("limit"))
    known = office.known()
    assert known is not None
    assert (len(known.heard), known.announced.audience) == (3, "followers")


# What Redis lost


async def test_a_dossier_that_redis_lost_is_put_back_as_it_was(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    process = await Process(office).start()
    await process.take(upload(), review("limit"))
    await settled(process)
    await office.count()
    said, before = office.said(), lost(office)
    await office.dossiers.hold(HOME, process.log.name, {"dossiers": 0})  # an older position, too
    with caplog.at_level(logging.WARNING, "streams.control"):
        await process.recovery.compare()
    assert office.document() == before
    assert office.said() == said, "the log has it all"
    assert office.copies() == [1, 2]
    assert "1 dossiers are back from topic dossiers" in caplog.text
    assert process.metrics.restored._value.get() == 1


async def test_an_older_dossier_is_replaced_by_its_greater_copy(office: Office) -> None:
    process = await Process(office).start()
    await process.take(upload())
    await settled(process)
    older = deepcopy(office.dossiers.shelves)
    await process.take(review("limit"))
    await settled(process)
    office.dossiers.shelves.update(older)
    await Process(office).recovery.compare()
    known = office.known()
    assert known is not None
    assert known.verdict == review("limit")


async def test_a_dossier_that_fell_back_to_before_its_copy_is_known_to_have_one(
    office: Office,
) -> None:
    """Redis holds the very revision that was copied, as it was just before that."""
    process = await Process(office).start()
    await process.take(upload(), review("limit"))
    stored = office.document()
    assert stored is not None
    before = replace(dossier.decode(stored.text), uncopied=True)
    shelf = office.dossiers.shelves[HOME]
    shelf.documents["v1"] = Document(stored.revision, dossier.encode(before))
    (positions,) = shelf.positions.values()
    positions["dossiers"] = 0
    await settled(process)
    assert office.document() == stored
    assert set(office.copies()) == {1, 2}


async def test_all_comes_back_when_the_topics_of_events_are_empty_by_now(office: Office) -> None:
    process = await Process(office).start()
    await process.take(upload("v1"), upload("v2"), review("limit", "v2"), upload("v3", title="?"))
    await office.count()
    before = office.documents()
    for topic in TOPICS:
        for partition in range(2):
            end = office.world.log.offsets(topic, partition).end
            office.world.log.forget(topic, partition, end)
    office.flush()
    again = await Process(office).start()
    assert office.documents() == before
    await again.take(review("approve", "v2", name="m2", ts=NOW + 1), review("limit", "v3"))
    await office.count()
    assert [office.row(f"v{n}").stage for n in (1, 2, 3)] == ["public", "public", "limited"]


async def test_only_the_greatest_copy_counts_whatever_came_behind_it(office: Office) -> None:
    process = await Process(office).start()
    await process.take(upload(), review("limit"))
    await office.count()
    before = office.document()
    write(office, Document(1, dossier.encode(dossier.Dossier("v1"))))
    office.flush()
    await Process(office).start()
    assert office.document() == before


async def test_what_cannot_be_read_in_redis_comes_back_and_in_the_topic_it_is_passed(
    office: Office,
) -> None:
    process = await Process(office).start()
    await process.take(upload())
    await office.count()
    before = office.document()
    office.dossiers.shelves[HOME].documents["v1"] = Document(-1, b"{")
    await office.dossiers.hold(HOME, process.log.name, {"dossiers": 0})
    for key, value in ((b"v1", b"{"), (b"v1", None), (b"{v}:1", b'{"revision":9,"dossier":{}}')):
        office.world.log.append(Outgoing("dossiers", value, key, partition=HOME))
    await settled(process)
    assert office.document() == before
    assert office.documents().keys() == {"v1"}


async def test_copies_of_before_partitions_were_added_are_put_back_where_they_belong_now(
    office: Office,
) -> None:
    process = await Process(office).start()
    write(office, Document(5, dossier.encode(dossier.Dossier("v1"))), partition=1 - HOME)
    for partition in range(2):  # what was compared of another count of partitions is not known here
        await office.dossiers.forget(partition)
    await settled(process)
    stored = office.document()
    assert stored is not None
    assert stored.revision == 5
    kept = office.world.log.records("dossiers", HOME)
    assert [record.key for record in kept] == [b"v1"]


async def test_a_partition_that_does_not_answer_keeps_no_other_one_back(office: Office) -> None:
    process = await Process(office).start()
    other = next(v for n in range(9) if partition_of((v := f"w{n}").encode(), 2) != HOME)
    await process.take(upload("v1"), upload(other))
    await office.count()
    lost(office, "v1")
    lost(office, other)
    office.world.log.leaderless.add(("dossiers", HOME))
    await process.recovery.compare()
    assert office.known("v1") is None
    assert office.known(other) is not None


# What the topic lacks


async def test_a_lesser_copy_is_followed_by_the_greater_one_again(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    process = await Process(office).start()
    await process.take(upload())
    (first,) = office.world.log.records("dossiers", HOME)
    await process.take(review("limit"))
    await settled(process)
    office.world.log.append(Outgoing("dossiers", first.value, b"v1", (), HOME))  # by a late zombie
    await process.recovery.compare()
    assert office.copies() == [1, 2, 1], "the greater one may be on its way"
    with caplog.at_level(logging.WARNING, "streams.control"):
        await settled(process)
    assert office.copies() == [1, 2, 1, 2]
    assert "1 copies in dossiers[" in caplog.text
    assert process.metrics.repeated._value.get() == 1
    assert await position(office, process) == 4


async def position(office: Office, process: Process) -> int | None:
    """Return up to where Redis holds that the topic was compared."""
    kept = await office.dossiers.read(HOME, process.log.name, ())
    return kept.positions.get("dossiers")


async def test_what_was_not_sure_is_looked_at_again_by_the_next_control_plane(
    office: Office,
) -> None:
    process = await Process(office).start()
    await process.take(upload(), review("limit"))
    await settled(process)
    write(office, Document(1, dossier.encode(dossier.Dossier("v1"))))
    await process.recovery.compare()
    assert await position(office, process) == 2, "the lesser copy is not passed"
    await settled(await Process(office).start())
    assert office.copies() == [1, 2, 1, 2]


async def test_a_copy_that_is_only_late_is_not_written_twice(office: Office) -> None:
    process = await Process(office).start()
    await process.take(upload(), review("limit"))
    await settled(process)
    one, two = office.world.log.records("dossiers", HOME)
    office.world.log.append(Outgoing("dossiers", one.value, b"v1", (), HOME))
    await process.recovery.compare()
    office.world.log.append(Outgoing("dossiers", two.value, b"v1", (), HOME))
    await settled(process)
    assert office.copies() == [1, 2, 1, 2]
    assert process.metrics.repeated._value.get() == 0


async def test_a_topic_that_was_made_again_gets_a_copy_of_all_that_redis_holds(
    office: Office,
) -> None:
    process = await Process(office).start()
    await process.take(upload("v1"), upload("v2"), upload("v3"))
    await settled(process)
    office.world.log.create("dossiers", 2)
    await settled(process)
    assert [office.copies(f"v{number}") for number in (1, 2, 3)] == [[1], [1], [1]]


async def test_documents_of_before_there_was_a_topic_are_copied_at_the_start(
    office: Office,
) -> None:
    known = dossier.Dossier("v1", upload=upload())
    office.dossiers.shelves[HOME].documents["v1"] = Document(1, dossier.encode(known))
    await Process(office).start()
    assert office.copies() == [1]


# Written in two ways


async def test_of_two_documents_of_one_revision_the_facts_of_both_are_kept_and_said(
    office: Office,
) -> None:
    """Redis fell back, and another control plane went on before anybody noticed."""
    process = await Process(office).start()
    await process.take(upload())
    await settled(process)
    older = deepcopy(office.dossiers.shelves)
    await process.take(review("limit"))
    office.dossiers.shelves.update(older)
    unaware = Process(office)
    office.bring(Recognition("r1", "v1", NOW, "eye", (Tag("scene", "stadium", 1_000_000),)))
    (record,) = office.world.log.records("recognitions", HOME)
    await unaware.register.handle("recognitions", [record])
    assert office.copies() == [1, 2, 2]
    await settled(unaware)
    known = office.known()
    assert known is not None
    assert known.verdict == review("limit")
    assert "eye" in known.heard
    assert office.copies()[-1] == office.dossiers.shelves[HOME].documents["v1"].revision > 2
    await office.count()
    assert office.row().stage == "limited"


def test_facts_of_an_upload_that_was_replaced_do_not_come_back() -> None:
    first, second = upload(id="u1"), upload(id="u2", ts=NOW + 1, title="rain", hashtags=())
    tools = RULES.tools
    old = dossier.learn(dossier.Dossier("v1"), first, tools)
    new = dossier.learn(dossier.Dossier("v1"), second, tools)
    for one, other in ((old, new), (new, old)):
        joined = dossier.with_facts_of(one, other, tools)
        assert (joined.upload, joined.heard) == (second, new.heard)
    assert dossier.with_facts_of(new, old, tools) is new

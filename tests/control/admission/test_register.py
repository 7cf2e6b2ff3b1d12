"""Events in batches, dossiers in step with the log, on the twins in memory."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import pytest
from kit.control import NOW, Office, Process, review, upload

from streams.core.events import Recognition
from streams.core.partitioner import partition_of
from streams.errors import Retry
from streams.runtime.memory import MemoryDossiers, MemoryStore
from streams.runtime.ports import Document, DossierChange, Kept, Loaded, Move


@pytest.fixture
def office() -> Office:
    return Office()


def elsewhere(video: str) -> int:
    return 1 - partition_of(video.encode(), 2)


async def test_an_upload_is_admitted_and_public_in_the_fold(office: Office) -> None:
    process = await Process(office).start()
    await process.take(upload())
    await office.count()
    assert office.said() == ["admit"]
    assert office.row().stage == "public"


@pytest.mark.parametrize("topic", ["uploads", "recognitions", "reviews"])
async def test_an_event_in_another_partition_than_its_videos_is_misrouted(
    office: Office, topic: str
) -> None:
    process = await Process(office).start()
    events = {
        "uploads": upload(),
        "recognitions": Recognition("r1", "v1", NOW, "eye", ()),
        "reviews": review("limit"),
    }
    office.bring(events[topic], partition=elsewhere("v1"))
    await process.work()
    assert office.refused(topic) == ["misrouted"]
    (letter,) = office.world.sent(f"{topic}.dlq")
    message = dict(letter.headers)["__streams.errors.message"].decode()
    assert "partitioner=murmur2_random" in message
    assert office.known() is None


async def test_an_event_with_a_header_name_that_is_not_utf8_is_a_letter(office: Office) -> None:
    process = await Process(office).start()
    office.bring(upload())
    partition = partition_of(b"v1", 2)
    (sound,) = office.world.log.records("uploads", partition)
    spoilt = replace(sound, offset=1, headers=[("\udcff", b"1")])
    office.world.log.restore([spoilt])
    await process.work()
    assert office.refused("uploads") == ["header"]
    assert office.said() == ["admit"]


async def test_numbers_start_at_one_and_rise_by_one(office: Office) -> None:
    process = await Process(office).start()
    await process.take(upload(), review("limit"))
    await process.take(review("approve", name="m2", ts=NOW + 1))
    await office.count()
    assert office.said() == ["admit", "limit", "clear", "widen", "clear"]
    assert office.row().seq == 5


async def test_a_number_continues_from_the_row_where_the_dossier_is_gone(office: Office) -> None:
    process = await Process(office).start()
    await process.take(upload())
    await office.count()
    office.dossiers.shelves[partition_of(b"v1", 2)].documents.clear()
    await process.take(review("limit"))
    await office.count()
    assert (office.row().stage, office.row().seq) == ("limited", 2)


async def test_a_verdict_on_a_video_that_nobody_knows_is_kept_and_told(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    process = await Process(office).start()
    with caplog.at_level(logging.WARNING, "streams.control"):
        await process.take(review("limit"))
    assert "limit on v1, whose upload is not known" in caplog.text
    assert process.metrics.early_verdicts._value.get() == 1
    assert office.said() == []
    await process.take(upload())
    await office.count()
    assert office.row().stage == "limited"


async def test_events_of_one_video_in_one_batch_come_to_one_end(office: Office) -> None:
    process = await Process(office).start()
    office.bring(upload(), upload(id="u2", ts=NOW + 1), upload())
    await process.work()
    await office.count()
    assert (office.row().stage, office.said()[0]) == ("public", "admit")
    known = office.known()
    assert known is not None
    assert (known.unsent, known.seq) == ((), office.row().seq)


class OvertakenDossiers(MemoryDossiers):
    """Lets another of the same process store a position between what was read and its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def read(self, partition: int, log: str, videos: Sequence[str]) -> Kept:
        kept = await super().read(partition, log, videos)
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        return kept


async def test_what_others_store_while_positions_are_read_is_not_taken_for_lost() -> None:
    office = Office()
    dossiers = OvertakenDossiers()
    process = await Process(office, dossiers=dossiers).start()
    office.bring(upload(), partition=elsewhere("v1"))
    (record,) = office.world.log.records("uploads", elsewhere("v1"))
    dossiers.meanwhile = partial(process.register.handle, "uploads", [record])
    before = await process.register.positions()
    after = await process.register.positions()
    assert after["uploads", record.partition] > before.get(("uploads", record.partition), 0)


class CountingDossiers(MemoryDossiers):
    """Counts round trips; may let another act between a read and what follows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.paused: asyncio.Event | None = None
        self.read_once = asyncio.Event()

    async def read(self, partition: int, log: str, videos: Sequence[str]) -> Kept:
        self.calls += 1
        kept = await super().read(partition, log, videos)
        if self.paused is not None and videos:
            self.read_once.set()
            await self.paused.wait()
        return kept

    async def put(
        self,
        partition: int,
        log: str,
        changes: Sequence[DossierChange],
        moves: Mapping[str, Move],
    ) -> Literal["ok", "conflict", "behind"]:
        self.calls += 1
        return await super().put(partition, log, changes, moves)


class CountingStore(MemoryStore):
    """Counts how many loads are on their way at once."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.partitions.update(store.partitions)
        self.loads = self.now = self.most = 0

    async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
        self.loads += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return await super().load(partition, videos)


async def test_a_batch_costs_a_partition_a_few_round_trips_however_many_events_it_has() -> None:
    office = Office(partitions=64)
    office.dossiers = dossiers = CountingDossiers()
    store = CountingStore(office.world.store)
    process = await Process(office, store=store).start()
    events = [upload(f"v{number}") for number in range(200)]
    office.bring(*events)
    log = office.world.log
    records = [r for p in range(64) for r in log.records("uploads", p)]
    dossiers.calls = store.loads = 0
    await process.register.handle("uploads", records)
    partitions = len({record.partition for record in records})
    assert partitions > 32
    assert (dossiers.calls, store.most) == (3 * partitions, 16)  # read, say, said
    assert store.loads <= partitions
    dossiers.calls = 0
    await process.register.handle("uploads", records)
    assert dossiers.calls == 2 * partitions  # repeats say nothing


async def test_a_control_plane_that_slept_past_its_session_loses_no_verdict(
    office: Office,
) -> None:
    sleepy = CountingDossiers()
    office.dossiers = sleepy
    asleep = await Process(office).start()
    office.bring(upload())
    records = office.world.log.records("uploads", partition_of(b"v1", 2))
    sleepy.paused = asyncio.Event()
    sleeping = asyncio.create_task(asleep.register.handle("uploads", records))
    await sleepy.read_once.wait()

    other = await Process(office, dossiers=_same(sleepy)).start()
    await other.take(review("limit"))
    sleepy.paused.set()
    with pytest.raises(Retry, match="another control plane"):
        await sleeping
    assert asleep.metrics.conflicts._value.get() == 1
    await asleep.register.handle("uploads", records)  # what the agent does then
    await office.count()
    assert office.row().stage == "limited"


def _same(dossiers: MemoryDossiers) -> MemoryDossiers:
    """Return another client of the same memory."""
    twin = MemoryDossiers()
    twin.__dict__.update(shelves=dossiers.shelves)
    return twin


async def test_a_dossier_that_cannot_be_read_stops_nobody_else_and_is_not_passed(
    office: Office,
) -> None:
    process = await Process(office).start()
    office.dossiers.shelves[partition_of(b"v1", 2)].documents["v1"] = Document(1, b"{")
    office.bring(upload(), *(upload(f"w{number}") for number in range(20)))
    with pytest.raises(ValueError, match="dossier of v1"):
        await process.work()
    partition = partition_of(b"v1", 2)
    beside = [f"w{n}" for n in range(20) if partition_of(f"w{n}".encode(), 2) == partition]
    assert beside
    assert all(office.known(video) is not None for video in beside)
    positions = (await process.register.positions())["uploads", partition]
    assert positions == 0

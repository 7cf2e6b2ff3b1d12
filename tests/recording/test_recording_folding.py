"""A recording, folded, gives what the live worker gave: receipts, digests and rows."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kit.events import signed_record, synthetic_log, takedown
from kit.folding import Folding, decoded
from kit.keys import INSTALLATION, SECRET
from kit.recordings import TOPIC, busy_log, cluster_of, log_with
from kit.recordings import record as record_whole

from streams.core.receipts import encode
from streams.errors import Halt
from streams.recording import folding as folding_module
from streams.recording import writer as writer_module
from streams.recording.fold_checks import require_own, starts_late
from streams.recording.folding import Folder, Rules, replay_namespace
from streams.recording.planning import Request
from streams.recording.reader import Recording
from streams.recording.selection import Selection
from streams.runtime.memory.consumer import MemoryConsumer
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.memory.store import MemoryStore
from streams.runtime.surroundings import Surroundings
from streams.runtime.worker import Worker
from streams.settings import load_settings

CONFIG = Path(__file__).parents[2] / "config"
RULES = Rules(200, 1 << 20, flush_rows=20, videos=3)
PARTITIONS = 4


def live(log: MemoryLog, number: int) -> Any:
    """Return what the fold of a partition gives, apart from every recording."""
    folding = Folding(RULES.generation_records, number, PARTITIONS)
    folding.fold(decoded(log.records(TOPIC, number))).flush()
    return folding


async def fold(
    recording: Recording,
    store: MemoryStore | None = None,
    rules: Rules = RULES,
    selection: Selection | None = None,
) -> Any:
    receipts = []
    folder = Folder(recording, TOPIC, rules, receipts.append, selection)
    folded = [await folder.partition(number, store) for number in range(PARTITIONS)]
    return receipts, folded


@pytest.fixture
def log() -> Any:
    return busy_log(2_000, PARTITIONS)


@pytest.fixture
async def recording(tmp_path: Path, log: MemoryLog) -> Any:
    return await record_whole(cluster_of(log), tmp_path / "r")


async def test_receipts_and_digests_are_the_live_ones_byte_for_byte(
    log: MemoryLog, recording: Recording
) -> None:
    receipts, folded = await fold(recording)
    expected = [live(log, number) for number in range(PARTITIONS)]
    assert receipts == [encode(said) for one in expected for said in one.receipts]
    assert [one.digest for one in folded] == [one.meta.digest for one in expected]
    assert len(receipts) > 100


async def test_they_are_what_a_worker_sends_and_stores(
    recording: Recording, log: MemoryLog
) -> None:
    """The worker itself, over the twins of Kafka and Redis, with batches and flushes of its own."""
    log.create("decisions", PARTITIONS)
    log.create("traffic", PARTITIONS)
    log.create("waiting", PARTITIONS)
    log.create("interactions.dlq", PARTITIONS)
    settings = msgspec.structs.replace(
        load_settings(CONFIG, environment={}),
        generation_records=RULES.generation_records,
        flush_rows=25,
        fetch_records=70,
    )
    store, consumer = MemoryStore(), MemoryConsumer(log, TOPIC, "g")
    around = Surroundings(MemoryProducer(log), store, settings, INSTALLATION)
    worker = Worker(consumer, around)
    await worker.start()
    running = asyncio.create_task(worker.run())
    while len(worker.watermarks()) < PARTITIONS or await worker.lag():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    worker.stop()
    await running
    sent = [r.value for number in range(PARTITIONS) for r in log.records("decisions", number)]
    receipts, folded = await fold(recording)
    assert worker.halted == {}
    assert sorted(receipts) == sorted(sent)
    for one in folded:
        assert store.partitions[one.partition].meta.digest == one.digest
        assert store.partitions[one.partition].watermark == one.watermark


async def test_frames_and_flushes_change_nothing(
    recording: Recording, log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    whole = await fold(recording)
    monkeypatch.setattr(writer_module, "FRAME_BYTES", 500)
    monkeypatch.setattr(folding_module, "MEMORY_FLUSH_RECORDS", 7)
    cluster = cluster_of(log)
    fetch = cluster.fetch

    async def few(timeout_ms: int, max_records: int) -> Any:
        return await fetch(timeout_ms, 12)

    cluster.fetch = few
    pieces = await record_whole(cluster, tmp_path / "pieces")
    assert await fold(pieces) == whole


async def test_a_store_gets_the_rows_and_evictions_change_nothing(
    log: MemoryLog, recording: Recording
) -> None:
    store = MemoryStore()
    assert await fold(recording, store) == await fold(recording)
    for number in range(PARTITIONS):
        stored = store.partitions[number]
        expected = live(log, number)
        assert stored.rows == expected.rows
        assert stored.meta == expected.meta
        assert stored.watermark == log.offsets(TOPIC, number).end - 1


async def test_every_outcome_is_counted(log: MemoryLog, recording: Recording) -> None:
    _, folded = await fold(recording)
    for one in folded:
        assert one.events == one.applied + one.duplicate + one.late + one.invalid
        assert one.records == len(log.records(TOPIC, one.partition))
        assert min(one.applied, one.duplicate, one.late, one.invalid) > 0


async def test_without_the_keys_every_control_record_is_refused(recording: Recording) -> None:
    recording.manifest.installation = None
    receipts, folded = await fold(recording)
    assert receipts == []
    assert all(one.invalid > 0 for one in folded)


async def test_a_selection_folds_a_part(recording: Recording) -> None:
    receipts, folded = await fold(recording, selection=Selection(where={"partition": "2"}))
    assert [one.records > 0 for one in folded] == [False, False, True, False]
    assert receipts


async def test_live_counters_are_never_written_over(recording: Recording) -> None:
    store = MemoryStore()
    folding = live(busy_log(50), 1)
    folding.fold(decoded([signed_record(takedown(seq=99), 10**6)]))
    await store.flush(1, "cluster=live", -1, 10**6, folding.state.take_changes())
    namespace = replay_namespace(recording.manifest, TOPIC, RULES)
    with pytest.raises(Halt, match="holds live counters, or another replay's"):
        await require_own(store, namespace, PARTITIONS)


async def test_an_earlier_fold_of_the_same_recording_is_told_from_none(
    recording: Recording,
) -> None:
    store = MemoryStore()
    namespace = replay_namespace(recording.manifest, TOPIC, RULES)
    assert await require_own(store, namespace, PARTITIONS) == []
    await fold(recording, store)
    assert await require_own(store, namespace, PARTITIONS) == [0, 1, 2, 3]


@pytest.mark.parametrize("other", [Rules(300, 1 << 20), Rules(200, 1 << 20, secret=SECRET)])
async def test_what_changes_the_result_changes_the_namespace(
    recording: Recording, other: Any
) -> None:
    names = {replay_namespace(recording.manifest, TOPIC, rules) for rules in (RULES, other)}
    assert len(names) == 2


async def test_a_second_fold_into_the_same_store_is_refused(recording: Recording) -> None:
    """It would start from the rows of the first one's end."""
    store = MemoryStore()
    await fold(recording, store)
    with pytest.raises(Halt, match="already holds partition 0"):
        await fold(recording, store)


async def test_two_folds_at_once_into_one_store_do_not_mix(recording: Recording) -> Any:
    store = MemoryStore()
    namespace = replay_namespace(recording.manifest, TOPIC, RULES)
    load = store.load

    async def load_late(partition: int, videos: Sequence[str]) -> Any:
        if store.watermark_of(partition) == -1:
            changes = live(busy_log(50), 1).state.take_changes()
            await store.flush(partition, namespace, -1, 3, changes)
        return await load(partition, videos)

    store.watermark_of = lambda p: store.partitions[p].watermark if p in store.partitions else -1
    store.load = load_late
    with pytest.raises(Halt, match="another replay writes to this Redis"):
        await fold(recording, store)


async def test_a_recording_from_the_middle_of_the_log_is_told(tmp_path: Path) -> None:
    log = log_with(synthetic_log(partitions=PARTITIONS))
    request = Request([TOPIC], offsets={(TOPIC, 0): (5, None)}, to_end=True)
    recording = await record_whole(cluster_of(log), tmp_path / "r", request)
    assert starts_late(recording.manifest, TOPIC) == [0]

"""An installation that 0.1.0 itself made goes on under this release, and no counter is lost."""

from collections.abc import Mapping
from typing import Any

import pytest
from kit.first import (
    FIXTURE,
    FIXTURE_GENERATION,
    UPGRADE,
    fixture_hashes,
    fixture_log,
    fixture_store,
)
from kit.keys import INSTALLATION, OLD_INSTALLATION, SECRET, SIGNER
from kit.twins import LOG, World, counted

from streams.core.counters import VIDEO_ROW, decode_slice
from streams.core.first_rows import SHARED, decode_first_slice
from streams.core.state import Changes
from streams.errors import Halt, Retry
from streams.ops.compared import Verification
from streams.ops.migrate import Migration, Takeover, require_alone
from streams.ops.verify import Verifier, verify
from streams.recording.folding import Folder, Rules
from streams.recording.reader import Recording
from streams.runtime.codec import Spelling
from streams.runtime.installation import (
    Installation,
    installation_record,
    read_installation,
    require_upgraded,
)
from streams.runtime.labels import Labelled
from streams.runtime.memory import (
    MemoryCluster,
    MemoryConsumer,
    MemoryProducer,
    MemoryReader,
    MemoryStore,
)

PARTITIONS = 2
WATERMARKS = [
    int(fields["watermark"])
    for key, fields in sorted(fixture_hashes(World().log.identity(LOG)).items())
    if key.endswith("meta")
]


def restored(installation: Installation = OLD_INSTALLATION, **changes: object) -> World:
    """Return the log of 0.1.0 in brokers of today, with an installation and nothing stored."""
    made = World(PARTITIONS, installation=installation, secret=SECRET, **changes)
    made.log.create("policies", 1)
    made.log.append(installation_record(made.settings, installation))
    for partition in range(PARTITIONS):
        made.put(fixture_log(partition))
    return made


def first() -> World:
    """Return the whole installation that 0.1.0 left."""
    made = restored()
    made.store.partitions.update(fixture_store(made.log.identity(LOG)).partitions)
    return made


def migration_of(made: World) -> Migration:
    identity = made.log.identity(LOG)
    return Migration(made.store, made.settings, identity, made.installation)


async def migrated(made: World, producer: MemoryProducer | None = None) -> World:
    """Take an installation over, as the command does; its worker comes to know of it."""
    found = await read_installation(MemoryReader(made.log), made.settings)
    assert found is not None
    made.installation = found  # type: ignore[misc]
    migration = migration_of(made)
    plan = await migration.plan(SECRET)
    if not (found.upgraded and all(each.counters != "0.1.0" for each in plan)):
        await migration.take(producer or MemoryProducer(made.log), SIGNER, UPGRADE, lambda _: None)
    made.installation = migration.installation  # type: ignore[misc]
    return made


async def verified(made: World) -> Verification:
    verifier = Verifier(made.settings, made.installation, Spelling(1 << 20, SECRET))
    identity = made.log.identity(LOG)
    return await verify(MemoryReader(made.log), made.store, identity, made.namespace, verifier)


def stored(made: World) -> Mapping[int, Any]:
    return {
        partition: (one.namespace, one.watermark, one.meta, one.rows)
        for partition, one in made.store.partitions.items()
    }


def everything(made: World) -> tuple[object, ...]:
    log = [list(made.log.records(LOG, partition)) for partition in range(PARTITIONS)]
    return log, list(made.log.records("policies", 0)), stored(made)


# ---------------------------------------------------------------- nothing is lost


async def test_the_plan_says_what_0_1_0_left() -> None:
    plan = await migration_of(first()).plan(SECRET)
    assert [(each.counters, each.watermark) for each in plan] == [
        ("0.1.0", watermark) for watermark in WATERMARKS
    ]
    assert all(each.videos == 3 and each.rows > 8 for each in plan)


async def test_what_0_1_0_counted_is_what_its_log_says_before_and_behind_the_upgrade() -> None:
    made = await migrated(first())
    before = await verified(made)
    assert (before.differences, before.checked > 200) == (0, True)
    await counted(made)
    assert [one.watermark for one in made.store.partitions.values()] > WATERMARKS
    after = await verified(made)
    assert (after.differences, after.checked > 200, after.partitions) == (0, True, PARTITIONS)


async def test_every_counter_of_every_row_goes_on() -> None:
    made = first()
    old = {p: dict(one.rows) for p, one in fixture_store(made.log.identity(LOG)).partitions.items()}
    await counted(await migrated(made))
    for partition, rows in old.items():
        for video, fields in rows.items():
            now = made.store.partitions[partition].rows[video]
            assert fields.keys() <= now.keys()
            for name in fields.keys() - {VIDEO_ROW}:
                row, then = decode_slice(now[name]), decode_first_slice(fields[name])
                assert row.estimated >= then.views > 0
                grown = [getattr(row, each) >= getattr(then, each) for each in SHARED[:4]]
                assert all(grown), "the log behind the watermark was counted on top"


async def test_a_worker_that_counts_the_log_from_its_beginning_stores_the_same_bytes() -> None:
    taken = await counted(await migrated(first()))
    anew = restored(taken.installation, videos_in_memory=1, flush_rows=1)
    for partition in range(PARTITIONS):
        behind = taken.log.records(LOG, partition)[len(anew.log.records(LOG, partition)) :]
        anew.log.restore(behind)
    await counted(anew, batch=7)
    assert stored(anew) == stored(taken)
    assert anew.receipts() != []


async def test_whoever_goes_on_reads_the_installation_as_upgraded() -> None:
    made = await migrated(first())
    with pytest.raises(Halt, match="counters migrate"):
        require_upgraded(OLD_INSTALLATION)
    found = await read_installation(MemoryReader(made.log), made.settings)
    assert found is not None
    assert require_upgraded(found).generation == FIXTURE_GENERATION, "as 0.1.0 counted"


# ---------------------------------------------------------------- again, and cut short


async def test_a_second_migration_does_nothing() -> None:
    made = await migrated(first())
    before = everything(made)
    assert everything(await migrated(made)) == before
    await counted(made)
    plan = await migration_of(made).plan(SECRET)
    assert [each.counters for each in plan] == ["taken", "taken"]


class Cut(Exception):
    """The power went."""


class CutStore(MemoryStore):
    """A store whose caller dies before or behind its nth change."""

    def __init__(self, store: MemoryStore, left: list[int]) -> None:
        super().__init__()
        self.partitions.update(store.partitions)
        self._left = left

    async def relabel(self, partition: int, before: Labelled, after: Labelled) -> bool:
        """Die, or do it, or both."""
        _tick(self._left)
        done = await super().relabel(partition, before, after)
        _tick(self._left)
        return done


class CutProducer(MemoryProducer):
    """A producer whose caller dies before its nth record."""

    def __init__(self, made: World, left: list[int]) -> None:
        super().__init__(made.log)
        self._left = left

    async def send(self, record: Any) -> Any:
        """Die, or send."""
        _tick(self._left)
        return await super().send(record)


def _tick(left: list[int]) -> None:
    left[0] -= 1
    if not left[0]:
        raise Cut


async def test_a_migration_that_is_cut_short_anywhere_goes_on() -> None:
    whole = await counted(await migrated(first()))
    for step in range(1, 100):
        made, left = first(), [step]
        store = made.store
        made.store = CutStore(store, left)
        try:
            await migrated(made, CutProducer(made, left))
        except Cut:
            store.partitions.update(made.store.partitions)
            made.store = store
            await counted(await migrated(made))
            rows = {p: one.rows for p, one in made.store.partitions.items()}
            assert rows == {p: one.rows for p, one in whole.store.partitions.items()}, step
            assert not (await verified(made)).differences
        else:
            assert step > 8
            return
    raise AssertionError


# ---------------------------------------------------------------- and whose they are


@pytest.mark.parametrize(
    ("part", "text"),
    [("cluster", "elsewhere"), ("id", "another"), ("partitions", "9"), ("schema", "7")],
)
async def test_a_strangers_counters_are_refused(part: str, text: str) -> None:
    made = first()
    namespace = made.store.partitions[1].namespace
    assert namespace is not None
    parts = dict(each.split("=") for each in namespace.split(";")) | {part: text}
    made.store.partitions[1].namespace = ";".join("=".join(each) for each in parts.items())
    before = everything(made)
    with pytest.raises(Halt, match=f"partition 1: its counters differ in {part}"):
        await migrated(made)
    assert everything(made) == before


async def test_the_secret_must_be_the_one_that_0_1_0_signed_with() -> None:
    with pytest.raises(Halt, match="differ in secret"):
        await migration_of(first()).plan(b"some other secret, long enough")


async def test_rows_that_0_1_0_did_not_leave_like_this_are_refused() -> None:
    made = first()
    rows = made.store.partitions[0].rows["v0"]
    rows["following:fans"] = rows["following:fans"].replace(b"[", b"[1", 1)
    with pytest.raises(Halt, match="digest"):
        await migrated(made)
    rows["following:fans"] = b"[1]"
    with pytest.raises(Halt, match=r"s:\{0\}:v:v0 cannot be read"):
        await migrated(made)


async def test_an_installation_that_never_knew_0_1_0_has_nothing_to_migrate() -> None:
    made = restored(INSTALLATION)
    with pytest.raises(Halt, match="never knew"):
        await migration_of(made).plan(SECRET)


async def test_an_old_copy_of_redis_is_not_taken_over_behind_the_upgrade() -> None:
    made = await migrated(first())
    made.store.partitions.update(fixture_store(made.log.identity(LOG)).partitions)
    with pytest.raises(Halt, match="an old copy of Redis"):
        await migrated(made)


async def test_a_partition_that_0_1_0_never_counted_is_upgraded_too() -> None:
    made = first()
    del made.store.partitions[1]
    await migrated(made)
    assert Takeover(1, "none", -1, 0, 0) in await migration_of(made).plan(SECRET)
    await counted(made)
    assert not (await verified(made)).differences


# ---------------------------------------------------------------- while 0.1.0 still runs


async def test_nothing_begins_while_a_worker_is_a_member() -> None:
    made = first()
    cluster = MemoryCluster(made.log)
    await require_alone(cluster, ["streams", "streams-control"])
    made.log.group("streams-control", "uploads").members.append(
        MemoryConsumer(made.log, LOG, "streams-control")
    )
    with pytest.raises(Halt, match="streams-control has members"):
        await require_alone(cluster, ["streams", "streams-control"])


async def test_a_worker_of_0_1_0_that_wakes_up_late_is_refused() -> None:
    made = first()
    [old, _] = [one.namespace for one in made.store.partitions.values()]
    assert old is not None
    await migrated(made)
    meta = made.store.partitions[0].meta
    with pytest.raises(Halt, match="differ in") as halted:
        await made.store.flush(0, old, WATERMARKS[0], WATERMARKS[0] + 9, Changes(0, {}, meta))
    assert halted.value.code == "namespace"


class BusyStore(MemoryStore):
    """A store in which a worker of 0.1.0 flushes whenever somebody has read its rows."""

    async def scan(self, partition: int) -> Mapping[str, Mapping[str, bytes]]:
        """Return the rows as they were."""
        found = await super().scan(partition)
        self.partitions[partition].watermark += 1
        return found


async def test_what_is_written_meanwhile_is_not_lost() -> None:
    made = first()
    busy = BusyStore()
    busy.partitions.update(made.store.partitions)
    made.store = busy
    with pytest.raises(Halt, match="written meanwhile"):
        await migrated(made)
    assert all("schema=1" in str(one.namespace) for one in busy.partitions.values())


async def test_a_partition_that_takes_no_record_is_told_and_the_same_call_ends_it() -> None:
    made = first()
    made.log.leaderless.add((LOG, 1))
    with pytest.raises(Retry, match=r"partitions \[1\] did not take the record upgrade-1"):
        await migrated(made)
    made.log.leaderless.clear()
    await counted(await migrated(made))
    assert not (await verified(made)).differences


# ---------------------------------------------------------------- what 0.1.0 recorded


@pytest.mark.parametrize("partition", range(PARTITIONS))
async def test_a_recording_of_0_1_0_folds_to_the_decisions_and_rows_that_it_made(
    partition: int,
) -> None:
    """Up to what its worker had seen: beyond, 0.1.0 decided nothing any more."""
    recording = Recording(FIXTURE / "recording")
    receipts: list[bytes] = []
    rules = Rules(FIXTURE_GENERATION, 1 << 20, secret=SECRET)
    folded = await Folder(recording, LOG, rules, receipts.append).partition(partition)
    decided = [record.value for record in fixture_log(partition, "decisions")]
    assert receipts[: len(decided)] == decided != []
    assert (folded.unsigned, folded.policy is not None) == (0, True)


def test_the_fixture_holds_what_these_tests_are_about() -> None:
    for partition, watermark in enumerate(WATERMARKS):
        assert fixture_log(partition)[-1].offset > watermark + 20

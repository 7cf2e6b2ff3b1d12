"""Keys change in the middle of a log: what counts depends on the log alone, whoever folds it."""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import pytest
from kit.events import (
    FIXED,
    FOOTBALL,
    NOW,
    Logged,
    admit,
    hold,
    impression,
    interaction_record,
    record,
    records_of,
    signed_record,
    view,
)
from kit.first import FIRST_POLICY, first_admit, first_record
from kit.keys import (
    INSTALLATION,
    KEY,
    NEXT_KEY,
    NEXT_SIGNER,
    OLD_INSTALLATION,
    SECRET,
    SIGNER,
    SPELLING,
    STRANGER,
    TRUST,
)
from kit.recordings import TOPIC, cluster_of, log_with
from kit.recordings import record as record_whole
from kit.twins import LOG, Life, World, counted, counted_with_a_death
from msgspec.structs import replace

from streams.core.counters import COUNTERS, VIDEO_ROW, decode_slice
from streams.core.events import (
    ControlRecord,
    FirstRecord,
)
from streams.core.keys import read_trust
from streams.core.partition_control import Generation, Key, Upgrade
from streams.core.state import FRESH
from streams.core.units import SLICES_PER_VIDEO
from streams.ops.verify import Verifier, verify
from streams.recording.folding import Folder, Rules
from streams.runtime.codec import Spelling
from streams.runtime.installation import Installation
from streams.runtime.memory import MemoryLog, MemoryReader
from streams.runtime.ports import Place, Record
from streams.runtime.signing import Signer

BATCHES = [1, 7, 5_000]


def rotating_log() -> list[Logged]:
    """Return views of a video, held by whoever was, is or never was in force; and other weights."""
    both = (KEY.public, NEXT_KEY.public)
    stranger = Signer(INSTALLATION.id, STRANGER)
    events: list[tuple[ControlRecord | FirstRecord, Signer | None]] = [
        (FIRST_POLICY, None),  # of 0.1.0
        (first_admit(), None),
        (hold("held-0", seq=2), None),
        (Upgrade("upgrade-1", NOW), SIGNER),
        (hold("held-1", seq=3), None),
        (hold("held-2", seq=4), NEXT_SIGNER),
        (Key("keys-1", NOW, 1, both), SIGNER),
        (hold("held-3", seq=5), NEXT_SIGNER),
        (hold("held-4", seq=6), SIGNER),
        (Key("keys-2", NOW, 2, (NEXT_KEY.public,)), NEXT_SIGNER),
        (hold("held-5", seq=7), SIGNER),
        (Key("keys-3", NOW, 3, (KEY.public,)), SIGNER),
        (Key("keys-1", NOW, 1, both), NEXT_SIGNER),
        (hold("held-6", seq=8), stranger),
        (hold("held-7", seq=9), NEXT_SIGNER),
        (other_policy(), NEXT_SIGNER),
    ]
    log: list[Logged] = []
    for event, signer in events:
        at = len(log)
        log += [
            first_record(event, at) if signer is None else signed_record(event, at, signer=signer),
            *(one._replace(offset=at + n) for n, one in enumerate(views(at), start=1)),
        ]
    return log


class SmallReader(MemoryReader):
    """A reader that hands out a few records at a time."""

    def __init__(self, log: MemoryLog, batch: int) -> None:
        super().__init__(log)
        self._batch = batch

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[Place, Sequence[Record]]:
        """Return at most `batch` records."""
        return await super().fetch(timeout_ms, min(max_records, self._batch))


def views(at: int) -> Sequence[Logged]:
    return records_of([view(f"e{at}-{n}", viewer=f"u{at}-{n}") for n in range(9)])


LETTERS = [(40, 0, "signature"), (50, 0, "signature"), (100, 0, "signature")]
LETTERS += [(110, 0, "signature"), (120, 0, "stale"), (130, 0, "signature")]


def world(**changes: object) -> World:
    made = World(secret=SECRET, installation=OLD_INSTALLATION, **changes)
    made.put(rotating_log())
    return made


@pytest.mark.parametrize("batch", BATCHES)
async def test_batches_do_not_decide_whose_records_count(batch: int) -> None:
    one = await counted(world(), batch=batch)
    other = await counted(world(flush_rows=1), batch=3)
    assert one.outcome() == other.outcome()
    assert one.meta() == other.meta()
    assert one.letters() == LETTERS
    trust = read_trust(one.meta().keys)
    assert (trust.keys, trust.seq, trust.upgraded) == ((NEXT_KEY.public,), 2, True)


async def test_a_worker_that_dies_anywhere_finds_the_keys_of_its_watermark() -> None:
    whole = await counted(world(), batch=40)
    for dies_at in count(1):
        again = world()
        if not await counted_with_a_death(again, dies_at, batch=40):
            break
        assert again.outcome() == whole.outcome(), dies_at
        assert again.meta().keys == whole.meta().keys


@pytest.mark.parametrize("batch", BATCHES)
async def test_the_recount_goes_by_the_same_keys(batch: int) -> None:
    done = await counted(world())
    reader = SmallReader(done.log, batch)
    verifier = Verifier(done.settings, OLD_INSTALLATION, Spelling(1 << 20, SECRET))
    found = await verify(reader, done.store, done.log.identity(LOG), done.namespace, verifier)
    assert (found.differences, found.checked > 0) == (0, True), found.examples


async def test_the_recount_goes_by_a_key_that_came_on_the_way() -> None:
    """A policy that the new key signed lacks a crowd, which is a stray too many from there on."""
    made = World()
    made.put(
        [
            signed_record(FIXED),
            signed_record(Key("keys-1", NOW, 1, (NEXT_KEY.public,)), 1),
            signed_record(other_policy(), 2, signer=NEXT_SIGNER),
            *strays_and_football(3),
        ]
    )
    done = await counted(made)
    verifier = Verifier(done.settings, INSTALLATION, SPELLING)
    reader = SmallReader(done.log, 1)
    found = await verify(reader, done.store, done.log.identity(LOG), done.namespace, verifier)
    assert not found.differences
    assert found.checked >= SLICES_PER_VIDEO * len(COUNTERS)


async def test_the_recount_sees_a_policy_that_did_not_count() -> None:
    """A second policy lacks a crowd; signed by nobody, it must make that crowd no stray."""
    fewer = Signer(INSTALLATION.id, STRANGER)
    made = World()
    made.put([signed_record(FIXED), signed_record(other_policy(), 1, signer=fewer)])
    made.put(strays_and_football(2))
    done = await counted(made)
    assert await done.is_exact()
    trusting = Installation(INSTALLATION.id, (KEY.public, STRANGER.public), (), fresh=True)
    verifier = Verifier(done.settings, trusting, SPELLING)
    reader, identity = MemoryReader(done.log), done.log.identity(LOG)
    found = await verify(reader, done.store, identity, done.namespace, verifier)
    assert found.differences > 0


def strays_and_football(offset: int) -> Sequence[Logged]:
    """Return as many strays as a video may have, and a view of football behind them."""
    strays = [impression(f"s{n}", slice_id=f"discover:x{n}") for n in range(SLICES_PER_VIDEO)]
    fed = [*strays, impression("last", slice_id=FOOTBALL)]
    return [interaction_record(event, at) for at, event in enumerate(fed, start=offset)]


def other_policy() -> ControlRecord:
    slices = {name: spec for name, spec in FIXED.slices.items() if name != FOOTBALL}
    return replace(FIXED, seq=2, id="policy-2", version="other", slices=slices)


async def test_a_recording_folds_to_the_bytes_of_the_worker(tmp_path: Path) -> None:
    done = await counted(world())
    recording = await record_whole(
        cluster_of(log_with(rotating_log(), 1)), tmp_path / "r", installation=OLD_INSTALLATION
    )
    receipts: list[bytes] = []
    rules = Rules(done.settings.generation_records, 1 << 20, secret=SECRET)
    folded = await Folder(recording, TOPIC, rules, receipts.append).partition(0)
    assert receipts == done.receipts()
    assert (folded.digest, folded.unsigned) == (done.meta().digest, 5)


async def test_without_the_secret_of_old_its_hmacs_are_letters_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await counted(world())
    assert not [line for line in caplog.messages if "without STREAMS_SECRET" in line]
    made = World(installation=OLD_INSTALLATION)
    made.put(rotating_log())
    done = await counted(made)
    assert [line for line in caplog.messages if "without STREAMS_SECRET" in line]
    assert [offset for offset, _, reason in done.letters() if reason == "signature"][:2] == [0, 10]


async def test_keys_change_under_a_running_worker_without_a_halt() -> None:
    made = World()
    made.put([signed_record(FIXED), signed_record(admit(), 1)])
    life = await Life(made).start()
    await life.until(made.caught_up)
    rotated = Key("keys-1", NOW, 1, (NEXT_KEY.public,))
    made.put([signed_record(rotated, 2), signed_record(hold("h"), 3, signer=NEXT_SIGNER)])
    await life.until(made.caught_up)
    await life.stop()
    assert (life.worker.halted, made.letters()) == ({}, [])
    again = await Life(made).start()
    made.put([signed_record(hold("old", seq=9), 4), record(b"{", 5)])
    await again.until(made.caught_up)
    await again.stop()
    assert made.letters() == [(4, 0, "signature"), (5, 0, "json")]


async def test_generations_become_longer_under_a_running_worker_without_a_halt() -> None:
    """And the one that comes after it goes by the log, not by its settings."""
    made = World(generation_records=4)
    fed = [interaction_record(view(f"e{n}", viewer=f"u{n}"), n) for n in range(9)]
    made.put(fed)
    life = await Life(made).start()
    await life.until(made.caught_up)
    made.put([signed_record(Generation("generation-1", NOW, 8), 9)])
    await life.until(made.caught_up)
    await life.stop()
    assert (life.worker.halted, made.meta().generations) == ({}, b"[[0,4],[8,8]]")
    later = World(generation_records=3)
    later.log, later.store = made.log, made.store
    again = [interaction_record(view("e8", viewer="u8"), 10), *_others(11, 8)]
    later.put([*again, interaction_record(view("e8", viewer="u8"), 20)])
    whole = World(generation_records=4)
    whole.put(made.log.records(LOG, 0))
    assert (await counted(later)).rows() == (await counted(whole, batch=1)).rows()
    [row] = [
        decode_slice(raw)
        for name, raw in later.store.partitions[0].rows["v1"].items()
        if name != VIDEO_ROW
    ]
    assert row.views == 17, "9 and 8; both repeats are met"


def _others(first: int, count: int) -> list[Logged]:
    return [interaction_record(view(f"o{n}", viewer=f"o{n}"), first + n) for n in range(count)]


async def test_of_a_log_without_its_beginning_the_keys_of_today_count() -> None:
    """What retired the first key may be gone with the beginning: it must not be back."""
    today = Installation(INSTALLATION.id, (KEY.public,), (NEXT_KEY.public,), fresh=True, seq=2)
    made = World(installation=today)
    made.put([signed_record(FIXED, 5, signer=NEXT_SIGNER), signed_record(admit(), 6)])
    done = await counted(made)
    assert done.letters() == [(6, 0, "signature")]
    assert read_trust(done.meta().keys).keys == (NEXT_KEY.public,)


def test_of_a_log_without_its_beginning_hmacs_count_only_where_no_upgrade_may_be_gone() -> None:
    assert not OLD_INSTALLATION.trust(whole=False).upgraded
    upgraded = replace(OLD_INSTALLATION, upgraded=True)
    assert upgraded.trust(whole=False).upgraded
    assert not upgraded.trust(whole=True).upgraded, "its record stands in the log"


def test_a_stored_meta_keeps_the_keys_that_it_has() -> None:
    stored = FRESH._replace(keys=b'{"installation":"x"}')
    assert INSTALLATION.meta(stored) == stored
    assert read_trust(INSTALLATION.meta(FRESH).keys) == TRUST

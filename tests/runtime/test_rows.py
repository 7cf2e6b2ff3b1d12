"""What stored rows have to tell feeds."""

import pytest
from kit.events import (
    DRAWING,
    FIXED,
    FOOTBALL,
    MUSIC,
    NOW,
    admit,
    impression,
    policy,
    takedown,
    view,
)
from kit.folding import Folding, placed
from msgspec.structs import replace

from streams.core.events import LogRecord
from streams.core.partitioner import partition_of
from streams.core.serving import Entry
from streams.core.words import SliceReview
from streams.runtime import rows
from streams.runtime.memory import MemoryStore
from streams.runtime.rows import StoredRows

PARTITIONS = 8
PARTITION = partition_of(b"v1", PARTITIONS)
WATERMARK = 10


async def told(*events: LogRecord, slice_id: str | None = None) -> list[list[tuple[str, Entry]]]:
    """The pages that a partition has to tell after these events."""
    folding = Folding(partition=PARTITION, partitions=PARTITIONS).fold(placed(events))
    store = MemoryStore()
    await store.flush(PARTITION, "ns", -1, WATERMARK, folding.state.take_changes())
    source = StoredRows(store, "ns", PARTITIONS)
    return [list(page) async for page in source.tell(PARTITION, slice_id)]


def watched(slice_id: str, count: int, watch_ms: int) -> list[LogRecord]:
    return [
        event
        for n in range(count)
        for event in (
            impression(f"i{n}", viewer=f"u{n}", slice_id=slice_id),
            view(f"w{n}", viewer=f"u{n}", slice_id=slice_id, watch_ms=watch_ms),
        )
    ]


async def test_every_open_slice_is_told_stored_or_not() -> None:
    (page,) = await told(FIXED, admit(), *watched(FOOTBALL, 4, 9_000))
    names = [name for name, _ in page]
    assert FOOTBALL in names
    assert MUSIC in names
    assert len(names) == len(set(names))
    assert {entry.offset for _, entry in page} == {WATERMARK}
    shown = {name: entry.impressions for name, entry in page}
    assert (shown[FOOTBALL], shown[MUSIC]) == (4, 0)


async def test_what_stopped_or_was_taken_down_is_not_told() -> None:
    (page,) = await told(FIXED, admit(), *watched(FOOTBALL, 30, 100))
    assert FOOTBALL not in [name for name, _ in page]
    assert await told(FIXED, admit(), takedown(seq=2)) == []


async def test_a_frozen_slice_is_not_told_though_what_was_drawn_there_is_owed() -> None:
    frozen = SliceReview("w1", MUSIC, NOW, frozen=True, by="moderator")
    shut = replace(FIXED.slices[MUSIC], word=frozen)
    names = [name for n in range(300) if partition_of((name := f"v{n}").encode(), 8) == PARTITION]
    admits = [admit(f"a-{name}", video=name) for name in names]
    drawing = policy(**DRAWING)
    told_before = [one for page in await told(drawing, *admits) for one in page]
    assert any(name == MUSIC and entry.due and not entry.deadline for name, entry in told_before)
    then = replace(drawing, id="p2", seq=drawing.seq + 1, slices={**FIXED.slices, MUSIC: shut})
    page = [one for page in await told(drawing, *admits, then) for one in page]
    assert {entry.video for _, entry in page} == set(names)
    assert MUSIC not in {name for name, _ in page}


async def test_one_slice_is_told_alone() -> None:
    (page,) = await told(FIXED, admit(), slice_id=MUSIC)
    assert [name for name, _ in page] == [MUSIC]


async def test_nothing_is_told_before_any_policy_or_flush() -> None:
    assert await told(view("e1")) == []
    source = StoredRows(MemoryStore(), "ns", PARTITIONS)
    assert [page async for page in source.tell(PARTITION, None)] == []


async def test_a_policy_of_many_slices_comes_in_pages_the_best_videos_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "PAGE", 500)
    names = [name for n in range(3_000) if partition_of((name := f"v{n}").encode(), 8) == PARTITION]
    admits = [admit(f"a-{name}", video=name) for name in names]
    pages = await told(policy(), *admits)
    assert len(pages) > 1
    assert all(len(page) >= 500 for page in pages[:-1])
    best = [max(entry.score or 0 for name, entry in page) for page in pages]
    assert best == sorted(best, reverse=True)

"""What is counted of one video, by name."""

import pytest

from streams.core.counters import SLICE_FIELDS, Slice, Video, encode_slice, encode_video
from streams.core.partitioner import partition_of
from streams.core.state import FRESH, Changes
from streams.errors import Halt
from streams.ops.video import counted_video, in_short, slice_tables
from streams.runtime.memory import MemoryStore

PARTITION = partition_of(b"v1", 8)


async def test_counters_have_names_in_each_slice() -> None:
    store = MemoryStore()
    fields = {
        "video": encode_video(Video(stage="public", decisions=3)),
        "discover:football": encode_slice(Slice(impressions=150, views=120, status=1)),
    }
    await store.flush(PARTITION, "ns", -1, 10, Changes(0, {"v1": fields}, FRESH))
    counted = await counted_video(store, "v1", 8)
    assert (counted["partition"], counted["stage"], counted["decisions"]) == (
        PARTITION,
        "public",
        3,
    )
    football = counted["slices"]["discover:football"]
    assert (football["impressions"], football["views"], football["status"]) == (150, 120, "active")
    assert football["check_views"] is None  # never


async def test_a_video_nobody_saw_is_told_with_its_partition() -> None:
    with pytest.raises(Halt, match=f"video v1 in partition {PARTITION} of 8"):
        await counted_video(MemoryStore(), "v1", 8)


def test_tables_hold_no_more_slices_than_fit_a_terminal() -> None:
    row = dict.fromkeys(SLICE_FIELDS, 1_234_567) | {"status": "active", "check_views": None}
    tables = list(slice_tables({f"discover:s{n}": row for n in range(7)}))
    assert [len(heads) for heads, _ in tables] == [6, 3]
    cells = {name: first for name, first, *_ in tables[0][1]}
    assert (cells["views"], cells["value sum"], cells["check views"]) == (
        "1,234,567",
        "1.234567",
        "-",
    )


def test_fits_are_told_in_decimals_and_only_where_there_are_some() -> None:
    short = in_short({"video": "v1", "fits": {"b": 500_000, "a": 250_000, "c": 0}, "slices": {}})
    assert short == {"video": "v1", "fits": "a 0.25, b 0.5"}

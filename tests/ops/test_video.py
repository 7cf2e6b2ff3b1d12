"""What is counted of one video, by name."""

import pytest

from streams.core.counters import Slice, Video, encode_slice, encode_video
from streams.core.partitioner import partition_of
from streams.core.state import FRESH, Changes
from streams.errors import Halt
from streams.ops.video import counted_video
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

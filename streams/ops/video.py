"""What is counted of one video, by name."""

from typing import Any

from streams.core.counters import SLICE_FIELDS, SLICE_STAGES, VIDEO_FIELDS, VideoState, load_video
from streams.core.partitioner import partition_of
from streams.core.units import NEVER
from streams.errors import Halt
from streams.runtime.ports import Store


async def counted_video(store: Store, video: str, partitions: int) -> dict[str, Any]:
    """Return a video's counters in each slice, as the store holds them; `Halt` without any."""
    partition = partition_of(video.encode(), partitions)
    fields = (await store.load(partition, [video])).videos[video]
    if not fields:
        raise Halt(
            f"nothing is counted for video {video} in partition {partition} of "
            f"{partitions}: nobody has seen it, or no worker runs (`streams lag list`)"
        )
    return _as_object(video, partition, load_video(video, fields))


def _as_object(video: str, partition: int, state: VideoState) -> dict[str, Any]:
    return {
        "video": video,
        "partition": partition,
        **{field: getattr(state.row, field) for field in VIDEO_FIELDS},
        "slices": {
            name: {field: _plain(field, getattr(row, field)) for field in SLICE_FIELDS}
            for name, row in sorted(state.slices.items())
        },
    }


def _plain(field: str, value: int) -> int | str | None:
    if field == "status":
        return SLICE_STAGES[value]
    return None if value == NEVER else value

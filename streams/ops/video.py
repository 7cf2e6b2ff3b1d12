"""What is counted of one video, by name."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from streams.core.counters import SLICE_FIELDS, SLICE_STAGES, VIDEO_FIELDS, VideoState, load_video
from streams.core.partitioner import partition_of
from streams.core.units import NEVER
from streams.errors import Halt
from streams.ops.explain import decimal
from streams.runtime.ports import Store

SLICES_ACROSS: Final = 5
"""Columns of one table."""
_MICROS: Final = frozenset(("value_sum", "value_sq", "prior_mean", "index"))


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


def in_short(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a video's own fields for people: its fits as decimals, without its slices."""
    fits = sorted(counted["fits"].items())
    words = ", ".join(f"{name} {decimal(fit)}" for name, fit in fits if fit)
    return {name: value for name, value in counted.items() if name != "slices"} | {"fits": words}


def slice_tables(
    slices: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield heads and rows for people, a column a slice, no more of them than fit a terminal."""
    names = list(slices)
    for first in range(0, len(names), SLICES_ACROSS):
        some = names[first : first + SLICES_ACROSS]
        yield (
            ["slice", *some],
            [
                [field.replace("_", " "), *(_cell(field, slices[name][field]) for name in some)]
                for field in SLICE_FIELDS
            ],
        )


def _cell(field: str, value: int | str | None) -> str:
    if isinstance(value, int):
        return decimal(value) if field in _MICROS else f"{value:,}"
    return value or "-"


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

"""Live rooms: what an event in one is, before it counts.

A visit of a room is an impression, and uses allowance as any. What the visitor thinks of it is its
view, sent when they leave or after 30 s, whichever comes first: a room has no length, so a view of
one is a share of 30 s whatever it says of a duration, and complete from 95 % of that on. Who stays
on is told by `stay`, which is counted and weighs nothing: a room must not be worth more for being
long. Whether a video is a room its first admission says; what was seen before it counts as that of
a video.
"""

from typing import Final, TypeVar

from msgspec.structs import replace

from streams.core.counters import VideoState
from streams.core.events import InteractionRecord, View
from streams.core.fading import HALF_LIFE_TICKS, fade
from streams.core.state import PartitionState

VIEW_MS: Final = 30_000
"""What a whole view of a live room is."""
Event = TypeVar("Event", bound=InteractionRecord)


def enter(state: PartitionState, video: VideoState, event: Event) -> Event:
    """Let the evidence of a room fade up to now, and return what an event in it says."""
    halved = state.traffic.tick // HALF_LIFE_TICKS
    own = video.row
    if halved > own.halved:
        if own.halved:
            _fade_all(state, video, event.video, halved - own.halved)
        own.halved = halved
        state.touch_video(event.video, video)
    return replace(event, duration_ms=VIEW_MS) if isinstance(event, View) else event


def _fade_all(state: PartitionState, video: VideoState, name: str, times: int) -> None:
    for slice_id, row in video.slices.items():
        fade(row, times)
        state.touch_slice(name, video, slice_id, row)
    video.judged = True

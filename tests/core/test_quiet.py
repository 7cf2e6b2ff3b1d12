"""A video is quiet when its rows tell of nothing since a time."""

import pytest
from kit.events import FOOTBALL, NOW

from streams.core.counters import (
    VIDEO_ROW,
    Reported,
    Slice,
    Video,
    VideoState,
    encode_slice,
    encode_video,
)
from streams.core.quiet import DAY_MS, is_quiet, last_time


def video_of(own: Video, *rows: Slice) -> VideoState:
    state = VideoState()
    state.row = own
    state.slices = {f"{FOOTBALL}{number}": row for number, row in enumerate(rows)}
    return state


@pytest.mark.parametrize(
    "video",
    [
        video_of(Video(admitted=NOW)),
        video_of(Video(admitted=1, promised=NOW)),
        video_of(Video(admitted=1), Slice(turn_ms=2), Slice(turn_ms=NOW)),
        video_of(Video(reported=Reported(since=NOW))),
        video_of(Video(reported=Reported(looked=NOW))),
    ],
)
def test_the_latest_of_all_that_rows_tell_is_when_something_happened(video: VideoState) -> None:
    assert last_time(video) == NOW


def test_nothing_is_known_of_when_a_video_was_shown_that_nobody_viewed() -> None:
    assert last_time(video_of(Video(), Slice(impressions=9))) == 0


def test_a_video_is_quiet_from_the_time_on_that_nothing_happened_since() -> None:
    fields = {
        VIDEO_ROW: encode_video(Video(admitted=NOW)),
        FOOTBALL: encode_slice(Slice(views=3, turn_ms=NOW + 5)),
    }
    assert not is_quiet(fields, NOW + 5)
    assert is_quiet(fields, NOW + 6)
    assert is_quiet(fields, NOW + DAY_MS)


def test_a_video_that_cannot_be_read_is_not_quiet() -> None:
    assert not is_quiet({VIDEO_ROW: b"[9]"}, NOW)

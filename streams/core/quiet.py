"""Which videos nothing happened to for long, by what their rows say: they may leave Redis."""

from collections.abc import Mapping
from typing import Final

from streams.core.counters import VideoState, read_video

DAY_MS: Final = 86_400_000


def last_time(video: VideoState) -> int:
    """Return when something last happened to a video, event time in ms; 0 if its rows do not say.

    Its admission, verdicts on its reports, views and buttons: those at the end of their bucket of
    delay, so minutes late at most. Impressions that no view came of leave no time behind.
    """
    own = video.row
    times = [own.admitted, own.promised, *(row.turn_ms for row in video.slices.values())]
    if own.reported is not None:
        times += [own.reported.since, own.reported.looked]
    return max(times)


def is_quiet(fields: Mapping[str, bytes], before_ms: int) -> bool:
    """Tell whether nothing happened to a video from a time on, by its stored rows.

    One whose rows cannot be read is not quiet: it halts whoever needs it.
    """
    try:
        return last_time(read_video(fields)) < before_ms
    except ValueError:
        return False

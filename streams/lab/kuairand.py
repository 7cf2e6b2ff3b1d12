"""The KuaiRand logs (`log_*.csv`) as uploads and interactions.

Gao et al.: KuaiRand, an unbiased sequential recommendation dataset with randomly exposed videos
(CIKM 2022), CC BY-SA 4.0: impressions in Kuaishou's feeds with what their viewers did.

| in the log | here |
|---|---|
| video_id 12 | video `kuairand-12`, uploaded at its first row |
| user_id 7 | viewer `kuairand-7` |
| a row | an impression at time_ms, and the view that ended play_time_ms later |
| is_like, is_comment, is_forward | like, comment, share at that end |
| is_follow, is_hate | follow, hide at that end |
| tab | the slice, see `Tabs` |
| date, hourmin | left out: time_ms says more |
| is_click, long_view | left out: they follow from play_time_ms and duration_ms, a click in the \
two-column page apart |
| profile_stay_time, comment_stay_time, is_profile_enter, is_rand | left out: no event has them |

Rows keep their order, which is not that of time. A video's creator, length, day of upload and
whether it is an advert stand in `video_features_basic_*.csv`: give it as `features`. Without it
the creator is `kuairand-unknown` and no upload is commercial.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from streams.core.events import (
    Comment,
    Follow,
    Hide,
    Impression,
    Like,
    Share,
    Upload,
    View,
)
from streams.core.units import SliceId
from streams.lab.rows import Event, Row

COLUMNS: Final = (
    "user_id",
    "video_id",
    "date",
    "hourmin",
    "time_ms",
    "is_click",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_hate",
    "long_view",
    "play_time_ms",
    "duration_ms",
    "profile_stay_time",
    "comment_stay_time",
    "is_profile_enter",
    "is_rand",
    "tab",
)
FEATURE_COLUMNS: Final = ("video_id", "author_id", "video_type", "upload_dt", "video_duration")
TABS: Final = 15
DEFAULT_SLICE: Final = SliceId("discover:dailylife")
_ENGAGEMENTS: Final[Mapping[str, tuple[str, type[Like | Comment | Share | Follow | Hide]]]] = {
    "is_like": ("l", Like),
    "is_comment": ("c", Comment),
    "is_forward": ("s", Share),
    "is_follow": ("f", Follow),
    "is_hate": ("h", Hide),
}
_VIDEO_MAX: Final = (1 << 27) - 1  # the largest edition has 32 million videos
_DAY_MS: Final = 86_400_000
_TIME_MIN, _TIME_MAX = 1_000_000_000_000, 4_102_444_799_999 - _DAY_MS
_BEIJING: Final = timedelta(hours=8)

Tabs = Mapping[int, SliceId]
"""Slice of each tab, `DEFAULT_SLICE` for the others.

The authors know two of the fifteen: the commonest is the main page in one column, the second the
main page in two (their repository, issue 1); both recommend, which is `discover`. No tab is known
to be the followers' or the same-city page, and a viewer's crowd is not in the log.
"""


class VideoFeatures(NamedTuple):
    """What the features file says of one video."""

    author: int
    commercial: bool
    uploaded_ms: int | None
    duration_ms: int | None


class KuaiRand:
    """Turns the rows of a log into events; remembers in a bitmap which videos it has met."""

    columns: Final = COLUMNS

    def __init__(
        self, features: Mapping[int, VideoFeatures] | None = None, tabs: Tabs | None = None
    ) -> None:
        self._features: Final = features or {}
        self._tabs: Final = tabs or {}
        self._met = bytearray()

    def __call__(self, row: Row) -> Sequence[Event]:
        """Return the events of a row, a video's upload first; `BadRow` if a column is wrong."""
        video_id = row.integer("video_id", 0, _VIDEO_MAX)
        user_id = row.integer("user_id", 0, 1 << 53)
        shown = row.integer("time_ms", _TIME_MIN, _TIME_MAX)
        watch_ms = row.integer("play_time_ms", 0, _DAY_MS)
        duration_ms = row.integer("duration_ms", 1, _DAY_MS)
        slice_id = self._tabs.get(row.integer("tab", 0, TABS - 1), DEFAULT_SLICE)
        did = [_ENGAGEMENTS[column] for column in _ENGAGEMENTS if row.flag(column)]
        video, viewer = f"kuairand-{video_id}", f"kuairand-{user_id}"
        name, ended = f"kuairand-{row.digest(COLUMNS)}", shown + watch_ms
        return [
            *self._upload(video_id, video, shown, duration_ms),
            Impression(f"{name}-i", video, viewer, slice_id, shown),
            View(f"{name}-v", video, viewer, slice_id, ended, watch_ms, duration_ms),
            *(kind(f"{name}-{letter}", video, viewer, slice_id, ended) for letter, kind in did),
        ]

    def _upload(self, number: int, video: str, ts: int, duration_ms: int) -> Iterator[Upload]:
        if self._first(number):
            known = self._features.get(number)
            yield Upload(
                id=f"{video}-u",
                video=video,
                creator=f"kuairand-author-{known.author}" if known else "kuairand-unknown",
                ts=(known and known.uploaded_ms) or ts,
                duration_ms=(known and known.duration_ms) or duration_ms,
                title=f"KuaiRand, video {number}",
                commercial=known is not None and known.commercial,
            )

    def _first(self, number: int) -> bool:
        place, bit = divmod(number, 8)
        if place >= len(self._met):
            self._met.extend(bytes(place + 1 - len(self._met)))
        met = self._met[place] >> bit & 1
        self._met[place] |= 1 << bit
        return not met


def read_features(rows: Iterable[Row]) -> dict[int, VideoFeatures]:
    """Return the features of each video of `video_features_basic_*.csv`, all held in memory.

    Day of upload and length may be missing; upload days are Beijing's.
    """
    return {row.integer("video_id", 0, _VIDEO_MAX): _features(row) for row in rows}


def _features(row: Row) -> VideoFeatures:
    length = row.integer("video_duration", 0, _DAY_MS) if row.text("video_duration") else 0
    return VideoFeatures(
        author=row.integer("author_id", 0, 1 << 53),
        commercial=row.text("video_type") == "AD",
        uploaded_ms=_midnight(row) if row.text("upload_dt") else None,
        duration_ms=length or None,
    )


def _midnight(row: Row) -> int:
    try:
        day = date.fromisoformat(row.text("upload_dt"))
    except ValueError:
        raise row.bad("upload_dt is not a date") from None
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - _BEIJING
    millis = int(start.timestamp()) * 1000
    if not _TIME_MIN <= millis <= _TIME_MAX:
        raise row.bad("upload_dt is not between 2001 and 2100")
    return millis

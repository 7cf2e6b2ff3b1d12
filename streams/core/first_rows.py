"""The rows of 0.1.0 and their spelling: one flat JSON array each.

What both releases know is inherited; `ratio_sum` and `ratio_sq` of the parent stay 0, they are
estimated when the row turns.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, cast

import msgspec

from streams.core.counters import COUNTERS, ROW_VERSION, Slice, Video, VideoState, load_rows
from streams.core.events import FirstPolicy, Weights
from streams.core.units import MICROS
from streams.errors import UNREADABLE

DEFAULT_WEIGHTS: Final = Weights(
    watch=600_000,
    complete=100_000,
    like=500_000,
    comment=600_000,
    share=800_000,
    follow=1_000_000,
    hide=-1_000_000,
    report=-2_000_000,
    order=1_000_000,
)
"""What feedback was worth while no policy was in force."""
SHARED: Final = COUNTERS[: COUNTERS.index("ratio_sum")]
"""Counters of both releases."""
_FIELDS: Final = (
    *SHARED,
    "value_sum",
    "value_sq",
    "status",
    "stage",
    "allowance",
    "tranche",
    "prior_mean",
    "index",
    "check_views",
    "check_impressions",
    "granted_views",
)
_VIDEO_FIELDS: Final = (
    "stage",
    "tier",
    "commercial",
    "seq",
    "decisions",
    "granted",
    "strays",
    "fits",
)
_TODAY: Final = (b"[%d,[" % ROW_VERSION, b'[%d,"' % ROW_VERSION)


@dataclass(slots=True)
class FirstSlice(Slice):
    """A slice's row: what the feedback was worth under the weights of its time."""

    value_sum: int = 0  # micro-units
    value_sq: int = 0  # each part squared, // MICROS
    prior_mean: int = 0  # micro-units, fixed at the first start
    index: int = 0  # micro-units, at the last checkpoint

    def add_value(self, micros: int) -> None:
        """Add one part of a view's value."""
        self.value_sum += micros
        self.value_sq += micros * micros // MICROS

    def take_back_value(self, micros: int) -> None:
        """Undo `add_value` exactly."""
        self.value_sum -= micros
        self.value_sq -= micros * micros // MICROS


class FirstVideo(Video, array_like=True):
    """A video's own row."""

    tier: str = "ordinary"


class _StoredVideo(msgspec.Struct, array_like=True):
    stage: str
    tier: str
    commercial: bool
    seq: int
    decisions: int
    granted: int
    strays: int
    fits: dict[str, int]


_encode: Final = msgspec.json.Encoder().encode
_decode_slice: Final = msgspec.json.Decoder(list[int]).decode
_decode_video: Final = msgspec.json.Decoder(_StoredVideo).decode
_slice_values: Final = attrgetter(*_FIELDS)
_video_values: Final = attrgetter(*_VIDEO_FIELDS)
encode_policy: Final = _encode
decode_policy: Final = msgspec.json.Decoder(FirstPolicy).decode


def rows_of(video: VideoState) -> dict[str, FirstSlice]:
    """Return the rows of a video that is loaded as 0.1.0 kept it."""
    return cast(dict[str, FirstSlice], video.slices)


def own_row(video: VideoState) -> FirstVideo:
    """Return the own row of a video that is loaded as 0.1.0 kept it."""
    return cast(FirstVideo, video.row)


def are_first(raws: Iterable[bytes]) -> bool:
    """Tell whether any of these stored rows is one of 0.1.0: it has no version.

    >>> are_first([b'[2,[3,2]]', b'[2,"public"]'])
    False
    >>> are_first([b'["public","ordinary"]']), are_first([b"[2,5,9000]"])
    (True, True)
    """
    return any(raw[:4] not in _TODAY for raw in raws)


def encode_first(row: Slice | Video) -> bytes:
    """Return the stored spelling of a row of 0.1.0, a slice's or a video's.

    >>> encode_first(FirstSlice(impressions=3, views=2))[:11], encode_first(FirstVideo())
    (b'[3,2,0,0,0,', b'["unknown","ordinary",false,0,0,0,0,{}]')
    """
    return _encode(_video_values(row) if isinstance(row, Video) else _slice_values(row))


def decode_first_slice(raw: bytes) -> FirstSlice:
    """Return the row that a slice's spelling holds; `ValueError` if it is none of 0.1.0."""
    values = _read(_decode_slice, raw)
    if len(values) != len(_FIELDS):
        raise ValueError(f"{len(values)} values, {len(_FIELDS)} expected")
    return FirstSlice(**dict(zip(_FIELDS, values, strict=True)))


def decode_first_video(raw: bytes) -> FirstVideo:
    """Return the row that a video's own spelling holds; `ValueError` if it is none of 0.1.0."""
    stored = _read(_decode_video, raw)
    return FirstVideo(**{name: getattr(stored, name) for name in _VIDEO_FIELDS})


def load_first(video: str, fields: Mapping[str, bytes]) -> VideoState:
    """Return the state that a video's hash holds, as `counters.load_video` does."""
    state = VideoState()
    state.row = FirstVideo()
    return load_rows(state, video, fields, decode_first_video, decode_first_slice)


def _read(decode: Callable[[bytes], Any], raw: bytes) -> Any:
    try:
        return decode(raw)
    except UNREADABLE as error:
        raise ValueError(str(error)) from None

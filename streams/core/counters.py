"""Exact feedback counters: one row per (video, slice), one row per video, and their spelling.

A row is stored as a JSON array of integers in the order of `SLICE_FIELDS`; the video's own row in
the order of `VIDEO_FIELDS`.
"""

from collections.abc import Mapping
from hashlib import blake2b
from operator import attrgetter
from typing import Final

import msgspec

from streams.core.stages import SliceStage, VideoStage
from streams.core.units import MICROS, NEVER

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(list[int]).decode

SLICE_STAGES: Final[tuple[SliceStage, ...]] = ("idle", "active", "held", "stopped")
"""`status` of a row is the place in this tuple."""
IDLE, ACTIVE, HELD, STOPPED = range(4)

COMPLETE_PERCENT: Final = 95
"""A view that watched this share of the video counts as complete."""


class Slice(msgspec.Struct, gc=False):
    """Feedback and distribution of one video in one slice; owned by one `PartitionState`."""

    impressions: int = 0
    views: int = 0
    watch_ms: int = 0
    completes: int = 0
    likes: int = 0
    comments: int = 0
    shares: int = 0
    follows: int = 0
    hides: int = 0
    reports: int = 0
    orders: int = 0
    value_sum: int = 0  # micro-units
    value_sq: int = 0  # each part squared, // MICROS
    status: int = IDLE
    stage: int = 0  # times widened
    allowance: int = 0  # impressions granted
    tranche: int = 0  # impressions of the latest grant
    prior_mean: int = 0  # micro-units, fixed at the first start
    index: int = 0  # micro-units, at the last checkpoint
    check_views: int = NEVER  # next checkpoint
    check_impressions: int = NEVER  # the latest tranche is nearly used from here on
    granted_views: int = 0  # views at the latest grant
    epoch: int = -1  # of the flush that will carry the row; not stored
    digest: int = 0  # of the row as it was last taken for storing; not stored

    def add_value(self, micros: int) -> None:
        """Add one part of a view's value."""
        self.value_sum += micros
        self.value_sq += micros * micros // MICROS

    def take_back_value(self, micros: int) -> None:
        """Undo `add_value` exactly."""
        self.value_sum -= micros
        self.value_sq -= micros * micros // MICROS


SLICE_FIELDS: Final = Slice.__struct_fields__[: Slice.__struct_fields__.index("epoch")]
COUNTERS: Final = SLICE_FIELDS[: SLICE_FIELDS.index("status")]
"""The fields that are feedback alone; the others belong to distribution."""
_slice_values: Final = attrgetter(*SLICE_FIELDS)


class Video(msgspec.Struct, array_like=True):
    """What moderation and admission said of a video."""

    stage: VideoStage = "unknown"
    tier: str = "ordinary"
    commercial: bool = False
    seq: int = 0  # of the last control record applied
    decisions: int = 0  # receipts written so far
    granted: int = 0  # impressions granted in public slices
    strays: int = 0  # slices that feedback opened while the policy in force did not have them
    fits: dict[str, int] = {}  # slice -> fit of the tags, micro-units


VIDEO_FIELDS: Final = Video.__struct_fields__
VIDEO_ROW: Final = "video"
"""Field of the video's own row in its hash; no slice id can spell it (it has no colon)."""
_decode_video: Final = msgspec.json.Decoder(Video).decode
_decode_parts: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class VideoState:
    """One video in memory: its own row and its slices' rows."""

    __slots__ = ("row", "row_digest", "row_epoch", "slices", "touched")

    def __init__(self) -> None:
        self.row = Video()
        self.slices: dict[str, Slice] = {}
        self.row_epoch = -1  # as `Slice.epoch`, for the own row
        self.row_digest = 0  # as `Slice.digest`
        self.touched = -1  # latest epoch in which any row changed


def encode_slice(row: Slice) -> bytes:
    """Return the stored spelling of a slice's row.

    >>> encode_slice(Slice(impressions=3, views=2))[:11]
    b'[3,2,0,0,0,'
    """
    return _encode(_slice_values(row))


def decode_slice(raw: bytes) -> Slice:
    """Return the row that `encode_slice` spelled; `ValueError` if it did not spell this."""
    try:
        values = _decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    _require_length(len(values), len(SLICE_FIELDS))
    return Slice(*values)


def encode_video(row: Video) -> bytes:
    """Return the stored spelling of a video's own row."""
    return _encode(row)


def decode_video(raw: bytes) -> Video:
    """Return the row that `encode_video` spelled; `ValueError` if it did not spell this."""
    try:
        row = _decode_video(raw)
        _require_length(len(_decode_parts(raw)), len(VIDEO_FIELDS))
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    return row


def load_video(video: str, fields: Mapping[str, bytes]) -> VideoState:
    """Return the state that a video's hash holds; a fresh one if `fields` is empty.

    `ValueError` names the field that cannot be read.
    """
    state = VideoState()
    for field, raw in fields.items():
        digest = row_digest(video, field, raw)
        try:
            if field == VIDEO_ROW:
                state.row, state.row_digest = decode_video(raw), digest
            else:
                state.slices[field] = row = decode_slice(raw)
                row.digest = digest
        except ValueError as error:
            raise ValueError(f"field {field}: {error}") from None
    return state


def _require_length(length: int, wanted: int) -> None:
    if length != wanted:
        raise ValueError(f"{length} values where {wanted} belong")


def row_digest(video: str, field: str, raw: bytes) -> int:
    """Return a 128-bit digest of one stored row.

    The digest of a state is the sum of its rows' digests modulo 2**128, so it can follow changes
    row by row and does not depend on the order of flushes (an incremental multiset hash, after
    Clarke et al. 2003, MSet-Add-Hash, section 4).
    """
    text = f"{video} {field} ".encode() + raw
    return int.from_bytes(blake2b(text, digest_size=16).digest(), "big")

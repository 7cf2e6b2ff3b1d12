"""Exact feedback counters: one row per (video, slice), one row per video, and their spelling.

A slice's row is stored as a JSON array: its version, the counters in the order of `COUNTERS`, what
distribution keeps in the order of `DISTRIBUTION`, bits of who was there (`VIEWERS`), and of a live
room what weighs no more (`FADING`); what has its defaults is left out at the end. All lists only
ever grow at their ends: a row that is shorter has the defaults there. The video's own row is an
array of its version and `VIDEO_FIELDS`.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from streams.core.events import Policy
from streams.core.fields import Format
from streams.core.stages import SliceStage, VideoStage
from streams.core.traffic import ClassSums
from streams.core.units import NEVER
from streams.errors import UNREADABLE

_encode: Final = msgspec.json.Encoder().encode
DIGEST_MODULUS: Final = (1 << 127) - 25
"""A prime. Powers of two come back to one after 127 steps by 2^127 - 1: there, digits that change
places 127 bytes apart, or one up here and eight down 48 bytes on, would leave no trace."""

SLICE_STAGES: Final[tuple[SliceStage, ...]] = ("idle", "active", "held", "stopped")
"""`status` of a row is the place in this tuple."""
IDLE, ACTIVE, HELD, STOPPED = range(4)

STOP_CAUSES: Final = ("", "index_below_price", "reach_used", "budget_spent")
"""`cause` of a row is the place in this tuple; what evidence did not stop has none."""
LAPSED: Final = 1

WORD_BITS: Final = 43
"""Bits of a stored number: those of the viewers take three, and every language reads them."""
_WORD: Final = (1 << WORD_BITS) - 1

COMPLETE_PERCENT: Final = 95
"""A view that watched this share of the video counts as complete."""


ROW_VERSION: Final = 2


class Weighed(msgspec.Struct, frozen=True, gc=False):
    """What the views of one (video, slice) say under one policy; see `posterior.weigh`."""

    policy: Policy | None  # None: by `waiting`, until another impression
    views: int  # that weigh: see `distinct`
    value: int  # of those, micro-units
    noise: int  # variance of one view, micro-units
    scale: int  # noise + views x own variance
    weight: int  # views / scale, in 10^-12
    pull: int  # weight x (value per view - expectation before any view)
    hoped: int = 0  # of the value, for buttons that are still to come
    waiting: Policy | None = None
    impressions: int = 0


class Totals(msgspec.Struct, gc=False):
    """Factor sums of a video under one policy, before they are rounded; see `posterior.Sums`.

    Each of its slices' `summed` says what is in them of it.
    """

    policy: Policy
    sums: tuple[int, int, int, int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(slots=True)
class Slice:
    """Feedback and distribution of one video in one slice; owned by one `PartitionState`.

    What was seen, not what it was worth: under any weights the value follows exactly. It has slots
    because nothing is changed as often, and a struct takes half as long again to change.
    """

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
    ratio_sum: int = 0  # watched share of each view, at most 1, micro-units
    ratio_sq: int = 0  # each share squared, // MICROS
    commenters: int = 0  # comments, each viewer's first of this video in the window of duplicates
    sharers: int = 0  # as `commenters`
    reporters: int = 0
    buyers: int = 0
    profiles: int = 0  # this and what follows weighs nothing
    unfollows: int = 0
    gifts: int = 0
    stays: int = 0
    stay_ms: int = 0
    follower_impressions: int = 0  # shown to followers of the creator
    order_amount: int = 0  # money, as `gift_amount` and `spend`
    gift_amount: int = 0
    spend: int = 0  # paid for impressions
    status: int = IDLE
    stage: int = 0  # times widened
    allowance: int = 0  # impressions granted
    tranche: int = 0  # impressions of the latest grant
    check_views: int = NEVER  # next checkpoint
    check_impressions: int = NEVER  # the latest tranche is nearly used from here on
    granted_views: int = 0  # views at the latest grant
    turn_ms: int = 0  # end of the current bucket of delay, event time: see `delay`
    young: int = 0  # views in it
    maturing: int = 0  # views in the bucket before
    presses: int = 0  # buttons since the latest judgement
    late_judgements: int = 0  # judgements that buttons asked for, since another one
    cause: int = 0  # of the stop
    returns: int = 0  # second chances so far
    estimated: int = 0  # views whose watched share is estimated: 0.1.0 counted them
    viewers: int = 0  # bits set by who was shown it: see `distinct`
    likers: int = 0  # bits set by who liked it
    pressers: int = 0  # bits set by who pressed anything else
    epoch: int = -1  # of the flush that will carry the row; not stored
    digest: int = 0  # of the row as it was last taken for storing; not stored
    salt: int = 0  # of that digest; not stored
    weighed: Weighed | None = None  # what the views say, None once there is more; not stored
    summed: Weighed | None = None  # what the video's totals hold of it; not stored
    sums: ClassSums | None = None  # of its class, which it counts in too; not stored
    hot: list[int] | None = None  # of those sums, `traffic.HOT`; never of a live room; not stored
    faded: list[int] | None = None  # of a live room, what weighs no more: see `fading`


_FIELDS: Final = tuple(each.name for each in fields(Slice))
COUNTERS: Final = _FIELDS[: _FIELDS.index("status")]
"""The fields that are feedback alone."""
EVIDENCE: Final = COUNTERS[: COUNTERS.index("profiles")]
"""Those of them that may weigh; of the others most rows have none."""
DISTRIBUTION: Final = _FIELDS[_FIELDS.index("status") : _FIELDS.index("viewers")]
VIEWERS: Final = _FIELDS[_FIELDS.index("viewers") : _FIELDS.index("epoch")]
"""The fields that are bits of viewers, the log's alone as the counters are."""
FADING: Final = (
    *("impressions", "views", "completes", "likes", "follows", "hides", "ratio_sum", "ratio_sq"),
    *("commenters", "sharers", "reporters", "buyers"),
)
"""The counters whose weight fades in a live room."""
_BITS: Final = ("viewers, low", "viewers, middle", "viewers, high", "likers", "pressers")


def _getter(names: Sequence[str]) -> Callable[[Slice], tuple[int, ...]]:
    """Return what `attrgetter` returns, written out: it takes a fifth of the time."""
    values = ", ".join(f"row.{name}" for name in names)
    getter: Callable[[Slice], tuple[int, ...]] = eval(f"lambda row: ({values},)")  # noqa: S307
    return getter


_evidence: Final = _getter(EVIDENCE)
_weightless: Final = _getter(COUNTERS[len(EVIDENCE) :])
_distribution: Final = _getter(DISTRIBUTION)
_UNTOUCHED: Final = _distribution(Slice())


class Trial(NamedTuple):
    """What chance has shown in one slice: impressions up to `upto`, of which `hoped` is expected.

    Until it was shown and weighed; `hoped` is micro-units of value per view.
    """

    upto: int
    hoped: int


class Reported(msgspec.Struct, array_like=True):
    """How reports of a video add up against its impressions: see `reports`."""

    sum: int = 0  # micro-reports
    impressions: int = 0  # of the video, at its latest report
    reporters: int = 0  # bits set by who reported it since the sum was 0
    since: int = 0  # ms; moderation was asked then and has not answered, 0 if it is not asked
    looked: int = 0  # ms, of the latest verdict that let the video be shown
    verdicts: int = 0  # of that kind


class Video(msgspec.Struct, array_like=True):
    """What moderation and admission said of a video."""

    version: int = ROW_VERSION
    stage: VideoStage = "unknown"
    band: int = 0
    commercial: bool = False
    seq: int = 0  # of the last control record applied
    decisions: int = 0  # receipts written so far
    granted: int = 0  # impressions granted in public slices, less what stops gave back
    strays: int = 0  # slices that feedback opened while the policy in force did not have them
    fits: dict[str, int] = {}  # slice -> fit of the tags, micro-units
    admitted: int = 0  # ms, of the first admit
    guarantee: int = 0  # public impressions owed from then on, or since `promised`
    creator: str = ""
    format: Format = "video"
    lapsed: int = 0  # slices that are stopped and may come back
    next_look: int = 0  # views of the video from which on those are looked at again
    trials: dict[str, Trial] = {}  # by slice that chance drew
    reported: Reported | None = None  # None while nothing was
    promised: int = 0  # ms, when the public could see it, where that was after `admitted`
    halved: int = 0  # half-life since 1970 that the evidence of a live room has faded to
    handicap: int = 0  # off its score on public surfaces, micro-units
    handicapped: int = 0  # ms, of the record that set it last

    @property
    def owed_since(self) -> int:
        """When the time of its guarantee began, ms."""
        return self.promised or self.admitted


VIDEO_FIELDS: Final = Video.__struct_fields__[1:]
VIDEO_ROW: Final = "video"
"""Field of the video's own row in its hash; no slice id can spell it (it has no colon)."""
_decode_video: Final = msgspec.json.Decoder(Video).decode
_decode_parts: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Told(NamedTuple):
    """What feeds know of a video: its open slices, best before any view first, and their scores."""

    outlook: object  # in force when they were told
    views: int  # of the video, when all of them were scored
    slices: tuple[str, ...]
    scores: "array[int]"


NOTHING_TOLD: Final = Told(None, 0, (), array("i"))
"""Of a video that feeds know nothing of; None is one of which nobody knows what they know."""
_NO_DUES: Final[dict[str, tuple[int, int]]] = {}  # of nearly every video: never changed
_NO_FACTORS: Final[dict[str, int]] = {}  # of every video that is no advert: never changed


class VideoState:
    """One video in memory: its own row and its slices' rows.

    What feeds were told of it (`told`, by slice until when how much is `due` to it, and by which
    `factors` the bids of an advert count), whether it was judged or controlled since, and the
    `totals` of its evidence: none of this is stored, and nothing that is stored depends on it.
    """

    __slots__ = (
        "controlled",
        "due",
        "factors",
        "judged",
        "row",
        "row_digest",
        "row_epoch",
        "row_salt",
        "slices",
        "told",
        "totals",
        "touched",
    )

    def __init__(self) -> None:
        self.row = Video()
        self.slices: dict[str, Slice] = {}
        self.row_epoch = -1  # as `Slice.epoch`, for the own row
        self.row_digest = 0  # as `Slice.digest`
        self.row_salt = 0  # as `Slice.salt`
        self.touched = -1  # latest epoch in which any row changed
        self.judged = False
        self.controlled = False
        self.told: Told | None = None
        self.totals: Totals | None = None
        self.due: dict[str, tuple[int, int]] = _NO_DUES
        self.factors: dict[str, int] = _NO_FACTORS

    @property
    def views(self) -> int:
        """Views in all its slices."""
        return sum([row.views for row in self.slices.values()])


class _StoredSlice(msgspec.Struct, array_like=True):
    version: int
    counters: list[int]
    kept: list[int] = []
    bits: list[int] = []
    faded: list[int] = []


_decode_slice: Final = msgspec.json.Decoder(_StoredSlice).decode


def encode_slice(row: Slice) -> bytes:
    """Return the stored spelling of a slice's row.

    >>> encode_slice(Slice(impressions=3, views=2))
    b'[2,[3,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]]'
    """
    kept, counts, others = _distribution(row), _evidence(row), _weightless(row)
    if any(others):
        counts += others
    viewers = row.viewers
    if viewers or row.faded is not None:
        words = (viewers & _WORD, viewers >> WORD_BITS & _WORD, viewers >> 2 * WORD_BITS)
        bits = (*words, row.likers, row.pressers)
        spelled = (ROW_VERSION, counts, () if kept == _UNTOUCHED else kept, bits)
        return _encode(spelled if row.faded is None else (*spelled, row.faded))
    if kept == _UNTOUCHED:
        return _encode((ROW_VERSION, counts))
    return _encode((ROW_VERSION, counts, kept))


def decode_slice(raw: bytes) -> Slice:
    """Return the row that `encode_slice` spelled; `ValueError` if it did not spell this."""
    try:
        stored = _decode_slice(raw)
        _require(stored.version, stored.counters, COUNTERS)
        _require(stored.version, stored.kept, DISTRIBUTION)
        _require(stored.version, stored.bits, _BITS)
        _require(stored.version, stored.faded, FADING)
    except UNREADABLE as error:
        raise ValueError(str(error)) from None
    missing = [0] * (len(COUNTERS) - len(stored.counters))
    values: list[Any] = [*stored.counters, *missing, *stored.kept]
    row = Slice(*values)
    if stored.bits:
        low, middle, high, row.likers, row.pressers = stored.bits + [0] * (5 - len(stored.bits))
        row.viewers = low | middle << WORD_BITS | high << 2 * WORD_BITS
    if stored.faded:
        row.faded = stored.faded + [0] * (len(FADING) - len(stored.faded))
    return row


def encode_video(row: Video) -> bytes:
    """Return the stored spelling of a video's own row."""
    return _encode(row)


def decode_video(raw: bytes) -> Video:
    """Return the row that `encode_video` spelled; `ValueError` if it did not spell this."""
    try:
        row = _decode_video(raw)
        _require(row.version, _decode_parts(raw)[1:], VIDEO_FIELDS)
    except UNREADABLE as error:
        raise ValueError(str(error)) from None
    return row


def load_video(video: str, fields: Mapping[str, bytes]) -> VideoState:
    """Return the state that a video's hash holds; a fresh one if `fields` is empty.

    `ValueError` names the field that cannot be read.
    """
    return load_rows(VideoState(), video, fields, decode_video, decode_slice)


def read_video(fields: Mapping[str, bytes]) -> VideoState:
    """Return the state that a video's hash holds, to be looked at only: it has no digests.

    `ValueError` if a row cannot be read.
    """
    state = VideoState()
    for field, raw in fields.items():
        if field == VIDEO_ROW:
            state.row = decode_video(raw)
        else:
            state.slices[field] = decode_slice(raw)
    return state


def load_rows(
    state: VideoState,
    video: str,
    fields: Mapping[str, bytes],
    decode_own: Callable[[bytes], Video],
    decode_row: Callable[[bytes], Slice],
) -> VideoState:
    """Fill a fresh state with what a video's hash holds, read by these decoders, and return it."""
    for field, raw in fields.items():
        salt = salt_of(video, field)
        try:
            if field == VIDEO_ROW:
                state.row, state.row_salt = decode_own(raw), salt
                state.row_digest = row_digest(salt, raw)
            else:
                state.slices[field] = row = decode_row(raw)
                row.salt, row.digest = salt, row_digest(salt, raw)
        except ValueError as error:
            raise ValueError(f"field {field}: {error}") from None
    return state


def _require(version: int, values: Sequence[object], names: Sequence[str]) -> None:
    if version != ROW_VERSION:
        raise ValueError(f"a row of version {version}: this is of {ROW_VERSION}")
    if len(values) > len(names):
        raise ValueError(f"{len(values)} values where at most {len(names)} belong")


def salt_of(video: str, field: str) -> int:
    """Return what tells a row's digest from that of any other row; never 0."""
    text = f"{video} {field}".encode()
    return int.from_bytes(blake2b(text, digest_size=15).digest(), "big") + 1


def rows_digest(rows: Mapping[str, Mapping[str, bytes]]) -> int:
    """Return the sum of the digests of stored rows, by video and field."""
    return sum(
        row_digest(salt_of(video, field), raw)
        for video, fields in rows.items()
        for field, raw in fields.items()
    )


def row_digest(salt: int, raw: bytes) -> int:
    """Return a digest of one stored row, below `DIGEST_MODULUS`.

    The digest of a state is the sum of its rows' digests by that modulus, so it can follow changes
    row by row and does not depend on the order of flushes (an incremental multiset hash, after
    Clarke et al. 2003, MSet-Add-Hash, section 4; of a row, its bytes as a number times a salt of
    its own: the universal hash of Carter & Wegman 1979).
    """
    return salt * (int.from_bytes(raw, "big") % DIGEST_MODULUS) % DIGEST_MODULUS

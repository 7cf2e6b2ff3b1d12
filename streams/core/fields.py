"""What the fields of records may hold, as msgspec types: validated on decode, told in schemas."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from streams.core.units import ID_MAX, MICROS

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=ID_MAX,
        description="an id",
        extra_json_schema={"pattern": "^[A-Za-z0-9_-]+$"},
    ),
]
"""An id; its alphabet is checked for a whole batch at once by the codec."""
Millis = Annotated[
    int,
    Meta(ge=1_000_000_000_000, lt=4_102_444_800_000, description="milliseconds since 1970, UTC"),
]
"""A time in milliseconds since 1970, between 2001-09-09 and 2100-01-01: seconds and microseconds
given by mistake fall outside."""
EPOCH_MS: Final = 1_000_000_000_000
"""The least time that a record may bear; stands in a draft for the time of its broadcast."""
DurationMs = Annotated[int, Meta(ge=1, le=86_400_000, description="milliseconds")]
WatchMs = Annotated[int, Meta(ge=0, le=86_400_000, description="milliseconds")]
Micros = Annotated[int, Meta(ge=-(1 << 53) + 1, lt=1 << 53, description="micro-units")]
Count = Annotated[int, Meta(ge=0, lt=1 << 53, description="a count")]
Amount = Annotated[
    int,
    Meta(ge=0, lt=1 << 53, description="money, in the smallest unit of the platform's currency"),
]
Sequence = Annotated[int, Meta(ge=1, lt=1 << 53, description="a number that rises")]
Ratio = Annotated[int, Meta(ge=0, le=MICROS, description="micro-units, 1 000 000 is the whole")]
Text = Annotated[str, Meta(max_length=2_000)]
SliceName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=48,
        description="surface:group",
        extra_json_schema={"pattern": "^(following|nearby|discover):[a-z0-9_-]{1,32}$"},
    ),
]
Term = Annotated[int, Meta(ge=0, lt=1 << 53, description="a leader's term")]
HANDICAP_MOST: Final = 100_000
"""No creator's ceiling takes more off a score: a tenth of a value."""
Handicap = Annotated[
    int, Meta(ge=0, le=HANDICAP_MOST, description="micro-units off the score on public surfaces")
]
PublicKey = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""An Ed25519 public key in hexadecimal."""

BANDS: Final = 6
Band = Annotated[int, Meta(ge=0, lt=BANDS)]
"""A creator's fan band: decimal digits of the followers less one, at most 5 (100,000 or more).

Bands 0 to 4 are ordinary people: at least 70 % of public impressions belong to them.
"""
Format = Literal["video", "live"]
Person = Annotated[str, Meta(max_length=ID_MAX)]
"""Who decided; empty where a rule did."""
ServedVia = Literal["rank", "fresh", "explore", "bid", "push"]
"""Why a video was shown: its rank, a first audience owed, chance, a bid, or a push to followers."""
Dimension = Literal["gender", "age", "expression", "scene", "music", "emotion", "speed", "interest"]
VerdictWord = Literal["approve", "limit", "reject"]


def band_of(followers: int) -> int:
    """Return the fan band of a creator with so many followers.

    >>> [band_of(followers) for followers in (0, 9, 10, 99_999, 100_000, 3_000_000)]
    [0, 0, 1, 4, 5, 5]
    """
    return min(len(str(followers)) - 1, BANDS - 1)

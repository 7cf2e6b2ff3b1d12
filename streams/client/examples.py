"""One valid example of every event that producers write, in the order of a video's life."""

from typing import Final

from streams.client.intake import PublicEvent
from streams.core.events import (
    Comment,
    Ended,
    Follow,
    Gift,
    Hide,
    Impression,
    Like,
    Music,
    Order,
    Profile,
    Recognition,
    Report,
    Share,
    Stay,
    Tag,
    Unfollow,
    Unlike,
    Upload,
    View,
)
from streams.core.words import Review

_TS: Final = 1_714_557_600_000  # 2024-05-01T10:00:00Z
_VIDEO: Final = "example-video"
_SLICE: Final = "discover:football"

EXAMPLES: Final[tuple[PublicEvent, ...]] = (
    Upload(
        id="example-upload",
        video=_VIDEO,
        creator="example-creator",
        ts=_TS,
        duration_ms=15_000,
        title="足球射门教学 how to shoot",
        hashtags=("足球", "football"),
        music=Music(title="Go", artist="Somebody", genre="pop"),
        scene="pitch",
        city="沈阳",
        followers=120,
        metadata={"camera": "phone"},
    ),
    Recognition(
        id="example-recognition",
        video=_VIDEO,
        ts=_TS + 1_000,
        source="vision-3",
        tags=(Tag("interest", "football", 930_000), Tag("scene", "pitch", 800_000)),
    ),
    Review("example-review", _VIDEO, _TS + 2_000, "approve", "moderator-7"),
    Impression("example-impression", _VIDEO, "viewer-1", _SLICE, _TS + 60_000),
    View("example-view", _VIDEO, "viewer-1", _SLICE, _TS + 72_000, 12_000, 15_000),
    Like("example-like", _VIDEO, "viewer-1", _SLICE, _TS + 73_000),
    Unlike("example-unlike", _VIDEO, "viewer-1", _SLICE, _TS + 74_000),
    Comment("example-comment", _VIDEO, "viewer-1", _SLICE, _TS + 75_000),
    Share("example-share", _VIDEO, "viewer-1", _SLICE, _TS + 76_000),
    Follow("example-follow", _VIDEO, "viewer-1", _SLICE, _TS + 77_000),
    Hide("example-hide", _VIDEO, "viewer-2", _SLICE, _TS + 78_000),
    Report("example-report", _VIDEO, "viewer-2", _SLICE, _TS + 79_000),
    Order("example-order", _VIDEO, "viewer-3", _SLICE, _TS + 80_000, amount=12_900),
    Profile("example-profile", _VIDEO, "viewer-3", _SLICE, _TS + 81_000),
    Unfollow("example-unfollow", _VIDEO, "viewer-1", _SLICE, _TS + 82_000),
    Gift("example-gift", _VIDEO, "viewer-3", _SLICE, _TS + 83_000, amount=500),
    Stay("example-stay", _VIDEO, "viewer-3", _SLICE, _TS + 84_000, stay_ms=90_000),
    Ended("example-ended", "example-room", _TS + 1_800_000),
)

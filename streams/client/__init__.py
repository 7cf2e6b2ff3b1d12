"""For producers and feed servers: events checked, placed and published; impressions leased.

Imports neither Faust, uvloop, click nor rich: an application may embed it. What feed servers use
needs a client of Redis too, which is imported with its first use: extra `[feed]`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from streams.client.blocking import BlockingPublisher, NoRoom
from streams.client.intake import EventRefused, PublicEvent
from streams.client.outbox import Limits
from streams.client.publisher import NotPublished, Publisher
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

if TYPE_CHECKING:
    from streams.client.leases import Leased as Leased
    from streams.client.leases import Leases as Leases
    from streams.client.leases_blocking import BlockingLeases as BlockingLeases
    from streams.client.mixes import Mixes as Mixes

__all__ = [
    "BlockingPublisher",
    "Comment",
    "Ended",
    "EventRefused",
    "Follow",
    "Gift",
    "Hide",
    "Impression",
    "Like",
    "Limits",
    "Music",
    "NoRoom",
    "NotPublished",
    "Order",
    "Profile",
    "PublicEvent",
    "Publisher",
    "Recognition",
    "Report",
    "Review",
    "Share",
    "Stay",
    "Tag",
    "Unfollow",
    "Unlike",
    "Upload",
    "View",
]

_FEED: Final = {
    "Leases": "streams.client.leases",
    "Leased": "streams.client.leases",
    "BlockingLeases": "streams.client.leases_blocking",
    "Mixes": "streams.client.mixes",
}


def __getattr__(name: str) -> object:
    """Import what feed servers use, when it is first asked for."""
    if name not in _FEED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_FEED[name]), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs the extra [feed]: {error}") from error

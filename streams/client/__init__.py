"""For producers: events checked, placed and published.

Imports neither Faust, uvloop, click nor rich: an application may embed it.
"""

from streams.client.blocking import BlockingPublisher, NoRoom
from streams.client.intake import EventRefused, PublicEvent
from streams.client.outbox import Limits
from streams.client.publisher import NotPublished, Publisher
from streams.core.events import (
    Comment,
    Follow,
    Hide,
    Impression,
    Like,
    Music,
    Order,
    Recognition,
    Report,
    Review,
    Share,
    Tag,
    Unlike,
    Upload,
    View,
)

__all__ = [
    "BlockingPublisher",
    "Comment",
    "EventRefused",
    "Follow",
    "Hide",
    "Impression",
    "Like",
    "Limits",
    "Music",
    "NoRoom",
    "NotPublished",
    "Order",
    "PublicEvent",
    "Publisher",
    "Recognition",
    "Report",
    "Review",
    "Share",
    "Tag",
    "Unlike",
    "Upload",
    "View",
]

"""When reports of a video ask for a person: a CUSUM of them against its impressions.

Page 1954 (Continuous inspection schemes), for the rate of rare events: Lucas 1985 (Counted data
CUSUM's). Each viewer who was shown the video and reports it adds one. Each impression takes away
`report_drain`, (q - p) / ln(q / p) of the usual rate p and a grave one q, and below 0 it does not
fall. From `report_bar` on a person shall look. At the usual rate a report that begins at 0 leads
there with a probability of at most (p / q)**(bar - 1); a grave rate takes few more reports than the
bar says.

It is brought up to date at a report alone: what impressions took away since the one before follows
from their number. Whoever reports again counts once, by a bit of their id, until it falls to 0 or
a person looks; one in `BUTTON_BITS` others is taken for somebody who did.

A verdict that lets the video be shown settles what was reported, and doubles the bar: mobs report
again.
"""

from typing import Final
from zlib import crc32

from streams.core.counters import Reported, Slice, Video, VideoState
from streams.core.distinct import ALL_PRESSED, BUTTON_BITS, MARKS, VIEWER_BITS
from streams.core.events import Policy
from streams.core.receipts import Receipt, ReportSum
from streams.core.units import MICROS
from streams.core.waiting import Waiting

MOST_DOUBLINGS: Final = 10
_NEARLY_ALL: Final = BUTTON_BITS - BUTTON_BITS // 16
"""So many bits say nothing any more: from there on, everybody counts."""


def hear(video: VideoState, row: Slice, viewer: str, policy: Policy) -> bool:
    """Add a viewer's first report, made in the slice of `row`; tell whether it counts."""
    code = crc32(viewer.encode())
    if not policy.report_bar or not row.viewers & MARKS[code % VIEWER_BITS]:
        return False
    known = video.row.reported or Reported()
    impressions = impressions_of(video)
    left = known.sum - (impressions - known.impressions) * policy.report_drain
    reporters = known.reporters if left > 0 else 0
    mark = MARKS[code % BUTTON_BITS]
    if reporters & mark and reporters.bit_count() < _NEARLY_ALL:
        return False
    known.sum = max(left, 0) + MICROS
    known.impressions, known.reporters = impressions, (reporters | mark) & ALL_PRESSED
    video.row.reported = known
    return True


def is_too_much(reported: Reported, policy: Policy) -> bool:
    """Tell whether moderation has to be asked, and is not already."""
    return not reported.since and reported.sum >= bar_of(reported, policy)


def bar_of(reported: Reported, policy: Policy) -> int:
    """Return the micro-reports from which on moderation is asked.

    >>> from types import SimpleNamespace as Numbers
    >>> [bar_of(Reported(verdicts=n), Numbers(report_bar=6_000_000)) for n in (0, 1, 2)]
    [6000000, 12000000, 24000000]
    """
    return policy.report_bar << min(reported.verdicts, MOST_DOUBLINGS)


def sum_up(reported: Reported, policy: Policy) -> ReportSum:
    """Return what a receipt says of it."""
    return ReportSum(reported.reporters.bit_count(), reported.sum, bar_of(reported, policy))


def settle(own: Video, looked: int) -> bool:
    """Take in that a person let the video be shown; False if a later word was taken in before.

    `since` stays: whoever asked has to be told.
    """
    known = own.reported or Reported()
    if looked <= known.looked:
        return False
    own.reported = Reported(0, known.impressions, 0, known.since, looked, known.verdicts + 1)
    return True


def waiting_of(receipt: Receipt) -> Waiting:
    """Return what moderation is told of a video that a receipt asks about."""
    reporters = receipt.reports.reporters if receipt.reports else 0
    why = f"{reporters} viewers report it, of {receipt.impressions:,} impressions"
    return Waiting(receipt.video, "reports", receipt.ts, why, receipt.creator)


def impressions_of(video: VideoState) -> int:
    """Return the impressions of a video in all its slices."""
    return sum([row.impressions for row in video.slices.values()])

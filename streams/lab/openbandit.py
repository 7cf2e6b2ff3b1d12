"""The Open Bandit logs as uploads and interactions.

Saito, Aihara, Matsutani, Narita: Open Bandit Dataset and Pipeline (arXiv:2008.07146), published
by ZOZO under CC BY 4.0: recommendations of clothes on a shop's page, each with its click.

| in the log | here |
|---|---|
| item 12 of campaign men | video `obd-men-12`, uploaded at its first row by creator `obd-men` |
| a row | an impression and, at the same time, the view that ends it |
| click 1 | that view watched to its end; click 0: not watched at all |
| the four user features | the viewer: equal features are one viewer, as the log has no user ids |
| user_feature_2 | the viewer's crowd: each of its values means always the same one of `CROWDS` |
| position, propensity_score | left out: no event has a place for them |

A video has no length there, so `DURATION_MS` stands for it. With the value weights `watch` and
`complete`, the mean value of a slice is its click rate times their sum. A click is not a like:
likes are states of (viewer, video), and viewers that share their features would share one.
Shops' recommendations are not paid for by an advertiser, so no upload is commercial.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import PurePath
from typing import Final

from streams.core.events import Impression, Upload, View
from streams.core.units import GROUP_ALPHABET
from streams.errors import Halt
from streams.lab.rows import Event, Row, digest

COLUMNS: Final = (
    "timestamp",
    "item_id",
    "position",
    "click",
    "propensity_score",
    "user_feature_0",
    "user_feature_1",
    "user_feature_2",
    "user_feature_3",
)
CROWDS: Final = {
    "2723d2eb8bba04e0362098011fa3997b": "discover:fashion",
    "c2e4f76cdbabecd33b8c762aeef386b3": "discover:beauty",
    "7bc94a2da491829b777c49c4b5e480f2": "discover:fitness",
    "9b2d331c329ceb74d3dcfb48d8798c78": "discover:music",
    "719dab53a7560218a9d1f96b25d6fa32": "discover:outdoor",
    "302deff13f835d731df1c842eed95971": "discover:photography",
    "9f4e8271d3d3014af5f35124c2de5082": "discover:students",
}
"""Slices of config/slices.toml that stand for the log's anonymous crowds.

The keys are the commonest values of user_feature_2, the commonest first: it gets the slice in
which clothes start. Whoever has another value, or none, is of `OTHER_CROWD`.
"""
OTHER_CROWD: Final = "discover:dailylife"
DURATION_MS: Final = 10_000
_FEATURES: Final = COLUMNS[-4:]
_TIME_MIN, _TIME_MAX = 1_000_000_000_000, 4_102_444_800_000
_ITEM_MAX: Final = 9_999


class OpenBandit:
    """Turns the rows of one campaign's log into events; remembers which items it has met."""

    columns: Final = COLUMNS

    def __init__(self, campaign: str) -> None:
        self.campaign: Final = campaign
        self._met: set[int] = set()  # the campaigns have 34 to 80 items

    def __call__(self, row: Row) -> Sequence[Event]:
        """Return the events of a row, an item's upload first; `BadRow` if a column is wrong."""
        item = row.integer("item_id", 0, _ITEM_MAX)
        ts = _millis(row)
        clicked = row.flag("click")
        slice_id = CROWDS.get(row.text("user_feature_2"), OTHER_CROWD)
        viewer = _viewer(*map(row.text, _FEATURES))
        video = f"obd-{self.campaign}-{item}"
        name = f"obd-{self.campaign}-{row.digest(COLUMNS)}"
        watch_ms = DURATION_MS if clicked else 0
        return [
            *self._upload(item, video, ts),
            Impression(f"{name}-i", video, viewer, slice_id, ts),
            View(f"{name}-v", video, viewer, slice_id, ts, watch_ms, DURATION_MS),
        ]

    def _upload(self, item: int, video: str, ts: int) -> Iterator[Upload]:
        if item not in self._met:
            self._met.add(item)
            yield Upload(
                id=f"{video}-u",
                video=video,
                creator=f"obd-{self.campaign}",
                ts=ts,
                duration_ms=DURATION_MS,
                title=f"Open Bandit, campaign {self.campaign}, item {item}",
                hashtags=("fashion",),
            )


def campaign_of(path: PurePath) -> str:
    """Return the campaign that a log's file name ends in; `Halt` if it cannot be part of an id.

    >>> campaign_of(PurePath("obd/random/men.csv")), campaign_of(PurePath("bts_men.csv.gz"))
    ('men', 'men')
    """
    campaign = path.name.partition(".")[0].rpartition("_")[2].lower()
    if not (0 < len(campaign) <= 16 and GROUP_ALPHABET.issuperset(campaign)):
        raise Halt(f"{path.name} does not end in a campaign's name: give it with --campaign")
    return campaign


def _millis(row: Row) -> int:
    try:
        time = datetime.fromisoformat(row.text("timestamp"))
    except ValueError:
        raise row.bad("timestamp is not an ISO 8601 time") from None
    if time.tzinfo is None:
        raise row.bad("timestamp has no time zone")
    millis = int(time.timestamp()) * 1000 + time.microsecond // 1000
    if not _TIME_MIN <= millis < _TIME_MAX:
        raise row.bad("timestamp is not between 2001 and 2100")
    return millis


@lru_cache(maxsize=4096)
def _viewer(*features: str) -> str:
    return f"obd-{digest(*features)}"

"""What comes out: receipts, decision records with every number that led to them."""

from collections import Counter
from typing import Final, Literal, NamedTuple

import msgspec

from streams.errors import RejectReason

Action = Literal["start", "widen", "keep", "stop"]
ACTIONS: Final[tuple[Action, ...]] = ("start", "widen", "keep", "stop")

Reason = Literal[
    "first_crowd",  # start: named by the admission
    "next_after_stop",  # start: another crowd after one that did not like it
    "next_after_top",  # start: another crowd after one that was widened to the top
    "next_after_reach",  # start: another crowd after one that has seen it all
    "audience_widened",  # start: a limited video may reach the public again
    "released",  # start: a hold ended (also the next crowd, if no public one was held)
    "mean_beats_price",  # widen: the probability reaches the policy's bar
    "allowance_nearly_used",  # keep: worth going on, not yet worth widening
    "index_below_price",  # stop: not worth another impression, learning included
    "reach_used",  # stop: everyone reachable was reached
    "budget_spent",  # stop: the video's impressions are spent
    "slice_gone",  # stop: the policy in force no longer has the slice
    "limited",  # stop: followers only from now on
    "held",  # stop: moderation paused the video
    "takedown",  # stop: moderation ended the video
]


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """One decision about one (video, slice), with what led to it.

    `id` is `<video>.<n>`, n counting the video's decisions: it depends on the log alone, and
    readers drop repeats by it. `cause` is the id of the event that led here and `ts` its time.
    Values, variances, means, index and price are micro-units; `z` is how many posterior standard
    deviations (micro-units) the mean lies above the price.
    """

    id: str
    n: int
    video: str
    slice: str
    action: Action
    reason: Reason
    cause: str
    ts: int  # milliseconds
    policy: str  # version in force
    stage: int  # widened this many times
    tranche: int  # impressions granted by this decision
    allowance: int  # impressions granted to (video, slice) so far, this decision included
    impressions: int
    views: int
    value_sum: int
    value_sq: int
    prior_mean: int
    prior_variance: int
    noise_variance: int
    mean: int
    sd: int
    index: int
    price: int
    z: int
    reach_left: int  # impressions


encode: Final = msgspec.json.Encoder().encode
"""Receipt to bytes: the one spelling that goes on the `decisions` topic."""
decode: Final = msgspec.json.Decoder(Receipt).decode


class Refusal(NamedTuple):
    """Why a record, or one element of its array, goes to the dead letters."""

    offset: int
    element: int  # place in the record's array, 0 for a record of one object
    reason: RejectReason
    message: str


Outcome = Literal["applied", "duplicate", "late", "invalid"]


class Effects:
    """What folding a batch asks of the caller: receipts to send, refusals, and tallies."""

    __slots__ = ("outcomes", "receipts", "rejected")

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.rejected: list[Refusal] = []
        self.outcomes: Counter[tuple[str, Outcome]] = Counter()  # by event type

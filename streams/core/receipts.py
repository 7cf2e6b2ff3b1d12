"""What comes out: receipts, decision records with every number that led to them."""

from collections import Counter
from typing import Final, Literal, NamedTuple

import msgspec

from streams.core.traffic import Tick
from streams.core.waiting import Waiting
from streams.errors import RejectReason

Action = Literal["open", "widen", "keep", "stop", "review"]
ACTIONS: Final[tuple[Action, ...]] = ("open", "widen", "keep", "stop", "review")

Reason = Literal[
    "admitted",  # open: every crowd that the video may reach and that it may be worth it
    "audience_widened",  # open: a limited video may reach the public again
    "released",  # open: a hold ended
    "reconsidered",  # open: one slice that evidence had stopped is worth it again
    "mean_beats_price",  # widen: the probability reaches the policy's bar
    "allowance_nearly_used",  # keep: worth going on, not yet worth widening
    "index_below_price",  # stop: not worth another impression, learning included
    "reach_used",  # stop: everyone reachable was reached
    "budget_spent",  # stop: the video's impressions are spent
    "slice_gone",  # stop: the policy in force no longer has the slice
    "slice_frozen",  # stop: a person froze the slice
    "limited",  # stop: followers only from now on
    "held",  # stop: moderation paused the video
    "takedown",  # stop: moderation ended the video
    "ended",  # stop: the live room is over
    "reported",  # review: so many viewers report it that a person shall look at it again
    "let_through",  # review: a person looked at it and lets it be shown
    "look_again",  # review: a person has what evidence stopped looked at again
    "ceiling",  # review: its creator's share of a day's public impressions moves its handicap
]


class Crowd(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A slice that a receipt about a whole video names; micro-units of value per view."""

    slice: str
    mean: int  # expected, or by the evidence so far
    score: int  # the index
    allowance: int  # impressions


class Draw(msgspec.Struct, frozen=True, gc=False):
    """What chance said where a receipt opens or widens: see `exploration`."""

    probability: int  # of any draw, micro-units
    among: int  # public slices that were open and that nobody was shown the video in
    slice: str  # the drawn one of them, empty where none was


class ReportSum(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How reports of a video add up when a receipt is about its review: see `core.reports`."""

    reporters: int  # bits that viewers set who were shown the video and reported it
    sum: int  # micro-reports
    bar: int  # micro-reports from which on a person looks at it


class Receipt(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="decision"):
    """One decision, with what led to it: about one (video, slice), or about a whole video.

    `id` is `<video>.<n>`, n counting the video's decisions: it depends on the log alone, and
    readers drop repeats by it. `cause` is the id of the event that led here and `ts` its time.
    Values, variances, means, score and price are micro-units of value; `z` is how many posterior
    standard deviations (micro-units) the mean lies above the price. One about a whole video has
    an empty `slice`, zeros in its numbers, and its slices in `crowds`, best first.

    Mean, sd and score follow from `base`, `value` over `weighed`, `noise_variance`, `sums`, and
    what the policy said of the slice (`loadings`, `own_variance`, `horizon`): see `core.posterior`.
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
    rule: int  # version of the rule, as the policy says
    creator: str
    band: int
    commercial: bool
    format: str
    stage: int = 0  # widened this many times
    tranche: int = 0  # impressions granted by this decision
    returned: int = 0  # impressions granted before that a stop gave back
    allowance: int = 0  # impressions granted to (video, slice) so far, this decision included
    impressions: int = 0
    views: int = 0
    value: int = 0  # of the views that weigh, summed
    base: int = 0  # mean before any view
    noise_variance: int = 0
    mean: int = 0
    sd: int = 0
    score: int = 0  # the index, by which feeds rank
    price: int = 0
    z: int = 0
    sums: tuple[int, ...] = ()  # factor sums of the video: A by rows of its upper triangle, then b
    crowds: tuple[Crowd, ...] = ()
    weighed: int = 0  # views that weigh: `value` is theirs
    hoped: int = 0  # of `value`, for buttons still to come: `z` leaves it out
    viewers: int = 0  # bits that viewers set: never more than there were different ones
    by: str = ""  # the person who decided, empty where the rule did
    note: str = ""  # why, in their words
    loadings: tuple[int, ...] = ()  # how the slice shares each of the video's tastes
    own_variance: int = 0  # of what is the slice's alone
    horizon: int = 0  # impressions that the score counts on
    draw: Draw | msgspec.UnsetType = msgspec.UNSET  # left out where nothing is ever drawn
    reports: ReportSum | msgspec.UnsetType = msgspec.UNSET  # of a review, by what was reported
    handicap: int | msgspec.UnsetType = msgspec.UNSET  # feeds rank it by so much less than `score`


class FirstReceipt(msgspec.Struct, frozen=True, gc=False):
    """One decision of 0.1.0 about one (video, slice), with what led to it; micro-units."""

    id: str
    n: int
    video: str
    slice: str
    action: str
    reason: str
    cause: str
    ts: int  # milliseconds
    policy: str  # version in force
    stage: int
    tranche: int
    allowance: int
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
    """What folding a batch asks of the caller: records to send, refusals, and tallies.

    Those of 0.1.0 come before the others: they were decided before the `upgrade` record.
    """

    __slots__ = ("first_receipts", "outcomes", "receipts", "rejected", "ticks", "waiting")

    def __init__(self) -> None:
        self.first_receipts: list[FirstReceipt] = []
        self.receipts: list[Receipt] = []
        self.ticks: list[Tick] = []  # closed
        self.waiting: list[tuple[str, Waiting | None]] = []  # videos that wait, or do no more
        self.rejected: list[Refusal] = []
        self.outcomes: Counter[tuple[str, Outcome]] = Counter()  # by event type

    def add(self, later: "Effects") -> None:
        """Take in what folding the records behind these asks for."""
        self.first_receipts += later.first_receipts
        self.receipts += later.receipts
        self.rejected += later.rejected
        self.outcomes += later.outcomes
        self.ticks += later.ticks
        self.waiting += later.waiting

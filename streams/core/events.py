"""What goes in: every record type of the topics, one msgspec type each, validated on decode.

`uploads`, `recognitions` and `reviews` feed the control plane. `interactions` is the log: user
interactions from producers and control records from the control plane, in one order.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from streams.core.fields import (
    Amount,
    Band,
    Count,
    Dimension,
    DurationMs,
    Format,
    Handicap,
    Id,
    Micros,
    Millis,
    Person,
    Ratio,
    Sequence,
    ServedVia,
    SliceName,
    Term,
    Text,
    WatchMs,
)
from streams.core.partition_control import Generation, Key, Lead, Repartition, TopicMove, Upgrade
from streams.core.units import ID_MAX, MICROS, SLICES_PER_VIDEO
from streams.core.words import SliceReview


class Music(Struct, frozen=True, gc=False):
    """The music of an upload, in its uploader's words."""

    title: Text = ""
    artist: Text = ""
    genre: Text = ""


class Upload(Struct, frozen=True, tag_field="type", tag="upload"):
    """A video was published, or a live room opened.

    `followers` is the creator's count at that time. A room (`format` is `live`) has no length: its
    `duration_ms` is 30,000. `metadata` is the producer's own; recognition looks at texts, integers
    and truth values in it.
    """

    id: Id
    video: Id
    creator: Id
    ts: Millis
    duration_ms: DurationMs
    title: Text = ""
    hashtags: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    music: Music | None = None
    scene: Text = ""
    city: Text = ""
    followers: Count = 0
    commercial: bool = False
    advertiser: Annotated[str, Meta(max_length=ID_MAX)] = ""
    format: Format = "video"
    metadata: dict[str, Any] = {}  # whatever JSON holds


class Ended(Struct, frozen=True, tag_field="type", tag="ended"):
    """A live room is over: it is shown no more, for good. Another broadcast is another upload."""

    id: Id
    video: Id
    ts: Millis


class Tag(Struct, frozen=True, gc=False):
    """One thing that a recogniser saw, and how sure it is (micro-units, 1 000 000 = certain)."""

    dimension: Dimension
    name: Text
    confidence_micros: Ratio


class Recognition(Struct, frozen=True, tag_field="type", tag="recognition"):
    """What one recogniser (`source`) says about a video; its latest word replaces earlier ones."""

    id: Id
    video: Id
    ts: Millis
    source: Id
    tags: Annotated[tuple[Tag, ...], Meta(max_length=200)]


class Interaction(Struct, frozen=True, gc=False, tag_field="type"):
    """What one viewer did with one video, as a member of one slice."""

    id: Id
    video: Id
    viewer: Id
    slice: SliceName
    ts: Millis


class Impression(Interaction, frozen=True, gc=False, omit_defaults=True, tag="impression"):
    """An exposure started: consumes allowance.

    The feed may say why it showed the video, the score that it ranked it by (before price), the
    number of the `mix` that it went by, to whom, and for how much.
    """

    via: ServedVia | None = None
    score: Micros | None = None
    mix: Sequence | None = None
    follower: bool = False  # whether the viewer follows the creator
    amount: Amount = 0  # paid by the advertiser


class View(Interaction, frozen=True, gc=False, tag="view"):
    """An exposure ended: the unit of evidence.

    Of a live room it is sent when the viewer leaves or after 30 s, whichever comes first, and
    `duration_ms` is 30,000: a share of that is what counts there, whatever stands here.
    """

    watch_ms: WatchMs
    duration_ms: DurationMs


class Like(Interaction, frozen=True, gc=False, tag="like"):
    """A state of (viewer, video): a second like counts nothing."""


class Unlike(Interaction, frozen=True, gc=False, tag="unlike"):
    """Takes back a like, and only a like, at the weight that the policy gives a like now."""


class Comment(Interaction, frozen=True, gc=False, tag="comment"):
    """The viewer wrote a comment."""


class Share(Interaction, frozen=True, gc=False, tag="share"):
    """The viewer passed the video on."""


class Follow(Interaction, frozen=True, gc=False, tag="follow"):
    """The viewer follows the creator because of this video; a state of (viewer, video)."""


class Hide(Interaction, frozen=True, gc=False, tag="hide"):
    """The viewer is not interested; a state of (viewer, video)."""


class Report(Interaction, frozen=True, gc=False, tag="report"):
    """The viewer reports the video."""


class Order(Interaction, frozen=True, gc=False, omit_defaults=True, tag="order"):
    """The viewer bought what the video shows."""

    amount: Amount = 0


class Profile(Interaction, frozen=True, gc=False, tag="profile"):
    """The viewer looked at who made the video; worth nothing to any decision."""


class Unfollow(Interaction, frozen=True, gc=False, tag="unfollow"):
    """The viewer follows the creator no more; worth nothing to any decision."""


class Gift(Interaction, frozen=True, gc=False, tag="gift"):
    """The viewer gave the creator something; worth nothing to any decision."""

    amount: Amount


class Stay(Interaction, frozen=True, gc=False, tag="stay"):
    """The viewer stayed in a live room beyond the view; worth nothing to any decision."""

    stay_ms: WatchMs


class Control(Struct, frozen=True, tag_field="type"):
    """A signed word of the control plane; `seq` rises per video.

    Each kind ends with the person whose verdict led to it (`by`, empty if none did) and why
    (`note`).
    """

    id: Id
    video: Id
    ts: Millis
    seq: Sequence


class Admit(Control, frozen=True, tag="admit"):
    """The video may be shown. Keeps what the decision needs to know about it.

    `fits` says how well the tags match each slice that the video may reach (micro-units); slices of
    `discover` are reached without it too. A limited video reaches `following` only. `guarantee`
    public impressions are owed to it from `ts` on, within the policy's time.
    """

    commercial: bool
    limited: bool
    fits: Annotated[dict[SliceName, Ratio], Meta(max_length=256)]
    band: Band = 0
    creator: Annotated[str, Meta(max_length=ID_MAX)] = ""
    advertiser: Annotated[str, Meta(max_length=ID_MAX)] = ""
    format: Format = "video"
    guarantee: Annotated[int, Meta(ge=0, le=10_000)] = 0
    by: Person = ""
    note: Text = ""


class Revise(Control, frozen=True, tag="revise"):
    """New tags or a new audience: `None` leaves a part as it is.

    Where the public may see it from now on, `guarantee` impressions are owed to it from `ts` on,
    unless it had a guarantee before. `handicap` is taken off its score there from now on, because
    its creator is above the ceiling; it counts in the `term` of the leader that says so, no later.
    """

    fits: Annotated[dict[SliceName, Ratio], Meta(max_length=256)] | None = None
    limited: bool | None = None
    by: Person = ""
    note: Text = ""
    guarantee: Annotated[int, Meta(ge=0, le=10_000)] = 0
    handicap: Handicap | None = None
    term: Term = 0


class Hold(Control, frozen=True, tag="hold"):
    """Pause every slice until a release."""

    note: Text = ""
    by: Person = ""


class Release(Control, frozen=True, tag="release"):
    """End a hold: every held slice goes on where it was."""

    by: Person = ""
    note: Text = ""


class Reconsider(Control, frozen=True, tag="reconsider"):
    """Look again at what evidence stopped, in these slices or, without any, in all of them."""

    slices: Annotated[tuple[SliceName, ...], Meta(max_length=SLICES_PER_VIDEO)] = ()
    by: Person = ""
    note: Text = ""


class Clear(Control, frozen=True, tag="clear"):
    """A person looked at the video and lets it be shown: what was reported before is settled.

    `looked` is the time of their verdict; an earlier one changes nothing.
    """

    looked: Millis
    by: Person = ""
    note: Text = ""


class Takedown(Control, frozen=True, tag="takedown"):
    """Stop every slice at once, for good."""

    note: Text = ""
    by: Person = ""


class End(Control, frozen=True, tag="end"):
    """The live room is over: stop every slice, for good. Nobody took it down."""

    by: Person = ""
    note: Text = ""


class Weights(Struct, frozen=True, gc=False):
    """Worth of each part of a view to the viewer, micro-units. `watch` is for a full watch."""

    watch: Micros
    complete: Micros
    like: Micros
    comment: Micros
    share: Micros
    follow: Micros
    hide: Micros
    report: Micros
    order: Micros


Variance = Annotated[int, Meta(ge=1, lt=1 << 40)]
Micro = Annotated[int, Meta(ge=0, lt=1 << 40, description="micro-units, never below 0")]
ViewerBits = Annotated[int, Meta(ge=0, le=119)]
DrawChance = Annotated[int, Meta(ge=0, le=MICROS // 2, description="micro-units, at most a half")]
Name = Annotated[str, Meta(max_length=2 * ID_MAX)]
Loading = Annotated[int, Meta(ge=-(1 << 24), le=1 << 24)]


class SlicePolicy(Struct, frozen=True):
    """What the policy knows of one slice.

    Means, `price` and `loadings` are micro-units of value per view, variances micro-units of value
    squared, `reach` and `horizon` impressions. What a video is worth here is `prior_mean`, the fit
    of its tags, `loadings` times the video's three unknown tastes (each of unit variance), and a
    part of its own with `own_variance`. A pair can expect `horizon` impressions: learning pays for
    so long. Buttons come up to `delay_ms` later than their view; a younger one counts with
    `button_mean`, micro-units of value, in place of its buttons.
    """

    reach: Annotated[int, Meta(ge=1, lt=1 << 40)]
    horizon: Annotated[int, Meta(ge=1, lt=1 << 40)]
    prior_mean: Micros
    own_variance: Variance
    noise_variance: Variance
    price: Micros
    loadings: tuple[Loading, Loading, Loading] = (0, 0, 0)
    button_mean: Micros = 0
    delay_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0
    word: SliceReview | None = None  # the last that a person said of the slice

    @property
    def is_shut(self) -> bool:
        """Whether a person froze the slice: then nothing is shown or granted in it."""
        return self.word is not None and self.word.frozen


RULE: Final = 2
"""Latest version of the rule that this release knows."""
Evidence = dict[str, Count]
"""How much of what a change stands on: counts by name."""


class Policy(Struct, frozen=True, tag_field="type", tag="policy"):
    """The rule's numbers, in force from its place in the log on; broadcast to every partition.

    `version` is what receipts name. Policies are ordered by (`term`, `seq`): the leader's term, and
    a number that rises within it. One half is the operators', one is learned: see `core.halves`.
    """

    id: Id
    ts: Millis
    seq: Sequence
    version: Id
    weights: Weights
    slices: Annotated[dict[SliceName, SlicePolicy], Meta(min_length=1, max_length=SLICES_PER_VIDEO)]
    tranche: Annotated[int, Meta(ge=1, le=1_000_000)]  # impressions of a grant at stage 0
    growth: Annotated[int, Meta(ge=2, le=100)]  # each stage's tranche is this many times larger
    top_stage: Annotated[int, Meta(ge=1, le=20)]
    budget: Annotated[int, Meta(ge=1, lt=1 << 40)]  # impressions granted to one video, all slices
    widen_z: Annotated[int, Meta(ge=0, le=10 * MICROS)]  # bar, as a standard normal quantile
    widen_used: Ratio  # share of the latest tranche that must be shown before it can widen
    nearly_used: Ratio  # share of the latest tranche after which it is topped up
    noise_views: Annotated[int, Meta(ge=1, le=10_000)]  # views that the slice's noise weighs
    noise_floor: Annotated[int, Meta(ge=1, lt=1 << 40)]  # least noise variance
    noise_cross: (
        Ratio  # of twice the mean worth of watching times that of buttons: their covariance
    )
    fit_value: Micros  # value per view that a perfect fit adds to the prior mean
    open_max: Annotated[int, Meta(ge=1, le=SLICES_PER_VIDEO)]  # slices open to one video at most
    guarantee_slices: Annotated[
        int, Meta(ge=1, le=16)
    ]  # best crowds that a guarantee is spread over
    guarantee_ms: Annotated[int, Meta(ge=0, le=10**11)]  # from the admission on
    fresh_share: Ratio  # of the slots, filled by what is owed before anything else
    late_after_ms: Annotated[int, Meta(ge=0, le=10**11)]  # older than this is counted as late
    terms: dict[str, Micros] = {}  # added to the price of a class: `term_name`
    widen_viewers: Annotated[tuple[ViewerBits, ...], Meta(max_length=20)] = ()
    """Set bits of viewers (`distinct`) that a widening needs, by stage; none beyond."""
    stop_viewers: ViewerBits = 0  # that a stop on evidence needs
    return_margin: Annotated[int, Meta(ge=0, lt=1 << 53)] = 20_000
    """What a stopped slice's index must be above the price to come back, twice that each time."""
    annoyed_share: Ratio = MICROS  # of the views: more hides or reports than that weigh nothing
    term: Term = 0  # of the leader that wrote it; 0 before there was any
    files: Name = ""  # version of the files that the operators' half came from
    moved: tuple[Name, ...] = ()  # families of numbers that were learned since they were launched
    frozen: tuple[Name, ...] = ()  # families, or family:slice, that nobody but an operator moves
    pinned: Name = ""  # place of the policy whose learned half an operator wants to stay
    by: Name = ""  # the leader that wrote it
    why: Text = ""
    evidence: Evidence = {}  # what was learned stands on so much
    rule: Annotated[int, Meta(ge=1, le=1_000)] = RULE  # version that decides from here on
    explore_probability: DrawChance = 0  # of a draw, where a video opens or widens
    explore_key: Name = ""  # what draws; not empty where anything may be drawn
    leans: dict[str, Micros] = {}
    """Taken off the price of a class (`term_name`): what holding the shares cost it for hours."""
    report_drain: Micro = 0  # that an impression takes off the reports of a video: see `reports`
    report_bar: Micro = (
        0  # reports above which a person looks at a video again; 0: nobody ever does
    )
    first: Annotated[int, Meta(ge=0, le=1_000_000)] = (
        0  # impressions of the first grant; 0: tranche
    )
    organic: dict[SliceName, Micros] = {}
    """What a view of organic traffic was worth for hours, orders apart; elsewhere `prior_mean`."""


def order_of(policy: Policy) -> tuple[int, int]:
    """Return what says which of two policies is the later one: term, then number in it."""
    return policy.term, policy.seq


def number_of(policy: Policy) -> str:
    """Return what people call a policy: its term and its number in it.

    The first policy of term 3 is number `3.1`.
    """
    return f"{policy.term}.{policy.seq}"


def first_tranche(policy: Policy) -> int:
    """Return the impressions of a slice's first grant: what a bad slice costs."""
    return policy.first or policy.tranche


class FirstSlicePolicy(Struct, frozen=True):
    """A slice in a policy of 0.1.0; `neighbours` maps slices to an affinity in micro-units."""

    reach: Annotated[int, Meta(ge=1, lt=1 << 40)]
    prior_mean: Micros
    prior_variance: Variance
    noise_variance: Variance
    price: Micros
    neighbours: dict[SliceName, Ratio] = {}


class FirstPolicy(Struct, frozen=True, tag_field="type", tag="policy"):
    """A policy of 0.1.0: in force up to the `upgrade` record."""

    id: Id
    ts: Millis
    seq: Sequence
    version: Id
    weights: Weights
    slices: Annotated[
        dict[SliceName, FirstSlicePolicy], Meta(min_length=1, max_length=SLICES_PER_VIDEO)
    ]
    tranche: Annotated[int, Meta(ge=1, le=1_000_000)]
    growth: Annotated[int, Meta(ge=2, le=100)]
    top_stage: Annotated[int, Meta(ge=1, le=20)]
    budget: Annotated[int, Meta(ge=1, lt=1 << 40)]
    widen_z: Annotated[int, Meta(ge=0, le=10 * MICROS)]
    widen_used: Ratio
    nearly_used: Ratio
    noise_views: Annotated[int, Meta(ge=1, le=10_000)]
    noise_floor: Annotated[int, Meta(ge=1, lt=1 << 40)]
    fit_value: Micros
    ordinary_subsidy: Micros  # lowers the price for ordinary creators
    commercial_price: Annotated[int, Meta(ge=0, le=10 * MICROS)]  # factor on the price of ads
    late_after_ms: Annotated[int, Meta(ge=0, le=10**11)]


class FirstAdmit(Control, frozen=True, tag="admit"):
    """An admission of 0.1.0: `starts` are the first slices."""

    tier: Literal["ordinary", "established"]
    commercial: bool
    limited: bool
    starts: Annotated[list[SliceName], Meta(max_length=64)]
    fits: Annotated[dict[SliceName, Ratio], Meta(max_length=256)]


Weightless = Profile | Unfollow | Gift | Stay
"""What viewers do that is counted and weighs nothing; 0.1.0 knew none of it."""
InteractionRecord = (
    Impression
    | View
    | Like
    | Unlike
    | Comment
    | Share
    | Follow
    | Hide
    | Report
    | Order
    | Weightless
)
VideoControl = Admit | Revise | Hold | Release | Reconsider | Clear | Takedown | End
PartitionControl = Policy | Key | Upgrade | Lead | Generation | TopicMove | Repartition
"""Control records about no video: they have no key, and each partition has its own copy."""
ControlRecord = VideoControl | PartitionControl
FirstRecord = FirstPolicy | FirstAdmit
"""Control records that only 0.1.0 wrote; the others look the same today."""
LogRecord = InteractionRecord | ControlRecord | FirstRecord
EVENT_TYPES: Final[dict[type, str]] = {
    kind: kind.__struct_config__.tag
    for kind in (*InteractionRecord.__args__, *ControlRecord.__args__, *FirstRecord.__args__)
}
"""Name on the wire of every type of the log."""
CONTROL_TYPES: Final = frozenset(EVENT_TYPES[kind] for kind in ControlRecord.__args__)

"""The rules of the control plane, judged by what the log's own fold makes of its records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.control.admission import dossier
from streams.control.admission.dossier import (
    SOURCES_MAX,
    Dossier,
    Logged,
    Tools,
    advance,
    settled,
)
from streams.control.admission.plugins import RecogniserFault
from streams.control.admission.review import ReviewGate
from streams.control.admission.taxonomy import TagKey
from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import PolicyRules
from streams.core.events import (
    Admit,
    End,
    Ended,
    Recognition,
    Revise,
    Tag,
    Takedown,
    Upload,
    VideoControl,
)
from streams.core.fold import fold
from streams.core.receipts import Effects
from streams.core.state import PartitionState
from streams.core.words import Review, SecondLook
from streams.errors import DeadLetter

NOW_MS = 1_700_000_000_000
KNOWN = [TagKey("interest", "football"), TagKey("interest", "cars"), TagKey("scene", "casino")]
Event = Upload | Ended | Recognition | Review | SecondLook


class Titles:
    """A recogniser that sees a football in every title with one."""

    def recognise(self, upload: Upload) -> tuple[Tag, ...]:
        return (football(800_000),) if "football" in upload.title else ()


def football(confidence: int) -> Tag:
    return Tag("interest", "football", confidence)


def slice_of(name: str, **more: Any) -> dict[str, Any]:
    numbers = {"prior_mean": 0.4, "prior_variance": 0.02, "noise_variance": 0.1, "price": 0.35}
    return {"id": name, "reach": 100_000, **numbers, **more}


CATALOGUE = Catalogue.parse(
    {
        "default": "discover:all",
        "slice": [
            slice_of("following:fans"),
            slice_of("nearby:shenyang", cities=["沈阳"]),
            slice_of("discover:all"),
            slice_of("discover:football", tags={"interest.football": 1}),
            slice_of("discover:cars", tags={"interest.cars": 1}),
        ],
    },
    known=KNOWN,
    where="slices.toml",
)
RULES: list[dict[str, Any]] = [
    {"name": "never", "verdict": "reject", "reason": "r", "words": ["drugs"]},
    {"name": "casino", "verdict": "wait", "reason": "r", "tags": {"scene.casino": Decimal("0.5")}},
    {"name": "long", "verdict": "limit", "reason": "r", "duration_ms": {"min": 60_000}},
    {
        "name": "subject",
        "verdict": "approve",
        "reason": "r",
        "tags": {"interest.*": Decimal("0.3")},
    },
]
TOOLS = Tools(
    recognisers={"titles": Titles()},
    gate=ReviewGate.parse({"rule": RULES}, known=KNOWN, where="review.toml"),
    catalogue=CATALOGUE,
    guarantee=60,
    report=lambda _: None,
)
POLICY = PolicyRules.from_toml(Path("config/policy.toml"), CATALOGUE).record(1, NOW_MS)


def upload(**changes: Any) -> Upload:
    usual: dict[str, Any] = {"id": "u1", "video": "v1", "creator": "c1", "ts": NOW_MS}
    return Upload(**(usual | {"duration_ms": 15_000, "title": "football"} | changes))


def seen(*tags: Tag, name: str = "r1", source: str = "eye", ts: int = NOW_MS) -> Recognition:
    return Recognition(name, "v1", ts, source, tags)


def review(verdict: Any, name: str = "m1", ts: int = NOW_MS) -> Review:
    return Review(name, "v1", ts, verdict, "moderator")


def second_look(name: str = "s1", ts: int = NOW_MS) -> SecondLook:
    return SecondLook(name, "v1", ts, "alice", "late buttons", ("discover:football",))


CASINO = Tag("scene", "casino", 900_000)


@dataclass
class Log:
    """One partition of the log and its fold: what viewers get to see."""

    state: PartitionState = field(default_factory=lambda: PartitionState(0, 1, 1_000))
    records: list[VideoControl] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self.state.load("v1", {})
        self._fold(POLICY)

    def append(self, records: Iterable[VideoControl]) -> None:
        for record in records:
            decoded = msgspec.json.decode(msgspec.json.encode(record), type=VideoControl)
            self.records.append(decoded)
            self.refused += len(self._fold(decoded).rejected)

    def _fold(self, record: Any) -> Effects:
        return fold(self.state, [record], [len(self.records)], [0])

    @property
    def stage(self) -> str:
        return self.state.videos["v1"].row.stage

    @property
    def audience(self) -> str:
        """Who sees the video: nobody (unknown, held), followers, public or removed."""
        shown = {"public": "public", "limited": "followers", "removed": "removed"}
        return shown.get(self.stage, "nobody")

    @property
    def words(self) -> list[str]:
        return [record.id.partition("-")[0] for record in self.records]


class Desk:
    """A control plane in memory: the dossier goes through its stored form at every step."""

    def __init__(self, tools: Tools = TOOLS) -> None:
        self.tools = tools
        self.log = Log()
        self.stored: bytes | None = None
        self.now_ms = NOW_MS

    def take(self, event: Event, *, dies: str = "") -> None:
        """Handle one event; `dies` before or after its records are in the log, then repeats."""
        before = None if self.stored is None else dossier.decode(self.stored)
        self.now_ms += 1
        logged = Logged("log", self.log.state.videos["v1"].row)
        after = advance(before, event, self.now_ms, self.tools, logged)
        self.stored = dossier.encode(after)
        if dies == "before":
            return
        self.log.append(after.unsent)
        if dies != "after":
            self.stored = dossier.encode(settled(after, listed=True))

    @property
    def dossier(self) -> Dossier:
        assert self.stored is not None
        return dossier.decode(self.stored)


def after(events: Sequence[Event], tools: Tools = TOOLS) -> Desk:
    desk = Desk(tools)
    for event in events:
        desk.take(event)
    return desk


@pytest.mark.parametrize(
    ("sentence", "events", "words", "audience"),
    [
        ("a recognised upload is admitted", [upload()], ["admit"], "public"),
        ("one that no rule fits waits", [upload(title="?")], [], "nobody"),
        ("a rule rejects without a word to the log", [upload(title="drugs")], [], "nobody"),
        ("a rule limits", [upload(duration_ms=90_000)], ["admit"], "followers"),
        (
            "a moderator lets a waiting one go",
            [upload(title="?"), review("approve")],
            ["admit"],
            "public",
        ),
        (
            "a moderator overrules a rejecting rule",
            [upload(title="drugs"), review("limit")],
            ["admit"],
            "followers",
        ),
        ("an approval is remembered", [review("approve"), upload(title="?")], ["admit"], "public"),
        ("a limit is remembered", [review("limit"), upload()], ["admit"], "followers"),
        ("a reject comes before the upload", [review("reject"), upload()], ["takedown"], "removed"),
        (
            "a reject takes an admitted one down",
            [upload(), review("reject")],
            ["admit", "takedown"],
            "removed",
        ),
        (
            "nothing brings it back",
            [upload(), review("reject"), review("approve", "m2", NOW_MS + 9)],
            ["admit", "takedown"],
            "removed",
        ),
        (
            "a limit withdraws an admitted one from the public",
            [upload(), review("limit")],
            ["admit", "limit", "clear"],
            "followers",
        ),
        (
            "a later approval widens it again",
            [upload(), review("limit"), review("approve", "m2", NOW_MS + 1)],
            ["admit", "limit", "clear", "widen", "clear"],
            "public",
        ),
        (
            "an earlier verdict that comes late changes nothing",
            [upload(), review("limit"), review("approve", "m2", NOW_MS - 1)],
            ["admit", "limit", "clear"],
            "followers",
        ),
        (
            "tags before the upload are kept for it",
            [seen(CASINO), upload()],
            [],
            "nobody",
        ),
        (
            "tags that a rule waits for hold an admitted one",
            [upload(), seen(CASINO)],
            ["admit", "hold"],
            "nobody",
        ),
        (
            "a recogniser that takes them back releases it",
            [upload(), seen(CASINO), seen(name="r2", ts=NOW_MS + 1)],
            ["admit", "hold", "release"],
            "public",
        ),
        (
            "a moderator releases it too",
            [upload(), seen(CASINO), review("approve")],
            ["admit", "hold", "release", "clear"],
            "public",
        ),
        (
            "a held one is limited before it is released",
            [upload(), seen(CASINO), review("limit")],
            ["admit", "hold", "limit", "release", "clear"],
            "followers",
        ),
        (
            "a limited one is released before it is widened",
            [upload(duration_ms=90_000), seen(CASINO), review("approve")],
            ["admit", "hold", "release", "widen", "clear"],
            "public",
        ),
        (
            "a moderator who approves one that is shown settles what was reported of it",
            [upload(), review("approve")],
            ["admit", "clear"],
            "public",
        ),
        (
            "and says so once",
            [upload(), review("approve"), review("approve"), seen(CASINO)],
            ["admit", "clear"],
            "public",
        ),
        (
            "a person has what evidence stopped looked at again",
            [upload(), second_look(), second_look("s0", NOW_MS - 1)],
            ["admit", "reconsider"],
            "public",
        ),
        (
            "of one that was never shown there is nothing to look at",
            [second_look(), upload(title="?"), review("approve"), seen(Tag("emotion", "sad", 1))],
            ["admit"],
            "public",
        ),
        (
            "new tags of the same subject are a revision",
            [upload(), seen(Tag("interest", "cars", 700_000))],
            ["admit", "refit"],
            "public",
        ),
        (
            "tags that change no fit are none",
            [upload(), seen(Tag("emotion", "happy", 700_000))],
            ["admit"],
            "public",
        ),
        (
            "an edit is looked at again",
            [upload(), upload(id="u2", ts=NOW_MS + 1, title="football drugs")],
            ["admit", "hold"],
            "nobody",
        ),
        (
            "an older upload that comes late changes nothing",
            [upload(), upload(id="u0", ts=NOW_MS - 1, title="drugs")],
            ["admit"],
            "public",
        ),
    ],
)
def test_rule(sentence: str, events: list[Event], words: list[str], audience: str) -> None:
    desk = after(events)
    assert desk.log.words == words, sentence
    assert desk.log.audience == audience, sentence
    assert desk.log.refused == 0, sentence


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([review("approve")], "unknown"),
        ([upload(title="?")], "waiting"),
        ([upload(title="drugs")], "rejected"),
        ([upload(duration_ms=90_000)], "followers"),
        ([upload()], "public"),
        ([upload(), seen(CASINO)], "waiting"),
        ([upload(), review("reject")], "ended"),
    ],
)
def test_the_dossier_says_where_the_video_stands(events: list[Event], state: str) -> None:
    assert after(events).dossier.state == state


def test_an_admission_carries_what_the_decision_needs() -> None:
    about = {"city": "沈阳市", "followers": 1_000, "commercial": True, "advertiser": "a7"}
    desk = after([upload(format="live", **about)])
    (admit,) = desk.log.records
    assert isinstance(admit, Admit)
    assert (admit.id, admit.ts, admit.seq) == ("admit-u1", NOW_MS + 1, 1)
    assert (admit.band, admit.commercial, admit.limited) == (3, True, False)
    assert (admit.creator, admit.advertiser, admit.format) == ("c1", "a7", "live")
    assert admit.guarantee == 60
    fits = {"following:fans": 1_000_000, "nearby:shenyang": 1_000_000, "discover:football": 800_000}
    assert admit.fits == fits


@pytest.mark.parametrize(
    ("followers", "band"), [(0, 0), (9, 0), (10, 1), (999, 2), (99_999, 4), (10**5, 5), (10**9, 5)]
)
def test_followers_become_a_band_by_their_digits(followers: int, band: int) -> None:
    (admit,) = after([upload(followers=followers)]).log.records
    assert isinstance(admit, Admit)
    assert admit.band == band
    assert admit.guarantee == 60  # at any number of fans


def test_several_recognisers_add_up_and_the_latest_word_of_each_counts() -> None:
    desk = after([upload(), seen(football(500_000)), seen(football(0), name="r2", ts=NOW_MS + 1)])
    fits = [record.fits for record in desk.log.records if isinstance(record, Admit | Revise)]
    assert [fit and fit["discover:football"] for fit in fits] == [800_000, 900_000, 800_000]


@pytest.mark.parametrize("events", [[upload()], [upload(), seen(CASINO), review("limit")]])
def test_a_repeat_changes_nothing(events: list[Event]) -> None:
    desk = after(events)
    before, told = desk.dossier, len(desk.log.records)
    for event in events:
        desk.take(event)
    assert (desk.dossier, len(desk.log.records)) == (before, told)


def test_the_number_of_control_records_rises_also_when_the_clock_falls() -> None:
    desk = after([upload()])
    desk.now_ms -= 1_000_000
    desk.take(review("limit"))
    desk.take(review("approve", "m2", NOW_MS + 1))
    numbers = [record.seq for record in desk.log.records]
    assert numbers == sorted(set(numbers))


def test_numbers_are_counted_from_one_whatever_the_clock_says() -> None:
    desk = after([upload(), review("limit"), review("approve", "m2", NOW_MS + 1)])
    assert [record.seq for record in desk.log.records] == [1, 2, 3, 4, 5]


def test_numbers_that_a_clock_once_gave_are_counted_on() -> None:
    desk = after([upload()])
    desk.stored = dossier.encode(msgspec.structs.replace(desk.dossier, seq=NOW_MS * 1000))
    desk.take(review("limit"))
    assert [each.seq - NOW_MS * 1000 for each in desk.log.records[1:]] == [1, 2]


@pytest.mark.parametrize(
    ("lost", "found", "words", "audience"),
    [
        ([upload()], review("limit"), ["admit", "limit"], "followers"),
        (
            [upload(), review("limit")],
            review("approve", "m2"),
            ["admit", "limit", "clear", "widen"],
            "public",
        ),
        (
            [upload(), seen(CASINO)],
            review("approve"),
            ["admit", "hold", "release"],
            "public",
        ),
        (
            [upload(), seen(CASINO)],
            seen(name="r2", source="ear"),
            ["admit", "hold"],
            "nobody",
        ),
        ([upload()], seen(football(0)), ["admit"], "public"),
        ([upload()], review("reject"), ["admit", "takedown"], "removed"),
        ([upload(), review("reject")], review("approve", "m2"), ["admit", "takedown"], "removed"),
    ],
)
def test_an_event_on_a_video_whose_dossier_is_gone_starts_from_its_row(
    lost: list[Event], found: Event, words: list[str], audience: str
) -> None:
    desk = after(lost)
    desk.stored = None
    desk.take(found)
    assert (desk.log.words, desk.log.audience, desk.log.refused) == (words, audience, 0)


def test_a_dossier_older_than_the_row_goes_on_from_the_row() -> None:
    desk = after([upload()])
    older = desk.stored
    desk.take(review("limit"))
    desk.stored = older
    desk.take(review("approve", "m2", NOW_MS + 2))
    assert desk.log.words == ["admit", "limit", "clear", "widen", "clear"]
    assert (desk.log.audience, desk.dossier.seq) == ("public", 5)


@pytest.mark.parametrize("events", [[upload()], [upload(), review("limit")], [review("reject")]])
def test_what_another_log_was_told_is_said_again_to_this_one(events: list[Event]) -> None:
    desk = after(events)
    before = desk.log.audience
    desk.log = Log()
    elsewhere = Logged("another log", desk.log.state.videos["v1"].row)
    known = advance(desk.dossier, events[-1], NOW_MS, TOOLS, elsewhere)
    desk.log.append(known.unsent)
    assert (desk.log.audience, known.log) == (before, "another log")
    assert desk.log.records[0].seq > len(events) - 1
    whole = settled(known, listed=True)
    assert advance(whole, events[-1], NOW_MS, TOOLS, elsewhere) == whole


def test_a_lost_dossier_cannot_undo_what_the_log_knows() -> None:
    desk = after([upload(), review("reject")])
    desk.stored = None
    desk.take(upload())
    assert (desk.log.audience, desk.log.refused) == ("removed", 0)


def test_long_ids_stay_within_the_alphabet_and_length_of_ids() -> None:
    (admit,) = after([upload(id="u" * 64)]).log.records
    again = advance(None, upload(id="u" * 64), NOW_MS + 77, TOOLS, Logged("log"))
    assert len(admit.id) <= 64
    assert admit.id == again.unsent[0].id


def test_two_records_of_one_event_have_two_ids() -> None:
    desk = after([upload(), seen(CASINO), review("limit")])
    assert len({record.id for record in desk.log.records}) == len(desk.log.records)


def test_a_failing_recogniser_is_reported_and_stops_nobody() -> None:
    class Broken:
        def recognise(self, upload: Upload) -> tuple[Tag, ...]:
            raise RuntimeError(f"no model for {upload.id}")

    faults: list[RecogniserFault] = []
    recognisers = {"broken": Broken(), **TOOLS.recognisers}
    desk = after([upload()], replace(TOOLS, recognisers=recognisers, report=faults.append))
    assert desk.log.audience == "public"
    assert [fault.source for fault in faults] == ["broken"]


def test_a_video_keeps_the_words_of_so_many_sources_only() -> None:
    desk = after([seen(name=f"r{n}", source=f"s{n}") for n in range(SOURCES_MAX)])
    desk.take(seen(name="again", source="s0", ts=NOW_MS + 1))
    with pytest.raises(DeadLetter, match="source") as caught:
        desk.take(seen(name="more", source="more"))
    assert caught.value.reason == "range"


def test_the_gate_is_asked_again_with_new_rules_when_something_new_comes() -> None:
    desk = after([upload()])
    desk.tools = replace(TOOLS, gate=ReviewGate.parse({"rule": RULES[1:2]}, known=KNOWN, where=""))
    desk.take(upload())
    assert desk.log.audience == "public"
    desk.take(seen(football(100_000)))
    assert desk.log.audience == "nobody"


# ------------------------------------------------------------------ dying in between


@pytest.mark.parametrize("dies", ["before", "after"])
def test_what_was_not_settled_is_said_again_with_the_next_event(dies: str) -> None:
    desk = Desk()
    desk.take(upload(), dies=dies)
    desk.take(review("limit"))
    assert (desk.log.audience, desk.log.refused) == ("followers", 0)
    assert desk.dossier.unsent == ()


@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_repeat_after_a_crash_says_what_the_log_lacks(dies: str) -> None:
    desk = Desk()
    desk.take(upload(), dies=dies)
    desk.take(upload())
    assert desk.log.audience == "public"
    assert desk.dossier.unsent == ()
    starts = [record for record in desk.log.records if isinstance(record, Admit)]
    assert len(starts) == 1


# ------------------------------------------------------------------ properties

times = st.integers(NOW_MS, NOW_MS + 3)
tags = st.lists(
    st.builds(
        lambda key, sure: Tag(*key, sure),
        st.sampled_from([TagKey("interest", "football"), TagKey("scene", "casino")]),
        st.sampled_from([200_000, 900_000]),
    ),
    max_size=2,
)
events = st.lists(
    st.one_of(
        st.builds(
            lambda ts, title, duration: upload(ts=ts, title=title, duration_ms=duration),
            times,
            st.sampled_from(["football", "drugs", "?"]),
            st.sampled_from([15_000, 90_000]),
        ),
        st.builds(
            lambda ts, found, source: seen(*found, ts=ts, source=source),
            times,
            tags,
            st.sampled_from(["eye", "ear"]),
        ),
        st.builds(
            lambda verdict, ts: review(verdict, ts=ts),
            st.sampled_from(["approve", "limit", "approve", "limit", "reject"]),
            times,
        ),
    ),
    max_size=6,
).map(lambda made: [msgspec.structs.replace(event, id=f"e{n}") for n, event in enumerate(made)])


def reference(facts: Sequence[Event]) -> str:
    """Who may see the video, from the set of facts alone."""
    reviews = [fact for fact in facts if isinstance(fact, Review)]
    if any(fact.verdict == "reject" for fact in reviews):
        return "removed"
    uploads = [fact for fact in facts if isinstance(fact, Upload)]
    if not uploads:
        return "nobody"
    if reviews:
        latest = max(reviews, key=lambda fact: (fact.ts, fact.id))
        return "followers" if latest.verdict == "limit" else "public"
    desk = after([max(uploads, key=lambda fact: (fact.ts, fact.id))])
    for fact in sorted(
        (f for f in facts if isinstance(f, Recognition)), key=lambda f: (f.ts, f.id)
    ):
        desk.take(fact)
    return desk.log.audience


@settings(max_examples=300, deadline=None)
@given(facts=events, data=st.data())
def test_any_order_and_any_repetition_lead_to_the_same_audience(
    facts: list[Event], data: st.DataObject
) -> None:
    order = data.draw(
        st.permutations([*facts, *data.draw(st.lists(st.sampled_from(facts)))] if facts else [])
    )
    desk = after(order)
    assert desk.log.audience == reference(facts)
    assert desk.log.refused == 0


@settings(max_examples=300, deadline=None)
@given(facts=events, data=st.data())
def test_dying_anywhere_leads_to_the_same_audience(facts: list[Event], data: st.DataObject) -> None:
    desk = Desk()
    for fact in data.draw(st.permutations(facts)):
        while dies := data.draw(st.sampled_from(["", "", "before", "after"])):
            desk.take(fact, dies=dies)
            if data.draw(st.booleans()):  # other topics are read on before it comes again
                desk.take(data.draw(st.sampled_from(facts)))
        desk.take(fact)
    assert desk.log.audience == reference(facts)
    assert desk.log.refused == 0


@settings(max_examples=200, deadline=None)
@given(facts=events, data=st.data())
def test_viewers_never_see_what_the_last_word_forbids(
    facts: list[Event], data: st.DataObject
) -> None:
    desk = Desk()
    taken: list[Event] = []
    for fact in data.draw(st.permutations(facts)):
        desk.take(fact)
        taken.append(fact)
        assert desk.log.audience == reference(taken)
        assert [type(record) for record in desk.log.records].count(Takedown) <= 1


# ---------------------------------------------------------------- live rooms


def room(**changes: Any) -> Upload:
    return upload(**({"format": "live", "duration_ms": 30_000} | changes))


def ended(name: str = "x1", ts: int = NOW_MS + 5) -> Ended:
    return Ended(name, "v1", ts)


@pytest.mark.parametrize(
    ("sentence", "events", "words", "state"),
    [
        ("a room that ended is off, not taken down", [room(), ended()], ["admit", "end"], "over"),
        ("it ends once", [room(), ended(), ended("x2")], ["admit", "end"], "over"),
        ("a room that ended unseen never opens", [ended(), room()], [], "over"),
        ("a room that waits is waited for no more", [room(title="?"), ended()], [], "over"),
        (
            "a held room ends",
            [room(), seen(CASINO), ended(), seen(name="r2", ts=NOW_MS + 1)],
            ["admit", "hold", "end"],
            "over",
        ),
        (
            "no verdict opens it again",
            [room(), ended(), review("approve"), second_look()],
            ["admit", "end"],
            "over",
        ),
        (
            "a reject still takes it down",
            [room(), ended(), review("reject")],
            ["admit", "end", "takedown"],
            "ended",
        ),
        (
            "what was taken down does not end",
            [room(), review("reject"), ended()],
            ["admit", "takedown"],
            "ended",
        ),
        (
            "another upload opens nothing",
            [room(), ended(), room(id="u2", ts=NOW_MS + 9)],
            ["admit", "end"],
            "over",
        ),
        (
            "a video that an end was sent for before goes on",
            [ended(), upload()],
            ["admit"],
            "public",
        ),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_the_end_of_a_room(
    sentence: str, events: list[Event], words: list[str], state: str
) -> None:
    del sentence
    desk = after(events)
    assert (desk.log.words, desk.dossier.state, desk.log.refused) == (words, state, 0)
    assert desk.dossier.waiting is None


def test_only_a_room_ends() -> None:
    with pytest.raises(DeadLetter, match="only a room ends"):
        after([upload(), ended()])


def test_the_end_of_a_room_bears_nobodys_name() -> None:
    desk = after([room(title="?"), review("approve"), ended()])
    assert [(type(one), one.id) for one in desk.log.records[1:]] == [(End, "end-x1")]
    assert desk.log.records[-1].by == ""


def test_an_admission_says_that_it_is_a_room() -> None:
    (admission,) = after([room()]).log.records
    assert isinstance(admission, Admit)
    assert admission.format == "live"


def test_a_dossier_that_was_lost_knows_from_the_log_that_the_room_ended() -> None:
    desk = after([room(), ended()])
    desk.stored = None
    desk.take(room(id="u2", ts=NOW_MS + 20))
    assert desk.log.words == ["admit", "end"]
    assert desk.log.stage == "ended"


room_events = events.map(
    lambda facts: [
        msgspec.structs.replace(fact, format="live") if isinstance(fact, Upload) else fact
        for fact in facts
    ]
)


@settings(max_examples=200, deadline=None)
@given(facts=room_events, data=st.data())
def test_a_room_that_ended_is_shown_to_nobody_in_any_order(
    facts: list[Event], data: st.DataObject
) -> None:
    desk = Desk()
    for fact in data.draw(st.permutations([*facts, ended(), ended("x2", NOW_MS + 9)])):
        while dies := data.draw(st.sampled_from(["", "", "before", "after"])):
            desk.take(fact, dies=dies)
        desk.take(fact)
    known = [type(fact) for fact in facts]
    removed = any(isinstance(fact, Review) and fact.verdict == "reject" for fact in facts)
    shown = "removed" if removed else reference(facts) if Upload not in known else "nobody"
    assert desk.log.audience == shown
    assert desk.log.refused == 0
    assert [type(record) for record in desk.log.records].count(End) <= 1

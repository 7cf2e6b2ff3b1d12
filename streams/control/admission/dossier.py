"""What is known of a video, and what the log must be told when that changes. Pure.

A dossier holds facts: the upload, each recogniser's latest word, the moderators' verdict, and that
a live room ended. The
audience follows from the facts alone, whatever the order they came in and however often:

- a moderator's reject ends a video for good, before or after its upload;
- a live room that ended is shown no more, whatever is said of it then, and nobody took it down;
- another verdict of a moderator stands above the gate's; the latest by its own time counts;
- without one the gate decides on upload and tags, and again whenever they change: approve, limit,
  or nobody (it waits, or a rule rejects it; only people end a video, so its slices are held).

What the log was told last stands in `announced`; the difference becomes control records. They are
kept in `unsent` before they are sent and leave it when they are acknowledged, so a control plane
that dies in between finds them again and says them once more, with a higher `seq`. `uncopied` is
what may be in Redis alone still.

A dossier can be lost or fall back, and another log (or installation) can take the place of the one
that was told. The video's row, folded from the log itself, then says what was: see `as_logged`.
Numbers continue from there, never from a clock.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from streams.control.admission.announced import (
    ANNOUNCED,
    Announced,
    Audience,
    ControlStep,
    changes_of,
    control_id,
    stage_of,
)
from streams.control.admission.plugins import RecogniserFault, RecogniserPlugin, recognise_all
from streams.control.admission.recognise import merge_tags
from streams.control.admission.review import ReviewGate
from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import USUAL_BOUND, GuaranteeBound
from streams.core.counters import Video
from streams.core.events import (
    Admit,
    Clear,
    End,
    Ended,
    Recognition,
    Reconsider,
    Revise,
    Tag,
    Takedown,
    Upload,
    VideoControl,
)
from streams.core.fields import band_of
from streams.core.waiting import Waiting
from streams.core.words import Review, SecondLook
from streams.errors import DeadLetter

SOURCES_MAX: Final = 64
"""A video keeps the words of at most this many recognisers, so that no input grows it for ever."""

Event = Upload | Ended | Recognition | Review | SecondLook
Word = Literal["approve", "limit", "reject", "wait"]
_AUDIENCE: Final[dict[Word, Audience]] = {
    "approve": "public",
    "limit": "followers",
    "reject": "nobody",
    "wait": "nobody",
}


@dataclass(frozen=True, slots=True)
class Tools:
    """What the rules ask; replaced as a whole when `config/` changes.

    `guarantee`: so many public impressions are owed to every video that the public may see, within
    the `bound` of what one creator has a day.
    `report` hears of every recogniser that failed on an upload, which then goes on without its
    tags.
    """

    recognisers: Mapping[str, RecogniserPlugin]
    gate: ReviewGate
    catalogue: Catalogue
    guarantee: int
    report: Callable[[RecogniserFault], None]
    bound: GuaranteeBound = USUAL_BOUND


class Heard(Struct, frozen=True):
    """The latest word of one source: the id and time of its event, and what it saw."""

    ts: int
    id: str
    tags: tuple[Tag, ...]


class GateRuling(Struct, frozen=True):
    """The gate's word on the facts, and the rule that spoke, for a moderator to read."""

    word: Word
    rule: str
    reason: str


class Grant(Struct, frozen=True):
    """The public impressions that a video was promised, once and for all."""

    impressions: int
    day: int = 0  # since 1970, of whose full ones this is one; 0: it is none of those


class Dossier(Struct, frozen=True):
    """Everything the control plane knows of one video; stored as JSON.

    `seq` is that of the latest control record, `unsent` the records not known to be in the log,
    `log` names the log that was told; `uncopied` says that no copy is known to be durable, `listed`
    is what the topic `waiting` has of it, `grant` what it was guaranteed when the public could see
    it first.
    """

    video: str
    upload: Upload | None = None
    heard: dict[str, Heard] = {}
    verdict: Review | None = None
    ruling: GateRuling | None = None
    announced: Announced = field(default=Announced(), name="told")  # as stored since 0.1
    seq: int = 0
    unsent: tuple[VideoControl, ...] = ()
    log: str = ""
    uncopied: bool = False
    second_look: SecondLook | None = None
    listed: Waiting | None = None
    grant: Grant | None = None
    over: Ended | None = None

    @property
    def is_over(self) -> bool:
        """Whether it is a live room that ended."""
        is_room = self.upload is not None and self.upload.format == "live"
        return self.announced.over or (self.over is not None and is_room)

    @property
    def waiting(self) -> Waiting | None:
        """What the topic `waiting` has to have of it: nothing where no person is asked."""
        upload, ruling = self.upload, self.ruling
        if upload is None or ruling is None or self.verdict or self.state != "waiting":
            return None
        latest = max([upload.ts, *(heard.ts for heard in self.heard.values())])
        since = self.listed.since if self.listed else latest
        about = (upload.creator, ruling.rule, upload.title)
        return Waiting(self.video, "gate", since, ruling.reason, *about)

    @property
    def relists(self) -> bool:
        """Whether the topic `waiting` is to be told: always when a verdict takes effect.

        What it has may be from a time that no dossier remembers.
        """
        return self.waiting != self.listed or (self.verdict is not None and bool(self.unsent))

    @property
    def owes(self) -> bool:
        """Whether the log or the topic `waiting` is to be told something."""
        return bool(self.unsent) or self.relists

    @property
    def state(self) -> str:
        """Where the video stands: unknown, waiting, rejected, followers, public, over or ended."""
        if self.announced.ended:
            return "ended"
        if self.is_over:
            return "over"
        if self.announced.audience != "nobody" and not self.announced.held:
            return self.announced.audience
        if self.ruling is None:
            return "unknown"
        return "rejected" if self.ruling.word == "reject" else "waiting"


encode: Final = msgspec.json.Encoder().encode
"""Dossier to its stored document."""
decode: Final = msgspec.json.Decoder(Dossier).decode


class Logged(NamedTuple):
    """What the log knows of a video: the log's name, and the row that its fold made.

    `row` may be left out where a dossier of this log is known to be whole.
    """

    log: str
    row: Video = Video()


def as_logged(dossier: Dossier | None, video: str, logged: Logged) -> Dossier:
    """Return a video's dossier, told what its row shows unless the dossier is ahead of that.

    Ahead is one that was written for this log and has a higher `seq` than the last record that the
    fold applied. The row must be folded from all that was said of the video. What is in the log is
    unsent no more.
    """
    known = dossier or Dossier(video)
    row = logged.row
    if known.log == logged.log and known.seq > row.seq:
        return known
    if known.log == logged.log and known.seq == row.seq and stage_of(known.announced) == row.stage:
        return replace(known, unsent=()) if known.unsent else known
    looked = max(row.admitted, row.reported.looked if row.reported else 0)
    announced = replace(ANNOUNCED[row.stage], fits=row.fits, looked=looked)
    return replace(
        known, announced=announced, seq=max(known.seq, row.seq), unsent=(), log=logged.log
    )


def advance(
    dossier: Dossier | None,
    event: Event,
    now_ms: int,
    tools: Tools,
    logged: Logged,
) -> Dossier:
    """Take in one event; return the dossier, with the records to send after it in `unsent`.

    Those that an earlier call left there come first, with a new `seq`. Once all are in the log
    the caller stores `settled(dossier)`. Repeats and words older than the one known return the
    same dossier. Raises `DeadLetter` for a recogniser too many. `now_ms` becomes the records' time.
    """
    after = learn(as_logged(dossier, event.video, logged), event, tools)
    if after is dossier and not (after.uncopied or after.owes):
        return after
    return speak(after, event.id, now_ms, tools)


def learn(dossier: Dossier, event: Event, tools: Tools) -> Dossier:
    """Take in one event's facts and say nothing; the same dossier if it brings nothing new.

    `DeadLetter` if it ends what is no live room.
    """
    if isinstance(event, Ended) and dossier.upload and dossier.upload.format != "live":
        raise DeadLetter("range", "video: is no live room, and only a room ends")
    after = _learn(dossier, event, tools)
    return dossier if after is dossier else replace(_judge(after, tools), uncopied=True)


def with_facts_of(dossier: Dossier, other: Dossier, tools: Tools) -> Dossier:
    """Return the dossier with what another one of its video knows; the same if that is nothing."""
    after, upload = dossier, other.upload
    old = dossier.upload
    if upload is not None and (old is None or (old.ts, old.id) < (upload.ts, upload.id)):
        after = replace(_without_words_on(dossier, old), upload=upload)
    else:
        other = _without_words_on(other, upload) if upload != old else other
    with suppress(DeadLetter):  # more recognisers than there is room for
        after = _hear(after, other.heard)
    for word in (other.verdict, other.second_look, other.over):
        if word is not None:
            after = _learn(after, word, tools)
    return dossier if after is dossier else replace(_judge(after, tools), uncopied=True)


def speak(dossier: Dossier, cause: str, now_ms: int, tools: Tools) -> Dossier:
    """Return the dossier with all in `unsent` that its log lacks; `cause` goes into their ids."""
    announced, steps = _steps(dossier, tools)
    records = (*dossier.unsent, *_records(dossier, steps, cause, now_ms))
    return _saying(replace(dossier, announced=announced), records)


def revised(dossier: Dossier, record: Revise) -> Dossier:
    """Return the dossier with one record more to say, which changes nothing that it knows."""
    return _saying(dossier, (*dossier.unsent, record))


def _saying(dossier: Dossier, records: Sequence[VideoControl]) -> Dossier:
    """Return the dossier with these in `unsent`, numbered behind all that it ever said."""
    numbered = tuple(
        replace(record, seq=seq) for seq, record in enumerate(records, dossier.seq + 1)
    )
    seq = dossier.seq + len(numbered)
    return replace(dossier, seq=seq, unsent=numbered, uncopied=True)


def latest(dossier: Dossier) -> tuple[str, int]:
    """Return id and time of the latest upload, end or word of a person, of nothing without any.

    Without any there is nothing to say that would bear them.
    """
    words = (dossier.upload, dossier.verdict, dossier.second_look, dossier.over)
    known = [(event.ts, event.id) for event in words if event]
    ts, name = max(known, default=(0, ""))
    return name, ts


def settled(dossier: Dossier, *, listed: bool) -> Dossier:
    """Return the dossier after its copy and all its records are acknowledged.

    `listed`: the topic `waiting` has what it has to have.
    """
    listing = dossier.waiting if listed else dossier.listed
    return replace(dossier, unsent=(), uncopied=False, listed=listing)


# ---------------------------------------------------------------------------- facts


def _learn(dossier: Dossier, event: Event, tools: Tools) -> Dossier:
    """Return the dossier with the event's facts; the same object if it brings nothing new."""
    match event:
        case Upload():
            return _learn_upload(dossier, event, tools)
        case Recognition():
            heard = Heard(event.ts, event.id, event.tags)
            return _hear(dossier, {event.source: heard})
        case Review():
            known = dossier.verdict
            if known is not None and _weight(known) >= _weight(event):
                return dossier
            return replace(dossier, verdict=event)
        case SecondLook():
            last = dossier.second_look
            if last is not None and (last.ts, last.id) >= (event.ts, event.id):
                return dossier
            return replace(dossier, second_look=event)
        case Ended():
            first = dossier.over
            if first is not None and (first.ts, first.id) <= (event.ts, event.id):
                return dossier
            return replace(dossier, over=event)


def _learn_upload(dossier: Dossier, upload: Upload, tools: Tools) -> Dossier:
    """Take the latest upload by its own time; recognisers look at it once."""
    known = dossier.upload
    if known is not None and (known.ts, known.id) >= (upload.ts, upload.id):
        return dossier
    dossier = _without_words_on(dossier, known)
    by_source, faults = recognise_all(tools.recognisers, upload)
    for fault in faults:
        tools.report(fault)
    seen = {name: Heard(upload.ts, upload.id, tags) for name, tags in by_source.items()}
    return _hear(replace(dossier, upload=upload), seen)


def _without_words_on(dossier: Dossier, upload: Upload | None) -> Dossier:
    """Return the dossier without what was seen in an upload: another one replaces it."""
    if upload is None:
        return dossier
    others = {name: heard for name, heard in dossier.heard.items() if heard.id != upload.id}
    return replace(dossier, heard=others)


def _hear(dossier: Dossier, words: Mapping[str, Heard]) -> Dossier:
    newer = {
        source: heard
        for source, heard in words.items()
        if source not in dossier.heard
        or (dossier.heard[source].ts, dossier.heard[source].id) < (heard.ts, heard.id)
    }
    if not newer:
        return dossier
    heard = {**dossier.heard, **newer}
    if len(heard) > SOURCES_MAX:
        raise DeadLetter("range", f"source: the video has {SOURCES_MAX} sources already")
    return replace(dossier, heard=heard)


def _weight(review: Review) -> tuple[bool, int, str]:
    """Return what decides between verdicts: a reject first, then the later one."""
    return review.verdict == "reject", review.ts, review.id


# ---------------------------------------------------------------------------- consequences


def _tags(dossier: Dossier) -> tuple[Tag, ...]:
    return merge_tags({source: heard.tags for source, heard in dossier.heard.items()})


def _judge(dossier: Dossier, tools: Tools) -> Dossier:
    """Return the dossier with the gate's word on its present facts."""
    if dossier.upload is None:
        return dossier
    rule = tools.gate.first_rule(dossier.upload, _tags(dossier))
    if rule is None:
        return replace(dossier, ruling=GateRuling("wait", "", "no rule fits"))
    return replace(dossier, ruling=GateRuling(rule.verdict, rule.name, rule.reason))


def _audience(dossier: Dossier) -> Audience:
    """Return who may see the video; a moderator's reject is not a matter of audience.

    Of a video whose upload is not known any more the verdict alone decides, and without one the
    log.
    """
    if dossier.verdict is not None:
        return _AUDIENCE[dossier.verdict.verdict]
    if dossier.ruling is not None:
        return _AUDIENCE[dossier.ruling.word]
    return "nobody" if dossier.announced.held else dossier.announced.audience


def _steps(dossier: Dossier, tools: Tools) -> tuple[Announced, list[ControlStep]]:
    """Return what the log will have been told, and the steps from there to here."""
    announced = dossier.announced
    if announced.ended:
        return announced, []
    if dossier.verdict is not None and dossier.verdict.verdict == "reject":
        return replace(announced, ended=True), [ControlStep(Takedown, "takedown", {})]
    if dossier.is_over:
        if announced.over or announced.audience == "nobody":
            return announced, []
        return replace(announced, over=True), [ControlStep(End, "end", {})]
    wanted, upload = _audience(dossier), dossier.upload
    if announced.audience == "nobody" and (upload is None or wanted == "nobody"):
        return announced, []
    matches = () if upload is None else tools.catalogue.matches(_tags(dossier), upload.city)
    fits: dict[str, int] = dict(announced.fits)
    if upload is not None:
        fits = {name: fit for name, fit in matches if fit}
    owed = dossier.grant.impressions if dossier.grant else tools.guarantee
    looked, second_look = _words_of_people(dossier)
    if announced.audience == "nobody":
        assert upload is not None
        admission = _admission(upload, wanted, owed) | {"fits": fits}
        first = Announced(wanted, fits=fits, looked=looked, second_look=second_look)
        return first, [ControlStep(Admit, "admit", admission)]
    now = wanted if wanted != "nobody" else announced.audience
    held = wanted == "nobody"
    changes = changes_of(announced, now, held=held, fits=fits, owed=owed)
    steps = [*changes, *_words(dossier)]
    looked, second_look = max(looked, announced.looked), max(second_look, announced.second_look)
    return Announced(now, held, False, fits, looked, second_look), steps


def _words_of_people(dossier: Dossier) -> tuple[int, int]:
    """Return the times of the last verdict and the last word to look again, 0 without any."""
    verdict, second_look = dossier.verdict, dossier.second_look
    return verdict.ts if verdict else 0, second_look.ts if second_look else 0


def _words(dossier: Dossier) -> Iterator[ControlStep]:
    """Yield what people said of an admitted video and the log was not told: it goes on as it is."""
    announced, second_look = dossier.announced, dossier.second_look
    looked, again = _words_of_people(dossier)
    if looked > announced.looked:
        yield ControlStep(Clear, "clear", {"looked": looked})
    if second_look is not None and again > announced.second_look:
        by, note = second_look.by, second_look.note
        fields = {"slices": second_look.slices, "by": by, "note": note}
        yield ControlStep(Reconsider, "reconsider", fields)


def _admission(upload: Upload, audience: Audience, owed: int) -> dict[str, Any]:
    """Return an admission's fields but its fits."""
    return {
        "commercial": upload.commercial,
        "limited": audience == "followers",
        "band": band_of(upload.followers),
        "creator": upload.creator,
        "advertiser": upload.advertiser,
        "format": upload.format,
        "guarantee": owed,
    }


def _records(
    dossier: Dossier, steps: Sequence[ControlStep], cause: str, now_ms: int
) -> Iterator[VideoControl]:
    verdict = dossier.verdict
    for step in steps:
        named = control_id(step.word, cause)
        fields: dict[str, Any] = {"id": named, "video": dossier.video, "ts": now_ms}
        # fits follow from tags, another look from another word, an end from the room
        if verdict is not None and step.word not in {"refit", "reconsider", "end"}:
            fields |= {"by": verdict.by, "note": verdict.note}
        yield step.kind(**fields, seq=0, **step.fields)

"""What people say of videos and slices: what waits for them, and how their word takes effect."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from streams.control.admission.dossier import Dossier, decode
from streams.core.counters import LAPSED, VideoState, load_video
from streams.core.fields import VerdictWord
from streams.core.partitioner import partition_of
from streams.core.words import Review, SecondLook, SliceReview
from streams.errors import DeadLetter, Halt, Misconfigured
from streams.runtime.codec import decode_review
from streams.runtime.documents import documents_of
from streams.runtime.leases import ServingIndex
from streams.runtime.ports import Clock, Dossiers, Outgoing, Producer, Store
from streams.runtime.reasons import PARSER_ERRORS
from streams.runtime.signing import Signer, encode
from streams.settings import Settings

POLL_S: Final = 0.05
EFFECTS: Final[Mapping[VerdictWord, tuple[str, str]]] = {
    "approve": ("public", "it may be shown to everybody"),
    "limit": ("limited", "it may be shown to followers only"),
    "reject": ("removed", "it is taken down in every slice, for good"),
}
"""The stage of the video that each verdict leads to, and what that means."""


class Opinion(NamedTuple):
    """A moderator's verdict, who speaks and why."""

    video: str
    word: VerdictWord
    by: str
    note: str

    def review(self, now_ms: int) -> Review:
        """Return the event; its id begins with who spoke, so that receipts name them as cause.

        `Misconfigured` if the control plane would refuse it.
        """
        name = _event_id(self.by)
        event = Review(name, self.video, now_ms, self.word, self.by, self.note)
        _require(event)
        return event


class Plea(NamedTuple):
    """A person's wish to look again at what evidence stopped of a video, who speaks and why."""

    video: str
    slices: tuple[str, ...]
    by: str
    note: str

    def second_look(self, now_ms: int) -> SecondLook:
        """Return the event; `Misconfigured` if the control plane would refuse it."""
        name = _event_id(self.by)
        event = SecondLook(name, self.video, now_ms, self.by, self.note, self.slices)
        _require(event)
        return event


class SliceOpinion(NamedTuple):
    """A person's word on a slice: whether it shall be frozen, who speaks and why."""

    slice: str
    frozen: bool
    by: str
    note: str


class Counted(NamedTuple):
    """A video as the counters of a log with so many partitions have it."""

    state: VideoState
    partitions: int

    def stopped(self, slices: Collection[str]) -> list[str]:
        """Return what evidence stopped, of these slices or, without any, of all."""
        rows = sorted(self.state.slices.items())
        lapsed = [name for name, row in rows if row.cause == LAPSED]
        return [name for name in lapsed if name in slices or not slices]


class Looked(NamedTuple):
    """After how many seconds stopped slices were looked at again, and which are open by that."""

    seconds: float
    back: Sequence[str]
    left: Sequence[str]


async def rejected_cases(dossiers: Dossiers, now_ms: int) -> list[dict[str, Any]]:
    """Return the videos that a rule of the gate keeps back, which only people can end."""
    cases: dict[str, Dossier] = {}
    async for some in dossiers.scan():
        for video, document in some.items():
            case = _decoded(video, document.text)
            if case.verdict is None and case.upload is not None and case.state == "rejected":
                cases[video] = case
    named = {"video": "", "cause": "gate"}
    return [named | _row(case, now_ms) for case in cases.values()]


async def verdict_on(dossiers: Dossiers, partitions: int, video: str) -> dict[str, Any] | None:
    """Return the verdict of a person on a video, None if nobody gave one."""
    document = (await documents_of(dossiers, partitions, [video])).get(video)
    verdict = None if document is None else _decoded(video, document).verdict
    return None if verdict is None else msgspec.to_builtins(verdict)


async def case_of(dossiers: Dossiers, partitions: int, video: str, now_ms: int) -> dict[str, Any]:
    """Return all that a moderator should know of a video; `Halt` if nothing is known."""
    document = (await documents_of(dossiers, partitions, [video])).get(video)
    if document is None:
        raise Halt(
            f"nothing is known of video {video}: its upload did not come, or no control plane runs"
        )
    case = _decoded(video, document)
    known: dict[str, Any] = msgspec.to_builtins(case)
    return {**_row(case, now_ms), **{name: known[name] for name in ("upload", "heard", "verdict")}}


def slice_review(opinion: SliceOpinion, now_ms: int) -> SliceReview:
    """Return the event; `Misconfigured` if the control plane would refuse it."""
    name = _event_id(opinion.by)
    event = SliceReview(name, opinion.slice, now_ms, opinion.frozen, opinion.by, opinion.note)
    _require(event)
    return event


async def say(
    producer: Producer,
    settings: Settings,
    review: Review | SliceReview | SecondLook,
    signer: Signer | None = None,
) -> None:
    """Write what a person says, signed by their own key where one is given; until it is durable."""
    about = review.slice if isinstance(review, SliceReview) else review.video
    key, value = about.encode(), encode(review)
    headers = () if signer is None else (signer.header(key, value),)
    await (await producer.send(Outgoing(settings.topic("reviews"), value, key, headers)))


async def counted(store: Store, video: str, partitions: int) -> Counted:
    """Return a video as the counters have it; it is unknown if they have nothing."""
    partition = partition_of(video.encode(), partitions)
    fields = (await store.load(partition, [video])).videos[video]
    return Counted(load_video(video, fields), partitions)


async def in_index(
    index: ServingIndex, opinion: SliceOpinion, clock: Clock, patience_s: float
) -> float | None:
    """Return after how many seconds the serving index obeys, None if it does not in time."""

    async def obeys() -> bool:
        return await index.is_frozen(opinion.slice) == opinion.frozen

    return await _until(obeys, clock, patience_s)


async def in_force(
    store: Store, opinion: Opinion, before: Counted, clock: Clock, patience_s: float
) -> float | None:
    """Return after how many seconds the counters bear a verdict, None if they do not in time.

    `before` is the video before it was said: it may have stood there by another word.
    """
    wanted, _ = EFFECTS[opinion.word]

    async def bear() -> bool:
        own = (await counted(store, opinion.video, before.partitions)).state.row
        return own.stage == wanted and (own.seq > before.state.row.seq or wanted == "removed")

    return await _until(bear, clock, patience_s)


async def looked_at(
    store: Store, plea: Plea, before: Counted, clock: Clock, patience_s: float
) -> Looked | None:
    """Return what became of the slices that evidence had stopped, None if nothing did in time."""
    after = before

    async def are_looked_at() -> bool:
        nonlocal after
        after = await counted(store, plea.video, before.partitions)
        return after.state.row.seq > before.state.row.seq

    seconds = await _until(are_looked_at, clock, patience_s)
    if seconds is None:
        return None
    stopped = before.stopped(plea.slices)
    left = after.stopped(stopped)
    return Looked(seconds, [name for name in stopped if name not in left], left)


async def _until(
    holds: Callable[[], Awaitable[bool]], clock: Clock, patience_s: float
) -> float | None:
    """Return after how many seconds something holds, None if it does not in time."""
    began = clock()
    while (passed := clock() - began) <= patience_s:
        if await holds():
            return passed
        await asyncio.sleep(POLL_S)
    return None


def _event_id(by: str) -> str:
    """Return an id that begins with who speaks, so that receipts name them as cause."""
    return f"{by[:24]}-{secrets.token_hex(8)}"


def _require(event: Review | SliceReview | SecondLook) -> None:
    try:
        decode_review(encode(event), 1 << 20)
    except DeadLetter as letter:
        raise Misconfigured(f"the verdict would be refused: {letter}") from None


def _decoded(video: str, document: bytes) -> Dossier:
    try:
        return decode(document)
    except PARSER_ERRORS as error:
        raise Halt(
            f"the dossier of {video} cannot be read: {error}", code="store_corrupt"
        ) from None


def _row(case: Dossier, now_ms: int) -> dict[str, Any]:
    upload, ruling = case.upload, case.ruling
    return {
        "video": case.video,
        "state": case.state,
        "since": upload.ts if upload else None,
        "waited_s": (now_ms - upload.ts) // 1000 if upload else None,
        "creator": upload.creator if upload else None,
        "title": upload.title if upload else None,
        "rule": ruling.rule if ruling else None,
        "why": ruling.reason if ruling else None,
    }

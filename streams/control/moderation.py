"""What people say of videos and slices: what waits for them, and how their word takes effect."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from streams.control.admission.dossier import Dossier, decode
from streams.core.counters import load_video
from streams.core.events import Review, SliceReview
from streams.core.fields import VerdictWord
from streams.core.partitioner import partition_of
from streams.errors import DeadLetter, Halt, Misconfigured
from streams.runtime.codec import decode_review
from streams.runtime.documents import documents_of
from streams.runtime.leases import ServingIndex
from streams.runtime.ports import Clock, Dossiers, Outgoing, Producer, Store
from streams.runtime.signing import Signer, encode
from streams.settings import Settings

POLL_S: Final = 0.05
EFFECTS: Final[Mapping[VerdictWord, tuple[str, str]]] = {
    "approve": ("public", "it may be shown to everybody"),
    "limit": ("limited", "it may be shown to followers only"),
    "reject": ("removed", "it is taken down in every slice, for good"),
}
"""The stage of the video that each verdict leads to, and what that means."""

CaseState = Literal["waiting", "rejected"]


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


class SliceOpinion(NamedTuple):
    """A person's word on a slice: whether it shall be frozen, who speaks and why."""

    slice: str
    frozen: bool
    by: str
    note: str


async def open_cases(
    dossiers: Dossiers, now_ms: int, *, rejected: bool = False
) -> list[dict[str, Any]]:
    """Return the videos that wait for a verdict, the longest first.

    With `rejected` also those that a rule of the gate keeps back, which only people can end.
    """
    wanted = {"waiting", "rejected"} if rejected else {"waiting"}
    cases: dict[str, Dossier] = {}
    async for some in dossiers.scan():
        for video, document in some.items():
            case = _decoded(video, document.text)
            if case.verdict is None and case.upload is not None and case.state in wanted:
                cases[video] = case
    rows = [_row(case, now_ms) for case in cases.values()]
    return sorted(rows, key=lambda row: (row["since"], row["video"]))


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
    review: Review | SliceReview,
    signer: Signer | None = None,
) -> None:
    """Write what a person says, signed by their own key where one is given; until it is durable."""
    about = review.slice if isinstance(review, SliceReview) else review.video
    key, value = about.encode(), encode(review)
    headers = () if signer is None else (signer.header(key, value),)
    await (await producer.send(Outgoing(settings.topic("reviews"), value, key, headers)))


async def in_index(
    index: ServingIndex, opinion: SliceOpinion, clock: Clock, patience_s: float
) -> float | None:
    """Return after how many seconds the serving index obeys, None if it does not in time."""
    began = clock()
    while (passed := clock() - began) <= patience_s:
        if await index.is_frozen(opinion.slice) == opinion.frozen:
            return passed
        await asyncio.sleep(POLL_S)
    return None


async def in_force(
    store: Store, opinion: Opinion, partitions: int, clock: Clock, patience_s: float
) -> float | None:
    """Return after how many seconds the counters bear a verdict, None if they do not in time."""
    partition = partition_of(opinion.video.encode(), partitions)
    wanted, _ = EFFECTS[opinion.word]
    began = clock()
    while (passed := clock() - began) <= patience_s:
        fields = (await store.load(partition, [opinion.video])).videos[opinion.video]
        if load_video(opinion.video, fields).row.stage == wanted:
            return passed
        await asyncio.sleep(POLL_S)
    return None


def _event_id(by: str) -> str:
    """Return an id that begins with who speaks, so that receipts name them as cause."""
    return f"{by[:24]}-{secrets.token_hex(8)}"


def _require(event: Review | SliceReview) -> None:
    try:
        decode_review(encode(event), 1 << 20)
    except DeadLetter as letter:
        raise Misconfigured(f"the verdict would be refused: {letter}") from None


def _decoded(video: str, document: bytes) -> Dossier:
    try:
        return decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
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

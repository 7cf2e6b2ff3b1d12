"""What was said of videos, taken from the topics by the rules of their decoders alone."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from streams.control.admission import dossier
from streams.control.admission.dossier import Dossier, Tools
from streams.core.partitioner import partition_of
from streams.core.words import SliceReview
from streams.errors import DeadLetter
from streams.runtime.codec import decode_one, decode_review
from streams.runtime.ports import Record

TOPICS: Final = ("uploads", "recognitions", "reviews")
LIMIT: Final = 1 << 20
AHEAD_MS: Final = 300_000
"""What is further ahead of its record counts for nothing."""
HEARD: Final = ("upload", "verdict", "second_look", "heard", "ruling", "over")
"""Fields of a dossier that what was said decides."""


def facts_of(
    said: Mapping[str, Iterable[Record]], tools: Tools, partitions: int
) -> dict[str, Dossier]:
    """Return what was said of each video; `said` are the records by topic, without prefix."""
    facts: dict[str, Dossier] = {}
    for topic in TOPICS:
        for event, record in _events(topic, said[topic]):
            home = partition_of(event.video.encode(), partitions)
            if record.partition == home and event.ts <= record.timestamp + AHEAD_MS:
                before = facts.get(event.video) or Dossier(event.video)
                with suppress(DeadLetter):
                    facts[event.video] = dossier.learn(before, event, tools)
    return facts


def _events(topic: Any, records: Iterable[Record]) -> Iterator[tuple[Any, Record]]:
    """Yield what can be read, but words about slices."""
    for record in records:
        try:
            event: Any = (
                decode_review(record.value, LIMIT)
                if topic == "reviews"
                else decode_one(topic, record.value, LIMIT)
            )
        except DeadLetter:
            continue
        if not isinstance(event, SliceReview):
            yield event, record


def dossier_differences(
    known: Mapping[str, Dossier], facts: Mapping[str, Dossier], stages: Mapping[str, str]
) -> Iterator[str]:
    """Yield where dossiers, or the stages of the counted videos, are not what was said."""
    for video in sorted({*known, *facts}):
        if video not in known or video not in facts:
            yield f"the dossier of {video} is {'lost' if video in facts else 'of nothing'}"
            continue
        now, wanted = known[video], facts[video]
        for name in HEARD:
            if getattr(now, name) != getattr(wanted, name):
                yield f"{name} of {video} is {getattr(now, name)}, said was {getattr(wanted, name)}"
        if now.owes or now.uncopied:
            yield f"the log or a topic is owed something about {video}: {now.unsent}"
        if stages[video] not in stages_of(wanted):
            yield f"{video} stands as {stages[video]}, said was {sorted(stages_of(wanted))}"


def stages_of(facts: Dossier) -> set[str]:
    """Return where a video may stand of which this is known."""
    nobody = {"unknown", "held_public", "held_limited"}
    word = facts.verdict.verdict if facts.verdict else facts.ruling.word if facts.ruling else ""
    if facts.verdict and word == "reject":
        return {"removed"}
    if facts.is_over:
        return {"ended", "unknown"}
    if facts.upload is None:
        return nobody
    return {"approve": {"public"}, "limit": {"limited"}}.get(word, nobody)

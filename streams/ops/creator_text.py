"""What a creator is told, in words that need no other page."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

from streams.core.units import MICROS
from streams.ops.creator import CrowdFacts, Standing, VideoFacts
from streams.ops.explain import count_of, moment

Help = Literal["beginning", "title", "respond", ""]
LESS: Final = 0.9
"""Of what is usual: below that a part of it is what to work on."""
MORE: Final = 1.5
LEAST_VIEWS_UNWANTED: Final = 10_000
"""So many in a million who do not want it are never too many."""
LOWERED: Final = (
    "You have had a larger part of what the public is shown in a day than one creator shall have, "
    "so for now your videos come a little later there. Your followers are shown them as before, "
    "and it ends by itself as that part gets smaller."
)
_HELP: Final[dict[Help, str]] = {
    "beginning": "viewers leave earlier than is usual there: a stronger beginning, or less length",
    "title": "more than is usual there do not want it: let title and cover say what comes",
    "respond": "it is watched, and fewer than is usual there respond: give them a reason to",
    "": "nothing stands out: it does as is usual there, or better",
}
_STANDING: Final[dict[Standing, str]] = {
    "shown": "It is shown there",
    "back": "It is back there: it had stopped, and has turned out better since",
    "less liked": "It is not shown there now: this crowd likes other videos more",
    "all reached": "Everyone there has seen it",
    "spent": "It has had all the public impressions that one video can have",
    "paused": "Moderation pauses it",
    "ended": "Moderation ended it there",
    "over": "The room is over",
    "closed": "It is not open to this crowd now",
}


def in_words(creator: str, facts: Sequence[VideoFacts]) -> Iterator[str]:
    """Yield what a creator is told, a paragraph a video."""
    count = count_of(len(facts), "approved video")
    yield f"Creator {creator}: {count}."
    if any(each.lowered for each in facts):
        yield LOWERED
    for each in facts:
        yield "\n   ".join(_video(each))


def as_fields(creator: str, facts: Sequence[VideoFacts]) -> dict[str, Any]:
    """Return the same for programs; shares are micro-units."""
    videos = [{**asdict(each), "help": help_for(each)} for each in facts]
    return {"creator": creator, "videos": videos}


def help_for(facts: VideoFacts) -> Help | None:
    """Return what would help most, by the crowd with most views; None where nothing compares."""
    known = next((each for each in facts.crowds if each.usual is not None), None)
    if known is None or known.usual is None:
        return None
    own, usual = known.taste, known.usual
    if own.watched < LESS * usual.watched:
        return "beginning"
    if own.unwanted > max(MORE * usual.unwanted, LEAST_VIEWS_UNWANTED):
        return "title"
    return "respond" if own.pressed < LESS * usual.pressed else ""


def _video(facts: VideoFacts) -> Iterator[str]:
    yield f"{facts.video}, approved {_minute(facts.approved)}: {facts.seen}."
    yield _guarantee(facts)
    for crowd in facts.crowds:
        yield _crowd(crowd)
    if facts.hidden:
        yield f"Crowds that are too small to tell of: {facts.hidden:,}."
    yield _followers(facts)
    if (most := help_for(facts)) is not None:
        yield f"What would help: {_HELP[most]}."


def _guarantee(facts: VideoFacts) -> str:
    if not facts.guaranteed:
        return "No public impressions were guaranteed."
    is_open = facts.shown < facts.guaranteed and facts.until
    until = f", until {_minute(facts.until)}" if is_open else ""
    return f"{facts.shown:,} of {facts.guaranteed:,} guaranteed public impressions given{until}."


def _crowd(facts: CrowdFacts) -> str:
    surface, _, group = facts.crowd.partition(":")
    own, usual = facts.taste, facts.usual
    watched = f"they watch {_percent(own.watched)} of it"
    pressed = f"{_hundred(own.pressed)} of 100 respond"
    if usual is not None:
        watched += f" (usual there: {_percent(usual.watched)})"
        pressed += f" (usual: {_hundred(usual.pressed)})"
    return f"{group} ({surface}): {watched}, {pressed}. {_STANDING[facts.standing]}."


def _followers(facts: VideoFacts) -> str:
    if facts.fans is None:
        return "Too few followers were shown it to tell more."
    others = "" if facts.fans_usual is None else f"; your other videos {facts.fans_usual:,} times"
    return f"Followers were shown it {facts.fans:,} times{others}."


def _minute(ms: int) -> str:
    return f"{moment(ms)[:16].replace('T', ' ')} UTC"


def _percent(micros: int) -> str:
    return f"{round(micros * 100 / MICROS)} %"


def _hundred(micros: int) -> str:
    return f"{micros * 100 / MICROS:.1f}"

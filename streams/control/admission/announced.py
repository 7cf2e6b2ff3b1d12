"""What the log was told of a video, and the steps from there to what holds now. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from streams.core.events import Hold, Release, Revise, VideoControl
from streams.core.stages import VideoStage
from streams.core.units import ID_MAX

Audience = Literal["nobody", "followers", "public"]


class Announced(Struct, frozen=True):
    """What the log was told of a video: the last audience, whether it is held, and its fits.

    `looked` and `second_look` are the times (ms) of the last words of people that it has.
    """

    audience: Audience = "nobody"  # nobody: never admitted
    held: bool = False
    ended: bool = False
    fits: dict[str, int] = {}
    looked: int = 0
    second_look: int = 0
    over: bool = False  # a live room that ended


ANNOUNCED: Final[dict[VideoStage, Announced]] = {
    "unknown": Announced(),
    "public": Announced("public"),
    "limited": Announced("followers"),
    "held_public": Announced("public", held=True),
    "held_limited": Announced("followers", held=True),
    "removed": Announced(ended=True),
    "ended": Announced(over=True),
}


def stage_of(announced: Announced) -> VideoStage:
    """Return where a video stands in a log that was told this."""
    if announced.ended:
        return "removed"
    if announced.over:
        return "ended"
    plain = replace(announced, fits={}, looked=0, second_look=0)
    return next((stage for stage, known in ANNOUNCED.items() if known == plain), "unknown")


@dataclass(frozen=True, slots=True)
class ControlStep:
    """One control record to be: its kind, the word that its id begins with, its own fields."""

    kind: type[VideoControl]
    word: str
    fields: Mapping[str, Any]  # of the kind's constructor, each as its type says


def changes_of(
    announced: Announced, now: Audience, *, held: bool, fits: dict[str, int], owed: int
) -> Iterator[ControlStep]:
    """Yield the steps of an admitted video, to which `owed` is guaranteed once it is public.

    A smaller audience comes before a release, a larger one after it: in between nobody sees what
    they may not.
    """
    if fits != announced.fits:
        yield ControlStep(Revise, "refit", {"fits": fits})
    if held and not announced.held:
        yield ControlStep(Hold, "hold", {})
    if (announced.audience, now) == ("public", "followers"):
        yield ControlStep(Revise, "limit", {"limited": True})
    if announced.held and not held:
        yield ControlStep(Release, "release", {})
    if (announced.audience, now) == ("followers", "public"):
        yield ControlStep(Revise, "widen", {"limited": False, "guarantee": owed})


def control_id(word: str, cause: str) -> str:
    """Return a control record's id: its word and the event that led to it, hashed if too long.

    >>> control_id("admit", "u1"), len(control_id("takedown", "r" * 64))
    ('admit-u1', 41)
    """
    named = f"{word}-{cause}"
    return named if len(named) <= ID_MAX else f"{word}-{sha256(cause.encode()).hexdigest()[:32]}"

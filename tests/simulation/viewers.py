"""What viewers do with a video that they see: everything that the log has a word for."""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Final

from streams.core.events import (
    Comment,
    Follow,
    Gift,
    Hide,
    Interaction,
    InteractionRecord,
    Like,
    Order,
    Profile,
    Report,
    Share,
    Stay,
    Unfollow,
    Unlike,
    View,
)

DONE: Final[Mapping[str, tuple[int, Callable[..., InteractionRecord]]]] = {
    "l": (14, Like),
    "n": (6, Unlike),
    "c": (2, Comment),
    "s": (2, Share),
    "f": (2, Follow),
    "x": (1, Unfollow),
    "h": (1, Hide),
    "r": (1, Report),
    "o": (1, partial(Order, amount=990)),
    "p": (1, Profile),
    "g": (1, partial(Gift, amount=52)),
    "y": (1, partial(Stay, stay_ms=45_000)),
}
"""What is done beside watching: how often beside the others, and its event."""
WEIGHTS: Final = [weight for weight, _ in DONE.values()]
WATCHED: Final = 0.7
DID: Final = 0.4


def deeds(random: Random, shown: Interaction, name: str) -> list[InteractionRecord]:
    """Return what a viewer did whom a video was shown to; ids begin with `name`."""
    about = (shown.video, shown.viewer, shown.slice, shown.ts)
    done: list[InteractionRecord] = []
    if random.random() < WATCHED:
        done.append(View(f"{name}-v", *about, random.randrange(12_000), 12_000))
        if random.random() < DID:
            (letter,) = random.choices(list(DONE), WEIGHTS)
            _, event = DONE[letter]
            done.append(event(f"{name}-{letter}", *about))
    return done

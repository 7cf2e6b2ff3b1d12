"""Every noun, id and unit of the project on one screen; read this first.

Integers everywhere: counts, milliseconds, and micro-units (one millionth) for whatever is a
fraction elsewhere: a value of 0.35 is `350_000`, a ratio of 70 % is `700_000`.

Ids of videos, viewers and events are text of [A-Za-z0-9_-]{1,64}, validated once at the edge; an
event's is what duplicates are recognised by. An offset is a record's place in its partition of
the log.
"""

from functools import lru_cache
from typing import Final, NewType, TypeGuard

SliceId = NewType("SliceId", str)  # "surface:group", the unit of decision

SURFACES: Final = ("following", "nearby", "discover")

MICROS: Final = 1_000_000
"""One whole in micro-units."""

NEVER: Final = 1 << 62
"""A checkpoint that no count reaches."""

ID_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
ID_MAX: Final = 64
GROUP_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
GROUP_MAX: Final = 32
SLICES_PER_VIDEO: Final = 256
"""Slices of one policy at most, and slices outside the policy in force that the feedback of one
video may open: no input can grow a video for ever."""


@lru_cache(maxsize=1_024)
def surface_of(slice_id: str) -> str:
    """Return the surface of a valid slice id.

    >>> surface_of("discover:football")
    'discover'
    """
    return slice_id.partition(":")[0]


def is_slice(text: str) -> TypeGuard[SliceId]:
    """Tell whether `text` is `surface:group`, the group in [a-z0-9_-]{1,32}.

    >>> is_slice("nearby:shenyang"), is_slice("nearby:"), is_slice("mars:x"), is_slice("discover:A")
    (True, False, False, False)
    """
    surface, colon, group = text.partition(":")
    return (
        colon == ":"
        and surface in SURFACES
        and 0 < len(group) <= GROUP_MAX
        and GROUP_ALPHABET.issuperset(group)
    )

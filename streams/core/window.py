"""Duplicates, and likes as states, by generations of offsets.

A generation is a fixed run of offsets (`core.generations`). An id is a duplicate if it
was met in the current or the previous generation, so the answer depends on the log alone: not on
batches, clocks or restarts. What is remembered is a pure function of the records of the current
generation and the `REPLAYED_GENERATIONS` before it, which is how much a restarted worker reads
again.

Three, because an unlike takes back the like that counted, and only if that is known. It ends a like
of the previous generation (1); that like may have repeated one of the generation before (2), which
counted unless it repeated one still older (3). Whether the records of that third generation were
duplicates themselves cannot be told without a fourth, so any like there, duplicate or not, leaves
the answer open: then the unlike counts nothing.
"""

from typing import Final

import msgspec

from streams.core.events import (
    EVENT_TYPES,
    Comment,
    Follow,
    Hide,
    Interaction,
    Like,
    Order,
    Report,
    Share,
    Unlike,
)
from streams.core.generations import Generations

REPLAYED_GENERATIONS: Final = 3
"""Whole generations before the current one that a restart reads for their ids."""

Pair = tuple[str, str]
"""Viewer and video."""
_NEVER: Final = ("", False)


class FrozenLikes(msgspec.Struct, frozen=True, array_like=True):
    """The likes of one generation, sorted.

    `states` are viewer, video, the slice of the first like since the latest unlike ("" after an
    unlike), and whether there was an unlike; `met` are pairs with any like.
    """

    states: list[tuple[str, str, str, bool]]
    met: list[Pair]


class FrozenWindow(msgspec.Struct, frozen=True):
    """A window as it is kept for later: two generations of ids, four of likes, the current first.

    `start` and `end` are the bounds of the current generation, `end` is 0 before any record.
    """

    start: int = 0
    end: int = 0
    current: list[str] = []
    previous: list[str] = []
    likes: list[FrozenLikes] = []


class Likes:
    """What viewers did with their likes in one generation."""

    __slots__ = ("met", "states")

    def __init__(self) -> None:
        # slice of the first like since the latest unlike ("" after an unlike), and whether there
        # was an unlike in this generation before
        self.states: dict[Pair, tuple[str, bool]] = {}
        self.met: set[Pair] = set()  # pairs with any like, duplicates included


class Window:
    """The ids and likes of the latest generations of one partition.

    >>> from streams.core.events import Like
    >>> window = Window(generation_records=2)
    >>> like = Like("e1", "v1", "u1", "discover:cars", 1_700_000_000_000)
    >>> [window.repeats(like, offset) for offset in (0, 1, 2, 3)]  # every repeat is remembered
    [False, True, True, True]
    >>> window.repeats(like, 8)  # two generations later the id is forgotten
    False
    """

    __slots__ = (
        "_likes",
        "current",
        "end",
        "generations",
        "previous",
        "start",
    )

    def __init__(self, generation_records: int) -> None:
        self.generations = Generations.of(generation_records)
        self.start = 0  # first offset of the current generation
        self.end = 0  # first offset behind it; 0 before any record
        self.current: set[str] = set()
        self.previous: set[str] = set()
        # of the current generation, the one before, ...
        self._likes = [Likes() for _ in range(REPLAYED_GENERATIONS + 1)]

    def frozen(self) -> FrozenWindow:
        """Return what is remembered, in one spelling whatever the order of sets."""
        likes = [
            FrozenLikes(
                sorted((*pair, *state) for pair, state in one.states.items()), sorted(one.met)
            )
            for one in self._likes
        ]
        ids = (sorted(self.current), sorted(self.previous))
        return FrozenWindow(self.start, self.end, *ids, likes)

    def thaw(self, window: FrozenWindow) -> None:
        """Remember what a frozen window remembers, and nothing else."""
        self.start, self.end = window.start, window.end
        self.current, self.previous = set(window.current), set(window.previous)
        self._likes = [Likes() for _ in range(REPLAYED_GENERATIONS + 1)]
        for likes, kept in zip(self._likes, window.likes, strict=False):
            likes.met.update(kept.met)
            for viewer, video, slice_id, after_unlike in kept.states:
                likes.states[viewer, video] = (slice_id, after_unlike)

    def turn(self, offset: int) -> None:
        """Make `offset`'s generation the current one; offsets only rise."""
        generations = self.generations
        start = generations.start(offset)
        passed = generations.number(start) - generations.number(self.start) if self.end else 1
        self.previous = self.current if self.end and passed == 1 else set()
        self.current = set()
        kept = self._likes[: max(len(self._likes) - passed, 0)]
        self._likes = [*(Likes() for _ in range(len(self._likes) - len(kept))), *kept]
        self.start, self.end = start, generations.end(start)

    def lengthen(self, offset: int, records: int) -> None:
        """Give the generation that `offset` is in, and those behind it, so many records."""
        self.generations = self.generations.lengthened(offset, records)
        if self.end:
            self.end = self.generations.end(self.start)

    def repeats(self, event: Interaction, offset: int) -> bool:
        """Remember the event, and tell whether it counts nothing.

        An id met before, a like while liked, an unlike while not liked, a second follow or hide
        by the same viewer of the same video.
        """
        if offset >= self.end:
            self.turn(offset)
        if self._met(event.id):
            self.repeat(event)
            return True
        return not self.settle(event)

    def repeat(self, event: Interaction) -> None:
        """Note an event whose id was met before; it counts nothing."""
        if isinstance(event, Like):
            self._likes[0].met.add((event.viewer, event.video))

    def settle(self, event: Interaction) -> str:
        """Return the slice whose counters an event with a new id changes, "" if it changes none.

        For an unlike that is the slice of the like it takes back.
        """
        match event:
            case Like():
                return "" if self._like(event) else event.slice
            case Unlike():
                return self._unlike(event)
            case Follow():
                return "" if self._met(f"follow {event.viewer} {event.video}") else event.slice
            case Hide():
                return "" if self._met(f"hide {event.viewer} {event.video}") else event.slice
            case Comment() | Share() | Report() | Order():
                self.is_first(event)
                return event.slice
            case _:
                return event.slice

    def is_first(self, event: Comment | Share | Report | Order) -> bool:
        """Tell whether it is its viewer's first of its kind with this video; remember that."""
        return not self._met(f"{EVENT_TYPES[type(event)]} {event.viewer} {event.video}")

    def _met(self, key: str) -> bool:
        met = key in self.current or key in self.previous
        self.current.add(key)
        return met

    def _like(self, event: Like) -> bool:
        """Note a like with a new id; tell whether the viewer liked the video already."""
        pair = (event.viewer, event.video)
        likes, before = self._likes[:2]
        likes.met.add(pair)
        here = likes.states.get(pair)
        if here is None:
            likes.states[pair] = (event.slice, False)
            return bool(before.states.get(pair, _NEVER)[0])
        if here[0]:
            return True
        likes.states[pair] = (event.slice, True)
        return False

    def _unlike(self, event: Unlike) -> str:
        pair = (event.viewer, event.video)
        counted_in = self._counted_in(pair)
        self._likes[0].states[pair] = ("", True)
        return counted_in

    def _counted_in(self, pair: Pair) -> str:
        """Return the slice of the like in force, "" if there is none or it is not known to count.

        Back from repeat to repeat: a like that follows an unlike, or a generation without one,
        counted. So did the oldest of the three, unless there were likes before it.
        """
        like = ""
        for age, likes in enumerate(self._likes[:REPLAYED_GENERATIONS]):
            here = likes.states.get(pair)
            if here is None:
                if age:
                    return like
                continue
            slice_id, after_unlike = here
            if not slice_id or after_unlike:
                return slice_id or like
            like = slice_id
        return "" if pair in self._likes[REPLAYED_GENERATIONS].met else like

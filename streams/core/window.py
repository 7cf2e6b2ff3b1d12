"""Duplicates, and likes as states, by generations of offsets.

A generation is a fixed run of offsets (`offset // generation_records`). An id is a duplicate if it
was met in the current or the previous generation, so the answer depends on the log alone: not on
batches, clocks or restarts. What is remembered is a pure function of the records of the last
`REPLAYED_GENERATIONS` generations, which is how much a restarted worker reads again: whether an
event of the previous generation was itself a duplicate depends on the generation before.
"""

from typing import Final

from streams.core.events import Follow, Hide, Interaction, Like, Unlike

REPLAYED_GENERATIONS: Final = 2
"""Whole generations before the current one that a restart reads for their ids."""

_NEVER_LIKED: Final = ("", False)


class Window:
    """The ids and likes of the current and the previous generation of one partition.

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
        "_previous_likes",
        "current",
        "end",
        "generation_records",
        "previous",
        "start",
    )

    def __init__(self, generation_records: int) -> None:
        self.generation_records = generation_records
        self.start = 0  # first offset of the current generation
        self.end = 0  # first offset behind it; 0 before any record
        self.current: set[str] = set()
        self.previous: set[str] = set()
        # (viewer, video) -> (slice of the like or "" for an unlike, was set after an unlike)
        self._likes: dict[tuple[str, str], tuple[str, bool]] = {}
        self._previous_likes: dict[tuple[str, str], tuple[str, bool]] = {}

    def turn(self, offset: int) -> None:
        """Make `offset`'s generation the current one; offsets only rise."""
        generation = offset // self.generation_records
        start = generation * self.generation_records
        follows = self.end and start == self.end
        self.previous = self.current if follows else set()
        self._previous_likes = self._likes if follows else {}
        self.current = set()
        self._likes = {}
        self.start, self.end = start, start + self.generation_records

    def repeats(self, event: Interaction, offset: int) -> bool:
        """Remember the event, and tell whether it counts nothing.

        An id met before, a like while liked, an unlike while not liked, a second follow or hide
        by the same viewer of the same video.
        """
        if offset >= self.end:
            self.turn(offset)
        return self._met(event.id) or not self.settle(event)

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
            case _:
                return event.slice

    def _met(self, key: str) -> bool:
        met = key in self.current or key in self.previous
        self.current.add(key)
        return met

    def _like(self, event: Like) -> bool:
        key = (event.viewer, event.video)
        here = self._likes.get(key)
        if here is None:
            self._likes[key] = (event.slice, False)
            return bool(self._previous_likes.get(key, _NEVER_LIKED)[0])
        if here[0]:
            return True
        self._likes[key] = (event.slice, True)
        return False

    def _unlike(self, event: Unlike) -> str:
        key = (event.viewer, event.video)
        liked_in = self._liked_in(key)
        self._likes[key] = ("", True)
        return liked_in

    def _liked_in(self, key: tuple[str, str]) -> str:
        """Return the slice of the like that counted, "" if there is none.

        The earliest like of the window that no unlike came after: the previous generation's,
        unless this one holds an unlike of its own.
        """
        before = self._previous_likes.get(key, _NEVER_LIKED)[0]
        here = self._likes.get(key)
        if here is None:
            return before
        slice_id, after_unlike = here
        return slice_id if after_unlike or not before else before

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

A generation of more than `generations.PART_RECORDS` fills part by part. Its ids are packed
(`core.packed`) as they come; only those of the current part are a set too.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

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
from streams.core.packed import LikeState, PackedIds, PackedLikes, Pair, digest_of

REPLAYED_GENERATIONS: Final = 3
"""Whole generations before the current one that a restart reads for their ids."""

_NEVER: Final = ("", False)
_ALL: Final = REPLAYED_GENERATIONS + 1


class FrozenLikes(msgspec.Struct, frozen=True, array_like=True):
    """The likes of one generation, sorted.

    `states` are viewer, video, the slice of the first like since the latest unlike ("" after an
    unlike), and whether there was an unlike; `met` are pairs with any like.
    """

    states: list[tuple[str, str, str, bool]]
    met: list[Pair]


class FrozenWindow(msgspec.Struct, frozen=True):
    """A window as it is kept for later: two generations of ids, four of likes, the current first.

    `start` and `end` are the bounds of the current generation, `end` is 0 before any record. Of
    ids of full parts there are only the sorted `digests`, those of the current generation first;
    `part` is where the current part begins.
    """

    start: int = 0
    end: int = 0
    current: list[str] = []
    previous: list[str] = []
    likes: list[FrozenLikes] = []
    part: int = 0
    digests: tuple[bytes, bytes] = (b"", b"")


class Part(NamedTuple):
    """What the records of one part brought, once it is full: nothing of it changes any more.

    Of a long generation the ids are only `digests`, one behind the other.
    """

    start: int
    end: int  # the first offset behind it
    ids: Collection[str] = ()
    digests: bytes = b""
    states: Mapping[Pair, LikeState] = {}  # those that changed; of the whole generation so far
    met: Collection[Pair] = ()


class Likes:
    """What viewers did with their likes in one generation."""

    __slots__ = ("_full", "met", "states")

    def __init__(self) -> None:
        self._full: PackedLikes | None = None  # of full parts; what is here stands above it
        self.states: dict[Pair, LikeState] = {}
        self.met: set[Pair] = set()  # pairs with any like, duplicates included

    def state(self, pair: Pair) -> LikeState | None:
        """Return what is known of a pair, None if it neither liked nor unliked."""
        here = self.states.get(pair)
        return self._full.state(pair) if here is None and self._full is not None else here

    def is_met(self, pair: Pair) -> bool:
        """Tell whether there was any like, duplicates included."""
        return pair in self.met or (self._full is not None and self._full.is_met(pair))

    def pack(self) -> None:
        """Pack what came since the last time; who has it may keep it."""
        full = self._full = self._full or PackedLikes()
        for pair in self.met.union(self.states):
            full.put(pair, self.states.get(pair), met=pair in self.met)
        self.states, self.met = {}, set()

    def frozen(self) -> FrozenLikes:
        """Return what is remembered, in one spelling whatever the order of sets."""
        packed = list(self._full.items()) if self._full is not None else ()
        states = {pair: state for pair, state, _ in packed if state} | self.states
        met = self.met.union(pair for pair, _, is_met in packed if is_met)
        return FrozenLikes(sorted((*pair, *state) for pair, state in states.items()), sorted(met))


class _Packed:
    """The ids of a long generation, and those of the generation before.

    Whoever asks for an id has met it: it is in its generation from then on. `fresh` are the digests
    of those that its part brought.
    """

    __slots__ = ("before", "fresh", "here")

    def __init__(self, here: PackedIds, before: PackedIds) -> None:
        self.here: Final = here
        self.before: Final = before
        self.fresh = bytearray()

    def __contains__(self, key: object) -> bool:
        digest = digest_of(str(key))
        if self.here.meet(digest):
            return True
        self.fresh += digest
        return digest in self.before

    def turned(self, passed: int) -> "_Packed":
        """Return what is remembered when so many generations passed, none where a part ended."""
        kept = [*(PackedIds() for _ in range(min(passed, 2))), self.here, self.before]
        return _Packed(*kept[:2])


def _packed(ids: Iterable[str], before: Iterable[str]) -> _Packed:
    """Pack the ids of a generation that becomes a long one."""
    packed = _Packed(PackedIds(), PackedIds())
    packed.here.add(_digests(ids))
    packed.before.add(_digests(before))
    return packed


def _digests(ids: Iterable[str]) -> bytes:
    return b"".join(map(digest_of, ids))


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
        "filled",
        "generations",
        "part",
        "previous",
        "start",
    )

    def __init__(self, generation_records: int) -> None:
        self.generations = Generations.of(generation_records)
        self.start = 0  # first offset of the current generation
        self.part = 0  # first offset of its current part
        self.end = 0  # first offset behind that part; 0 before any record
        self.current: set[str] = set()  # of the current part
        # before it, in its generation and the one before
        self.previous: set[str] | _Packed = set()
        # of the current generation, the one before, ...
        self._likes = [Likes() for _ in range(_ALL)]
        self.filled: list[Part] | None = None
        """Parts that filled, for an owner who makes this a list and empties it."""

    def frozen(self) -> FrozenWindow:
        """Return what is remembered, in one spelling whatever the order of sets."""
        previous, digests = self.previous, (b"", b"")
        if isinstance(previous, _Packed):
            digests = (previous.here.digests(), previous.before.digests())
            previous = set()
        return FrozenWindow(
            self.start,
            self.generations.end(self.start) if self.end else 0,
            sorted(self.current),
            sorted(previous),
            [likes.frozen() for likes in self._likes],
            self.part,
            digests,
        )

    def thaw(self, window: FrozenWindow) -> None:
        """Remember what a frozen window remembers, and nothing else."""
        self.start, self.part = window.start, max(window.start, window.part)
        self.end = self.generations.part(self.part)[1] if window.end else 0
        self.current, self.previous = set(window.current), set(window.previous)
        if any(window.digests):
            self.previous = packed = _packed((), ())
            packed.here.add(window.digests[0])
            packed.before.add(window.digests[1])
        self._likes = [Likes() for _ in range(_ALL)]
        for likes, kept in zip(self._likes, window.likes, strict=False):
            likes.met.update(kept.met)
            for viewer, video, slice_id, after_unlike in kept.states:
                likes.states[viewer, video] = (slice_id, after_unlike)

    def turn(self, offset: int) -> None:
        """Make `offset`'s part the current one; offsets only rise."""
        generations = self.generations
        start = generations.start(offset)
        passed = generations.number(start) - generations.number(self.start) if self.end else _ALL
        if self.filled is not None and self.end:
            self.filled += [self._full(), *self._empty(offset)]
        if generations.in_parts:
            before = self.previous
            if isinstance(before, set):
                before = _packed(self.current, before)
            self.previous = before.turned(passed)
            self._likes[0].pack()
        else:
            self.previous = self.current if passed == 1 else set()
        self.current = set()
        kept = self._likes[: max(_ALL - passed, 0)]
        self._likes = [*(Likes() for _ in range(_ALL - len(kept))), *kept]
        self.start, (self.part, self.end) = start, generations.part(offset)

    def load(self, part: Part) -> None:
        """Remember a part as it was when it was full; those behind what is known, in their order.

        Where its generation is too old for a repeat of its ids to matter, they may be left out.
        """
        self.turn(part.start)
        if isinstance(self.previous, _Packed):
            here = self.previous.here
            here.reserve(self.generations.records)
            here.add(part.digests or _digests(part.ids))
        elif part.digests:
            raise ValueError(f"part {part.start}: digests of ids where none are kept")
        else:
            self.current.update(part.ids)
        likes = self._likes[0]
        likes.states.update(part.states)
        likes.met.update(part.met)

    def _full(self) -> Part:
        """Return the current part as it is when it ends."""
        likes, ids, digests = self._likes[0], self.current, b""
        if isinstance(self.previous, _Packed):
            ids, digests = set(), bytes(self.previous.fresh)
        return Part(self.part, self.end, ids, digests, likes.states, likes.met)

    def _empty(self, offset: int) -> Iterator[Part]:
        """Yield the parts between the current one and that of `offset`, so far as they matter."""
        generations = self.generations
        first = max(self.end, generations.back(offset, REPLAYED_GENERATIONS))
        while first < generations.part(offset)[0]:
            start, first = generations.part(first)
            yield Part(start, first)

    def lengthen(self, offset: int, records: int) -> None:
        """Give the generation that `offset` is in, and those behind it, so many records."""
        self.generations = self.generations.lengthened(offset, records)
        if self.end:
            self.end = self.generations.part(self.part)[1]

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
        here = likes.state(pair)
        if here is None:
            likes.states[pair] = (event.slice, False)
            return bool((before.state(pair) or _NEVER)[0])
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
            here = likes.state(pair)
            if here is None:
                if age:
                    return like
                continue
            slice_id, after_unlike = here
            if not slice_id or after_unlike:
                return slice_id or like
            like = slice_id
        return "" if self._likes[REPLAYED_GENERATIONS].is_met(pair) else like

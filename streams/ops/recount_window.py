"""What a recount remembers of the latest generations: ids, and what viewers did with their likes.

As the recount, of which it is a part, it shares nothing with the fold of how duplicates are told
but the digest of an id: what a long window kept of ids is no more.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Final

from streams.core.events import InteractionRecord, Like
from streams.core.packed import Pair, digest_of, digests_in
from streams.core.window import FrozenWindow
from streams.ops.recount_ids import MetIds

FIRSTS: Final = {
    "comment": "commenters",
    "share": "sharers",
    "report": "reporters",
    "order": "buyers",
}
KEPT_LIKES: Final = 4
"""Generations whose likes matter, the current one among them; of ids, two."""


class WindowRecount:
    """Ids and likes by generation; `spans` are where each length of one came into force."""

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._bounds: Final = [first for first, _ in spans]
        self._lengths: Final = [records for _, records in spans]
        self._ids: Final[defaultdict[int, MetIds]] = defaultdict(MetIds)
        self._likes: Final[defaultdict[int, dict[Pair, list[str]]]] = defaultdict(dict)
        self._any_like: Final[defaultdict[int, set[Pair]]] = defaultdict(set)
        self._now = -1  # generation of the latest interaction

    def lengthen(self, records: int, offset: int) -> None:
        """Give the generation of an offset, and those behind it, so many records."""
        if records > self._lengths[-1]:
            self._bounds.append(offset - (offset - self._bounds[-1]) % self._lengths[-1])
            self._lengths.append(records)

    def enter(self, offset: int) -> None:
        """Go to the generation of an interaction, and forget what no longer matters."""
        self._now = self._generation(offset)
        for past in [g for g in self._ids if g < self._now - 1]:
            del self._ids[past]
        for likes in (self._likes, self._any_like):
            for past in [g for g in likes if g <= self._now - KEPT_LIKES]:
                del likes[past]

    def met(self, key: str) -> bool:
        """Remember a key; tell whether it was met in this generation or the one before."""
        digest = digest_of(key)
        return self._ids[self._now].meet(digest) or digest in self._ids[self._now - 1]

    def note_like(self, event: Like) -> None:
        """Note that there was a like at all, repeated or not."""
        self._any_like[self._now].add((event.viewer, event.video))

    def counted_in(self, event: InteractionRecord) -> str:
        """Return the slice in which the event counts, "" if it counts nowhere."""
        kind = type(event).__name__.lower()
        if kind in {"follow", "hide"}:
            return "" if self.met(f"{kind} {event.viewer} {event.video}") else event.slice
        if kind not in {"like", "unlike"}:
            return event.slice
        pair = (event.viewer, event.video)
        liked = _is_liked(self._acts(pair))
        counted_in = self._like_in_force(pair) if liked else ""
        act = event.slice if kind == "like" else ""
        self._likes[self._now].setdefault(pair, []).append(act)
        if kind == "like":
            return "" if liked else event.slice
        return counted_in

    def is_first(self, event: InteractionRecord) -> str:
        """Return the counter of viewers that a comment, share, report or order raises, or ""."""
        kind = type(event).__name__.lower()
        counter = FIRSTS.get(kind, "")
        if counter and self.met(f"{kind} {event.viewer} {event.video}"):
            return ""
        return counter

    def agrees(self, window: FrozenWindow, is_here: Callable[[str], bool]) -> bool:
        """Tell whether a fold's window remembers the same, of likes that of videos that are here.

        A fold may have met likes of others: those that were repeated, wherever they belong.
        """
        ids = zip((window.current, window.previous), window.digests, strict=True)
        for age, (keys, digests) in enumerate(ids):
            if not self._ids[self._now - age].agrees(keys, digests):
                return False
        for age, likes in enumerate(window.likes):
            acts = self._likes.get(self._now - age, {})
            states = sorted((*pair, *_summed(did)) for pair, did in acts.items())
            any_like = sorted(self._any_like.get(self._now - age, ()))
            pairs, met = ([p for p in each if is_here(p[1])] for each in (any_like, likes.met))
            if (states, pairs) != (likes.states, met):
                return False
        return True

    def thaw(self, window: FrozenWindow) -> None:
        """Remember what a window remembers."""
        if not window.end:
            return
        self._now = self._generation(window.start)
        ids = zip((window.current, window.previous), window.digests, strict=True)
        for age, (keys, digests) in enumerate(ids):
            for digest in chain(map(digest_of, keys), digests_in(digests)):
                self._ids[self._now - age].meet(digest)
        for age, likes in enumerate(window.likes):
            for viewer, video, slice_id, after_unlike in likes.states:
                acts = [*([""] if after_unlike else []), *([slice_id] if slice_id else [])]
                self._likes[self._now - age][viewer, video] = acts
            self._any_like[self._now - age].update(likes.met)

    def _generation(self, offset: int) -> int:
        """Return which generation an offset is in, counted from the log's beginning."""
        whole = 0
        for at, bound in enumerate(self._bounds[1:]):
            if offset < bound:
                return whole + (offset - self._bounds[at]) // self._lengths[at]
            whole += (bound - self._bounds[at]) // self._lengths[at]
        return whole + (offset - self._bounds[-1]) // self._lengths[-1]

    def _acts(self, pair: Pair) -> list[str]:
        """Return what a viewer did with a video in a generation and the one before it, in order.

        The slice of a like, "" for an unlike; repeated ids are left out.
        """
        return [act for g in (self._now - 1, self._now) for act in self._likes[g].get(pair, [])]

    def _like_in_force(self, pair: Pair) -> str:
        """Where the latest like counted that no unlike took back, "" if that is not known.

        Act by act from two generations ago on. The first like of those counted too, if there was
        none at all in the generation before, or an unlike stands before it.
        """
        in_force = ""
        oldest = self._now - 2
        unknown = pair in self._any_like[oldest - 1]
        before: list[str] = []
        for g in (oldest, self._now - 1, self._now):
            here: list[str] = []
            for act in self._likes[g].get(pair, []):
                if not act:
                    in_force = ""
                elif not _is_liked(before + here):
                    in_force = "" if unknown and g == oldest and "" not in here else act
                here.append(act)
            before = here
        return in_force


def _is_liked(acts: Iterable[str]) -> bool:
    """Tell whether the last of these acts is a like."""
    last = ""
    for act in acts:
        last = act
    return bool(last)


def _summed(acts: list[str]) -> tuple[str, bool]:
    """Return the slice of the first like since the latest unlike, and whether there was one."""
    behind = acts[len(acts) - acts[::-1].index("") :] if "" in acts else acts
    return next(iter(behind), ""), "" in acts

"""Feed servers: they fill the slots of each slice from the best offers that have allowance left."""

from collections import deque
from typing import Final, NamedTuple, Protocol

import numpy as np

from streams.lab.simulator.arrays import Floats, Ints

SHARE_AT_A_TIME: Final = 10
"""One video takes at most one in so many of a slice's slots at a time."""
FLEET: Final = 1_000
LAG_TICKS: Final = 2
"""A tick is a second: counters lag 2 s, and a cache is up to a second old."""
UNLIMITED: Final = 1 << 40


class Question(NamedTuple):
    """What the feed asks in one tick: fill these slots."""

    tick: int
    slots: Ints  # of each slice
    room: Ints  # viewers of each pair who have not seen it, 0 where it may not be shown
    shown: Ints  # impressions of each pair so far

    @property
    def most(self) -> Ints:
        """Slots that one video may take in each slice."""
        return np.maximum(self.slots // SHARE_AT_A_TIME, 1)

    def less(self, counts: Ints) -> "Question":
        """Return what is still asked when so much of each pair is shown."""
        slots = self.slots - counts.sum(axis=1)
        return self._replace(slots=slots, room=self.room - counts, shown=self.shown + counts)


class Offer(NamedTuple):
    """What servers read: a score of each pair, and impressions allowed in all (0: not offered)."""

    scores: Floats
    allowance: Ints


class Servers(Protocol):
    """Turns offers into impressions."""

    def serve(self, offer: Offer, question: Question) -> Ints:
        """Return how many impressions each pair gets in this tick; no pair exceeds its room."""


class KnowingServers:
    """One server that knows every counter at once."""

    def serve(self, offer: Offer, question: Question) -> Ints:
        """Fill the slots; no pair exceeds its allowance."""
        left = np.maximum(offer.allowance - question.shown, 0)
        left = np.minimum(left, np.minimum(question.room, question.most[:, None]))
        return by_rank(offer.scores, left, question.slots)


class LaggingServers:
    """Many servers, each with a cache of its own and counters that lag: none knows of the others.

    Half of them filled their cache one tick earlier than the other half.
    """

    def __init__(self, servers: int = FLEET) -> None:
        self._servers = servers
        self._seen: deque[tuple[Floats, Ints]] = deque(maxlen=LAG_TICKS + 2)

    def serve(self, offer: Offer, question: Question) -> Ints:
        """Fill the slots as far as each server believes that there is allowance left."""
        self._seen.append((offer.scores, offer.allowance - question.shown))
        counts = np.zeros_like(question.room)
        for age, slots in ((0, question.slots // 2), (1, -(-question.slots // 2))):
            place = len(self._seen) - 1 - LAG_TICKS - age
            if place < 0:
                continue
            scores, left = self._seen[place]
            believed = np.maximum(left, 0) * (self._servers // 2)
            room = question.room - counts
            most = np.maximum(slots // SHARE_AT_A_TIME, 1)[:, None]
            counts += by_rank(scores, np.minimum(np.minimum(believed, room), most), slots)
        return counts


class LeasingServers:
    """Many servers that lease impressions: what others took is known, scores are 2 s old."""

    def __init__(self) -> None:
        self._offers: deque[Offer] = deque(maxlen=LAG_TICKS + 1)

    def serve(self, offer: Offer, question: Question) -> Ints:
        """Fill the slots; no pair exceeds the allowance that it had."""
        self._offers.append(offer)
        if len(self._offers) <= LAG_TICKS:
            return np.zeros_like(question.room)
        return KnowingServers().serve(self._offers[0], question)


def beyond(counts: Ints, offer: Offer, question: Question) -> int:
    """Return how many of these impressions lie beyond what the offer allows in all."""
    left = np.maximum(offer.allowance - question.shown, 0)
    return int(np.maximum(counts - left, 0).sum())


def by_rank(scores: Floats, wanted: Ints, slots: Ints) -> Ints:
    """Return what each pair gets when every slice is filled from the best score down.

    Equal scores go by the place of the video.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(wanted, order, 1)
    before = np.cumsum(ranked, axis=1) - ranked
    taken = np.minimum(np.maximum(slots[:, None] - before, 0), ranked)
    counts = np.zeros_like(wanted)
    np.put_along_axis(counts, order, taken, 1)
    return counts

"""A load for measurements: admitted videos and a realistic mix of feedback, ready to be sent.

Half impressions, 45 % views, the rest engagements; videos by a heavy tail (a tenth of them gets
two thirds of the feedback), as the daily shows of KuaiRand's videos have. A *crowded* one has few
videos, equally busy in every crowd that they may reach; an *even* one comes to each pair of a video
and a slice in turn; in a *hot* one a video has most of its partition's feedback.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from streams.core.events import Admit, Policy
from streams.core.partitioner import partition_of
from streams.core.units import MICROS, surface_of
from streams.runtime.ports import Outgoing
from streams.runtime.signing import Signer, control_record

Batch = tuple[int, list[Outgoing], int]  # partition, records, events in them
ENGAGEMENTS: Final = ("like", "like", "like", "comment", "share", "follow", "hide")


CROWDED_IMPRESSIONS: Final = 5_000
"""A video's impressions in a crowded load."""


_STRIDE: Final = 2_654_435_761
"""A prime: steps of it come to every pair before the first one again, far apart."""


class Shape(NamedTuple):
    """What feedback is about: so many videos, and whether every crowd sees each of them.

    With `pairs` events come to as many pairs of a video and a slice in turn; `hot` is the share of
    its partition's feedback that the last video gets.

    >>> Shape.crowded(1_000_000).videos
    100
    """

    videos: int
    everywhere: bool = False
    pairs: int = 0
    hot: float = 0.0

    @classmethod
    def crowded(cls, events: int) -> "Shape":
        """Return the shape of a load in which a video gets about `CROWDED_IMPRESSIONS`."""
        return cls(max(events // 2 // CROWDED_IMPRESSIONS, 1), everywhere=True)

    @classmethod
    def even(cls, pairs: int, policy: Policy) -> "Shape":
        """Return the shape of a load over so many pairs: all slices of each video."""
        return cls(-(-pairs // len(_everywhere(policy))), everywhere=True, pairs=pairs)


def _public(policy: Policy) -> list[str]:
    return [name for name in sorted(policy.slices) if surface_of(name) == "discover"]


def _everywhere(policy: Policy) -> list[str]:
    return [*_public(policy), "following:fans"]


class Load:
    """Makes batches of records for one topic; the same seed gives the same events.

    `array` events share a record (1: one event a record).
    """

    def __init__(
        self, topic: str, partitions: int, *, shape: Shape, policy: Policy, seed: int = 1
    ) -> None:
        self._topic = topic
        self._partitions = partitions
        self._random = random.Random(seed)  # noqa: S311 - a repeatable load, not a secret
        self._policy = policy
        names = [f"video{number:07d}" for number in range(shape.videos)]
        self._videos = [(name, partition_of(name.encode(), partitions)) for name in names]
        self._shape = shape
        self._slices = _everywhere(policy) if shape.everywhere else _public(policy)[:3]
        self._fits = {"following:fans": MICROS} if shape.everywhere else {}
        self._made = 0

    @property
    def videos(self) -> int:
        """Return how many videos are admitted."""
        return len(self._videos)

    def admissions(self, signer: Signer, now_ms: int) -> Iterator[Batch]:
        """Yield the policy and an admission of every video, signed."""
        by_partition: defaultdict[int, list[Outgoing]] = defaultdict(list)
        for partition in range(self._partitions):
            by_partition[partition].append(
                control_record(self._topic, self._policy, signer, partition)
            )
        for video, partition in self._videos:
            record = Admit(
                id=f"admit-{video}",
                video=video,
                ts=now_ms,
                seq=1,
                commercial=False,
                limited=False,
                fits=self._fits,
            )
            by_partition[partition].append(control_record(self._topic, record, signer, partition))
        for partition, records in sorted(by_partition.items()):
            yield partition, records, len(records)

    def feedback(self, events: int, array: int, now_ms: int, batch: int = 2_000) -> Iterator[Batch]:
        """Yield `events` interactions in batches of one partition each."""
        queues: defaultdict[int, list[bytes]] = defaultdict(list)
        for _ in range(events):
            partition, event = self._event(now_ms)
            queue = queues[partition]
            queue.append(event)
            if len(queue) >= batch:
                yield self._pack(partition, queue, array, now_ms)
                queues[partition] = []
        for partition, queue in sorted(queues.items()):
            if queue:
                yield self._pack(partition, queue, array, now_ms)

    def _pack(self, partition: int, events: list[bytes], array: int, now_ms: int) -> Batch:
        if array == 1:
            values = events
        else:
            runs = (events[at : at + array] for at in range(0, len(events), array))
            values = [b"[" + b",".join(run) + b"]" for run in runs]
        key = b"collector"
        records = [Outgoing(self._topic, value, key, (), partition, now_ms) for value in values]
        return partition, records, len(events)

    def _pair(self) -> tuple[tuple[str, int], str]:
        """Return a video with its partition, and a slice."""
        chance = self._random.random
        if self._shape.pairs:
            place, slice_number = divmod(
                self._made * _STRIDE % self._shape.pairs, len(self._slices)
            )
            return self._videos[place], self._slices[slice_number]
        if self._shape.everywhere:
            video = self._videos[int(len(self._videos) * chance())]
            return video, self._slices[int(len(self._slices) * chance())]
        video = self._videos[int(len(self._videos) * chance() ** 6)]
        if self._shape.hot and video[1] == self._videos[-1][1] and chance() < self._shape.hot:
            video = self._videos[-1]
        return video, self._slices[0] if chance() < 0.8 else self._slices[self._made % 3]

    def _event(self, now_ms: int) -> tuple[int, bytes]:
        chance = self._random.random
        self._made += 1
        (video, partition), slice_id = self._pair()
        kind = chance()
        name = "impression" if kind < 0.5 else "view"
        extra = ""
        if kind >= 0.95:
            name = ENGAGEMENTS[self._made % len(ENGAGEMENTS)]
        elif name == "view":
            watched = int(20_000 * min(chance() * 1.3, 1.0))
            extra = f',"watch_ms":{watched},"duration_ms":20000'
        return partition, (
            f'{{"type":"{name}","id":"e{self._made:012d}","video":"{video}",'
            f'"viewer":"u{int(chance() * 1e7):07d}","slice":"{slice_id}","ts":{now_ms}{extra}}}'
        ).encode()

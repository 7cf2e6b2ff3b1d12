"""What a creator is told of their videos: facts, beside what is usual where it was shown.

Never a viewer, a crowd of fewer than ten, a price, or what another creator has: what is usual in a
crowd is told only where it is made of several others.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from streams.core.counters import ACTIVE, HELD, STOPPED, Slice, VideoState
from streams.core.stages import VideoStage
from streams.core.units import MICROS, surface_of
from streams.errors import Halt
from streams.ops.video import outlook_in_force
from streams.runtime.creators import stored_videos
from streams.runtime.ports import Store

CROWD_LEAST: Final = 10
"""Different viewers, at least, of what is told of a crowd."""
OTHERS_LEAST: Final = 5
"""Other creators, at least, whose videos make what is usual in a crowd."""

Standing = Literal[
    "shown", "back", "less liked", "all reached", "spent", "paused", "ended", "over", "closed"
]
"""How a video stands in a crowd: shown there, or again; or not, and why."""
_STOPS: Final[tuple[Standing, ...]] = ("ended", "less liked", "all reached", "spent")
"""By the cause of a stop, as in `core.counters.STOP_CAUSES`."""
SEEN: Final[Mapping[VideoStage, str]] = {
    "public": "public",
    "limited": "followers only",
    "held_public": "paused by moderation",
    "held_limited": "paused by moderation",
    "removed": "removed by moderation",
    "ended": "over",
}


class CrowdSums:
    """What views in one crowd are like, of several videos or of one."""

    __slots__ = ("creators", "hides", "presses", "views", "watched")

    def __init__(self) -> None:
        self.creators: Final[set[str]] = set()
        self.views = self.watched = self.presses = self.hides = 0

    def add(self, creator: str, row: Slice) -> None:
        """Add what was counted of a video there."""
        if len(self.creators) < OTHERS_LEAST:
            self.creators.add(creator)
        self.views += row.views
        self.watched += row.ratio_sum
        self.presses += row.likes + row.comments + row.shares + row.follows
        self.hides += row.hides

    def taste(self) -> "ViewsLike | None":
        """Return what a view is like in the mean, None without any."""
        if not self.views:
            return None
        presses, hides = self.presses * MICROS, self.hides * MICROS
        return ViewsLike(self.watched // self.views, presses // self.views, hides // self.views)


@dataclass(frozen=True, slots=True)
class ViewsLike:
    """Micro-units of a view: how much was watched, and how many pressed, or wanted it not."""

    watched: int
    pressed: int
    unwanted: int


@dataclass(frozen=True, slots=True)
class CrowdFacts:
    """One crowd that a video was shown to; `usual` is that of others there, where it is told."""

    crowd: str
    standing: Standing
    taste: ViewsLike
    usual: ViewsLike | None


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """One video; `fans` are times that it was shown to followers, `fans_usual` of their others.

    `guaranteed` public impressions were promised until `until` (ms; 0 of a live room that is over),
    `shown` of them were given.
    """

    video: str
    approved: int  # ms
    seen: str
    guaranteed: int
    shown: int
    until: int
    crowds: tuple[CrowdFacts, ...]
    hidden: int  # crowds too small to tell of
    fans: int | None  # None: fewer than ten
    fans_usual: int | None
    lowered: bool  # feeds rank it less on public surfaces: its creator is above the ceiling


@dataclass
class _Known:
    """What a walk over all rows brings together."""

    own: dict[str, VideoState] = field(default_factory=dict)
    until: dict[str, int] = field(default_factory=dict)
    usual: defaultdict[str, CrowdSums] = field(default_factory=lambda: defaultdict(CrowdSums))


async def creator_facts(
    store: Store, namespace: str, partitions: int, creator: str
) -> list[VideoFacts]:
    """Return what a creator is told, the latest approved video first; `Halt` if there is none."""
    known = _Known()
    guarantee_ms = await _guarantee_ms(store, namespace, partitions)
    async for videos in stored_videos(store, namespace, partitions):
        for video, state in videos.items():
            if state.row.creator == creator:
                known.own[video] = state
                known.until[video] = state.row.owed_since + guarantee_ms
            elif state.row.creator:
                for name, row in state.slices.items():
                    known.usual[name].add(state.row.creator, row)
    if not known.own:
        raise Halt(
            f"no video of creator {creator} was approved, or no worker has counted it yet "
            "(`streams review list`, `streams lag list`)"
        )
    latest = sorted(known.own, key=lambda video: (-known.own[video].row.admitted, video))
    return [_facts(video, known) for video in latest]


async def _guarantee_ms(store: Store, namespace: str, partitions: int) -> int:
    """Return the time that a guarantee has, by the first partition that knows a policy."""
    for partition in range(partitions):
        outlook = await outlook_in_force(store, namespace, partition, partitions)
        if outlook is not None:
            return outlook.policy.guarantee_ms
    return 0


def _facts(video: str, known: _Known) -> VideoFacts:
    state = known.own[video]
    row, crowds = state.row, []
    hidden = shown = 0
    for name, each in sorted(state.slices.items(), key=lambda pair: (-pair[1].views, pair[0])):
        if surface_of(name) == "following":
            continue
        shown += each.impressions
        taste = _taste_of(each)
        if each.viewers.bit_count() < CROWD_LEAST or taste is None:
            hidden += each.impressions > 0
            continue
        crowds.append(CrowdFacts(name, _standing(state, each), taste, _usual(known.usual[name])))
    fans, usual = _fans(state), _fans_usual(video, known)
    return VideoFacts(
        video,
        row.admitted,
        ("a live room, " if row.format == "live" else "") + SEEN.get(row.stage, row.stage),
        row.guarantee,
        min(shown, row.guarantee),
        0 if row.stage == "ended" else known.until[video],
        tuple(crowds),
        hidden,
        fans,
        usual,
        row.handicap > 0,
    )


def _taste_of(row: Slice) -> ViewsLike | None:
    own = CrowdSums()
    own.add("", row)
    return own.taste()


def _usual(usual: CrowdSums) -> ViewsLike | None:
    return usual.taste() if len(usual.creators) >= OTHERS_LEAST else None


def _standing(state: VideoState, row: Slice) -> Standing:
    if state.row.stage in {"held_public", "held_limited"} or row.status == HELD:
        return "paused"
    if state.row.stage in {"removed", "limited"}:
        return "ended"
    if state.row.stage == "ended":
        return "over"
    if row.status == STOPPED:
        return _STOPS[row.cause]
    if row.status != ACTIVE:
        return "closed"
    return "back" if row.returns else "shown"


def _fans(state: VideoState) -> int | None:
    """Return how often a video was shown to followers, None if there were few of them."""
    rows = [row for name, row in state.slices.items() if surface_of(name) == "following"]
    if sum(row.viewers.bit_count() for row in rows) < CROWD_LEAST:
        return None
    return sum(row.impressions for row in rows)


def _fans_usual(video: str, known: _Known) -> int | None:
    """Return what the creator's other videos were shown to followers in the mean."""
    others = [_fans(state) for name, state in known.own.items() if name != video]
    told = [count for count in others if count is not None]
    return sum(told) // len(told) if told else None

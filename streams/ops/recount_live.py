"""Recounts what the evidence of live rooms faded to, as simply as it can be said.

As the recount, of which it is a part, it shares nothing with the fold of how evidence fades.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from streams.core.counters import VideoState
from streams.core.events import Admit, InteractionRecord, View

FADED: Final = (
    *("impressions", "views", "completes", "likes", "follows", "hides", "ratio_sum", "ratio_sq"),
    *("commenters", "sharers", "reporters", "buyers"),
)
"""What fades of a slice, in the order in which its row has it."""
_Pair = tuple[str, str]


class LiveRecount:
    """The live rooms of one partition, and what weighs no more of each counter of theirs."""

    def __init__(self) -> None:
        self._admitted: Final[dict[str, bool]] = {}  # whether it is a room
        self._since: Final[dict[str, int]] = {}  # minutes; the last half-life that began
        self._gone: Final[defaultdict[_Pair, dict[str, int]]] = defaultdict(dict)

    def admit(self, record: Admit) -> None:
        """Note what a video is: what its first admission says, if nothing ended it before."""
        self._admitted.setdefault(record.video, record.format == "live")

    def take_down(self, video: str) -> None:
        """Note that a video that was not admitted by now never will be."""
        self._admitted.setdefault(video, False)

    def resume(self, video: str, state: VideoState) -> None:
        """Go on from what was stored of a video whose first admission, or end, is told."""
        self._admitted[video] = bool(state.row.admitted) and state.row.format == "live"
        if state.row.halved:
            self._since[video] = 5 * state.row.halved
        for slice_id, row in state.slices.items():
            if row.faded is not None:
                self._gone[video, slice_id] = dict(zip(FADED, row.faded, strict=True))

    def is_room(self, video: str) -> bool:
        """Tell whether a video is a live room."""
        return self._admitted.get(video, False)

    def meet(
        self,
        event: InteractionRecord,
        minute: int,
        slices: Collection[str],
        counts: Mapping[_Pair, Mapping[str, int]],
    ) -> None:
        """Let a room fade before an event in it counts; `counts` are of before, in its `slices`."""
        if not self.is_room(event.video):
            return
        begun = minute - minute % 5
        before = self._since.get(event.video, 0)
        self._since[event.video] = max(begun, before)
        for _ in range(min(max(begun - before, 0) // 5, 200) if before else 0):
            for slice_id in slices:
                pair = event.video, slice_id
                self._halve(pair, counts[pair])

    def faded(self, pair: _Pair) -> dict[str, int]:
        """Return what weighs no more of a slice, as `spelled`."""
        gone = self._gone.get(pair)
        return {} if gone is None else spelled([gone[name] for name in FADED])

    def _halve(self, pair: _Pair, values: Mapping[str, int]) -> None:
        gone = self._gone[pair]
        for name in FADED:
            left = max(64 * values[name] - gone.get(name, 0), 0)
            gone[name] = 64 * values[name] - left // 2


def spelled(gone: Sequence[int]) -> dict[str, int]:
    """Return what weighs no more of a slice by names to compare, in 64ths.

    >>> spelled([0, 96])
    {'faded views': 96}
    """
    return {f"faded {name}": value for name, value in zip(FADED, gone, strict=False) if value}


def share_of_view(event: View, *, in_room: bool) -> tuple[int, bool]:
    """Return what of a view was watched, in millionths, and whether it is complete."""
    whole = 30_000 if in_room else event.duration_ms
    share = min(event.watch_ms, whole) * 1_000_000 // whole
    return share, event.watch_ms * 100 >= whole * 95

"""The life cycle of a video and of a (video, slice), as tables.

Theory of operation: moderation moves a video, decisions move its slices. A move that the table
does not hold is illegal: it raises `IllegalMove` and changes nothing. Moves that race with a
takedown, or the end of a live room, by nature (late tags, a hold, a second takedown) stand in the
table and lead nowhere.

Video:   unknown --admit--> public or limited; both --hold--> held_*, --release--> back;
         every state --takedown--> removed, for good; every other one --end--> ended, a live room
         that is over, for good too but for a takedown.
Slice:   idle --start--> active --stop--> stopped; stopped --start--> active, where evidence stopped
         it and speaks for it now; active --hold--> held --release--> active;
         active or held --withdraw--> idle (the audience shrank: it may be started again).
"""

from typing import Final, Literal

VideoStage = Literal[
    "unknown", "public", "limited", "held_public", "held_limited", "removed", "ended"
]
VideoMove = Literal[
    "admit", "admit_limited", "widen", "limit", "hold", "release", "takedown", "end"
]
SliceStage = Literal["idle", "active", "held", "stopped"]
SliceMove = Literal["start", "widen", "keep", "stop", "hold", "release", "withdraw"]

VIDEO_MOVES: Final[dict[tuple[VideoStage, VideoMove], VideoStage]] = {
    ("unknown", "admit"): "public",
    ("unknown", "admit_limited"): "limited",
    ("unknown", "takedown"): "removed",
    ("unknown", "end"): "ended",
    ("public", "admit"): "public",  # a repeat after the control plane's crash
    ("public", "admit_limited"): "public",
    ("public", "widen"): "public",
    ("public", "limit"): "limited",
    ("public", "hold"): "held_public",
    ("public", "release"): "public",
    ("public", "takedown"): "removed",
    ("public", "end"): "ended",
    ("limited", "admit"): "limited",
    ("limited", "admit_limited"): "limited",
    ("limited", "widen"): "public",
    ("limited", "limit"): "limited",
    ("limited", "hold"): "held_limited",
    ("limited", "release"): "limited",
    ("limited", "takedown"): "removed",
    ("limited", "end"): "ended",
    ("held_public", "admit"): "held_public",
    ("held_public", "admit_limited"): "held_public",
    ("held_public", "widen"): "held_public",
    ("held_public", "limit"): "held_limited",
    ("held_public", "hold"): "held_public",
    ("held_public", "release"): "public",
    ("held_public", "takedown"): "removed",
    ("held_public", "end"): "ended",
    ("held_limited", "admit"): "held_limited",
    ("held_limited", "admit_limited"): "held_limited",
    ("held_limited", "widen"): "held_public",
    ("held_limited", "limit"): "held_limited",
    ("held_limited", "hold"): "held_limited",
    ("held_limited", "release"): "limited",
    ("held_limited", "takedown"): "removed",
    ("held_limited", "end"): "ended",
    ("removed", "admit"): "removed",
    ("removed", "admit_limited"): "removed",
    ("removed", "widen"): "removed",
    ("removed", "limit"): "removed",
    ("removed", "hold"): "removed",
    ("removed", "release"): "removed",
    ("removed", "takedown"): "removed",
    ("removed", "end"): "removed",
    ("ended", "admit"): "ended",
    ("ended", "admit_limited"): "ended",
    ("ended", "widen"): "ended",
    ("ended", "limit"): "ended",
    ("ended", "hold"): "ended",
    ("ended", "release"): "ended",
    ("ended", "takedown"): "removed",
    ("ended", "end"): "ended",
}
SLICE_MOVES: Final[dict[tuple[SliceStage, SliceMove], SliceStage]] = {
    ("idle", "start"): "active",
    ("active", "widen"): "active",
    ("active", "keep"): "active",
    ("active", "stop"): "stopped",
    ("active", "hold"): "held",
    ("active", "withdraw"): "idle",
    ("stopped", "start"): "active",  # a second chance
    ("held", "release"): "active",
    ("held", "stop"): "stopped",
    ("held", "withdraw"): "idle",
}


class IllegalMove(ValueError):
    """The table holds no such move; nothing was changed."""


def move_video(stage: VideoStage, move: VideoMove) -> VideoStage:
    """Return the video's next stage; `IllegalMove` if there is none.

    >>> move_video("unknown", "admit"), move_video("removed", "release")
    ('public', 'removed')
    """
    try:
        return VIDEO_MOVES[stage, move]
    except KeyError:
        raise IllegalMove(f"{move} of a video that is {stage}") from None


def move_slice(stage: SliceStage, move: SliceMove) -> SliceStage:
    """Return the slice's next stage; `IllegalMove` if there is none.

    >>> move_slice("active", "stop")
    'stopped'
    """
    try:
        return SLICE_MOVES[stage, move]
    except KeyError:
        raise IllegalMove(f"{move} of a slice that is {stage}") from None

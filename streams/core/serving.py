"""What feeds are told of a video: its score and what may be shown, slice by slice."""

from typing import NamedTuple


class Entry(NamedTuple):
    """What a worker says of one (video, slice).

    `offset` is that of the record up to which its partition was folded. `due` impressions of the
    guarantee are owed to the video here until `deadline` (ms since 1970); 0 if none are.
    """

    video: str
    offset: int
    score: int | None  # the posterior's index, micro-units, no price taken off; None: not shown
    allowance: int = 0  # impressions granted so far
    impressions: int = 0  # counted so far
    band: int = 0  # fan band of the creator, 0..5
    commercial: bool = False
    deadline: int = 0
    due: int = 0

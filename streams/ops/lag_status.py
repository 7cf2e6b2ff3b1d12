"""What a consumer's lag means: the rules of Burrow's evaluator over a window of samples.

Positions are asked for and not taken from the commits as they come, so a consumer that commits the
same offset again looks like one that commits nothing. What tells a stalled from a stopped one here
is whether a member of the group owns the partition.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple, get_args

Status = Literal["HALTED", "STOP", "REWIND", "STALL", "WARN", "UNKNOWN", "OK"]
"""How a group does in a partition, the worst first."""

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
BAD: Final[tuple[Status, ...]] = ("HALTED", "STOP", "REWIND", "STALL")
"""Those in which nothing gets better by itself."""
WINDOW: Final = 10
"""Samples that are judged together; below half as many, nothing is known of what lags."""


class Sample(NamedTuple):
    """A group's place in a partition at one moment; `position` is -1 where it committed none."""

    at_ms: int
    position: int
    lag: int
    owned: bool


def evaluate(window: Sequence[Sample], *, halted: bool = False) -> Status:
    """Return the status after a window of samples, the newest one last.

    - HALTED: the worker says so.
    - OK: there is no lag now, or there was none at some moment of the window. So the first records
      after a quiet hour are no alarm.
    - UNKNOWN: too few samples.
    - REWIND: the position went back.
    - STOP, STALL: it stands still, and no member owns the partition, or one does.
    - WARN: it moves on, and yet the lag never became less.

    >>> falling = [Sample(at, at, 100 - at, True) for at in range(10)]
    >>> evaluate(falling), evaluate(falling[:4]), evaluate(falling[:1] * 10)
    ('OK', 'UNKNOWN', 'STALL')
    """
    if halted:
        return "HALTED"
    if window and not window[-1].lag:
        return "OK"
    if len(window) < WINDOW // 2:
        return "UNKNOWN"
    if not all(sample.lag for sample in window):
        return "OK"
    steps = list(pairwise(window))
    if any(later.position < earlier.position for earlier, later in steps):
        return "REWIND"
    if window[-1].position == window[0].position:
        return "STALL" if window[-1].owned else "STOP"
    if all(later.lag >= earlier.lag for earlier, later in steps):
        return "WARN"
    return "OK"


def worst(statuses: Sequence[Status]) -> Status:
    """Return the worst of these, OK of none.

    >>> worst(["OK", "STALL", "WARN"]), worst([])
    ('STALL', 'OK')
    """
    return min(statuses, key=STATUSES.index, default="OK")


def change_per_second(window: Sequence[Sample]) -> float | None:
    """Return by how many records a second the lag grows; None of fewer than two moments.

    >>> change_per_second([Sample(0, 0, 50, True), Sample(10_000, 100, 30, True)])
    -2.0
    """
    if len(window) < 2 or window[-1].at_ms == window[0].at_ms:
        return None
    return (window[-1].lag - window[0].lag) * 1000 / (window[-1].at_ms - window[0].at_ms)


def catchup_seconds(lag: int, change: float | None) -> float | None:
    """Return when the lag is gone if it goes on like this; None if it does not become less.

    >>> catchup_seconds(30, -2.0), catchup_seconds(0, None), catchup_seconds(30, 0.0)
    (15.0, 0.0, None)
    """
    if not lag:
        return 0.0
    return None if change is None or change >= 0 else lag / -change

"""The guarantee's share of a slice's slots: what newcomers are owed, over the slots until then."""

from typing import Final, NamedTuple

from streams.control.shares.rules import DUE_MOST
from streams.runtime.leases import Newcomers

AHEAD: Final = 1_200_000
"""So many times what is owed, in millionths: slots differ from their forecast."""
MINUTE_MS: Final = 60_000


class DueShare(NamedTuple):
    """A share of the slots in millionths, and whether more would be needed than may be."""

    share: int
    is_short: bool


def due_share(
    newcomers: Newcomers, slots_a_minute: float, now_ms: int, horizon_ms: int
) -> DueShare:
    """Return the share that serves newcomers by their deadlines, the earliest first.

    What is owed up to a deadline needs so many slots a minute until then; the deadline that needs
    most decides. What chance drew has no deadline (0) and comes before them, within `horizon_ms`.
    Newcomers that are counted but not told of are taken as owed as much as the others, within
    `horizon_ms` too.

    >>> hour = 3_600_000
    >>> due_share(Newcomers(1, [(hour, 60)]), 100.0, now_ms=0, horizon_ms=24 * hour)
    DueShare(share=12000, is_short=False)
    >>> due_share(Newcomers(1, [(hour, 600)]), 100.0, now_ms=0, horizon_ms=24 * hour)
    DueShare(share=50000, is_short=True)
    """
    owed = sum(due for deadline, due in newcomers.dues if not deadline)
    most = owed * MINUTE_MS / max(horizon_ms, MINUTE_MS)
    for deadline, due in sorted(each for each in newcomers.dues if each[0] > now_ms):
        owed += due
        most = max(most, owed * MINUTE_MS / max(deadline - now_ms, MINUTE_MS))
    if newcomers.dues and newcomers.pairs > len(newcomers.dues):
        whole = owed * newcomers.pairs / len(newcomers.dues)
        most = max(most, whole * MINUTE_MS / max(horizon_ms, MINUTE_MS))
    if not most:
        return DueShare(0, is_short=False)
    share = round(AHEAD * most / max(slots_a_minute, 1e-9))
    return DueShare(min(share, DUE_MOST), share > DUE_MOST)

"""The port `LogProbe`: a look at the ends of many partitions at once, for lag."""

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from streams.runtime.ports import Offsets, Place


class Ends(NamedTuple):
    """Bounds of one partition's log.

    `stable` is where readers of committed records wait: the first offset of an open transaction,
    or `end`, the next offset to be written. `start` is the first offset still there.
    """

    start: int
    stable: int
    end: int


class LogProbe(Protocol):
    """Looks at many partitions at once, as no member of a group; a thousand cost a second."""

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers."""

    async def stop(self) -> None:
        """Disconnect, within a few seconds. Idempotent."""

    async def ends(self, places: Collection[Place]) -> Mapping[Place, Ends]:
        """Return the bounds of the partitions that answer within a few seconds.

        One without a leader, or that does not exist, is left out and costs the others nothing.
        """

    async def first_times(
        self, spans: Mapping[Place, Offsets], *, committed: bool = True
    ) -> Mapping[Place, int | None]:
        """Return the timestamp of the first record in each span of offsets.

        None for a span without any: markers of transactions and aborted records are none. Those
        of open transactions count where `committed` is False. What cannot be read within a few
        seconds is left out.
        """

"""The port `ServingIndex` in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streams.core.receipts import Receipt
from streams.runtime.ports import (
    Candidate,
)


@dataclass(frozen=True, slots=True)
class _Grant:
    """Latest decision applied for one (video, slice); `index` is None after a stop."""

    n: int
    allowance: int
    index: int | None


class MemoryServingIndex:
    """The port `ServingIndex`."""

    def __init__(self) -> None:
        self._slices: Final[dict[str, dict[str, _Grant]]] = {}

    async def apply(self, receipts: Sequence[Receipt]) -> int:
        """Apply receipts in order; return how many were new."""
        new = 0
        for receipt in receipts:
            grants = self._slices.setdefault(receipt.slice, {})
            last = grants.get(receipt.video)
            if last is None or receipt.n > last.n:
                stop = receipt.action == "stop"
                index = None if stop else receipt.index
                grants[receipt.video] = _Grant(receipt.n, receipt.allowance, index)
                new += 1
        return new

    async def top(self, slice_id: str, count: int) -> Sequence[Candidate]:
        """Return the `count` best candidates of a slice; equal ranks by id, backwards."""
        ranked = [
            Candidate(video, grant.index, grant.allowance)
            for video, grant in self._slices.get(slice_id, {}).items()
            if grant.index is not None
        ]
        ranked.sort(key=lambda candidate: (candidate.index, candidate.video), reverse=True)
        return ranked[: max(count, 0)]

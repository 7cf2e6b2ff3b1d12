"""Whose counters are stored: read whosever they are, and given another name where they stay."""

from typing import NamedTuple, Protocol

from streams.errors import Halt
from streams.runtime.ports import Store, Stored


class Labelled(NamedTuple):
    """What is stored of a partition, and the namespace that it is stored under."""

    namespace: str
    stored: Stored


class LabelStore(Store, Protocol):
    """A store whose counters can be taken over."""

    async def labelled(self, partition: int) -> Labelled | None:
        """Return what is stored of a partition, whosever counters they are; None for nothing.

        `Halt` and `Retry` as `meta` has them.
        """

    async def relabel(self, partition: int, before: Labelled, after: Labelled) -> bool:
        """Put namespace and meta of `after` in the place of those of `before`; rows stay.

        Whoever still flushes under the old namespace is refused from then on. False, and nothing
        done, unless namespace, watermark and digest are those of `before`. May be repeated.
        """


async def take_over(
    store: LabelStore, partition: int, before: Labelled, after: Labelled, workers: str
) -> None:
    """Relabel a partition; `Halt` if it was written meanwhile, by one of these `workers`."""
    if not await store.relabel(partition, before, after):
        raise Halt(
            f"partition {partition} was written meanwhile: stop {workers}, then run the same "
            "command again",
            code="busy",
            partition=partition,
        )

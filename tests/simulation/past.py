"""What an operator keeps of a log in snapshots, and how much of it nobody asks for then."""

from collections.abc import Callable, Iterable

from kit.keys import SIGNER
from simulation.processes import settings

from streams.core.generations import read_generations
from streams.core.state import Meta
from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import StreamsError
from streams.ops.snapshotting import Snapshots, Snapshotter
from streams.ops.verify import CountedLog
from streams.runtime.memory.store import StoredPartition


async def snapshots_of(log: CountedLog, now_ms: Callable[[], int]) -> Snapshots | None:
    """Take the next snapshots; None where it takes an operator first, or a broker's answer."""
    assert log.tools.snapshots is not None
    try:
        return await Snapshotter(log, log.tools.snapshots, SIGNER, now_ms).take()
    except StreamsError:
        return None


def needed_from(log: CountedLog, partition: int, stored: Iterable[StoredPartition | None]) -> int:
    """Return the first offset that is asked for by whoever goes on from the newest snapshot.

    Or from what is `stored`, now or again one day. Without a snapshot that is the log's beginning.
    """
    assert log.tools.snapshots is not None
    newest = next(log.tools.snapshots.good(partition, 1 << 40, []), None)
    if newest is None:
        return 0
    known = [newest.point, *(each for each in stored if each is not None)]
    return min(_read_from(each.watermark, each.meta) for each in known)


def _read_from(watermark: int, meta: Meta) -> int:
    spans = read_generations(meta.generations, settings().generation_records)
    return spans.back(max(watermark, 0) + 1, REPLAYED_GENERATIONS)

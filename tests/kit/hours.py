"""An hour's window in one partition, for real: `PYTHONPATH=.:tests python -m kit.hours 32400000`.

So many events, each with an id of its own, go through the window as the fold takes them, and its
full parts into a store; then another owner takes over. Tells bytes, and seconds of a core.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final

from streams.core.events import View
from streams.core.state import PartitionState
from streams.runtime.memory.store import MemoryStore
from streams.runtime.window_parts import KeptParts, PartKeeper, load_window

HOUR: Final = 32_400_000
"""9,000 events a second."""
NAMESPACE: Final = "hour"
REPEATED: Final = 100_000


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


def view(number: int) -> View:
    """Return an event with an id like those of producers."""
    return View(f"e{number:012d}", "v1", f"u{number % 999}", "discover:cars", 1, 9_000, 15_000)


def is_new(state: PartitionState, number: int, offset: int) -> bool:
    """Let the window of a state meet an event."""
    return not state.window.repeats(view(number), offset)


async def fill(state: PartitionState, store: MemoryStore, ids: int) -> None:
    """Let a window meet so many ids, and its parts be stored as they fill."""
    keeper = PartKeeper(store, state, NAMESPACE, KeptParts())
    for number in range(ids + 1):  # the last one begins the next generation
        assert is_new(state, number, number)
        if state.window.filled:
            await keeper.keep(-1, "0" * 32)


async def measure(ids: int) -> dict[str, float]:
    """Return what a generation of so many ids costs its owner, the store and who takes over."""
    store = MemoryStore()
    first, second = (PartitionState(0, 1, ids, telling=False) for _ in range(2))
    before, began = resident(), time.process_time()
    await fill(first, store, ids)
    filled_s = time.process_time() - began
    stored = sum(len(part.entry) + len(part.ids) for part in store.partitions[0].parts.values())
    held = resident() - before - stored
    began = time.process_time()
    loaded = await load_window(store, second, NAMESPACE, ids, 0)
    loaded_s = time.process_time() - began
    assert loaded.position == ids
    for state in (first, second):
        repeats = [is_new(state, number, ids + 1) for number in range(0, ids, ids // REPEATED)]
        assert not any(repeats)
        assert is_new(state, ids + 1, ids + 1)
    return {
        "ids": ids,
        "bytes_an_id": round(held / ids, 1),
        "stored_bytes_an_id": round(stored / ids, 1),
        "fill_micros_an_id": round(filled_s / ids * 1e6, 2),
        "takeover_cpu_s": round(loaded_s, 1),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(measure(int(sys.argv[1])))) + "\n")

"""How long tests wait for what must come.

A wait ends as soon as that has come, so a slow machine makes a test longer and never red; only a
test that fails takes so long.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Final

PATIENCE_S: Final = 120.0


def nothing_more() -> str:
    """Say what there is to say of a condition that its line in the traceback does not tell."""
    return "it did not come to hold"


async def until(
    holds: Callable[[], object | Awaitable[object]],
    why_not: Callable[[], str] = nothing_more,
    *,
    every_s: float = 0.02,
) -> None:
    """Return as soon as `holds()` does; fail with what `why_not()` says when patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while not await _answer(holds()):
        assert time.monotonic() < deadline, why_not()
        await asyncio.sleep(every_s)


async def _answer(told: object | Awaitable[object]) -> object:
    return await told if inspect.isawaitable(told) else told


def wait_until(
    holds: Callable[[], object], why_not: str = nothing_more(), patience_s: float = PATIENCE_S
) -> None:
    """Return as soon as `holds()` does, where nothing else is to go on meanwhile."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, why_not
        time.sleep(0.02)

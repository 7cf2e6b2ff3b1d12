"""Tasks that run until they are cancelled, and how they are made to end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

AGAIN_S: Final = 1.0
"""Whoever has not ended by then is cancelled again."""


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Have work done until the end of the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end(task)


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and return when all have ended, however.

    What a task awaits may swallow a cancellation that comes at once with an answer, as
    `asyncio.wait_for` of Python 3.11 does: a loop then goes on as if nobody had said anything.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=AGAIN_S)
    for task in tasks:
        heard(task)


def heard(task: "asyncio.Task[Any]") -> None:
    """Leave what a task ended with to whoever asks; nobody is warned when nobody does."""
    if not task.cancelled():
        task.exception()

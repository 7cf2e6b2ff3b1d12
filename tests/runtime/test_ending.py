"""Tasks end, also those that swallow a cancellation."""

import asyncio

import pytest
from kit.patience import PATIENCE_S

from streams.runtime import ending
from streams.runtime.ending import end


async def swallowing(times: int) -> None:
    """Go on for ever, but for the cancellation after so many."""
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # as `asyncio.wait_for` of Python 3.11 may
            continue
    await asyncio.Event().wait()


async def failing() -> None:
    raise ValueError("a mistake")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_S", 0.01)


async def test_a_task_that_swallows_cancellations_ends_all_the_same() -> None:
    tasks = [asyncio.create_task(swallowing(times)) for times in range(4)]
    await asyncio.sleep(0)  # they have begun
    async with asyncio.timeout(PATIENCE_S):
        await end(*tasks)
    assert all(task.cancelled() for task in tasks)


async def test_what_a_task_ended_with_is_left_to_whoever_asks() -> None:
    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    await end(task)
    assert isinstance(task.exception(), ValueError)


async def test_of_nobody_nobody_is_waited_for() -> None:
    await end()

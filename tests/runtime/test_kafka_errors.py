"""A client that is stopped costs nobody more than a moment, and nothing it ends with is news."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from kit.patience import PATIENCE_S

from streams.runtime.kafka import errors
from streams.runtime.kafka.errors import within_stop


async def failing() -> None:
    raise RuntimeError("a dead transport")


async def cancelled() -> None:
    raise asyncio.CancelledError


async def failing_late() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await failing()


@pytest.mark.parametrize("closing", [failing, cancelled, failing_late])
async def test_what_a_stop_ends_with_is_neither_raised_nor_warned_of(
    closing: Callable[[], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "STOP_SECONDS", 0.05)
    warnings: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: warnings.append(told))
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE_S):
        await within_stop(closing())
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)
    del left
    gc.collect()
    assert not warnings

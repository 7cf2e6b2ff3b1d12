import gc
import os
import platform

import pytest
from kit.patience import until
from kit.resources import Held

from streams.runtime import collector
from streams.runtime.collector import Heap, quiet_collector

LITTLE = 2_000
"""Bytes, as many rows have: the C library keeps them in one heap."""


def test_the_collector_rests_and_comes_back() -> None:
    with quiet_collector():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others give back by themselves")
async def test_what_is_free_between_what_is_not_goes_back_to_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "SOON_S", 0.0)
    many = [bytes(LITTLE) for _ in range(100_000)]
    held = Held.by(os.getpid()).memory_mb
    many = many[::50]
    assert Held.by(os.getpid()).memory_mb > held - 20
    Heap().give_back_soon()
    await until(lambda: Held.by(os.getpid()).memory_mb < held - 100)
    assert len(many) == 2_000


async def test_what_is_freed_together_is_given_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float] = []
    monkeypatch.setattr(collector, "SOON_S", 0.0)
    monkeypatch.setattr(collector, "_give_back", lambda: given.append(0))
    heap = Heap()
    for _ in range(3):
        heap.give_back_soon()
    await until(lambda: bool(given))
    assert len(given) == 1

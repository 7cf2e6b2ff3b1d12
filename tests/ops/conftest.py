"""A log and a reader of it, both in memory."""

import pytest
from kit.memory_reader import MemoryReader

from streams.runtime.memory import MemoryLog


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog(now_ms=lambda: 1_000)
    log.create("t", 3)
    return log


@pytest.fixture
def reader(log: MemoryLog) -> MemoryReader:
    return MemoryReader(log)

"""A log and a reader of it, both in memory."""

import pytest

from streams.runtime.memory import MemoryProbe, MemoryReader
from streams.runtime.memory.log import MemoryLog


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog(now_ms=lambda: 1_000)
    log.create("t", 3)
    return log


@pytest.fixture
def reader(log: MemoryLog) -> MemoryReader:
    return MemoryReader(log)


@pytest.fixture
def probe(log: MemoryLog) -> MemoryProbe:
    return MemoryProbe(log)

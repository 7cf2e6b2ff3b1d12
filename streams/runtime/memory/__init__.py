"""The twins: the ports in memory, the same contracts without Kafka and Redis.

Everything here belongs to one event loop. `MemoryLog` stands for the brokers, `MemoryStore` for
Redis.
"""

from streams.runtime.memory.cluster import MemoryCluster
from streams.runtime.memory.consumer import MemoryConsumer
from streams.runtime.memory.dossiers import MemoryDossiers
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.probe import MemoryProbe
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.memory.reader import MemoryReader
from streams.runtime.memory.serving import MemoryServingIndex
from streams.runtime.memory.store import MemoryStore

__all__ = [
    "MemoryCluster",
    "MemoryConsumer",
    "MemoryDossiers",
    "MemoryLog",
    "MemoryProbe",
    "MemoryProducer",
    "MemoryReader",
    "MemoryServingIndex",
    "MemoryStore",
]

"""What a worker and each of its partitions work with."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from streams.runtime.archiving import Archiving
from streams.runtime.installation import Installation
from streams.runtime.ledger import Skips, nothing_skipped
from streams.runtime.metrics import Metrics
from streams.runtime.ports import Clock, Producer, Store
from streams.runtime.serving import Indexing
from streams.settings import Secret, Settings


@dataclass(frozen=True)
class Surroundings:
    """What a worker and each of its partitions work with.

    `secret` is that of an installation that knew HMACs. `indexing` brings what is folded to feed
    servers, where there are any. `read_ledger` tells what of the log is skipped. `archiving` has
    quiet videos leave the store, which must be the one that it reads; without it none does.
    `clock` paces flushes and audits; no decision depends on it.
    """

    producer: Producer
    store: Store
    settings: Settings
    installation: Installation
    secret: Secret | None = None
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = time.monotonic
    indexing: Indexing | None = None
    read_ledger: Callable[[], Coroutine[Any, Any, Skips]] = nothing_skipped
    archiving: Archiving | None = None

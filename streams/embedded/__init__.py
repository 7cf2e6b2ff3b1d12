"""A broker and a Redis for one machine: what `streams demo` runs on.

`EmbeddedBroker` and `EmbeddedRedis` need no installation beyond this package's dependencies and
keep nothing after they stop. They are for trying the pipeline out; their limits stand in their
docstrings.
"""

from streams.embedded.broker import EmbeddedBroker
from streams.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedBroker", "EmbeddedRedis"]

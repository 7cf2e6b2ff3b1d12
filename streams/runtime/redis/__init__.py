"""The Redis driver: the guarded store, the serving index and the dossiers."""

from streams.runtime.redis.connection import slots_of_masters
from streams.runtime.redis.dossiers import RedisDossiers
from streams.runtime.redis.serving import RedisServingIndex
from streams.runtime.redis.store import RedisStore

__all__ = ["RedisDossiers", "RedisServingIndex", "RedisStore", "slots_of_masters"]

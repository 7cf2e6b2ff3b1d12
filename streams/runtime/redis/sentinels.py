"""The master that sentinels name: found again whenever a connection has to be made."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel

from streams.addresses import HostPort


class Sentinels(Sentinel):
    """The library's sentinels; one that finds no master says why in words."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return host and port of the master, or raise with one line why there is none."""
        try:
            host, port = await super().discover_master(service_name)
        except MasterNotFoundError:
            raise MasterNotFoundError(await self._why(service_name)) from None
        return host, port

    async def _why(self, service: str) -> str:
        refused: exceptions.RedisError | None = None
        for sentinel in self.sentinels:
            try:
                known: Any = await sentinel.sentinel_masters()
            except exceptions.RedisError as error:
                refused = refused or error
                continue
            if service in known:
                return f"the master {service} is down, and its sentinels have elected no other yet"
            names = ", ".join(sorted(known)) or "none"
            return f"the sentinels know no master {service}: those that they know are {names}"
        if isinstance(refused, exceptions.AuthenticationError):
            raise exceptions.AuthenticationError(f"the sentinels: {refused}")
        return f"no sentinel answers: {refused}"


class Master(Redis):
    """A client of whichever Redis is the master; closes its sentinels too."""

    sentinels: Sentinels

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Disconnect from the master and the sentinels. Idempotent."""
        await super().aclose(close_connection_pool)
        await self.sentinels.aclose()


def master_of(
    service: str,
    hosts: Sequence[HostPort],
    to_sentinels: Mapping[str, Any],
    to_master: Mapping[str, Any],
) -> Master:
    """Return a client of the master that sentinels call so, and what makes connections to each."""
    sentinels = Sentinels(hosts, sentinel_kwargs=to_sentinels)  # type: ignore[no-untyped-call]
    master = sentinels.master_for(service, Master, **to_master)
    assert isinstance(master, Master)
    master.sentinels = sentinels
    return master

"""A Redis Cluster: one client a node, and which node holds which slot.

The library's own client of a cluster asks for the slots again only together with repeating what
failed, which would count a lease twice, and it makes every caller wait meanwhile. Here nothing is
repeated but what a node refused with the name of another node; a node that does not answer fails
its own callers alone, and the slots are read again beside them. Of a node that says nothing one
caller at a time finds out whether it speaks again; the others are told at once, so that those who
have a few calls on their way, to any node, do not have all of them waiting for this one.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from redis import exceptions
from redis.asyncio import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

from streams.addresses import HostPort
from streams.runtime.dependencies import REDIS
from streams.runtime.ending import end

Word = str | int | bytes
"""One part of a command."""

_SCRIPTED: Final = ("EVAL", "EVALSHA")
_UNKNOWN: Final = (None, b"", b"?")
_REDIRECTS: Final = 8
_SAY_S: Final = 2.0
"""A node that does not tell the slots within it is passed over."""
_AGAIN_S: Final = 0.2
"""Between two readings of the slots."""
_REST_S: Final = 0.5
"""A node that said nothing is not asked for so long."""
_PROBE_S: Final = 5.0
"""Then one caller asks it, the others go on without it meanwhile."""
_LOST: Final = (exceptions.ConnectionError, exceptions.TimeoutError)
_STALE: Final = (*_LOST, exceptions.ClusterDownError, exceptions.ReadOnlyError)
"""After these the slots may be another node's by now."""


def slot_of(key: Word) -> int:
    """Return the slot of a key: that of its hash tag, where it has one.

    >>> slot_of("s:{7}:meta") == slot_of("s:{7}:v:v-42")
    True
    """
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


class Shards:
    """The nodes of a Redis Cluster. Commands go to the node of their first key's slot.

    `client_of` makes the client of one node; it must repeat nothing by itself.
    """

    def __init__(self, seeds: Sequence[HostPort], client_of: Callable[[str, int], Redis]) -> None:
        self._seeds: Final = tuple(seeds)
        self._client_of: Final = client_of
        self._clients: Final[dict[HostPort, Redis]] = {}
        self._owners: list[HostPort | None] = []  # by slot
        self._nodes: frozenset[HostPort] = frozenset()  # masters and replicas
        self._silent: Final[dict[HostPort, float]] = {}  # until when they are not asked
        self._reading: asyncio.Task[None] | None = None
        self._read_at = float("-inf")
        self._why: Exception = exceptions.ConnectionError("no node of the cluster answers")

    async def execute_command(self, *command: Word) -> Any:
        """Send one command to the node of its key; follow the slot where it went."""
        return await self._follow(slot_of(_key(command)), command)

    async def pipelined(self, commands: Sequence[Sequence[Word]], at: Word | None) -> list[Any]:
        """Send commands, one round trip a node; an error is an answer like others.

        All of them go to the node of the key `at`, if there is one. Where the first was sent on to
        another node, it and those behind it are sent one by one: what was to be read before and
        behind others is so still. So a command may be done twice.
        """
        slots = [slot_of(_key(command) if at is None else at) for command in commands]
        groups: defaultdict[HostPort, list[int]] = defaultdict(list)
        for number, slot in enumerate(slots):
            groups[await self._owner(slot)].append(number)
        replies: list[Any] = [None] * len(commands)

        async def ask(node: HostPort, numbers: Sequence[int]) -> None:
            some = await self._ask_all(node, [commands[number] for number in numbers])
            behind = False
            for number, reply in zip(numbers, some, strict=True):
                behind = behind or isinstance(reply, exceptions.AskError)
                if isinstance(reply, exceptions.ClusterDownError):
                    self._read_soon()
                replies[number] = (
                    await self._answer(slots[number], commands[number]) if behind else reply
                )

        asked = [ask(node, numbers) for node, numbers in groups.items()]
        for failed in await asyncio.gather(*asked, return_exceptions=True):
            if failed is not None:
                raise failed
        return replies

    async def everywhere(self, *command: Word) -> list[Any]:
        """Return what every master answers; of one that does not, the error."""
        asked = [self._ask(node, command) for node in await self._masters()]
        return await asyncio.gather(*asked, return_exceptions=True)

    async def masters(self) -> list[Redis]:
        """Return the clients of all nodes that hold slots."""
        return [self._client(node) for node in await self._masters()]

    async def slots(self) -> dict[str, set[int]]:
        """Return the slots of each master that is not gone, those too that have none."""
        told: bytes = await call((await self.masters())[0], "CLUSTER", "NODES")
        lines = [line.split() for line in told.decode().splitlines()]
        return {
            line[1].partition("@")[0]: {slot for word in line[8:] for slot in _range(word)}
            for line in lines
            if "master" in line[2] and "fail" not in line[2].replace("fail?", "")
        }

    async def homes(self, key: str) -> AsyncIterator[Redis]:
        """Yield the node of a key's slot, then each one that the slot moves to meanwhile.

        `key` must not exist: a node that hands its slot over sends whoever looks for it on.
        """
        slot, seen = slot_of(key), set[HostPort]()
        node = await self._owner(slot)
        while node not in seen:
            seen.add(node)
            yield self._client(node)
            node = await self._owner(slot)
            try:
                await self._ask(node, ("EXISTS", key))
            except exceptions.AskError as elsewhere:
                node = self._redirected(node, slot, elsewhere)

    async def aclose(self) -> None:
        """Disconnect. Idempotent."""
        if self._reading is not None:
            await end(self._reading)
        for client in self._clients.values():
            await client.aclose()

    async def _masters(self) -> list[HostPort]:
        await self._owner(0)
        return sorted({node for node in self._owners if node})

    async def _follow(self, slot: int, command: Sequence[Word]) -> Any:
        node, asking = await self._owner(slot), False
        for _ in range(_REDIRECTS):
            try:
                return await self._ask(node, command, asking=asking)
            except exceptions.AskError as elsewhere:
                asking = not isinstance(elsewhere, exceptions.MovedError)
                node = self._redirected(node, slot, elsewhere)
        raise exceptions.TryAgainError(f"slot {slot} is sent from node to node")

    async def _answer(self, slot: int, command: Sequence[Word]) -> Any:
        """Return what a command is answered, be it an error."""
        try:
            return await self._follow(slot, command)
        except exceptions.ResponseError as error:
            return error

    async def _ask(self, node: HostPort, command: Sequence[Word], *, asking: bool = False) -> Any:
        if asking:
            _, reply = await self._ask_all(node, [("ASKING",), command])
            if isinstance(reply, Exception):
                raise reply
            return reply
        self._require_voice(node)
        try:
            reply = await call(self._client(node), *command)
        except exceptions.RedisError as error:
            self._heard(node, error)
            raise
        self._heard(node)
        return reply

    async def _ask_all(self, node: HostPort, commands: Sequence[Sequence[Word]]) -> list[Any]:
        self._require_voice(node)
        try:
            async with self._client(node).pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except exceptions.RedisError as error:
            self._heard(node, error)
            raise
        self._heard(node)
        return replies

    def _require_voice(self, node: HostPort) -> None:
        """Raise for a node that said nothing a moment ago, unless it is to be asked again."""
        if (until := self._silent.get(node)) is not None:
            now = asyncio.get_running_loop().time()
            if now < until:
                raise exceptions.TimeoutError(f"{_name(node)} said nothing a moment ago")
            self._silent[node] = now + _PROBE_S

    def _heard(self, node: HostPort, error: exceptions.RedisError | None = None) -> None:
        """Take note of what a node answered, or that it did not."""
        if isinstance(error, _LOST) and not isinstance(error, exceptions.AuthenticationError):
            REDIS.parts_away.add(_name(node))
            if isinstance(error, exceptions.TimeoutError):
                self._silent[node] = asyncio.get_running_loop().time() + _REST_S
        else:
            REDIS.parts_away.discard(_name(node))
            self._silent.pop(node, None)
        if isinstance(error, _STALE):
            self._read_soon()

    def _redirected(self, node: HostPort, slot: int, elsewhere: exceptions.AskError) -> HostPort:
        """Return the node that another one names for a slot."""
        there = (elsewhere.host or node[0], elsewhere.port)
        if isinstance(elsewhere, exceptions.MovedError):
            self._owners[slot] = there
            self._read_soon()
        return there

    def _client(self, node: HostPort) -> Redis:
        if node not in self._clients:
            self._clients[node] = self._client_of(*node)
        return self._clients[node]

    async def _owner(self, slot: int) -> HostPort:
        if not self._owners:
            self._read_soon()
            assert self._reading is not None
            await asyncio.wait([self._reading])
            if not self._owners:
                raise self._why
        owner = self._owners[slot]
        if owner is None:
            self._read_soon()
            raise exceptions.ClusterDownError(f"no node serves slot {slot}")
        return owner

    def _read_soon(self) -> None:
        """Have the slots read, once at a time and not too often."""
        if self._reading is None or self._reading.done():
            pause = self._read_at + _AGAIN_S - asyncio.get_running_loop().time()
            self._reading = asyncio.create_task(self._read(max(pause, 0)), name="slots")

    async def _read(self, pause: float) -> None:
        """Read which node holds which slot, from the first one that tells."""
        await asyncio.sleep(pause)
        nodes = [*(self._nodes - set(self._seeds)), *self._seeds]
        random.shuffle(nodes)
        for node in sorted(nodes, key=lambda one: _name(one) in REDIS.parts_away):
            try:
                async with asyncio.timeout(_SAY_S):
                    ranges = await call(self._client(node), "CLUSTER", "SLOTS")
            except exceptions.RedisError as error:
                self._why = error
            except TimeoutError:
                self._why = exceptions.TimeoutError(f"{_name(node)} does not tell the slots")
            else:
                await self._take(node, ranges)
                break
        self._read_at = asyncio.get_running_loop().time()

    async def _take(self, node: HostPort, ranges: Sequence[Sequence[Any]]) -> None:
        """Take over what a node told; have no idle connections to nodes that left."""
        owners: list[HostPort | None] = [None] * SLOTS
        nodes = set[HostPort]()
        for first, last, *holders in ranges:
            places = [(_host(host, node), int(port)) for host, port, *_ in holders]
            owners[first : last + 1] = [places[0]] * (last + 1 - first)
            nodes.update(places)
        self._owners, self._nodes = owners, frozenset(nodes)
        masters = {_name(one) for one in owners if one}
        REDIS.parts_away.intersection_update(masters)
        for left in self._clients.keys() - nodes - set(self._seeds):
            await self._clients[left].connection_pool.disconnect(inuse_connections=False)


def call(client: Redis | Shards, *command: Word) -> Awaitable[Any]:
    """Send one command; what comes back is as wide as Redis' own replies."""
    reply: Awaitable[Any] = client.execute_command(*command)
    return reply


def _key(command: Sequence[Word]) -> Word:
    """Return a command's first key: all others are of the same slot."""
    return command[3 if command[0] in _SCRIPTED else 1]


def _host(told: bytes | None, node: HostPort) -> str:
    """Return a node's host; one that does not know its own has that under which it was asked."""
    return node[0] if told in _UNKNOWN else str(told, "ascii")


def _range(word: str) -> range:
    """Return the slots of a word of CLUSTER NODES; none of one that is on its way.

    >>> list(_range("5-7")), list(_range("9")), list(_range("[93->-292f8b]"))
    ([5, 6, 7], [9], [])
    """
    if word.startswith("["):
        return range(0)
    first, _, last = word.partition("-")
    return range(int(first), int(last or first) + 1)


def _name(node: HostPort) -> str:
    return f"{node[0]}:{node[1]}"

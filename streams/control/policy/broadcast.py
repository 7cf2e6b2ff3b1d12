"""Brings a policy into force in every partition of the log, and says so only once it is.

A policy is ordered by its number alone, and the number continues from the greatest one that any
partition has in force: no clock of any host can put it first or last for good. What a partition
has in force stands in its meta, stored with the counters by whoever folds it.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from streams.control.log import ControlLog, Ports, now_ms
from streams.control.metrics import ControlMetrics
from streams.control.policy.file import PolicyRules
from streams.core.events import EPOCH_MS, Policy
from streams.core.units import NEVER
from streams.errors import Retry
from streams.runtime.ports import Clock

log: Final = logging.getLogger("streams.control")

AGAIN_S: Final = 1.0
"""Shortest time between two broadcasts of one policy; it doubles up to `LONGEST_S`."""
LONGEST_S: Final = 60.0
PATIENCE_S: Final = 10.0
"""After so long a policy that is not in force everywhere is a warning, once."""


class _InForce(msgspec.Struct):
    """What a partition's meta says: the policy it has in force, and up to where that is known."""

    seq: int = -1
    version: str = ""
    watermark: int = -1
    event_time: int = 0


_decode: Final = msgspec.json.Decoder(_InForce).decode


class Broadcast:
    """One policy after the other: `put` writes what is not in force, `look` follows it.

    Of two control planes with different files the one that wrote last wins; what loses against a
    record that stood in the log before it, unseen, is written again.
    """

    def __init__(
        self,
        control_log: ControlLog,
        ports: Ports,
        metrics: ControlMetrics,
        clock: Clock = time.monotonic,
    ) -> None:
        self.waiting: Final[dict[int, int]] = {}  # partition -> log end when the policy was put
        self._written: int | None = None  # number of the policy put last, None: it was in force
        self._unwritten: Collection[int] = ()  # partitions that did not take it yet
        self._turn = asyncio.Lock()
        self._log = control_log
        self._ports = ports
        self._metrics = metrics
        self._clock = clock
        self._policy: PolicyRules | None = None
        self._seq = self._ts = 0
        self._pause_s = AGAIN_S
        self._again_at = self._warn_at = 0.0

    async def check(self) -> None:
        """Raise `Halt` if a partition was counted from another log, or in another installation."""
        await self._in_force(range(self._log.partitions))

    async def put(self, policy: PolicyRules, *, anew: bool = False) -> None:
        """Write a policy to every partition unless all have it in force, or if it is `anew`.

        Returns when those that answer have it, and `Retry` if none does; `look` writes it to the
        others later, and says when it is in force.
        """
        async with self._turn:
            await self._put(policy, anew=anew)
            await self._look(policy)

    async def look(self) -> None:
        """See where the policy is in force by now, and write it again where another overtook it."""
        async with self._turn:
            if self._policy is not None and self.waiting:
                await self._look(self._policy)

    async def _put(self, policy: PolicyRules, *, anew: bool) -> None:
        self._policy, self._pause_s = policy, AGAIN_S
        self._warn_at = self._clock() + PATIENCE_S
        partitions = range(self._log.partitions)
        bounds = await self._ports.reader.offsets(self._log.topic, partitions)
        states = await self._in_force(partitions)
        self.waiting.update((p, bounds[p].end if p in bounds else NEVER) for p in partitions)
        self._unwritten = ()
        self._seq = max(self._seq, *(state.seq for state in states.values()))
        self._metrics.policy_number.set(self._seq)
        self._written = None
        if anew or any(state.version != policy.version for state in states.values()):
            await self._write(policy, states.values())

    async def _look(self, policy: PolicyRules) -> None:
        if self._unwritten and self._clock() >= self._again_at:
            await self._send(policy.record(self._seq, self._ts), self._unwritten)
        states = await self._in_force(self.waiting)
        for partition, state in states.items():
            if state.version == policy.version and self._is_last(state, self.waiting[partition]):
                del self.waiting[partition]
        self._metrics.policy_waiting.set(len(self.waiting))
        overtaken = [p for p in self.waiting if self._is_overtaken(states[p], policy.version)]
        if overtaken and self._clock() >= self._again_at:
            log.warning("policy %s was overtaken in partitions %s", policy.version, overtaken)
            await self._write(policy, states.values())
        elif not self.waiting:
            log.info("policy %s is in force in %d partitions", policy.version, self._log.partitions)
        elif self._clock() >= self._warn_at:
            self._warn_at = float("inf")
            places = sorted(self.waiting)
            log.warning("policy %s waits for a worker in partitions %s", policy.version, places)

    async def _write(self, policy: PolicyRules, states: Iterable[_InForce]) -> None:
        """Write the policy with the next number; its time is never ahead of the log's."""
        states = list(states)
        self._seq = max(self._seq, *(state.seq for state in states)) + 1
        latest = max(EPOCH_MS, *(state.event_time for state in states))
        self._ts = min(latest, now_ms())
        self._written = self._seq
        self.waiting.update(dict.fromkeys(range(self._log.partitions), NEVER))
        record = policy.record(self._seq, self._ts)
        errors = await self._send(record, range(self._log.partitions))
        if len(errors) == self._log.partitions:
            raise errors[0]
        self._metrics.policy_number.set(self._seq)
        log.info(
            "policy %s is written to %d partitions as number %d",
            policy.version,
            self._log.partitions - len(self._unwritten),
            self._seq,
        )

    async def _send(self, record: Policy, partitions: Collection[int]) -> Mapping[int, Retry]:
        """Write the policy to partitions; return and note why some did not take it."""
        errors = await self._log.say_policy(record, partitions)
        for error in list(errors.values())[:1]:
            log.warning("partitions %s do not take the policy: %s", sorted(errors), error)
        self._unwritten = errors.keys()
        self._again_at = self._clock() + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_S)
        return errors

    def _is_last(self, state: _InForce, end: int) -> bool:
        """Tell whether no policy that stood in the log before can follow on this one."""
        return state.watermark + 1 >= end if self._written is None else state.seq >= self._written

    def _is_overtaken(self, state: _InForce, version: str) -> bool:
        """Tell whether another policy came into force where this one should be."""
        return state.version != version and state.seq >= (self._written or 0)

    async def _in_force(self, partitions: Iterable[int]) -> Mapping[int, _InForce]:
        return {partition: await self._state(partition) for partition in list(partitions)}

    async def _state(self, partition: int) -> _InForce:
        stored = await self._ports.store.meta(partition, self._log.namespace)
        if stored is None:
            return _InForce()
        watermark, meta = stored
        state = _decode(meta.policy) if meta.policy else _InForce()
        state.watermark, state.event_time = watermark, meta.event_time
        return state

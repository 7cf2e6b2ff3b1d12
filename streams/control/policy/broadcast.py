"""Brings the policies of one term into every partition, and follows them into force.

What a partition has in force stands in its meta, stored with the counters by whoever folds it. A
partition that does not answer is owed what it lacks, in order: the term first, then the policy.
"""

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal

from msgspec.structs import replace

from streams.control.log import ControlLog, Ports, now_ms
from streams.control.metrics import ControlMetrics
from streams.control.policy.terms import InForce, in_force
from streams.core.events import (
    PartitionControl,
    Policy,
    number_of,
    order_of,
)
from streams.core.fields import EPOCH_MS
from streams.core.partition_control import Lead
from streams.runtime.ports import Clock

log: Final = logging.getLogger("streams.control")

AGAIN_S: Final = 1.0
"""Shortest time between two tries to write what is owed; it doubles up to `LONGEST_S`."""
LONGEST_S: Final = 60.0
PATIENCE_S: Final = 10.0
"""After so long a policy that is not in force everywhere is a warning, once."""

Standing = Literal["in force", "waiting", "overtaken", "deposed"]
"""How a policy stands: everywhere, not yet, not where another one is, or of a term that ended."""


class Broadcast:
    """One policy after the other, in one term after the other."""

    def __init__(
        self,
        control_log: ControlLog,
        ports: Ports,
        metrics: ControlMetrics,
        clock: Clock = time.monotonic,
    ) -> None:
        self.waiting: Final[set[int]] = set()  # partitions where it is not seen in force
        self._owed: dict[int, tuple[PartitionControl, ...]] = {}
        self._log: Final = control_log
        self._ports: Final = ports
        self.metrics: Final = metrics
        self._clock: Final = clock
        self._term = 0
        self._policy: Policy | None = None
        self._pause_s = AGAIN_S
        self._again_at = self._warn_at = 0.0

    async def states(self, partitions: Iterable[int] | None = None) -> Mapping[int, InForce]:
        """Return what partitions, or all of them, have in force.

        `Halt` if one was counted from another log, or in another installation.
        """
        wanted = range(self._log.partitions) if partitions is None else list(partitions)
        return {each: await in_force(self._log, self._ports, each) for each in wanted}

    async def begin(self, lead: Lead) -> None:
        """Begin a term that was taken in partition 0: write it to every other partition."""
        self._term, self._policy = lead.term, None
        self.waiting.clear()
        self._owed = dict.fromkeys(range(1, self._log.partitions), (lead,))
        await self._write_owed()

    def follow(self, policy: Policy) -> None:
        """Follow a policy that every partition has in force, as far as is known."""
        self._policy = policy
        self.waiting.update(range(self._log.partitions))
        self._warn_at = self._clock() + PATIENCE_S

    async def put(self, policy: Policy, by: str) -> Policy:
        """Write a policy to the table and then to every partition; return its record.

        `Retry` if the table does not take it; partitions that do not are owed it. Its time is never
        ahead of the log's.
        """
        states = await self.states()
        record = self._placed(policy, by, states.values())
        await self._log.announce(record)
        self.follow(record)
        everywhere = range(self._log.partitions)
        self._owed = {each: (*self._leads_owed(each), record) for each in everywhere}
        await self._write_owed()
        log.info(
            "policy %s is written to %d partitions as number %s: %s",
            record.version,
            self._log.partitions - len(self._owed),
            number_of(record),
            record.why,
        )
        return record

    async def repeat(self, policy: Policy) -> None:
        """Write a policy again as it is: a record behind all that was written, with no news."""
        errors = await self._log.say_each({each: [policy] for each in range(self._log.partitions)})
        for error in errors.values():
            raise error

    async def look(self) -> Standing:
        """Write what is owed, and see how the policy stands by now."""
        if self._owed and self._clock() >= self._again_at:
            await self._write_owed()
        states = await self.states({0, *self.waiting})
        if any(state.term > self._term for state in states.values()):
            return "deposed"
        if self._policy is None or not self.waiting:
            return "in force"
        overtaken = self._sort(states, self._policy)
        self.metrics.policy_waiting.set(len(self.waiting))
        if overtaken:
            log.warning(
                "policy %s was overtaken in partitions %s", number_of(self._policy), overtaken
            )
            return "overtaken"
        self._tell(self._policy)
        return "waiting" if self.waiting else "in force"

    def _sort(self, states: Mapping[int, InForce], policy: Policy) -> list[int]:
        """Note where the policy is in force; return the partitions where another one is."""
        overtaken = []
        for partition in sorted(self.waiting):
            state = states[partition]
            if state.trust.term < self._term:
                continue  # what stood in the log before the term may still be counted
            if state.policy == policy:
                self.waiting.discard(partition)
            elif policy.term < self._term or state.order >= order_of(policy):
                overtaken.append(partition)
                if state.order == order_of(policy):
                    self.metrics.policy_conflicts.inc()
                    log.error("partition %d has another policy %s", partition, number_of(policy))
        return overtaken

    def _tell(self, policy: Policy) -> None:
        if not self.waiting:
            log.info("policy %s is in force in %d partitions", policy.version, self._log.partitions)
        elif self._clock() >= self._warn_at:
            self._warn_at = float("inf")
            places = sorted(self.waiting)
            log.warning("policy %s waits for a worker in partitions %s", policy.version, places)

    def _placed(self, policy: Policy, by: str, states: Collection[InForce]) -> Policy:
        """Return the record of a policy: the next number of this term."""
        known = [state.order for state in states]
        if self._policy is not None:
            known.append(order_of(self._policy))
        seq = max((seq for term, seq in known if term == self._term), default=0) + 1
        latest = max(EPOCH_MS, *(state.event_time for state in states))
        name = f"policy-{self._term}-{seq}"
        ts = min(latest, now_ms())
        return replace(policy, id=name, ts=ts, seq=seq, term=self._term, by=by)

    def _leads_owed(self, partition: int) -> tuple[PartitionControl, ...]:
        return tuple(one for one in self._owed.get(partition, ()) if isinstance(one, Lead))

    async def _write_owed(self) -> None:
        """Write what partitions are owed, and note why some did not take it."""
        errors = await self._log.say_each(self._owed)
        for error in list(errors.values())[:1]:
            log.warning("partitions %s do not take the policy: %s", sorted(errors), error)
        self._owed = {partition: self._owed[partition] for partition in errors}
        self._again_at = self._clock() + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_S) if errors else AGAIN_S

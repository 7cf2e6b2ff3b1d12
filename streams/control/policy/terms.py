"""A leader's term: taken in partition 0 of the log, where the first record of a term wins.

No clock is asked: a term is one more than the greatest that is known, and whoever did not know of
one finds it in the log before its own record, is refused there, and takes a greater one.
"""

import logging
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from streams.control.log import ControlLog, Ports, now_ms
from streams.core.events import (
    Policy,
    order_of,
)
from streams.core.fields import EPOCH_MS
from streams.core.keys import NOBODY, Trust, read_trust
from streams.core.partition_control import Lead
from streams.errors import Halt, Retry
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.policies import stored_policy
from streams.runtime.ports import Record
from streams.runtime.signing import SIGNATURE

FETCH_MS: Final = 500
SILENT_TRIES: Final = 20
ROUNDS: Final = 5
log: Final = logging.getLogger("streams.control")


class InForce(NamedTuple):
    """What a partition has in force, as it is stored: up to its watermark and no further."""

    policy: Policy | None
    trust: Trust
    watermark: int
    event_time: int

    @property
    def order(self) -> tuple[int, int]:
        """Term and number of its policy, below any if it has none."""
        return (0, -1) if self.policy is None else order_of(self.policy)

    @property
    def term(self) -> int:
        """The greatest term that it knows of."""
        return max(self.trust.term, self.order[0])


async def in_force(control_log: ControlLog, ports: Ports, partition: int) -> InForce:
    """Return what a partition has in force; `Halt` if it was counted from another log."""
    stored = await ports.store.meta(partition, control_log.namespace)
    if stored is None:
        return InForce(None, NOBODY, -1, 0)
    watermark, meta = stored
    return InForce(stored_policy(meta.policy), read_trust(meta.keys), watermark, meta.event_time)


async def take_term(
    control_log: ControlLog, ports: Ports, spelling: Spelling, by: str, above: int
) -> Lead:
    """Take a term above all that are known, and above `above`; return the record that did.

    `Retry` if the log does not answer, or others are faster again and again; `Halt` if this control
    plane's key does not count there.
    """
    first = await in_force(control_log, ports, 0)
    ts = min(max(first.event_time, EPOCH_MS), now_ms())
    async with ports.turn:
        behind = _Behind(control_log, ports, spelling, first)
        trust = await behind.read()
        for _ in range(ROUNDS):
            term = max(trust.term, first.term, above) + 1
            lead = Lead(f"lead-{term}-{secrets.token_hex(4)}", ts, term, by)
            for error in (await control_log.say_each({0: [lead]})).values():
                raise error
            trust = await behind.read()
            if trust.lead == lead.id:
                return lead
            if trust.term < term:
                refused = "the key that signs here takes no term: it does not count in the log"
                raise Halt(refused, code="signing_key")
            log.warning("term %d was taken by another control plane", term)
    raise Retry(f"other control planes take one term after the other, last {trust.term}")


class _Behind:
    """Who leads at the end of partition 0: by what is stored, and by the log behind that."""

    def __init__(
        self, control_log: ControlLog, ports: Ports, spelling: Spelling, first: InForce
    ) -> None:
        self._log: Final = control_log
        self._reader: Final = ports.reader
        self._spelling: Final = spelling
        self._trust = first.trust
        self._next = first.watermark + 1

    async def read(self) -> Trust:
        """Read on to the end of the log; return who leads there."""
        topic, silent = self._log.topic, 0
        bounds = (await self._reader.offsets(topic, [0])).get(0)
        if bounds is None:
            raise Retry("partition 0 of the log does not answer: nobody can lead")
        if not self._trust.keys:
            self._trust = self._log.installation.trust(whole=bounds.start == 0)
        self._reader.assign({(topic, 0): max(self._next, bounds.start)})
        while (position := await self._reader.position(topic, 0)) < bounds.end:
            batches = await self._reader.fetch(FETCH_MS, 10_000)
            silent = 0 if batches else silent + 1
            if silent > SILENT_TRIES:
                raise Retry("partition 0 of the log does not answer: nobody can lead")
            self._take(batches.get((topic, 0), ()))
        self._next = position
        self._reader.assign({})
        return self._trust

    def _take(self, records: Sequence[Record]) -> None:
        signed = [record for record in records if _may_change_trust(record)]
        if signed:
            self._trust = decode_log(signed, self._trust, self._spelling).trust


def _may_change_trust(record: Record) -> bool:
    return record.key is None and any(name == SIGNATURE for name, _ in record.headers)

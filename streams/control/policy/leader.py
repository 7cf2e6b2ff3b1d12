"""The leader of the control planes: the one that writes policies, for as long as its term lasts.

Whoever leads anew first brings the greatest policy that was begun into every partition, and ends a
change of keys that was cut short. From then on the policy is what files, operators and keeper make
of it (`succession`, `keeper`), and each is written once: to the table, then to every partition.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Sequence
from socket import gethostname
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from streams.control.log import ControlLog, Ports
from streams.control.policy.broadcast import Broadcast
from streams.control.policy.election import Election
from streams.control.policy.succession import successor
from streams.control.policy.table import PolicyTable
from streams.control.policy.terms import take_term
from streams.control.policy.words import with_words
from streams.core.events import Policy, number_of, order_of
from streams.core.halves import unplaced
from streams.errors import Halt, Retry
from streams.runtime.codec import spelling_of
from streams.settings import Settings

log: Final = logging.getLogger("streams.control")

JOIN_S: Final = 45.0
"""So long the group may take to say who owns what: a member that is stuck holds it up for 30 s."""
FIRST_S: Final = 30.0
"""So long a control plane that does not lead waits for the first policy of all."""
PAUSE_S: Final = 0.5


class PolicyMover(Protocol):
    """Moves numbers of the learned half."""

    async def next_policy(self, policy: Policy) -> Policy | None:
        """Return the policy that should follow on the one in force, None if that should stay."""


class Led(NamedTuple):
    """A term, the policy in it, and who leads."""

    term: int
    policy: Policy
    by: str


class Leader:
    """Leads while this control plane owns partition 0 of `traffic`; `step` is called every second.

    `files` is the draft of this control plane's files. What is learned, `movers` say.
    """

    def __init__(
        self,
        settings: Settings,
        control_log: ControlLog,
        ports: Ports,
        broadcast: Broadcast,
        files: Policy,
        movers: Sequence[PolicyMover] = (),
    ) -> None:
        self.files = files
        self.broadcast: Final = broadcast
        self.election: Final = Election(ports.member)
        self._settings: Final = settings
        self._log: Final = control_log
        self._ports: Final = ports
        self._movers: Final = movers
        self._table: Final = PolicyTable(settings, control_log.installation)
        self._name: Final = _name()
        self._chance: Final = secrets.token_hex(16)
        self._base: Policy | None = None  # what every partition has, or is owed
        self._term = 0
        self._is_begun = False  # what others began is at its end
        self._turn: Final = asyncio.Lock()

    @property
    def led(self) -> Led | None:
        """The term that lasts and the policy in it, None while another control plane leads."""
        if not self.leads or self._base is None:
            return None
        return Led(self._term, self._base, self._name)

    @property
    def leads(self) -> bool:
        """Whether a term of this control plane lasts, as far as it knows."""
        return self._term > 0

    async def start(self) -> None:
        """Join the group; return once this control plane leads, or a policy of another is known.

        `Retry` if it has to lead and cannot, or if nobody leads and there is no policy.
        """
        await self.election.start()
        await self.election.dealt(JOIN_S)
        for _ in range(round(FIRST_S / PAUSE_S)):
            await self.step()
            if self.leads or await self._greatest() is not None:
                return
            await asyncio.sleep(PAUSE_S)
        raise Retry("there is no policy yet, and another control plane leads: is it running?")

    async def stop(self) -> None:
        """Leave the group: another control plane leads at once. Idempotent."""
        await self.election.stop()

    async def step(self) -> None:
        """Lead if it is this control plane's turn: take a term, or write what is to be written."""
        async with self._turn:
            if not self.election.owns:
                self._rest("another control plane owns partition 0 of the keeper's group")
            elif not self.leads:
                await self._begin()
            else:
                await self._go_on()

    async def put_files(self, files: Policy) -> None:
        """Have changed files in force, if this control plane leads."""
        self.files = files
        if not self.election.owns:
            log.info("policy %s is for the leader to write, with its own files", files.version)
        await self.step()

    async def repeat(self) -> None:
        """Write the greatest policy again, as it is: a record behind all that was written."""
        base = await self._greatest()
        if base is None:
            raise Retry("there is no policy yet, and another control plane leads")
        await self.broadcast.repeat(base)

    async def _begin(self) -> None:
        """Take a term, and bring what was begun by others to its end."""
        try:
            await self._read_table()
            begun = self._table.installation
            if begun.pending is not None:
                log.warning("ending the change of keys %s that was cut short", begun.pending.id)
                self._table.installation = await self._log.end_key_change(begun)
            if self._log.public not in self._table.installation.keys:
                raise Halt("the key that signs here counts no more", code="signing_key")
            lead = await take_term(
                self._log, self._ports, spelling_of(self._settings), self._name, self._last_term()
            )
        except Halt:
            await self.election.stop()  # another control plane may be able to
            raise
        await self.broadcast.begin(lead)
        self._term, self._is_begun = lead.term, False
        self.broadcast.metrics.policy_term.set(lead.term)
        log.info("leads in term %d as %s", lead.term, self._name)
        await self._complete()

    async def _complete(self) -> None:
        """Put in force everywhere what is the greatest policy, or what should follow on it."""
        base = self._base = await self._greatest()
        wanted, states = self._wanted(), await self.broadcast.states()
        if base is None or unplaced(wanted) != unplaced(base):
            await self._put(wanted)
        elif any(state.policy != base for state in states.values()):
            why = f"policy {number_of(base)}, which not every partition had: {base.why}"
            await self._put(replace(base, why=why))
        else:
            if number_of(base) not in self._table.written:
                await self._log.announce(base)
            self.broadcast.follow(base)
            await self._forget_old()
        self._is_begun = True

    async def _go_on(self) -> None:
        """Follow the policy, and write the next one if there is to be one."""
        if not self._is_begun:
            await self._complete()
        standing = await self.broadcast.look()
        if standing == "deposed":
            self._rest("another control plane took a later term")
            return
        if standing == "overtaken":
            self._base = await self._greatest()
            await self._put(self._wanted())
            return
        await self._read_table()
        assert self._base is not None
        wanted = self._wanted()
        if unplaced(wanted) != unplaced(self._base) or self._is_outdone(self._base):
            await self._put(wanted)
        elif standing == "in force":
            await self._move(self._base)

    def _is_outdone(self, base: Policy) -> bool:
        """Tell whether the table has a greater one: of an old leader, which no partition takes."""
        greatest = self._table.greatest
        return greatest is not None and order_of(greatest) > order_of(base)

    async def _move(self, base: Policy) -> None:
        """Write what the first mover makes of the policy in force, if one makes anything of it."""
        for mover in self._movers:
            moved = await mover.next_policy(base)
            if moved is not None:
                await self._put(moved)
                return

    async def _put(self, policy: Policy) -> None:
        record = await self.broadcast.put(policy, self._name)
        self._base = record
        self.broadcast.metrics.policy_number.set(record.seq)
        await self._forget_old()

    async def _forget_old(self) -> None:
        for number in self._table.outlived():
            await self._log.forget(number)

    def _wanted(self) -> Policy:
        table = self._table
        files = replace(self.files, explore_key=self._chance)
        wanted = successor(files, self._base, table.orders, table.pinned)
        return with_words(wanted, self._base, table.words)

    async def _greatest(self) -> Policy | None:
        """Return the greatest policy that anybody wrote, as far as table and partitions tell."""
        await self._read_table()
        states = await self.broadcast.states()
        known = [state.policy for state in states.values()]
        found = [policy for policy in (*known, self._table.greatest) if policy is not None]
        return max(found, key=order_of, default=None)

    async def _read_table(self) -> None:
        async with self._ports.turn:
            await self._table.read(self._ports.reader)

    def _last_term(self) -> int:
        greatest = self._table.greatest
        return max(self._term, greatest.term if greatest else 0)

    def _rest(self, why: str) -> None:
        if self.leads:
            log.warning("leads no more after term %d: %s", self._term, why)
        self._term = 0
        self.broadcast.metrics.policy_term.set(0)
        self.broadcast.metrics.policy_waiting.set(0)


def _name() -> str:
    """Return what records call this process: its host, and what no other process on it has."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", gethostname())
    return f"{host[:50]}-{secrets.token_hex(4)}"

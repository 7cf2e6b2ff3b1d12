"""The control plane's process: agents around the rules of `dossier`, and the policy.

Faust reads and commits (`agents`), from where the dossiers hold the topics; records are written
through the port `Producer`, and an event counts as handled only when everything that it asks for
is durable. Whatever fails for now is tried again, whatever cannot be used goes to the dead
letters. When Faust gives up, which a failed commit suffices for, it is started anew, and when its
Kafka client lost a task, which it does not notice itself. Before each start the dossiers are
compared with what was read, and what Redis lost is read again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from streams.control.admission.acknowledged import FellBack
from streams.control.admission.copies import Copies
from streams.control.admission.dossier import Tools
from streams.control.admission.recovery import Recovery
from streams.control.admission.register import TOPICS, Outcome, Register
from streams.control.agents import NOT_YET, FaustApp, Handler, new_app
from streams.control.creators import CreatorsLook
from streams.control.handicaps import Handicaps
from streams.control.log import ControlLog, Ports
from streams.control.metrics import ControlMetrics
from streams.control.policy.broadcast import Broadcast
from streams.control.policy.keeper import Keeper
from streams.control.policy.leader import Leader
from streams.control.policy.proposing import propose
from streams.control.policy.sample import Sampling
from streams.control.rules import file_stamps, load_rules
from streams.control.shares.ceiling import CeilingRules
from streams.control.shares.mixing import Mixing
from streams.control.shares.rules import ShareRules
from streams.errors import Halt, Retry, StreamsError, Unreachable
from streams.runtime.codec import ControlTopic
from streams.runtime.documents import TOPIC as DOSSIERS
from streams.runtime.ending import end
from streams.runtime.installation import TOPIC as POLICIES
from streams.runtime.installation import (
    Installation,
    read_installation,
    require_made,
    require_upgraded,
    signer_of,
)
from streams.runtime.mixes import TOPIC as MIX
from streams.runtime.ports import Place, Record
from streams.runtime.signing import SigningKey
from streams.runtime.waiting import TOPIC as WAITING
from streams.settings import TOPICS as ALL_TOPICS
from streams.settings import Settings

log = logging.getLogger("streams.control")

STOP_S: Final = 8.0
"""Longest time that Faust gets to stop; with the rest `stop` stays below 10 s."""
LONGEST_PAUSE_S: Final = 5.0
"""Retries of one batch are this far apart at most."""
AUDIT_S: Final = 5.0
"""So often idle dossiers are compared with what Redis had acknowledged."""


class ControlPlane:
    """Uploads, recognitions and reviews into control records.

    Runs in the event loop that `start` is called in, beside a worker or alone. `folder` holds the
    files of `config/`: they are looked at every `poll_s` seconds, and a change is asked from when
    its policy is in the log. Files with a mistake are logged and the rules in force stay.
    """

    def __init__(
        self,
        settings: Settings,
        key: SigningKey,
        ports: Ports,
        folder: Path,
        *,
        metrics: ControlMetrics,
        poll_s: float = 5.0,
    ) -> None:
        self._settings = settings
        self._key = key
        self._ports = ports
        self._folder = folder
        self._metrics = metrics
        self._poll_s = poll_s
        self._files = file_stamps(folder)
        self._rules = load_rules(folder)
        self._stopping = asyncio.Event()
        self._behind = self._followed = self._joined = self._is_compared = False
        self._comparing = asyncio.Lock()
        self._app: FaustApp | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        metrics.expect(TOPICS)

    def stuck(self) -> Sequence[str]:
        """Return which of its own loops ended, and so is done no more."""
        return [f"{task.get_name()} has ended" for task in self._tasks if task.done()]

    def unready(self) -> Sequence[str]:
        """Return why it handles no uploads, recognitions and reviews now."""
        if self._behind:
            return ["the control topics are read first: Redis lacks dossiers"]
        ended = self._app.ended if self._app else NOT_YET
        return [] if ended is None else [f"control plane: {ended}"]

    @property
    def policy_version(self) -> str:
        """Version of the policy that the files of this control plane make."""
        return self._rules.policy.version

    @property
    def outcomes(self) -> Counter[tuple[str, Outcome]]:
        """Records by topic and what became of them."""
        return self._register.outcomes

    async def start(self) -> None:
        """Put the policy into every partition of the log, then take up the topics.

        Raises `Halt` where the log is another than that of the counters, topics do not fit
        together or Redis cannot be trusted; `Retry` (`Unreachable` for the brokers) if Kafka or
        Redis fail. Nothing runs then. Dossiers that were lost are made again first, in the
        background, before anything new is handled.
        """
        await self._join()
        self._behind = await self._recovery.look()
        try:
            await self._leader.start()
            if self._behind:
                await self._leader.repeat()
            self._followed = self._behind
        except Exception:
            await self.stop()
            raise
        try:
            if not self._behind:
                await self._start_app()
        except Exception as error:
            await self.stop()
            raise Unreachable(f"the control plane cannot read its topics: {error}") from error
        loops = {
            "supervisor": self._keep_running(),
            "files": self._every(self._poll_s, self._reload, "the rules in force stay"),
            "policy": self._every(
                min(self._poll_s, 1.0), self._leader.step, "what is in force is not known"
            ),
            "mix": self._every(min(self._poll_s, 1.0), self._mix, "the shares are not steered"),
            "creators": self._every(
                min(self._poll_s, 1.0), self._look_at_creators, "creators are not looked at"
            ),
            "audit": self._every(AUDIT_S, self._audit, "the dossiers are not compared"),
        }
        self._tasks = [
            asyncio.create_task(loop, name=f"control-{name}") for name, loop in loops.items()
        ]

    async def stop(self) -> None:
        """Stop reading, within 10 s even while brokers are down. Idempotent.

        An event in work is not committed and comes again at the next start.
        """
        self._stopping.set()
        tasks, self._tasks = self._tasks, []
        await end(*tasks)
        leaving = [self._leader.stop()] if self._joined else []
        await asyncio.gather(self._stop_app(), *leaving)

    async def _join(self) -> None:
        """Find out which log this is, and refuse to start on one that does not fit."""
        await self._ports.store.check()
        identity = await self._ports.cluster.identity(self._settings.topic("interactions"))
        require_equal_partitions(await self._ports.cluster.describe(), self._settings)
        installation = await self._installation()
        signer = signer_of(installation, self._key)
        control_log = ControlLog(self._settings, signer, self._ports, identity, installation)
        settings, ports, metrics = self._settings, self._ports, self._metrics
        broadcast = Broadcast(control_log, ports, metrics, ports.clock)
        await broadcast.states()
        draft = self._rules.policy.draft
        keeper = Keeper(propose, self._sampling(control_log), clock=ports.clock)
        self._mixing = Mixing(settings, control_log, ports, self._shares, metrics, ports.clock)
        place = control_log.namespace, control_log.partitions
        dossiers = ports.dossiers
        movers = keeper, self._mixing
        self._leader = Leader(settings, control_log, ports, broadcast, draft, movers)
        copies = Copies(settings, control_log, ports, self._tools, metrics)
        self._register = Register(settings, control_log, dossiers, copies, self._tools, metrics)
        self._handicaps = Handicaps(ports.store, place, self._ceiling, self._register.revise)
        self._creators = CreatorsLook(
            ports.store, dossiers, place, metrics.creators, self._handicaps, ports.clock
        )
        self._recovery = Recovery(settings, control_log, ports, self._register, copies, metrics)
        self._joined = True

    def _tools(self) -> Tools:
        return self._rules.tools

    def _shares(self) -> ShareRules:
        return self._rules.policy.shares

    def _ceiling(self) -> CeilingRules:
        return self._rules.policy.ceiling

    def _sampling(self, control_log: ControlLog) -> Sampling:
        """Return what brings the keeper its evidence.

        Which videos are in it only holders of the signing key can tell.
        """
        ports, name = self._ports, control_log.namespace
        key, one_in = self._key.sign(b"the keeper's sample"), self._rules.policy.one_in
        return Sampling(ports.store, ports.index, name, control_log.partitions, key, one_in)

    async def _installation(self) -> Installation:
        found = await read_installation(self._ports.reader, self._settings)
        return require_upgraded(require_made(found, self._settings))

    # ------------------------------------------------------------------ events

    async def _take(self, topic: ControlTopic, records: Sequence[Record]) -> bool:
        """Handle records of one topic; False if stopped before all are done."""
        return await self._until_done(topic, partial(self._handle, topic, records))

    async def _handle(self, topic: ControlTopic, records: Sequence[Record]) -> None:
        """Handle records, of partitions just taken over not before their copies are looked at.

        Who had them before may have left more there than a Redis that fell back meanwhile holds.
        """
        await self._compare()
        await self._register.handle(topic, records)

    async def _until_done(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Do one piece of work, again and again until it is done; False if it never will be."""
        pause = 0.05
        while not self._stopping.is_set():
            try:
                await work()
            except FellBack as loss:
                self._fall_back(loss)
                return False
            except Retry as error:
                log.warning("%s: again in %.1f s: %s", name, pause, error)
            except Exception:
                # A mistake of ours or in a stored dossier. To go on would lose the event, so it
                # is tried until a person helps; the lag shows it.
                log.exception("%s: again in %.1f s", name, pause)
            else:
                return True
            self._register.count(name, "retried")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
        return False

    # ------------------------------------------------------------------ dossiers

    async def _positions(self) -> Mapping[Place, int]:
        """Return from where Faust shall read each topic; asked when partitions are taken over."""
        self._is_compared = False
        try:
            return await self._register.positions()
        except FellBack as loss:
            self._fall_back(loss)
            raise

    async def _audit(self) -> None:
        """Notice that Redis lost dossiers, or the topic greater copies, though no event asks."""
        if not self._behind:
            try:
                await self._positions()
                await self._compare()
            except FellBack as loss:
                self._fall_back(loss)

    async def _compare(self) -> None:
        """Compare dossiers and copies, unless that was done since positions were last asked for."""
        async with self._comparing:
            if self._is_compared:
                return
            self._is_compared = True
            try:
                await self._recovery.compare()
            except BaseException:
                self._is_compared = False
                raise

    def _fall_back(self, loss: FellBack) -> None:
        if not self._behind:
            self._behind = True
            self._metrics.rollbacks.inc()
            log.error("%s: what the dossiers lost is read again from the control topics", loss)

    async def _mend(self) -> None:
        """Read again what the dossiers lost, as often as it takes."""
        if await self._recovery.look():
            if not self._followed:  # a record behind all that must be counted, once
                await self._leader.repeat()
                self._followed = True
            await self._recovery.run()
        self._behind = self._followed = False

    # ------------------------------------------------------------------ policy

    async def _mix(self) -> None:
        """Steer the shares while this control plane leads."""
        led = self._leader.led
        if led is None:
            self._mixing.rest()
        else:
            await self._mixing.step(led.term, led.policy, led.by, self._handicaps.standing)

    async def _look_at_creators(self) -> None:
        """Look at creators while this control plane leads and knows the log's time.

        Not while dossiers are read again: they number what is said.
        """
        led = self._leader.led
        if led is None:
            self._creators.rest()
        elif not self._behind and (minute := self._mixing.minute):
            await self._creators.step(minute, led.term, self._mixing.mix)

    async def _every(
        self, seconds: float, work: Callable[[], Awaitable[None]], failed: str
    ) -> None:
        """Do some work again and again; what fails is logged as `failed`, and done next time."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Halt as error:
                log.error("%s: %s", failed, error)  # noqa: TRY400 - one line says it
            except Exception as error:  # noqa: BLE001 - whatever it is, the agents go on
                log.warning("%s for now: %s", failed, error)

    async def _reload(self) -> None:
        files = file_stamps(self._folder)
        if files == self._files:
            return
        self._files = files
        rules = await asyncio.to_thread(load_rules, self._folder)
        if rules.policy.version != self._rules.policy.version:
            # first the policy: an admission may name a slice that only the new one has
            try:
                await self._leader.put_files(rules.policy.draft)
            except StreamsError:
                self._files = ()  # looked at again
                raise
        self._rules = rules
        log.info("took up the changed rules, policy %s", rules.policy.version)

    # ------------------------------------------------------------------ Faust

    async def _keep_running(self) -> None:
        """Start Faust anew whenever it reads no more or the dossiers are behind."""
        pause, logged = 0.5, ""
        while True:
            await asyncio.sleep(pause)
            ended = self._app.ended if self._app else "no broker"
            if ended is None and not self._behind:
                pause = 0.5
                continue
            if not self._behind:
                log.error("starting again: %s", ended)
            await self._stop_app()
            pause = min(pause * 2, LONGEST_PAUSE_S)
            try:
                if self._behind:
                    await self._mend()
                await self._start_app()
            except Exception as error:  # noqa: BLE001 - Faust and aiokafka raise anything here
                await self._stop_app()
                if logged != (logged := str(error)):
                    log.warning("the control plane does not read yet: %s", error)

    async def _start_app(self) -> None:
        await self._register.list_all()
        handlers: dict[str, Handler] = {name: partial(self._take, name) for name in TOPICS}
        self._app = new_app(self._settings, handlers, self._positions, self._ports.background)
        await self._app.start()

    async def _stop_app(self) -> None:
        """Stop Faust; where a stop of it was cancelled, wait for that one, as it goes on."""
        app, self._app = self._app, None
        if app is not None:
            # waited for, not cancelled: Faust swallows a cancellation and goes on stopping
            self._leaving = asyncio.create_task(app.stop(), name="control-stop")
        leaving = self._leaving
        if leaving is None:
            return
        done, _ = await asyncio.wait({leaving}, timeout=STOP_S)
        self._leaving = None
        error = leaving.exception() if done else TimeoutError(f"not within {STOP_S:.0f} s")
        if error is not None:
            log.error("Faust did not stop in order: %s", error)


def require_equal_partitions(existing: Mapping[str, int], settings: Settings) -> None:
    """Raise `Halt` unless every topic exists with the partitions of the log.

    A video has one partition number in all of them: only so is each of its events handled by one.
    """
    wanted = existing[settings.topic("interactions")]
    tables = {settings.topic(name) for name in (POLICIES, MIX)}
    for topic in (*map(settings.topic, (*ALL_TOPICS, WAITING, DOSSIERS)), *sorted(tables)):
        if topic not in existing:
            raise Halt(
                f"topic {topic} does not exist at {settings.brokers}: "
                "run `streams topics apply --yes`",
                code="topic_missing",
            )
        if existing[topic] != wanted and topic not in tables:
            raise Halt(
                f"topic {topic} has {existing[topic]} partitions and the log has {wanted}: make it "
                "again with as many, or use another --topic-prefix",
                code="topic_conflict",
            )

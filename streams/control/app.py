"""The control plane's process: agents around the rules of `dossier`, and the policy.

Faust reads and commits (`agents`); records are written through the port `Producer`, and an event
counts as handled only when everything that it asks for is durable. Whatever fails for now is tried
again, whatever cannot be used goes to the dead letters, and when Faust gives up, which a failed
commit suffices for, it is started anew.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal
from weakref import WeakValueDictionary

from streams.control.admission import dossier
from streams.control.admission.dossier import Tools
from streams.control.admission.plugins import RecogniserFault, load_recognisers
from streams.control.admission.review import ReviewGate
from streams.control.admission.taxonomy import Taxonomy
from streams.control.agents import FaustApp, Handler, group_of, new_app
from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import PolicyRules
from streams.core import receipts
from streams.core.events import Recognition, Review, Upload
from streams.core.receipts import Receipt, Refusal
from streams.core.units import ID_ALPHABET, is_slice
from streams.errors import DeadLetter, Halt, Retry, Unreachable
from streams.runtime.codec import FUTURE_MS, ControlTopic, decode_one
from streams.runtime.letters import letter_of
from streams.runtime.ports import Dossiers, Outgoing, Producer, Record, ServingIndex
from streams.runtime.reasons import PARSER_ERRORS, classify
from streams.runtime.signing import control_record
from streams.settings import Secret, Settings

log = logging.getLogger("streams.control")

STOP_S: Final = 8.0
"""Longest time that Faust gets to stop; with the rest `stop` stays below 10 s."""
LONGEST_PAUSE_S: Final = 5.0
"""Retries of one event are this far apart at most."""
TOPICS: Final[tuple[ControlTopic, ...]] = ("uploads", "recognitions", "reviews")
Outcome = Literal["handled", "refused", "retried"]


@dataclass(frozen=True, slots=True)
class Ports:
    """What the control plane writes to, all started and stopped by whoever made them."""

    producer: Producer
    dossiers: Dossiers
    index: ServingIndex


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything read from `config/`: replaced as a whole."""

    tools: Tools
    policy: PolicyRules


def load_rules(folder: Path) -> Rules:
    """Read taxonomy, recognisers, gate, slices and policy; `Halt` with one line if one is wrong.

    A recogniser that cannot be built is logged and left out.
    """
    taxonomy = Taxonomy.from_toml(folder / "taxonomy.toml")
    catalogue = Catalogue.from_toml(folder / "slices.toml", taxonomy)
    policy = PolicyRules.from_toml(folder / "policy.toml", catalogue)
    recognisers, faults = load_recognisers(folder)
    for fault in faults:
        _report(fault)
    tools = Tools(
        recognisers=recognisers,
        gate=ReviewGate.from_toml(folder / "review.toml", taxonomy),
        catalogue=catalogue,
        established_followers=policy.established_followers,
        first_slices=policy.first_slices,
        report=_report,
    )
    return Rules(tools, policy)


class ControlPlane:
    """Uploads, recognitions and reviews into control records; receipts into the serving index.

    Runs in the event loop that `start` is called in, beside a worker or alone. `partitions` is
    the partition count of the log, `folder` holds the files of `config/`: they are looked at
    every `poll_s` seconds, and a change is in force when its policy is in every partition. Files
    with a mistake are logged and the rules in force stay. `outcomes` counts events by topic.
    """

    def __init__(
        self,
        settings: Settings,
        secret: Secret,
        ports: Ports,
        folder: Path,
        *,
        partitions: int,
        poll_s: float = 5.0,
    ) -> None:
        self.outcomes: Final[Counter[tuple[str, Outcome]]] = Counter()
        self._settings = settings
        self._secret = secret
        self._ports = ports
        self._folder = folder
        self._partitions = partitions
        self._poll_s = poll_s
        self._files = _fingerprint(folder)
        self._rules = load_rules(folder)
        self._policy_seq = 0
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stopping = asyncio.Event()
        self._app: FaustApp | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def policy_version(self) -> str:
        """Version of the policy that this control plane broadcast last."""
        return self._rules.policy.version

    async def start(self) -> None:
        """Put the policy into every partition of the log, then take up the topics.

        Raises `Retry` (`Unreachable` for the brokers) if that fails; nothing runs then.
        """
        await self._broadcast(self._rules.policy)
        try:
            await self._start_app()
        except Exception as error:
            await self.stop()
            raise Unreachable(f"the control plane cannot read its topics: {error}") from error
        self._tasks = [
            asyncio.create_task(self._keep_running(), name="control-supervisor"),
            asyncio.create_task(self._watch_files(), name="control-files"),
        ]

    async def stop(self) -> None:
        """Stop reading, within 10 s even while brokers are down. Idempotent.

        An event in work is not committed and comes again at the next start.
        """
        self._stopping.set()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stop_app()

    # ------------------------------------------------------------------ events

    async def _take(self, topic: ControlTopic, records: Sequence[Record]) -> bool:
        """Handle records of one topic side by side; False if stopped before all are done."""
        works = [self._until_done(topic, partial(self._take_one, topic, it)) for it in records]
        return all(await asyncio.gather(*works))

    async def _take_one(self, topic: ControlTopic, record: Record) -> None:
        """Handle one record until its consequences are durable."""
        try:
            event = decode_one(topic, record.value, self._settings.record_bytes)
            _check_place(event, record)
            async with self._lock(event.video):
                await self._advance(event)
        except DeadLetter as letter:
            await self._refuse(topic, record, letter)
        else:
            self.outcomes[topic, "handled"] += 1

    async def _advance(self, event: Upload | Recognition | Review) -> None:
        """Store what is to be said, say it, store that it was said."""
        stored = await self._ports.dossiers.get(event.video)
        before = None if stored is None else dossier.decode(stored)
        after, records = dossier.advance(before, event, _now_ms(), self._rules.tools)
        if after is before:
            return
        await self._ports.dossiers.put(event.video, dossier.encode(after))
        if not records:
            return
        topic = self._settings.topic("interactions")
        for record in records:
            await self._write(control_record(topic, record, self._secret.reveal))
        await self._ports.dossiers.put(event.video, dossier.encode(dossier.settled(after)))

    async def _index(self, records: Sequence[Record]) -> bool:
        """Apply receipts to the serving index; False if stopped before that."""
        return await self._until_done("decisions", partial(self._index_all, records))

    async def _index_all(self, records: Sequence[Record]) -> None:
        receipts: list[Receipt] = []
        for record in records:
            try:
                receipts.append(_receipt(record.value, self._settings.record_bytes))
            except DeadLetter as letter:
                await self._refuse("decisions", record, letter)
        if receipts:
            await self._ports.index.apply(receipts)
        self.outcomes["decisions", "handled"] += len(receipts)

    async def _until_done(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Do one piece of work, again and again until it is done; False if stopped before."""
        pause = 0.05
        while not self._stopping.is_set():
            try:
                await work()
            except Retry as error:
                log.warning("%s: again in %.1f s: %s", name, pause, error)
            except Exception:
                # A mistake of ours or in a stored dossier. To go on would lose the event, so it
                # is tried until a person helps; the lag shows it.
                log.exception("%s: again in %.1f s", name, pause)
            else:
                return True
            self.outcomes[name, "retried"] += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
        return False

    async def _refuse(self, name: str, record: Record, letter: DeadLetter) -> None:
        """Write a record to the dead letters; returns when they have it."""
        refusal = Refusal(record.offset, 0, letter.reason, str(letter))
        group, limit = group_of(self._settings), self._settings.record_bytes
        await self._write(letter_of(record, [refusal], "control", group, limit))
        self.outcomes[name, "refused"] += 1
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        log.warning("%s refused: %s: %s", place, letter.reason, letter)

    async def _write(self, record: Outgoing) -> None:
        await (await self._ports.producer.send(record))

    def _lock(self, video: str) -> asyncio.Lock:
        """Return the lock of a video: events of several topics may meet in it."""
        return self._locks.setdefault(video, asyncio.Lock())

    # ------------------------------------------------------------------ policy

    async def _broadcast(self, policy: PolicyRules) -> None:
        """Write the policy to every partition; returns when all are acknowledged."""
        now_ms = _now_ms()
        self._policy_seq = max(self._policy_seq + 1, now_ms * 1000)
        record = policy.record(self._policy_seq, now_ms)
        topic = self._settings.topic("interactions")
        for partition in range(self._partitions):
            await self._write(control_record(topic, record, self._secret.reveal, partition))
        log.info("policy %s is in %d partitions", policy.version, self._partitions)

    async def _watch_files(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self._reload()
            except Halt as error:
                log.error("the rules in force stay: %s", error)  # noqa: TRY400 - one line says it
            except Exception as error:  # noqa: BLE001 - whatever it is, the agents go on
                self._files = ()  # looked at again
                log.warning("the rules in force stay for now: %s", error)

    async def _reload(self) -> None:
        files = _fingerprint(self._folder)
        if files == self._files:
            return
        self._files = files
        rules = await asyncio.to_thread(load_rules, self._folder)
        if rules.policy.version != self._rules.policy.version:
            # first the policy: an admission may name a slice that only the new one has
            await self._broadcast(rules.policy)
        self._rules = rules
        log.info("took up the changed rules, policy %s", rules.policy.version)

    # ------------------------------------------------------------------ Faust

    async def _keep_running(self) -> None:
        """Start Faust anew whenever it gave up."""
        pause = 0.5
        while True:
            await asyncio.sleep(pause)
            app = self._app
            if app is not None and not app.crashed:
                pause = 0.5
                continue
            log.error("starting again: Faust gave up: %s", app.crash_reason if app else "no broker")
            await self._stop_app()
            pause = min(pause * 2, LONGEST_PAUSE_S)
            try:
                await self._start_app()
            except Exception as error:  # noqa: BLE001 - Faust and aiokafka raise anything here
                await self._stop_app()
                log.warning("Faust does not start yet: %s", error)

    async def _start_app(self) -> None:
        handlers: dict[str, Handler] = {name: partial(self._take, name) for name in TOPICS}
        self._app = new_app(self._settings, {**handlers, "decisions": self._index})
        await self._app.start()

    async def _stop_app(self) -> None:
        app, self._app = self._app, None
        if app is None:
            return
        # waited for, not cancelled: Faust swallows a cancellation and goes on stopping
        stopping = asyncio.create_task(app.stop(), name="control-stop")
        done, _ = await asyncio.wait({stopping}, timeout=STOP_S)
        error = stopping.exception() if done else TimeoutError(f"not within {STOP_S:.0f} s")
        if error is not None:
            log.error("Faust did not stop in order: %s", error)


def _receipt(value: bytes | None, limit: int) -> Receipt:
    """Decode one record of `decisions`; `DeadLetter` if it cannot be used."""
    if value is not None and len(value) > limit:
        raise DeadLetter("too_large", f"{len(value)} bytes, {limit} allowed")
    try:
        receipt: Receipt = receipts.decode(value)  # type: ignore[arg-type] # None is sorted out
    except PARSER_ERRORS as error:
        raise classify(error, value) from None
    if not is_slice(receipt.slice):
        raise DeadLetter("slice", "slice is not surface:group")
    if receipt.video.encode().translate(None, ID_ALPHABET):
        raise DeadLetter("id", "video has a character outside A-Z a-z 0-9 _ -")
    return receipt


def _fingerprint(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and time of change of every file that rules are read from."""
    stats = [(path.name, path.stat()) for path in sorted(folder.glob("*.toml"))]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _report(fault: RecogniserFault) -> None:
    log.error("recogniser %s: %s", fault.source, fault.error)


def _check_place(event: Upload | Recognition | Review, record: Record) -> None:
    """Refuse an event that another control plane might handle too, or one from the future."""
    if record.key != event.video.encode():
        raise DeadLetter("misrouted", "the record's key is not its video")
    if event.ts > record.timestamp + FUTURE_MS:
        ahead = f"ts is more than {FUTURE_MS // 1000} s ahead of the record's timestamp"
        raise DeadLetter("future", ahead)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

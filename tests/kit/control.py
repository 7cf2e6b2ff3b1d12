"""Control planes over the twins in memory, without Faust: what it would read is handed over."""

import itertools
import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kit.keys import INSTALLATION, SIGNER, SPELLING
from kit.twins import CONFIG, LOG, World, counted
from streams.control.admission import dossier
from streams.control.admission.copies import Copies
from streams.control.admission.dossier import Dossier
from streams.control.admission.recovery import Recovery
from streams.control.admission.register import TOPICS, Register
from streams.control.log import ControlLog, Ports
from streams.control.metrics import ControlMetrics
from streams.control.policy.broadcast import Broadcast
from streams.control.policy.keeper import Keeper
from streams.control.policy.leader import Leader
from streams.control.rules import RulesInForce, load_rules
from streams.core.counters import VIDEO_ROW, Video, load_video
from streams.core.events import (
    ControlRecord,
    Policy,
    Recognition,
    Upload,
)
from streams.core.keys import Trust, read_trust
from streams.core.partitioner import partition_of
from streams.core.words import Review
from streams.ops.waiting import waiting_rows
from streams.runtime.codec import ControlTopic, decode_log
from streams.runtime.documents import read_copy
from streams.runtime.installation import installation_record
from streams.runtime.kafka import background
from streams.runtime.memory import (
    MemoryCluster,
    MemoryConsumer,
    MemoryDossiers,
    MemoryProducer,
    MemoryReader,
    MemoryServingIndex,
)
from streams.runtime.ports import Document, Outgoing, Record
from streams.runtime.signing import Signer, encode

NOW: Final = 1_700_000_000_000
RULES: Final[RulesInForce] = load_rules(CONFIG)
_TOPIC: Final[dict[type, ControlTopic]] = {
    Upload: "uploads",
    Recognition: "recognitions",
    Review: "reviews",
}


def upload(video: str = "v1", *, title: str = "周末足球赛 #football", **more: Any) -> Upload:
    """Return an upload that the shipped gate approves."""
    named = {"id": f"u-{video}", "creator": "c1", "ts": NOW, "duration_ms": 15_000}
    return Upload(video=video, title=title, **({"hashtags": ("足球",)} | named | more))


def review(verdict: Any, video: str = "v1", *, name: str = "m1", ts: int = NOW) -> Review:
    """Return a moderator's verdict."""
    return Review(name, video, ts, verdict, "moderator")


class Office:
    """A world with the control plane's topics and its memory; outlives its control planes."""

    def __init__(self, partitions: int = 2) -> None:
        self.world: Final = World(partitions)
        self.dossiers = MemoryDossiers()
        self._groups = itertools.count()
        for topic in (*TOPICS, "traffic"):
            self.world.log.create(topic, partitions)
            self.world.log.create(f"{topic}.dlq", partitions)
        self.world.log.create("policies", 1)
        self.world.log.create("mix", 1)
        self.world.log.create("dossiers", partitions)
        self.world.log.append(installation_record(self.world.settings, INSTALLATION))

    def bring(
        self,
        *events: Upload | Recognition | Review,
        partition: int | None = None,
        signer: Signer | None = None,
    ) -> None:
        """Write events to their topics, where murmur2 or `partition` puts them."""
        for event in events:
            key, value = event.video.encode(), encode(event)
            headers = [] if signer is None else [signer.header(key, value)]
            self.world.log.append(Outgoing(_TOPIC[type(event)], value, key, headers, partition))

    def said(self, video: str = "v1") -> list[str]:
        """Return the kinds of a video's records in the log, in order, whoever signed them."""
        partition = partition_of(video.encode(), self.world.partitions)
        records = self.world.log.records(LOG, partition)
        named = [dict_of(r)["id"].split("-")[0] for r in records if r.key == video.encode()]
        return [str(name) for name in named]

    def controls(self) -> list[ControlRecord]:
        """Return all records of the log that bear the right signature."""
        records = self.world.sent(LOG)
        return list(decode_log(records, INSTALLATION.trust(), SPELLING).events)  # type: ignore[arg-type]

    def policies(self) -> list[Policy]:
        """Return the policies in the log, partition by partition."""
        return [one for one in self.controls() if isinstance(one, Policy)]

    def in_force(self) -> list[Policy]:
        """Return the policy that each partition has in force."""
        metas = [self.world.meta(each).policy for each in range(self.world.partitions)]
        return [msgspec.json.decode(raw, type=Policy) for raw in metas]

    def trust(self, partition: int) -> Trust:
        """Return who may sign and lead in a partition, as it is counted."""
        return read_trust(self.world.meta(partition).keys)

    def row(self, video: str = "v1") -> Video:
        """Return what the counters know of a video."""
        partition = partition_of(video.encode(), self.world.partitions)
        fields = self.world.store.partitions[partition].rows.get(video, {})
        return load_video(video, {k: raw for k, raw in fields.items() if k == VIDEO_ROW}).row

    def known(self, video: str = "v1") -> Dossier | None:
        """Return a video's dossier as it is stored."""
        document = self.document(video)
        return None if document is None else dossier.decode(document.text)

    def document(self, video: str = "v1") -> Document | None:
        """Return what is stored of a video."""
        return self.dossiers.shelves[
            partition_of(video.encode(), self.world.partitions)
        ].documents.get(video)

    def documents(self) -> dict[str, Document]:
        """Return all that is stored of videos."""
        return {
            v: one for shelf in self.dossiers.shelves.values() for v, one in shelf.documents.items()
        }

    def copies(self, video: str = "v1") -> list[int]:
        """Return the revisions of a video's copies, in order."""
        read = [read_copy(record) for record in self.world.sent("dossiers")]
        return [one[1].revision for one in read if one is not None and one[0] == video]

    async def waiting(self) -> list[tuple[str, str]]:
        """Return video and cause of all that waits, the longest first."""
        rows = await waiting_rows(MemoryReader(self.world.log), self.world.settings, NOW)
        return [(row["video"], row["cause"]) for row in rows]

    def refused(self, topic: str) -> list[str]:
        """Return the reasons of a topic's dead letters."""
        letters = self.world.sent(f"{topic}.dlq")
        return [dict(letter.headers)["__streams.errors.reason"].decode() for letter in letters]

    def flush(self) -> None:
        """Lose everything that Redis held."""
        self.dossiers.shelves.clear()
        self.world.store.partitions.clear()

    async def count(self) -> None:
        """Let a worker count the whole log, as one whose group was forgotten."""
        await counted(self.world, group=f"workers-{next(self._groups)}")


def dict_of(record: Record) -> dict[str, Any]:
    """Return a record's JSON."""
    value: dict[str, Any] = json.loads(record.value or b"{}")
    return value


class Process:
    """One control plane: its parts as `ControlPlane` joins them, and what it read so far."""

    def __init__(
        self,
        office: Office,
        *,
        signer: Signer = SIGNER,
        rules: RulesInForce = RULES,
        files: Policy | None = None,
        keeper: Keeper[Any] | None = None,
        **ports: Any,
    ) -> None:
        self.office: Final = office
        self.rules = rules
        world = office.world
        given = {"dossiers": office.dossiers, "store": world.store}
        given |= {"index": MemoryServingIndex()}
        given |= {"producer": MemoryProducer(world.log)}
        given |= {"reader": MemoryReader(world.log), "cluster": MemoryCluster(world.log)}
        given |= {"background": background}
        group = world.settings.keeper_group
        given |= {"member": lambda: MemoryConsumer(world.log, "traffic", group)}
        self.ports = Ports(**(given | ports))
        identity = world.log.identity(LOG)
        self.log = ControlLog(world.settings, signer, self.ports, identity, INSTALLATION)
        self.metrics = ControlMetrics()
        tools = lambda: self.rules.tools  # noqa: E731 - rules may be replaced
        parts = (world.settings, self.log)
        self.copies = Copies(*parts, self.ports, tools, self.metrics)
        self.register = Register(*parts, self.ports.dossiers, self.copies, tools, self.metrics)
        self.recovery = Recovery(*parts, self.ports, self.register, self.copies, self.metrics)
        self.now_s = 0.0
        self.broadcast = Broadcast(self.log, self.ports, self.metrics, lambda: self.now_s)
        self.files = RULES.policy.draft if files is None else files
        movers = [] if keeper is None else [keeper]
        self.leader = Leader(
            world.settings, self.log, self.ports, self.broadcast, self.files, movers
        )

    async def start(self) -> "Process":
        """Start in order; what has to be read again is learned once a worker counted the log."""
        await self.broadcast.states()
        behind = await self.recovery.look()
        await self.leader.start()
        if behind:
            await self.leader.repeat()
            await self.office.count()
            await self.recovery.run()
        return self

    async def step(self, seconds: float = 1.0) -> None:
        """Let time pass, a worker count the log, and the leader take its turn."""
        self.now_s += seconds
        await self.office.count()
        await self.leader.step()

    async def die(self) -> None:
        """End without another word; the group notices."""
        await self.leader.stop()

    async def work(self) -> None:
        """Handle all that the topics hold behind the stored positions, and commit it."""
        log = self.office.world.log
        for topic in TOPICS:
            for partition in range(self.office.world.partitions):
                positions = await self.register.positions()
                position = positions.get((topic, partition), 0)
                records: Sequence[Record] = log.read(topic, partition, position, 1_000)
                if records:
                    await self.register.handle(topic, records)
                    committed = log.group(self.log.group, topic).positions
                    committed[partition] = records[-1].offset + 1

    async def take(self, *events: Upload | Recognition | Review) -> None:
        """Bring events and handle them."""
        self.office.bring(*events)
        await self.work()

"""The control plane on a broker, the embedded and the real one: from an upload to the log."""

import asyncio
import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from kit.keys import INSTALLATION, KEY, SPELLING, STRANGER, TRUST, announce
from kit.patience import PATIENCE_S, until
from kit.servers import create_topics, delete_topics
from mode.threads import QueueServiceThread, WorkerThread
from prometheus_client import CollectorRegistry

from streams.cli.wiring import electing
from streams.control.admission import dossier
from streams.control.admission.acknowledged import FellBack
from streams.control.agents import FaustApp, new_app
from streams.control.app import ControlPlane
from streams.control.log import Ports
from streams.control.metrics import ControlMetrics
from streams.core.events import (
    Admit,
    ControlRecord,
    Policy,
    Takedown,
    Upload,
)
from streams.core.fold import fold
from streams.core.partition_control import Lead
from streams.core.partitioner import partition_of
from streams.core.state import FRESH, Changes, PartitionState
from streams.core.words import Review
from streams.embedded import EmbeddedBroker
from streams.errors import Halt, Retry, Unreachable
from streams.runtime.codec import decode_log
from streams.runtime.ending import end
from streams.runtime.kafka import KafkaCluster, KafkaProducer, KafkaReader, background
from streams.runtime.letters import read_letter
from streams.runtime.memory import MemoryServingIndex
from streams.runtime.memory.dossiers import MemoryDossiers
from streams.runtime.memory.store import MemoryStore
from streams.runtime.namespace import namespace_of
from streams.runtime.ports import DossierChange, Kept, Move, Outgoing, Place, Record
from streams.runtime.signing import encode
from streams.settings import TOPICS, Settings, load_settings

PARTITIONS = 2
SESSION_MS = 2_000
"""What a group waits for a member that left without a word, as some here do."""
CONFIG = Path("config")


class Stage:
    """A broker's topics with a prefix of their own, and what the control plane writes to."""

    def __init__(self, brokers: str, prefix: str, folder: Path) -> None:
        given: dict[str, object] = {"brokers": brokers, "topic_prefix": f"{prefix}."}
        given |= {"group": prefix, "session_timeout_ms": SESSION_MS}
        self.settings: Settings = load_settings(folder, given, {})
        self.folder = folder
        self.producer = KafkaProducer(brokers)
        self.reader = KafkaReader(brokers)
        self.topics = KafkaReader(brokers)
        self.dossiers = BrittleDossiers()
        self.store = MemoryStore()
        self.planes: list[ControlPlane] = []

    async def plane(self, **changes: Any) -> ControlPlane:
        """Return a control plane that runs; stopped at the end of the test."""
        ports = Ports(
            changes.get("producer", self.producer),
            changes.get("dossiers", self.dossiers),
            self.store,
            MemoryServingIndex(),
            self.topics,
            KafkaCluster(self.settings.brokers),
            background,
            partial(electing, self.settings),
        )
        made = ControlPlane(
            self.settings,
            changes.get("key", KEY),
            ports,
            self.folder,
            metrics=ControlMetrics(),
            poll_s=0.05,
        )
        self.planes.append(made)
        await made.start()
        return made

    async def send(self, topic: str, video: str, value: bytes | None, **more: Any) -> None:
        record = Outgoing(self.settings.topic(topic), value, video.encode(), **more)
        await (await self.producer.send(record))

    async def records(self, topic: str) -> Sequence[Record]:
        """Return everything that stands in a topic now, partition by partition."""
        name = self.settings.topic(topic)
        bounds = await self.reader.offsets(name, range(PARTITIONS))
        self.reader.assign({(name, at): bound.start for at, bound in bounds.items()})
        found: list[Record] = []
        while len(found) < sum(bound.end for bound in bounds.values()):
            for batch in (await self.reader.fetch(200, 1_000)).values():
                found.extend(batch)
        return found

    async def controls(self, video: str | None = None) -> list[ControlRecord]:
        """Return the signed records of the log: a video's, or the policies."""
        key = None if video is None else video.encode()
        found: list[Any] = []
        for record in await self.records("interactions"):
            decoded = decode_log([record], TRUST, SPELLING)
            assert decoded.refusals == []
            found += decoded.events if record.key == key else []
        return found

    async def policies(self) -> list[Policy]:
        """Return the policies of the log, partition by partition."""
        return [one for one in await self.controls() if isinstance(one, Policy)]

    async def count(self) -> None:
        """Fold the whole log into the store, as a worker would."""
        topic = self.settings.topic("interactions")
        identity = await KafkaCluster(self.settings.brokers).identity(topic)
        namespace = namespace_of(identity, INSTALLATION.id)
        records = await self.records("interactions")
        for partition in range(PARTITIONS):
            own = [record for record in records if record.partition == partition]
            state = PartitionState(partition, PARTITIONS, 1_000)
            decoded = decode_log(own, TRUST, SPELLING)
            for video in state.missing(decoded.events):
                state.load(video, {})
            fold(state, decoded.events, decoded.offsets, decoded.elements)
            await self.store.erase(partition)
            end = own[-1].offset
            await self.store.flush(partition, namespace, -1, end, state.take_changes())

    async def close(self) -> None:
        for plane in self.planes:
            await plane.stop()
        await self.reader.stop()
        await self.topics.stop()
        await self.producer.stop()


class BrittleDossiers(MemoryDossiers):
    """Dossiers whose next writes can be made to fail, or to hang, after so many more.

    `calls` counts round trips.
    """

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.calls = 0
        self.fail_after: int | None = None
        self.hang = False
        self.hanging = asyncio.Event()

    async def read(self, partition: int, log: str, videos: Sequence[str]) -> Kept:
        self.calls += bool(videos)
        if self.away:
            raise Retry("the store is away")
        return await super().read(partition, log, videos)

    async def put(
        self,
        partition: int,
        log: str,
        changes: Sequence[DossierChange],
        moves: Mapping[str, Move],
    ) -> Literal["ok", "conflict", "behind"]:
        self.calls += 1
        if self.fail_after is not None:
            if self.fail_after == 0:
                if self.hang:
                    self.hanging.set()
                    await asyncio.Event().wait()
                self.fail_after = None
                raise Retry("the store is away")
            self.fail_after -= 1
        return await super().put(partition, log, changes, moves)

    def known(self, video: str) -> dossier.Dossier | None:
        shelf = self.shelves[partition_of(video.encode(), PARTITIONS)]
        document = shelf.documents.get(video)
        return None if document is None else dossier.decode(document.text)

    def has_told(self, video: str) -> bool:
        """Tell whether the log has all that is known of a video; a dossier is there before."""
        known = self.known(video)
        return known is not None and not known.owes


TABLES = ("policies", "mix")


def topics_of(prefix: str) -> dict[str, int]:
    """Return the partition count of every topic under a prefix."""
    names = [f"{prefix}.{name}{end}" for name in TOPICS for end in ("", ".dlq")]
    names += [f"{prefix}.waiting", f"{prefix}.dossiers"]
    return dict.fromkeys(names, PARTITIONS) | {f"{prefix}.{name}": 1 for name in TABLES}


def settings_of(prefix: str) -> Settings:
    return load_settings(CONFIG, {"topic_prefix": f"{prefix}."}, {})


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.real)])
def broker(request: pytest.FixtureRequest, unique: str) -> Iterator[str]:
    """A broker that has the topics under the prefix `unique`."""
    names = [f"{unique}.{name}{end}" for name in TOPICS for end in ("", ".dlq")]
    if request.param == "embedded":
        with EmbeddedBroker(topics_of(unique)) as embedded:
            announce(embedded.bootstrap, settings_of(unique))
            yield embedded.bootstrap
        return
    brokers: str = request.getfixturevalue("brokers")
    compact = {"cleanup.policy": "compact"}
    topics: dict[str, dict[str, str]] = {name: {} for name in names}
    topics |= {f"{unique}.{name}": compact for name in ("waiting", "dossiers")}
    create_topics(brokers, topics, PARTITIONS)
    create_topics(brokers, {f"{unique}.{name}": compact for name in TABLES})
    announce(brokers, settings_of(unique))
    yield brokers
    delete_topics(brokers, unique)  # asked for too late for `unique` to know of them


@pytest.fixture
async def stage(broker: str, unique: str, tmp_path: Path) -> AsyncIterator[Stage]:
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    made = Stage(broker, unique, folder)
    await made.producer.start()
    await made.reader.start()
    await made.topics.start()
    try:
        yield made
    finally:
        await made.close()


def upload(video: str = "v1", **changes: Any) -> bytes:
    return encode(
        Upload(
            id=f"u-{video}",
            video=video,
            creator="c1",
            ts=time.time_ns() // 1_000_000,
            duration_ms=15_000,
            title=changes.pop("title", "周末足球赛 #football"),
            hashtags=("足球",),
            **changes,
        )
    )


def verdict(word: Any, video: str = "v1") -> bytes:
    return encode(Review(f"m-{word}", video, time.time_ns() // 1_000_000, word, "moderator"))


async def test_an_upload_is_admitted_in_the_log_that_already_has_the_policy(stage: Stage) -> None:
    plane = await stage.plane()
    kinds = Counter(type(record) for record in await stage.controls())
    assert kinds == {Lead: PARTITIONS, Policy: PARTITIONS}
    assert {policy.version for policy in await stage.policies()} == {plane.policy_version}
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    (admit,) = await stage.controls("v1")
    assert isinstance(admit, Admit)
    assert admit.id == "admit-u-v1"
    assert {"following:fans", "discover:football"} <= admit.fits.keys()
    (record,) = [r for r in await stage.records("interactions") if r.key == b"v1"]
    assert record.partition == partition_of(b"v1", PARTITIONS)


@pytest.mark.real
@pytest.mark.parametrize("broker", ["real"], indirect=True)
async def test_what_was_read_before_the_group_began_is_no_lag_of_it(stage: Stage) -> None:
    """A first control plane learns what the topics hold already, apart from its group."""
    await stage.send("uploads", "v1", upload())
    plane = await stage.plane()
    await stage.count()
    place = (stage.settings.topic("uploads"), partition_of(b"v1", PARTITIONS))
    cluster = KafkaCluster(stage.settings.brokers)

    async def is_committed() -> bool:
        with suppress(Retry):
            return (await cluster.committed(stage.settings.control_group)).get(place) == 1
        return False

    await until(is_committed)
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 2)


async def test_a_reject_takes_a_video_down_and_a_repeat_says_nothing_again(stage: Stage) -> None:
    plane = await stage.plane()
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    for _ in range(2):
        await stage.send("reviews", "v1", verdict("reject"))
        await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["reviews", "handled"] >= 2)
    await until(lambda: plane.outcomes["uploads", "handled"] >= 3)
    assert [type(record) for record in await stage.controls("v1")] == [Admit, Takedown]


async def test_a_bad_record_goes_to_the_dead_letters_as_it_was_and_stops_nobody(
    stage: Stage,
) -> None:
    plane = await stage.plane()
    headers = [("trace", b"1"), ("trace", b"2")]
    bad = b'{"type":"upload","id":"u\\u0000"}'
    await stage.send("uploads", "v1", bad, headers=headers, timestamp=1_700_000_000_123)
    await stage.send("uploads", "v1", None)
    await stage.send("uploads", "elsewhere", upload("v1"))
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    await until(lambda: plane.outcomes["uploads", "refused"] >= 3)
    letters = {reason_of(letter): letter for letter in await stage.records("uploads.dlq")}
    assert letters.keys() == {"missing", "tombstone", "misrouted"}
    letter = letters["missing"]
    assert (letter.value, letter.key) == (bad, b"v1")
    assert list(letter.headers)[:2] == headers
    said = read_letter(letter)
    assert said is not None
    assert said.timestamp == 1_700_000_000_123  # retention goes by the letter's own
    assert letter.timestamp > said.timestamp
    assert letters["tombstone"].value is None


async def test_an_event_from_the_future_would_win_for_ever_and_is_refused(stage: Stage) -> None:
    plane = await stage.plane()
    ahead = Review("m1", "v1", 4_000_000_000_000, "approve", "moderator")
    await stage.send("reviews", "v1", encode(ahead))
    await until(lambda: plane.outcomes["reviews", "refused"] >= 1)
    assert [reason_of(one) for one in await stage.records("reviews.dlq")] == ["future"]


def reason_of(letter: Record) -> str:
    return dict(letter.headers)["__streams.errors.reason"].decode()


@pytest.mark.parametrize("writes", [0, 1])
async def test_a_store_that_fails_between_record_and_dossier_costs_nothing(
    stage: Stage, writes: int
) -> None:
    plane = await stage.plane()
    stage.dossiers.fail_after = writes
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    assert plane.outcomes["uploads", "retried"] == 1
    admits = await stage.controls("v1")
    assert len(admits) == 1 + writes
    known = stage.dossiers.known("v1")
    assert known is not None
    assert (known.state, known.unsent) == ("public", ())
    assert stage_in_the_fold(await stage.records("interactions")) == ("public", 1)


def stage_in_the_fold(records: Sequence[Record]) -> tuple[str, int]:
    """Return the stage of v1 after its own records and the policy, and how often it was opened."""
    partition = partition_of(b"v1", PARTITIONS)
    own = [r for r in records if r.partition == partition and r.key in {None, b"v1"}]
    decoded = decode_log(own, TRUST, SPELLING)
    state = PartitionState(partition, PARTITIONS, 1_000)
    state.load("v1", {})
    effects = fold(state, decoded.events, decoded.offsets, decoded.elements)
    assert effects.rejected == []
    opened = [one for one in effects.receipts if one.action == "open"]
    return state.videos["v1"].row.stage, len(opened)


async def test_an_event_in_work_comes_again_to_the_next_control_plane(stage: Stage) -> None:
    first = await stage.plane()
    await stage.send("uploads", "v0", upload("v0"))
    await until(lambda: first.outcomes["uploads", "handled"] >= 1)
    stage.dossiers.fail_after, stage.dossiers.hang = 1, True
    await stage.send("uploads", "v1", upload())
    await stage.dossiers.hanging.wait()
    await first.stop()
    stage.dossiers.fail_after = None
    second = await stage.plane()
    await until(lambda: second.outcomes["uploads", "handled"] >= 1)
    await second.stop()
    assert stage_in_the_fold(await stage.records("interactions")) == ("public", 1)
    third = await stage.plane()
    await stage.send("uploads", "v2", upload("v2"))
    await until(lambda: third.outcomes["uploads", "handled"] >= 1)
    assert third.outcomes.total() == 1  # what was done is committed
    assert len(await stage.controls("v1")) == 2


async def test_an_event_that_never_succeeded_is_not_committed_at_the_stop(stage: Stage) -> None:
    first = await stage.plane()
    await stage.send("uploads", "v0", upload("v0"))
    await until(lambda: first.outcomes["uploads", "handled"] >= 1)
    stage.dossiers.away = True
    await stage.send("uploads", "v1", upload())
    await until(lambda: first.outcomes["uploads", "retried"] >= 1)
    await first.stop()
    stage.dossiers.away = False
    second = await stage.plane()
    await until(lambda: second.outcomes["uploads", "handled"] >= 1)
    assert len(await stage.controls("v1")) == 1


class HaltingProducer:
    """Refuses to write to one topic until told otherwise."""

    def __init__(self, producer: KafkaProducer, topic: str) -> None:
        self.producer, self.topic, self.away = producer, topic, True

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, record: Outgoing) -> Awaitable[None]:
        if self.away and record.topic == self.topic:
            raise Retry("no leader")
        return await self.producer.send(record)


async def test_a_bad_record_waits_for_the_dead_letters_to_take_it(stage: Stage) -> None:
    producer = HaltingProducer(stage.producer, stage.settings.dead_letters("uploads"))
    plane = await stage.plane(producer=producer)
    await stage.send("uploads", "v1", b"{")
    await until(lambda: plane.outcomes["uploads", "retried"] >= 2)
    assert plane.outcomes["uploads", "refused"] == 0
    producer.away = False
    await until(lambda: plane.outcomes["uploads", "refused"] >= 1)
    assert len(await stage.records("uploads.dlq")) == 1


async def test_the_start_fails_when_the_policy_cannot_be_written(stage: Stage) -> None:
    producer = HaltingProducer(stage.producer, stage.settings.topic("interactions"))
    with pytest.raises(Retry, match="no leader"):
        await stage.plane(producer=producer)
    assert not faust_threads()


async def test_a_changed_policy_is_broadcast_with_a_higher_number(stage: Stage) -> None:
    plane = await stage.plane()
    before = plane.policy_version
    path = stage.folder / "policy.toml"
    path.write_text(path.read_text("utf-8").replace('"launch"', '"bolder"'), "utf-8")
    await until(lambda: plane.policy_version.startswith("bolder-"))

    async def is_written() -> bool:
        return len(await stage.policies()) >= 2 * PARTITIONS

    await until(is_written)
    policies = await stage.policies()
    assert sorted(one.version for one in policies) == sorted(
        [before, plane.policy_version] * PARTITIONS
    )
    assert all(
        one.seq > other.seq
        for one in policies
        for other in policies
        if (one.version, other.version) == (plane.policy_version, before)
    )


async def test_files_with_a_mistake_are_logged_and_the_rules_in_force_stay(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    plane = await stage.plane()
    with caplog.at_level(logging.ERROR, "streams.control"):
        (stage.folder / "policy.toml").write_text("name = 5", "utf-8")
        await until(lambda: "the rules in force stay" in caplog.text)
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    assert len(await stage.controls("v1")) == 1


async def test_changed_rules_are_asked_from_the_next_event_on(stage: Stage) -> None:
    plane = await stage.plane()
    path = stage.folder / "review.toml"
    rule = '[[rule]]\nname = "none"\nverdict = "wait"\nreason = "r"\nduration_ms = { min = 1 }\n'
    path.write_text(rule, "utf-8")
    await until(lambda: len(plane._rules.tools.gate.rules) == 1)
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    assert await stage.controls("v1") == []


async def test_a_wrong_file_stops_the_start(stage: Stage) -> None:
    (stage.folder / "slices.toml").write_text("default = 5", "utf-8")
    with pytest.raises(Halt, match=r"slices\.toml"):
        await stage.plane()


async def test_topics_of_another_partition_count_refuse_the_start(unique: str) -> None:
    with EmbeddedBroker(topics_of(unique) | {f"{unique}.reviews": PARTITIONS + 1}) as broker:
        stage = Stage(broker.bootstrap, unique, CONFIG)
        await stage.producer.start()
        await stage.topics.start()
        try:
            with pytest.raises(Halt, match=r"reviews has 3 partitions and the log has 2") as halt:
                await stage.plane()
        finally:
            await stage.close()
        assert halt.value.code == "topic_conflict"
    assert not faust_threads()


async def test_a_key_that_does_not_count_here_refuses_the_start(stage: Stage) -> None:
    with pytest.raises(Halt, match=r"does not count in installation .* `streams keys add") as halt:
        await stage.plane(key=STRANGER)
    assert halt.value.code == "signing_key"
    assert await stage.controls() == []
    assert not stage.dossiers.shelves
    assert not faust_threads()


async def test_counters_of_another_installation_refuse_the_start(stage: Stage) -> None:
    identity = await KafkaCluster(stage.settings.brokers).identity(
        stage.settings.topic("interactions")
    )
    namespace = namespace_of(identity, "fedcba9876543210")
    await stage.store.flush(1, namespace, -1, 0, Changes(0, {}, FRESH))
    with pytest.raises(Halt, match="partition 1: its counters differ in installation"):
        await stage.plane()
    assert await stage.controls() == []
    assert not stage.dossiers.shelves
    assert not faust_threads()


async def test_an_event_in_another_partition_than_its_videos_is_misrouted(stage: Stage) -> None:
    plane = await stage.plane()
    elsewhere = 1 - partition_of(b"v1", PARTITIONS)
    await stage.send("uploads", "v1", upload(), partition=elsewhere)
    await until(lambda: plane.outcomes["uploads", "refused"] >= 1)
    assert [reason_of(one) for one in await stage.records("uploads.dlq")] == ["misrouted"]


async def test_an_emptied_store_is_noticed_and_its_dossiers_come_back(stage: Stage) -> None:
    plane = await stage.plane()
    await stage.send("uploads", "v1", upload())
    await stage.send("reviews", "v1", verdict("limit"))
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    await until(lambda: plane.outcomes["reviews", "handled"] >= 1)
    said = await stage.controls("v1")
    stage.dossiers.shelves.clear()
    await stage.count()
    await until(lambda: stage.dossiers.known("v1") is not None)
    await until(lambda: plane.outcomes["reviews", "handled"] >= 2)
    assert await stage.controls("v1") == said
    assert len(await stage.policies()) == 2 * PARTITIONS  # one policy behind what must be counted
    await stage.send("reviews", "v1", verdict("approve"))
    await until(lambda: plane.outcomes["reviews", "handled"] >= 3)
    assert len(await stage.controls("v1")) == len(said) + 2


async def test_a_loss_that_comparing_finds_is_mended_too(stage: Stage) -> None:
    plane = await stage.plane()

    async def short() -> None:
        raise FellBack("Redis holds claims[0] up to 6, it had acknowledged 7")

    plane._recovery.compare = short  # type: ignore[method-assign]
    await plane._audit()
    assert plane._metrics.rollbacks._value.get() == 1
    await until(lambda: plane.unready() == [])


async def test_a_start_reads_from_where_the_dossiers_are_not_from_the_commit(
    stage: Stage,
) -> None:
    names = (f"v{number}" for number in range(1, 99))
    home = partition_of(b"v1", PARTITIONS)
    one, other, last = islice((n for n in names if partition_of(n.encode(), PARTITIONS) == home), 3)
    first = await stage.plane()
    await stage.send("uploads", one, upload(one))
    await until(lambda: first.outcomes["uploads", "handled"] >= 1)
    await first.stop()
    await stage.send("uploads", other, upload(other))
    (log,) = stage.dossiers.shelves[home].positions
    await stage.dossiers.hold(home, log, {stage.settings.topic("uploads"): 2})
    second = await stage.plane()
    await stage.send("uploads", last, upload(last))
    await until(lambda: second.outcomes["uploads", "handled"] >= 1)
    assert stage.dossiers.known(last) is not None
    assert stage.dossiers.known(other) is None


async def test_a_start_reads_again_what_is_committed_and_not_in_the_dossiers(stage: Stage) -> None:
    first = await stage.plane()
    await stage.send("uploads", "v1", upload())
    await until(lambda: first.outcomes["uploads", "handled"] >= 1)
    await first.stop()
    home = partition_of(b"v1", PARTITIONS)
    (log,) = stage.dossiers.shelves[home].positions
    stage.dossiers.shelves[home].positions[log][stage.settings.topic("uploads")] = 0
    await stage.count()
    second = await stage.plane()
    await until(lambda: second.outcomes["uploads", "handled"] >= 1)


async def test_partitions_just_taken_over_are_compared_with_their_copies_first(
    stage: Stage,
) -> None:
    first = await stage.plane()
    await stage.send("uploads", "v1", upload())
    await until(lambda: first.outcomes["uploads", "handled"] >= 1)
    shelf = stage.dossiers.shelves[partition_of(b"v1", PARTITIONS)]
    older = shelf.documents["v1"]
    await stage.send("reviews", "v1", verdict("limit"))
    await until(lambda: first.outcomes["reviews", "handled"] >= 1)
    await first.stop()
    shelf.documents["v1"] = older  # a Redis that was behind took over
    for positions in shelf.positions.values():
        positions[stage.settings.topic("dossiers")] = 0
    second = await stage.plane()
    await stage.send("uploads", "v1", upload(title="rain"))
    await until(lambda: second.outcomes["uploads", "handled"] >= 1)
    known = stage.dossiers.known("v1")
    assert known is not None
    assert known.verdict is not None
    assert known.announced.audience == "followers"


async def test_metrics_tell_what_became_of_the_records(stage: Stage) -> None:
    plane = await stage.plane()
    await stage.send("uploads", "v1", upload())
    await stage.send("uploads", "v1", b"{")
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    await until(lambda: plane.outcomes["uploads", "refused"] >= 1)
    registry = CollectorRegistry()
    registry.register(plane._metrics.events)
    registry.register(plane._metrics.letters)
    value = registry.get_sample_value
    for outcome in ("handled", "refused"):
        labels = {"topic": "uploads", "outcome": outcome}
        assert value("streams_control_events_total", labels) == 1
    assert value("streams_control_letters_total", {"topic": "uploads", "reason": "json"}) == 1


async def test_a_control_plane_is_ready_while_it_reads_and_stuck_when_a_loop_of_its_own_ended(
    stage: Stage,
) -> None:
    plane = await stage.plane()
    assert (plane.stuck(), plane.unready()) == ([], [])
    (files,) = [task for task in plane._tasks if task.get_name() == "control-files"]
    files.cancel()
    await asyncio.wait([files])
    assert plane.stuck() == ["control-files has ended"]
    await plane.stop()
    assert plane.unready() == ["control plane: it does not read yet"]


async def test_a_control_plane_is_not_ready_while_faust_starts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may = asyncio.Event(), asyncio.Event()
    start = FaustApp.start

    async def late(app: FaustApp) -> None:
        asked.set()
        await may.wait()
        await start(app)

    monkeypatch.setattr(FaustApp, "start", late)
    starting = asyncio.create_task(stage.plane())
    await asked.wait()
    (plane,) = stage.planes
    assert plane.unready() == ["control plane: it does not read yet"]
    may.set()
    await starting
    assert plane.unready() == []


async def test_faust_has_no_connection_to_write_by(stage: Stage) -> None:
    plane = await stage.plane()
    assert plane._app is not None
    assert plane._app.producer._producer is None


async def test_when_faust_gives_up_it_is_started_anew(stage: Stage) -> None:
    plane = await stage.plane()
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    assert plane._app is not None
    await plane._app.crash(RuntimeError("a failed commit"))
    await stage.send("uploads", "v2", upload("v2"))
    await until(lambda: stage.dossiers.known("v2") is not None)
    assert len(await stage.controls("v1")) == 1


async def closed(*_: object) -> None:
    raise RuntimeError("the handler is closed")


def lose_fetching(client: Any) -> None:
    client._fetcher._proc_fetch_request = closed


def lose_metadata(client: Any) -> None:
    client._client._metadata_update = closed
    client._client.force_metadata_update()


@pytest.mark.parametrize("lose", [lose_fetching, lose_metadata])
async def test_when_fausts_client_lost_a_task_faust_is_started_anew_and_admits_the_rest(
    stage: Stage, caplog: pytest.LogCaptureFixture, lose: Callable[[Any], None]
) -> None:
    plane = await stage.plane()
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    consumer: Any = plane._app and plane._app.consumer
    client = consumer._thread._consumer
    consumer.thread_loop.call_soon_threadsafe(lose, client)
    await stage.send("uploads", "v2", upload("v2"))
    await until(lambda: background.lost_task(client) is not None)
    await until(lambda: any("starting again" in one.getMessage() for one in caplog.records))
    await stage.send("uploads", "v3", upload("v3"))
    await until(lambda: stage.dossiers.has_told("v2") and stage.dossiers.has_told("v3"))
    assert len(await stage.controls("v1")) == 1
    for video in ("v2", "v3"):
        # what the old reader had in its hands as it ended may be admitted a second time
        assert {type(record) for record in await stage.controls(video)} == {Admit}
    (line,) = [one.getMessage() for one in caplog.records if "starting again" in one.getMessage()]
    assert "task ended: RuntimeError('the handler is closed')" in line
    assert not consumer.thread_loop.is_running()
    assert len(faust_threads()) == 1


async def test_stop_leaves_nothing_behind_and_may_be_called_twice(stage: Stage) -> None:
    await (await stage.plane()).stop()  # what it shares has its connections from now on
    tasks = asyncio.all_tasks()
    plane = await stage.plane()
    await stage.send("uploads", "v1", upload())
    await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    await plane.stop()
    await plane.stop()
    await until(lambda: len(asyncio.all_tasks()) <= len(tasks))
    assert not faust_threads()
    assert not list(Path.cwd().glob(f"{stage.settings.group}*"))


async def test_a_stop_while_the_group_rebalances_leaves_no_connection_open(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = FaustApp.on_stop

    async def rebalance_and_stop(app: Any) -> None:
        await app._on_partitions_revoked(set())
        for _ in range(9):  # whatever that began in this loop comes to its end
            await asyncio.sleep(0)
        await stop(app)

    monkeypatch.setattr(FaustApp, "on_stop", rebalance_and_stop)
    plane = await stage.plane()
    consumer: Any = plane._app and plane._app.consumer
    client = consumer._thread._consumer._client
    await until(lambda: len(client._conns) > 1)  # to a broker, and to the group's coordinator
    sockets = [one._writer.get_extra_info("socket") for one in client._conns.values()]
    await plane.stop()
    assert [one.fileno() for one in sockets] == [-1] * len(sockets)


async def test_stop_waits_for_a_faust_that_was_stopping_already(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = FaustApp.on_stop
    begun, go, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stop_late(app: Any) -> None:
        begun.set()
        await go.wait()
        await stop(app)

    monkeypatch.setattr(FaustApp, "on_stop", stop_late)
    plane = await stage.plane()
    leave = plane._leader.stop

    async def leave_and_tell() -> None:
        await leave()
        left.set()

    monkeypatch.setattr(plane._leader, "stop", leave_and_tell)
    assert plane._app is not None
    await plane._app.crash(RuntimeError("a failed commit"))
    await begun.wait()  # who starts it anew stops it first
    stopping = asyncio.create_task(plane.stop())
    await left.wait()
    for _ in range(9):
        await asyncio.sleep(0)
    is_done = stopping.done()
    go.set()
    await stopping
    assert not is_done
    assert not faust_threads()


async def nowhere() -> Mapping[Place, int]:
    return {}


async def test_stop_ends_a_thread_whose_start_was_cancelled_before_it_ran(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = threading.Event()

    class Late(WorkerThread):
        def run(self) -> None:
            assert begin.wait(PATIENCE_S)
            super().run()

    monkeypatch.setattr(QueueServiceThread, "Worker", Late)
    app = new_app(stage.settings, {}, nowhere, background)
    starting = asyncio.create_task(app.start())
    await until(lambda: bool(faust_threads()))
    await end(starting)
    thread, asked = app.consumer._thread, asyncio.Event()
    stop = thread.stop

    async def stop_and_tell() -> None:
        asked.set()
        await stop()

    monkeypatch.setattr(thread, "stop", stop_and_tell)
    stopping = asyncio.create_task(app.stop())
    await asked.wait()
    begin.set()
    await stopping
    try:
        assert not faust_threads()
    finally:
        await stop()


async def test_stop_ends_though_a_loop_swallows_that_it_is_to_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = asyncio.Event()

    async def swallow(_: ControlPlane) -> None:
        if busy.is_set():
            return
        busy.set()
        with suppress(asyncio.CancelledError):  # as `asyncio.wait_for` of Python 3.11 may
            await asyncio.Event().wait()

    monkeypatch.setattr(ControlPlane, "_mix", swallow)
    plane = await stage.plane()
    await busy.wait()
    async with asyncio.timeout(PATIENCE_S):
        await plane.stop()


async def test_stop_ends_in_time_while_the_broker_is_away(unique: str, tmp_path: Path) -> None:
    with EmbeddedBroker(topics_of(unique)) as broker:
        announce(broker.bootstrap, settings_of(unique))
        folder = tmp_path / "config"
        shutil.copytree(CONFIG, folder)
        stage = Stage(broker.bootstrap, unique, folder)
        await stage.producer.start()
        await stage.topics.start()
        plane = await stage.plane()
        await stage.send("uploads", "v1", upload())
        await until(lambda: plane.outcomes["uploads", "handled"] >= 1)
    async with asyncio.timeout(PATIENCE_S):
        await plane.stop()
    assert not faust_threads()
    await stage.close()


async def test_without_a_broker_the_start_says_so(unique: str, tmp_path: Path) -> None:
    with EmbeddedBroker(topics_of(unique)) as broker:
        announce(broker.bootstrap, settings_of(unique))
        stage = Stage(broker.bootstrap, unique, CONFIG)
        await stage.producer.start()
        await stage.topics.start()
        stage.settings = msgspec.structs.replace(stage.settings, brokers="127.0.0.1:1")
        with pytest.raises(Unreachable):
            await stage.plane()
        await stage.close()
    assert not faust_threads()


def faust_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, WorkerThread)]

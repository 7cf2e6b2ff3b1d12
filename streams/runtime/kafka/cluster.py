"""Topics and consumer groups: what exists, of which identity, and making it.

librdkafka's admin client, because aiokafka knows no topic ids; its futures are awaited. A client
remembers the cluster's controller for minutes, also one that is dead, and waits for it: so a
client that got no answer is not asked again, a new one asks whichever broker it reaches.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import IncompatibleBrokerVersion, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # re-exports unmarked
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from streams.errors import Denied, Halt, Retry, StreamsError, Unreachable
from streams.runtime.dependencies import KAFKA
from streams.runtime.kafka.background import begin
from streams.runtime.kafka.causes import explained
from streams.runtime.kafka.connection import address_of, aiokafka_options, librdkafka_options
from streams.runtime.kafka.errors import no_right, retryable, within_stop
from streams.runtime.ports import GroupMember, Place, TopicIdentity
from streams.security import KafkaAddress

QUESTION_S: Final = (2.0, 3.0)
"""How long a question may take; then a new client asks it once more, for so long."""
CHANGE_S: Final = 5.0
"""How long a change may take; it is not sent again, for it may have been made."""
REACHED_S: Final = 1.0
"""How long any broker may take to say that it is there."""
_COORDINATOR_AWAY: Final = frozenset(
    ("COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR")
)
"""It passes, though librdkafka does not call it retriable: a broker that just started."""
_REFUSALS: Final = frozenset(("_AUTHENTICATION", "_SSL"))
_SILENCE: Final = frozenset(("_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN", "_RESOLVE"))

Call = Callable[
    [AdminClient, float], "Future[Any] | asyncio.Future[Any]"
]  # librdkafka's client ships no types
"""Makes a call of a client, to be answered within seconds."""


class _Refusals:
    """What a client met that nothing else tells: brokers that do not let it in, or none at all.

    The client holds this and not whoever has the client: so its threads end with the last who
    has it, and wait for no collector.
    """

    def __init__(self) -> None:
        self.refused = False
        self.alone = False

    def hear(self, error: KafkaError) -> None:
        """Take note of an error that belongs to no call."""
        self.refused = self.refused or error.name() in _REFUSALS
        self.alone = self.alone or error.name() == "_ALL_BROKERS_DOWN"


class KafkaCluster:
    """Port `Cluster` on a real (or embedded) Kafka."""

    def __init__(self, brokers: KafkaAddress | str, client_id: str = "streams-admin") -> None:
        self._address = address_of(brokers)
        self._client_id = client_id
        self._lazy: AdminClient | None = None
        self._refusals = _Refusals()  # of brokers that the client in use tried

    async def identity(self, topic: str) -> TopicIdentity:
        """Return cluster id, topic id and partition count; `Halt` if there is no such topic."""
        topics = TopicCollection([topic])
        try:
            described = await self._ask(
                f"looking at topic {topic}",
                lambda client, s: client.describe_topics(topics, request_timeout=s)[topic],
            )
        except StreamsError as error:
            if _name_of(error.__cause__) != "UNKNOWN_TOPIC_OR_PART":
                raise
            raise Halt(
                f"topic {topic} does not exist at {self._address}: "
                "run `streams topics apply --yes`",
                code="topic_missing",
            ) from None
        cluster = await self._ask(
            "looking at the cluster", lambda client, s: client.describe_cluster(request_timeout=s)
        )
        return TopicIdentity(
            cluster.cluster_id, str(described.topic_id), topic, len(described.partitions)
        )

    async def describe(self) -> Mapping[str, int]:
        """Return every topic with its partition count, internal ones left out."""
        listed = await self._ask("listing topics", _listing)
        return {
            name: len(topic.partitions)
            for name, topic in listed.topics.items()
            if not name.startswith("__")
        }

    async def configs(self, topic: str) -> Mapping[str, str]:
        """Return a topic's configuration; {} where the broker does not tell (embedded)."""
        return await self._configs(ConfigResource(ConfigResource.Type.TOPIC, topic))

    async def session_timeouts(self) -> tuple[int, int] | None:
        """Return the bounds in ms that a broker sets; None where it does not tell."""
        cluster = await self._ask(
            "looking at the cluster", lambda client, s: client.describe_cluster(request_timeout=s)
        )
        broker = ConfigResource(ConfigResource.Type.BROKER, str(cluster.nodes[0].id))
        try:
            configs = await self._configs(broker)
        except (Halt, Denied):  # not for this client to know
            return None
        least, most = (configs.get(f"group.{end}.session.timeout.ms") for end in ("min", "max"))
        return None if least is None or most is None else (int(least), int(most))

    async def create(
        self, topic: str, partitions: int, replication: int, configs: Mapping[str, str]
    ) -> None:
        """Create a topic; `Halt` if the cluster refuses."""
        new = NewTopic(topic, partitions, replication, config=dict(configs))
        await self._change(
            f"making topic {topic}",
            lambda client, s: client.create_topics([new], request_timeout=s)[topic],
        )

    async def set_configs(self, topic: str, configs: Mapping[str, str]) -> None:
        """Set these configuration entries of a topic and leave the others."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in configs.items()
        ]
        to = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        await self._change(
            f"setting topic {topic}",
            lambda client, s: client.incremental_alter_configs([to], request_timeout=s)[to],
        )

    async def delete(self, topic: str) -> None:
        """Delete a topic."""
        await self._change(
            f"deleting topic {topic}",
            lambda client, s: client.delete_topics([topic], request_timeout=s)[topic],
        )

    async def groups(self) -> list[str]:
        """Return the ids of all consumer groups, sorted."""
        listed = await self._ask(
            "listing groups", lambda client, s: client.list_consumer_groups(request_timeout=s)
        )
        return sorted(group.group_id for group in listed.valid)

    async def committed(self, group: str) -> Mapping[Place, int]:
        """Return a group's committed positions by topic and partition."""
        answer = await self._coordinated(group, OffsetFetchRequest(group, None))
        _require_answer(answer.error_code, group, self._address)
        found: dict[Place, int] = {}
        for topic, partitions in answer.topics or ():  # the embedded broker tells of no group
            for partition, offset, _, error_code in partitions:
                one = f"{group}, partition {partition} of {topic}"
                _require_answer(error_code, one, self._address)
                if offset >= 0:
                    found[topic, partition] = offset
        return found

    async def members(self, group: str) -> Sequence[GroupMember]:
        """Return a group's members; none where the broker does not tell (embedded)."""
        try:
            answer = await self._coordinated(group, DescribeGroupsRequest([group]))
        except Retry as error:
            if isinstance(error.__cause__, IncompatibleBrokerVersion):
                return []
            raise
        error_code, *_, members = answer.groups[0]
        _require_answer(error_code, group, self._address)
        return [
            GroupMember(client_id, host.removeprefix("/"), _places(assignment))
            for _, client_id, host, _, assignment in members
        ]

    async def forget_group(self, group: str) -> None:
        """Delete a consumer group without members, and its committed positions with it."""
        await self._change(
            f"deleting group {group}",
            lambda client, s: client.delete_consumer_groups([group], request_timeout=s)[group],
        )

    async def _coordinated(self, group: str, request: Any) -> Any:
        """Ask the group's coordinator, by aiokafka.

        librdkafka's admin client crashes the process when the broker that it asks is not (yet, or
        not any more) the coordinator: a known fault, up to 2.16 at least.
        """
        with retryable(f"asking about group {group}", self._address):
            async with asyncio.timeout(CHANGE_S):
                answer = await self._sent(group, request)
        KAFKA.answered()
        return answer

    async def _sent(self, group: str, request: Any) -> Any:
        client = AIOKafkaAdminClient(**aiokafka_options(self._address), client_id=self._client_id)
        try:
            await begin(client)
            coordinator = await client.find_coordinator(group)
            # not by its public methods: one takes the coordinator's refusal for "none committed"
            return await client._send_request(request, coordinator)  # noqa: SLF001
        finally:
            await within_stop(client.close())

    async def _configs(self, resource: ConfigResource) -> dict[str, str]:
        try:
            entries = await self._ask(
                f"looking at how {resource.name} is set",
                lambda client, s: client.describe_configs([resource], request_timeout=s)[resource],
            )
        except Halt as halt:
            if _name_of(halt.__cause__) == "_UNSUPPORTED_FEATURE":
                return {}
            raise
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}

    def _client(self) -> AdminClient:
        if self._lazy is None:
            self._refusals = _Refusals()
            options: dict[str, Any] = {
                **librdkafka_options(self._address),
                "client.id": self._client_id,
                "log_level": 0,  # what it has to say is in its errors
                "socket.connection.setup.timeout.ms": 1_000,
                "error_cb": self._refusals.hear,
            }
            self._lazy = AdminClient(options)
        return self._lazy

    async def _ask(self, what: str, call: Call) -> Any:
        """Return an answer, of a second client if the first one gets none."""
        first, second = QUESTION_S
        try:
            return await self._called(what, call, first)
        except Unreachable as error:
            met = self._refusals
            if met.refused or met.alone:
                why = await explained(error, self._address)
                try:
                    if met.refused or why is not error:
                        raise why from error.__cause__
                finally:
                    del why  # its traceback would hold it, and with it this client's threads
            return await self._change(what, call, second)

    async def _change(self, what: str, call: Call, seconds: float = CHANGE_S) -> Any:
        """Make one call; tell a silent broker (`Retry`) from a cluster that is not there."""
        try:
            return await self._called(what, call, seconds)
        except Unreachable as error:
            await self._require_any(error)
            raise Retry(
                f"Kafka at {self._address}: the broker to answer is silent, others are not"
            ) from error

    async def _require_any(self, silence: Unreachable) -> None:
        """Raise why no broker answers, unless one does."""
        try:
            await self._called("listing topics", _listing, REACHED_S)
        except Unreachable:
            raise await explained(silence, self._address) from silence.__cause__

    async def _called(self, what: str, call: Call, seconds: float) -> Any:
        client = self._client()
        try:
            answer = await asyncio.wrap_future(call(client, seconds))
        except KafkaException as error:
            name = _name_of(error)
            if name in _SILENCE and self._lazy is client:
                client.poll(0)  # it tells `_Refusals` what it met
                self._lazy = None
            # its traceback and its future hold each other, and with them this client's threads
            raise self._sorted(what, error) from error.with_traceback(None)
        KAFKA.answered()
        return answer

    def _sorted(self, what: str, error: KafkaException) -> Exception:
        reason = error.args[0]
        if reason.name() in _SILENCE:
            text = f"no Kafka broker at {self._address}: {reason.str()}; check --brokers"
            return Unreachable(text)
        if reason.name().endswith("_AUTHORIZATION_FAILED"):
            return no_right(what, self._address)
        if reason.retriable() or reason.name() in _COORDINATOR_AWAY:
            return Retry(f"Kafka at {self._address}: {reason.str()}")
        return Halt(f"Kafka at {self._address}: {reason.str()}", code="kafka")


def _listing(client: AdminClient, seconds: float) -> "asyncio.Future[Any]":
    """Ask for all topics beside the loop: this one call of the client blocks."""
    return asyncio.ensure_future(asyncio.to_thread(client.list_topics, timeout=seconds))


def _require_answer(error_code: int, group: str, brokers: KafkaAddress) -> None:
    """Raise what a coordinator answered in place of an answer."""
    with retryable(f"asking about group {group}", brokers):
        if error_code:
            raise for_code(error_code)(f"group {group}")


def _places(assignment: bytes) -> frozenset[Place]:
    """Return what a member was given; nothing while its group rebalances."""
    if not assignment:
        return frozenset()
    given = ConsumerProtocol.ASSIGNMENT.decode(assignment)
    return frozenset((topic, one) for topic, partitions in given.assignment for one in partitions)


def _name_of(error: BaseException | None) -> str:
    """Return librdkafka's name of an error, "" of any other."""
    return str(error.args[0].name()) if isinstance(error, KafkaException) else ""

"""Checks of an installation: each says what it found and what to do about it."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

from streams.errors import Halt, StreamsError, Unreachable
from streams.ops.topics import TopicStep, compare_topics
from streams.runtime.installation import Installation, signer_of
from streams.runtime.key_files import given_signing_key
from streams.runtime.namespace import namespace_of
from streams.runtime.ports import Cluster, Store
from streams.runtime.signing import SigningKey, key_id
from streams.settings import SIGNING_KEY_FILE, Settings, given_secret

Status = Literal["ok", "warn", "fail", "unreachable"]
PYTHON_NEEDED = (3, 11)
_NAMED = 3  # of the failed checks, each of which has a line above


class Check(NamedTuple):
    """One line of the report."""

    status: Status
    check: str
    message: str


class WarningStore(Protocol):
    """What a check needs of a store."""

    async def check(self) -> None:
        """Raise `Halt` unless the store can be trusted, `Unreachable` if it does not answer."""

    async def warnings(self) -> Sequence[str]:
        """Return one line for each of its settings that costs memory or safety."""


class CheckedStore(WarningStore, Store, Protocol):
    """A store that can tell how it is set."""


def check_python(version: Sequence[int] = sys.version_info[:3]) -> Check:
    """Check the interpreter's version.

    >>> check_python((3, 10, 4)).status
    'fail'
    """
    text = ".".join(map(str, version))
    if tuple(version[:2]) < PYTHON_NEEDED:
        return Check("fail", "python", f"{text}: 3.11 or later is needed")
    return Check("ok", "python", text)


def attempt(name: str, action: Callable[[], object], well: str) -> Check:
    """Run a check that raises when something is wrong; `well` is said when it does not."""
    try:
        action()
    except StreamsError as error:
        return failed(name, error)
    return Check("ok", name, well)


async def attempt_async(name: str, action: Callable[[], Awaitable[object]], well: str) -> Check:
    """Await a check that raises when something is wrong."""
    try:
        await action()
    except StreamsError as error:
        return failed(name, error)
    return Check("ok", name, well)


def failed(name: str, error: StreamsError) -> Check:
    """Return the line for what a check raised."""
    return Check("unreachable" if isinstance(error, Unreachable) else "fail", name, str(error))


async def check_kafka(cluster: Cluster, settings: Settings) -> list[Check]:
    """Check that a broker answers, and each topic of these settings."""
    where = f"answers at {settings.brokers} ({settings.kafka})"
    reached = await attempt_async("kafka", cluster.describe, where)
    if reached.status != "ok":
        return [reached]
    try:
        return [
            reached,
            *_check_secrecy(settings),
            *check_topics(await compare_topics(cluster, settings)),
        ]
    except StreamsError as error:
        return [reached, failed("topics", error)]


def _check_secrecy(settings: Settings) -> list[Check]:
    security = settings.kafka
    if security.mechanism != "PLAIN" or security.has_tls:
        return []
    what = "anybody on the network can read the password: use SCRAM-SHA-512, or SASL_SSL"
    return [Check("warn", "kafka", what)]


async def check_store(store: WarningStore) -> list[Check]:
    """Check that the store answers and can be trusted, and how it is set."""
    reached = await attempt_async("redis", store.check, "answers, and never evicts")
    if reached.status != "ok":
        return [reached]
    try:
        return [reached, *(Check("warn", "redis", line) for line in await store.warnings())]
    except StreamsError as error:
        return [failed("redis", error)]


def conclude(checks: Sequence[Check]) -> None:
    """Raise `Unreachable` if something did not answer, `Halt` if something else is wrong."""
    silent = [check.check for check in checks if check.status == "unreachable"]
    if silent:
        raise Unreachable(f"no answer: {', '.join(silent)}")
    wrong = [check.check for check in checks if check.status == "fail"]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        named = ", ".join(wrong[:_NAMED])
        raise Halt(f"{len(wrong)} of {len(checks)} checks failed: {named}{more}")


async def check_connections(
    cluster: Cluster,
    store: CheckedStore,
    settings: Settings,
    find: Callable[[], Awaitable[Installation | None]],
) -> list[Check]:
    """Check Kafka and Redis, and once both are well, what they hold of this installation.

    `find` looks for it.
    """
    checks = [*await check_kafka(cluster, settings), *await check_store(store)]
    installation: Installation | None = None
    if all(check.status in {"ok", "warn"} for check in checks):
        try:
            installation = await find()
        except StreamsError as error:
            checks.append(failed("installation", error))
        else:
            checks.append(check_installation(installation))
    try:
        checks.append(check_signing_key(given_signing_key(), installation))
    except Halt as error:
        checks.append(failed("signing key", error))
    if installation is not None:
        checks.append(await _check_own_counters(cluster, store, settings, installation))
    return checks


async def _check_own_counters(
    cluster: Cluster, store: Store, settings: Settings, installation: Installation
) -> Check:
    try:
        identity = await cluster.identity(settings.topic("interactions"))
    except StreamsError as error:
        return failed("counters", error)
    namespace = namespace_of(identity, installation.id)
    return await check_counters(store, namespace, identity.partitions)


def check_secret() -> list[Check]:
    """Check the secret of 0.1.0, where one is set: nobody else needs one."""
    check = attempt("secret", given_secret, "")
    return [] if check.status == "ok" else [check]


async def check_counters(store: Store, namespace: str, partitions: int) -> Check:
    """Check that every partition's counters are of this log and this installation."""

    async def read_all() -> None:
        for partition in range(partitions):
            await store.meta(partition, namespace)

    return await attempt_async("counters", read_all, "are of this log and this installation")


def check_installation(installation: Installation | None) -> Check:
    """Check that an installation was made, and say whose keys count in it."""
    if installation is None:
        return Check("fail", "installation", "none was made: run `streams topics apply --yes`")
    names = ", ".join(map(key_id, installation.keys))
    if installation.pending is not None:
        unsettled = f"{installation.id}: a change of keys was cut short (in force: {names})"
        return Check("warn", "installation", f"{unsettled}: give it again with `streams keys`")
    return Check("ok", "installation", f"{installation.id}, keys in force: {names}")


def check_signing_key(key: SigningKey | None, installation: Installation | None) -> Check:
    """Check the key that signs here, if there is one: only a control plane needs it."""
    name = "signing key"
    if key is None:
        return Check("warn", name, f"{SIGNING_KEY_FILE} is not set: a control plane needs it")
    try:
        if installation is not None:
            signer_of(installation, key)
    except StreamsError as error:
        return failed(name, error)
    return Check("ok", name, f"{key_id(key.public)} signs")


def check_topics(steps: Iterable[TopicStep]) -> list[Check]:
    """Return one line per topic that is not as the settings say, or one that all are."""
    steps = list(steps)
    checks = [_topic(step) for step in steps if step.action != "ok"]
    return checks or [Check("ok", "topics", f"all {len(steps)} are as the settings say")]


def _topic(step: TopicStep) -> Check:
    name = f"topic {step.topic.name}"
    if step.action == "conflict":
        return Check("fail", name, step.why)
    if step.action == "create":
        return Check("fail", name, "does not exist: run `streams topics apply --yes`")
    return Check("warn", name, f"{step.why}: see `streams topics plan`")


async def require_topics(cluster: Cluster, settings: Settings) -> None:
    """Raise `Halt` unless every topic is there as the settings say."""
    for step in await compare_topics(cluster, settings):
        if step.action == "create":
            raise Halt(
                f"topic {step.topic.name} does not exist at {settings.brokers}: "
                "run `streams topics apply --yes`",
                code="topic_missing",
            )
        if step.action == "conflict":
            raise Halt(f"topic {step.topic.name} {step.why}", code="topic_conflict")


async def require_session_timeout(cluster: Cluster, settings: Settings) -> None:
    """Raise `Halt` unless the brokers take the session timeout: they would refuse every join."""
    bounds = await cluster.session_timeouts()
    if bounds is not None and not bounds[0] <= settings.session_timeout_ms <= bounds[1]:
        raise Halt(
            f"session_timeout_ms is {settings.session_timeout_ms}, but {settings.brokers} takes "
            f"{bounds[0]} to {bounds[1]}: change it (STREAMS_SESSION_TIMEOUT_MS), or the brokers' "
            "group.min.session.timeout.ms and group.max.session.timeout.ms"
        )

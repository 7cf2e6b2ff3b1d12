"""A secured Kafka: every client gets in by every proof, and whoever does not is told why."""

import asyncio
from collections.abc import Mapping

import pytest
from kit.certificates import Authority
from kit.patience import PATIENCE_S
from kit.secured import PASSWORD, Listener, SecuredKafka
from kit.servers import create_topic

from streams.errors import Denied, Retry, Unreachable
from streams.ops.rights import Right
from streams.runtime.kafka import KafkaCluster, KafkaConsumer, KafkaProducer, KafkaReader
from streams.runtime.ports import Outgoing
from streams.security import KafkaAddress, KafkaSecurity, given_security

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no broker trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def topic(secured: SecuredKafka, unique: str) -> str:
    create_topic(secured.open, unique)
    operations = ("Read", "Write", "Describe")
    secured.allow("worker", [Right("worker", operations, "topic", [unique])])
    return unique


async def refusal(address: KafkaAddress) -> Retry:
    """Return what whoever connects is told."""
    reader = KafkaReader(address)
    with pytest.raises(Retry) as refused:
        await reader.start()
    await reader.stop()
    assert "\n" not in str(refused.value)
    assert PASSWORD not in str(refused.value)
    return refused.value


def local(brokers: str) -> str:
    """Return the same place by a name that is not in its certificate."""
    return brokers.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize(
    ("listener", "changes"),
    [
        ("password", {"sasl_mechanisms": "SCRAM-SHA-512"}),
        ("password", {"sasl_mechanisms": "SCRAM-SHA-256"}),
        ("password", {"sasl_mechanisms": "PLAIN"}),
        ("clear", {}),
        ("mutual", {}),
    ],
)
async def test_all_clients_get_in(
    secured: SecuredKafka, topic: str, listener: Listener, changes: Mapping[str, str]
) -> None:
    address = secured.address("worker", listener, **changes)
    producer, reader = KafkaProducer(address), KafkaReader(address)
    await asyncio.gather(producer.start(), reader.start())
    await (await producer.send(Outgoing(topic, b"value", b"key", partition=0)))
    reader.assign({(topic, 0): 0})
    records = await reader.fetch(10_000, 1)
    assert [record.value for record in records[topic, 0]] == [b"value"]
    assert (await KafkaCluster(address).identity(topic)).partitions == 1
    await asyncio.gather(producer.stop(), reader.stop())


async def test_a_wrong_password_is_told_by_every_client(secured: SecuredKafka) -> None:
    address = secured.address("worker", sasl_password="wrong")
    told = f"Kafka at {address}: it refuses worker: wrong name or password (SCRAM-SHA-512)"
    assert str(await refusal(address)) == told
    with pytest.raises(Denied) as refused:
        await KafkaCluster(address).describe()
    assert str(refused.value) == told
    producer = KafkaProducer(secured.address("worker", "clear", sasl_password="wrong"))
    with pytest.raises(Denied, match="it refuses worker: wrong name or password"):
        await producer.start()
    await producer.stop()


async def test_an_authority_that_is_not_trusted_is_told_by_every_client(
    secured: SecuredKafka, stranger: Authority
) -> None:
    address = secured.address("worker", ssl_ca_location=str(stranger.ca))
    told = "its certificate is not trusted here"
    assert told in str(await refusal(address))
    with pytest.raises(Denied, match=told):
        await KafkaCluster(address).describe()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "it speaks TLS: security.protocol must be SSL or SASL_SSL"),
        ({"security.protocol": "SSL"}, "it asks for a name and a password: security.protocol must"),
    ],
)
async def test_a_port_that_asks_for_more_says_what(
    secured: SecuredKafka, table: Mapping[str, str], told: str
) -> None:
    if table:
        table = {**table, "ssl.ca.location": str(secured.authority.ca)}
    address = KafkaAddress(secured.password, given_security(table))
    assert told in str(await refusal(address))


async def test_a_port_that_speaks_no_tls_is_told(secured: SecuredKafka) -> None:
    security = secured.address("worker").security
    for brokers in (secured.open, secured.clear):
        told = await refusal(KafkaAddress(brokers, security))
        assert "it speaks no TLS: security.protocol is not the one of this port" in str(told)


async def test_a_port_that_asks_for_no_password_is_told(secured: SecuredKafka) -> None:
    security = secured.address("worker", "clear").security
    told = await refusal(KafkaAddress(secured.open, security))
    assert "it asks for no password: security.protocol is not the one of this port" in str(told)


async def test_a_name_that_the_certificate_does_not_bear_is_told(secured: SecuredKafka) -> None:
    address = KafkaAddress(local(secured.password), secured.address("worker").security)
    told = str(await refusal(address))
    assert "not valid for 'localhost'" in told
    assert told.endswith("reach it by a name that its certificate bears")


async def test_a_certificate_that_is_wanted_or_not_trusted_is_told(
    secured: SecuredKafka, stranger: Authority
) -> None:
    certificate, key = map(str, stranger.client("worker"))
    ca = str(secured.authority.ca)
    for security in (
        KafkaSecurity("SSL", ca=ca),
        KafkaSecurity("SSL", ca=ca, certificate=certificate, key=key),
    ):
        told = str(await refusal(KafkaAddress(secured.mutual, security)))
        assert "it wants a certificate of this client, and one that it trusts" in told


@pytest.mark.parametrize(
    ("brokers", "told"),
    [
        ("127.0.0.1:1", "no Kafka broker at 127.0.0.1:1: connection refused; check --brokers"),
        ("no.invalid:9", "no Kafka broker at no.invalid:9: the name is not known; check --brokers"),
    ],
)
async def test_where_nobody_answers_it_is_said_how(brokers: str, told: str) -> None:
    refused = await refusal(KafkaAddress(brokers))
    assert isinstance(refused, Unreachable)
    assert str(refused) == told


async def test_of_several_brokers_one_that_answers_tells_why(secured: SecuredKafka) -> None:
    security = secured.address("worker", sasl_password="wrong").security
    address = KafkaAddress(f"127.0.0.1:1,{secured.password}", security)
    assert "it refuses worker" in str(await refusal(address))


async def test_a_right_that_lacks_names_who_lacks_it_and_for_what(
    secured: SecuredKafka, topic: str
) -> None:
    guest = secured.address("guest")
    what = "guest has not the right: `streams topics acls` tells what each role needs"
    with pytest.raises(Denied) as denied:
        await KafkaCluster(guest).identity(topic)
    assert str(denied.value) == f"Kafka at {guest}: looking at topic {topic}: {what}"
    reader = KafkaReader(guest)
    await reader.start()
    reader.assign({(topic, 0): 0})
    with pytest.raises(Denied) as denied:
        await reader.fetch(1_000, 1)
    assert str(denied.value) == f"Kafka at {guest}: reading ({topic}): {what}"
    await reader.stop()
    with pytest.raises(Denied, match=f"group {topic}: guest has not the right"):
        await KafkaCluster(guest).committed(topic)


@pytest.mark.slow  # each partition is asked by itself before
async def test_nor_are_bounds_told_without_a_right(secured: SecuredKafka, topic: str) -> None:
    reader = KafkaReader(secured.address("guest"))
    await reader.start()
    with pytest.raises(Denied, match=rf"reading \({topic}\): guest has not the right"):
        await reader.offsets(topic, [0])
    await reader.stop()


async def test_writing_without_the_right_fails_with_its_name(
    secured: SecuredKafka, topic: str, unique: str
) -> None:
    other = f"{unique}-other"
    create_topic(secured.open, other)
    secured.allow("worker", [Right("worker", ("Describe",), "topic", [other])])
    producer = KafkaProducer(secured.address("worker"))
    await producer.start()
    with pytest.raises(Denied, match=f"writing to {other}: worker has not the right"):
        await (await producer.send(Outgoing(other, b"x", b"k", partition=0)))
    await (await producer.send(Outgoing(topic, b"x", b"k", partition=0)))
    await producer.stop()


async def test_joining_a_group_without_the_right_fails_with_its_name(
    secured: SecuredKafka, topic: str
) -> None:
    consumer = KafkaConsumer(secured.address("worker"), topic, "theirs", 6_000)
    await consumer.start(Nobody())
    with pytest.raises(Denied, match=r"reading \(theirs\): worker has not the right"):
        await asyncio.wait_for(_read_on(consumer), PATIENCE_S)
    await consumer.stop()


async def _read_on(consumer: KafkaConsumer) -> None:
    while True:
        await consumer.fetch(100, 1)


class Nobody:
    """Hears of no partition: none is assigned."""

    async def on_assigned(self, partitions: object) -> None: ...

    async def on_revoked(self, partitions: object) -> None: ...

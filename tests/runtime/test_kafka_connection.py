"""One table in the words of every client: what each is given, and nothing that is not set."""

import ssl
from pathlib import Path

import faust
import pytest
from kit.certificates import Authority

from streams.control.agents import _credentials
from streams.runtime.kafka.connection import address_of, aiokafka_options, librdkafka_options
from streams.security import KafkaAddress, KafkaSecurity, Password

SCRAM = KafkaSecurity("SASL_SSL", "SCRAM-SHA-512", "streams", Password("hunter2"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_kafka_that_asks_for_nothing_is_told_nothing() -> None:
    address = address_of("a:1, b:2")
    assert librdkafka_options(address) == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "PLAINTEXT",
    }
    assert aiokafka_options(address) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }
    assert _credentials(address.security) is None


def test_a_login_goes_to_every_client() -> None:
    address = KafkaAddress("a:1", SCRAM)
    assert librdkafka_options(address) == {
        "bootstrap.servers": "a:1",
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": "streams",
        "sasl.password": "hunter2",
    }
    options = aiokafka_options(address)
    assert isinstance(options.pop("ssl_context"), ssl.SSLContext)
    assert options == {
        "bootstrap_servers": ["a:1"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "streams",
        "sasl_plain_password": "hunter2",
    }
    credentials = _credentials(SCRAM)
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.username, credentials.password) == ("streams", "hunter2")
    assert (credentials.protocol.value, credentials.mechanism.value) == (
        "SASL_SSL",
        "SCRAM-SHA-512",
    )
    assert "hunter2" not in repr(credentials)


def test_without_tls_a_login_has_no_context() -> None:
    credentials = _credentials(
        KafkaSecurity("SASL_PLAINTEXT", "PLAIN", "streams", Password("hunter2"))
    )
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.protocol.value, credentials.ssl_context) == ("SASL_PLAINTEXT", None)


def test_certificates_go_to_every_client(authority: Authority) -> None:
    certificate, key = map(str, authority.client("worker", "locked"))
    ca = str(authority.ca)
    security = KafkaSecurity(
        "SSL", ca=ca, certificate=certificate, key=key, key_password=Password("locked")
    )
    address = KafkaAddress("a:1", security)
    assert librdkafka_options(address) == {
        "bootstrap.servers": "a:1",
        "security.protocol": "SSL",
        "ssl.ca.location": ca,
        "ssl.certificate.location": certificate,
        "ssl.key.location": key,
        "ssl.key.password": "locked",
    }
    context = aiokafka_options(address)["ssl_context"]
    assert [held["issuer"] for held in context.get_ca_certs()]
    assert context.check_hostname
    assert isinstance(_credentials(security), faust.SSLCredentials)


def test_an_address_stays_as_it_is() -> None:
    address = KafkaAddress("a:1", SCRAM)
    assert address_of(address) is address

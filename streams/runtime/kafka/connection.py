"""Where Kafka is and how to get in, in the words of each client."""

from typing import Any

from streams.security import KafkaAddress, KafkaSecurity


def address_of(brokers: KafkaAddress | str) -> KafkaAddress:
    """Return an address as it is, brokers alone as one that asks for nothing."""
    return brokers if isinstance(brokers, KafkaAddress) else KafkaAddress(brokers)


def aiokafka_options(address: KafkaAddress) -> dict[str, Any]:
    """Return what every client of aiokafka takes; `Misconfigured` if a file cannot be used."""
    return {"bootstrap_servers": address.servers, **_proof(address.security)}


def connection_options(address: KafkaAddress) -> dict[str, Any]:
    """Return the same for a single connection of aiokafka's."""
    return _proof(address.security)


def librdkafka_options(address: KafkaAddress) -> dict[str, Any]:
    """Return what every client of librdkafka takes."""
    security = address.security
    options = {
        "bootstrap.servers": ",".join(address.servers),
        "security.protocol": security.protocol,
        "sasl.mechanisms": security.mechanism,
        "sasl.username": security.username,
        "sasl.password": security.password.reveal,
        "ssl.ca.location": security.ca,
        "ssl.certificate.location": security.certificate,
        "ssl.key.location": security.key,
        "ssl.key.password": security.key_password.reveal,
    }
    return {name: value for name, value in options.items() if value}


def _proof(security: KafkaSecurity) -> dict[str, Any]:
    options: dict[str, Any] = {
        "security_protocol": security.protocol,
        "ssl_context": security.context(),
    }
    if security.has_login:
        options |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": security.password.reveal,
        }
    return options

"""Why a Kafka cannot be reached, or does not let us in: one line with what to do.

Both client libraries try again and again, and in the end say no more than that no broker answered:
librdkafka does not tell a strange authority from a wrong host name, aiokafka writes what it met
into its own log. So after such a failure one connection is made by hand, and what it meets is put
into words.
"""

import asyncio
import ssl
from asyncio import IncompleteReadError
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import gaierror
from typing import Final, NamedTuple

from aiokafka.client import collect_hosts
from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streams.errors import Denied, Unreachable
from streams.runtime.kafka.connection import connection_options
from streams.runtime.kafka.errors import retryable
from streams.security import KafkaAddress, KafkaSecurity

PATIENCE_S: Final = 3.0
"""Longest time that a broker may take to say what is wrong."""
TRIED: Final = 3
"""So many of the brokers that were named are tried."""
_OTHER_NAME: Final = (62, 64)
"""OpenSSL's codes for a certificate of another host name, of another IP address."""
_ALERT: Final = 0x1503
"""How an answer begins that TLS gives to whoever does not speak it."""


class Failure(NamedTuple):
    """What was met: `silent` if nobody answered at all."""

    words: str
    silent: bool = False


@asynccontextmanager
async def reaching(what: str, address: KafkaAddress) -> AsyncIterator[None]:
    """Turn what a client does while it connects into our own errors, with the true cause."""
    try:
        with retryable(what, address):
            yield
    except Unreachable as error:
        raise await explained(error, address) from error.__cause__


async def explained(error: Unreachable, address: KafkaAddress) -> Unreachable | Denied:
    """Return what to raise in place of an error that only says that no broker answered.

    `Denied` if a broker answers and does not let us in, the error itself if all is well by now.
    """
    hosts = collect_hosts(address.servers, randomize=False)[:TRIED]
    tried = await asyncio.gather(*(_tried(host, port, address) for host, port, _ in hosts))
    failures = sorted((failure for failure in tried if failure), key=lambda one: one.silent)
    if len(failures) < len(hosts):
        return error
    words, silent = failures[0]
    if silent:
        return Unreachable(f"no Kafka broker at {address}: {words}; check --brokers")
    return Denied(f"Kafka at {address}: {words}")


async def _tried(host: str, port: int, address: KafkaAddress) -> Failure | None:
    """Connect once by hand; return what that meets, None if it is let in."""
    connection = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            connection = await create_conn(host, port, **connection_options(address))
            await connection.send(MetadataRequest([]))
    except (OSError, KafkaError) as error:
        return _judged(error, address.security, greeted=connection is not None)
    finally:
        if connection is not None:
            connection.close()
    return None


def _judged(error: Exception, security: KafkaSecurity, *, greeted: bool) -> Failure:
    """Put an error into words; `greeted`: TLS and the login, if any, were passed before."""
    if security.has_tls and isinstance(error, ssl.SSLError | ConnectionResetError):
        return Failure(_no_handshake(error))
    if isinstance(error, OSError):
        return Failure(_silence(error), silent=True)
    if isinstance(error.__cause__, ssl.SSLError):
        return Failure(_broken_off(error.__cause__))
    return Failure(_refusal(error, security, greeted=greeted))


def _silence(error: OSError) -> str:
    match error:
        case gaierror():
            return "the name is not known"
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return f"no answer within {PATIENCE_S:.0f} s"
        case _:
            return error.strerror or str(error) or type(error).__name__


def _no_handshake(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrusted(error)
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        return _broken_off(error)
    return "it speaks no TLS: security.protocol is not the one of this port"


def _distrusted(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_NAME:
        return f"{error.verify_message.rstrip('.')}: reach it by a name that its certificate bears"
    return (
        f"its certificate is not trusted here ({error.verify_message}): ssl.ca.location names "
        "another authority, or none"
    )


def _broken_off(error: ssl.SSLError) -> str:
    """Say why the broker ended the handshake, which it does by an alert."""
    reason = (error.reason or "").lower().replace("_", " ")
    if "cert" in reason or "unknown ca" in reason:
        return (
            f"it wants a certificate of this client, and one that it trusts ({reason}): "
            "see ssl.certificate.location"
        )
    return f"it refuses this client's TLS ({reason})"


def _refusal(error: Exception, security: KafkaSecurity, *, greeted: bool) -> str:
    cause = error.__cause__
    match error:
        case SaslAuthenticationFailed():
            return f"it refuses {security.username}: wrong name or password ({security.mechanism})"
        case UnsupportedSaslMechanismError():
            return f"it does not take {security.mechanism}: choose another of sasl.mechanisms"
        case IllegalSaslStateError():
            return "it asks for no password: security.protocol is not the one of this port"
        case _:
            pass
    if isinstance(cause, IncompleteReadError):
        if (cause.expected or 0) >> 16 == _ALERT:
            return "it speaks TLS: security.protocol must be SSL or SASL_SSL"
        if greeted and not security.has_login:
            return (
                "it asks for a name and a password: security.protocol must be SASL_SSL or "
                "SASL_PLAINTEXT"
            )
        return "it hangs up: security.protocol may not be the one of this port"
    return f"{type(error).__name__}: {error}"

"""A Kafka that asks who its clients are, and what they may do.

Whoever comes by its open listener may do everything: tests prepare and judge there.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exports unmarked
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from kit.certificates import Authority
from kit.servers import SHARED, KafkaCluster, Quorum, kafka_cluster, lasting_ports
from streams.ops.rights import Right
from streams.security import KafkaAddress, given_security

LISTENERS: Final = {"PASSWORD": "SASL_SSL", "CLEAR": "SASL_PLAINTEXT", "MUTUAL": "SSL"}
"""Listeners beside the open one, and the protocol of each."""
MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN")
Listener = Literal["password", "clear", "mutual"]
USERS: Final = ("producer", "feed", "worker", "operator", "analyst", "guest")
PASSWORD: Final = "p@ss, w=rd"
_RESOURCES: Final = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
}
_UPPER: Final = re.compile(r"(?<=[a-z])[A-Z]")
_MODULES: Final = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class SecuredKafka:
    """A running Kafka: `open` is for the tests, the others for what is tested.

    Its certificate is valid for 127.0.0.1, not for localhost. Names in `users` have `PASSWORD`.
    """

    authority: Authority
    open: str
    password: str
    clear: str
    mutual: str
    users: tuple[str, ...]

    def table(self, user: str, listener: Listener = "password") -> dict[str, str]:
        """Return what a user writes to get in, in librdkafka's names."""
        table = {"security.protocol": LISTENERS[listener.upper()]}
        if "SSL" in table["security.protocol"]:
            table["ssl.ca.location"] = str(self.authority.ca)
        if listener == "mutual":
            certificate, key = map(str, self.authority.client(user))
            return table | {"ssl.certificate.location": certificate, "ssl.key.location": key}
        login = {"sasl.username": user, "sasl.password": PASSWORD}
        return table | login | {"sasl.mechanisms": "SCRAM-SHA-512"}

    def address(self, user: str, listener: Listener = "password", **changes: str) -> KafkaAddress:
        """Return the way in for a user; `changes` by name, with _ for each dot."""
        changed = {name.replace("_", "."): value for name, value in changes.items()}
        security = given_security(self.table(user, listener) | changed)
        return KafkaAddress(getattr(self, listener), security)

    def settings(self, user: str, listener: Listener = "password") -> dict[str, object]:
        """Return the same as settings of our commands, by the names of their variables."""
        named: dict[str, object] = {"brokers": getattr(self, listener)}
        for key, value in self.table(user, listener).items():
            name = "password" if key == "sasl.password" else key.replace(".", "_")
            named[f"kafka_{name}"] = value
        return named

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        """Give a user rights, and return when the broker goes by them."""
        bindings = {  # roles may share rights
            AclBinding(
                _RESOURCES[right.resource],
                name,
                ResourcePatternType.LITERAL,
                f"User:{user}",
                "*",
                AclOperation[_UPPER.sub(r"_\g<0>", operation).upper()],
                AclPermissionType.ALLOW,
            )
            for right in rights
            for name in right.names or ["kafka-cluster"]
            for operation in right.operations
        }
        admin = self._admin()  # kept until all is done
        for made in admin.create_acls(list(bindings)).values():
            made.result(20)

    def add_scram_users(self) -> None:
        """Make the users known, for both lengths of SCRAM."""
        admin = self._admin()
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            info = ScramCredentialInfo(mechanism, 4096)
            made = [UserScramCredentialUpsertion(n, info, PASSWORD.encode()) for n in self.users]
            for done in admin.alter_user_scram_credentials(made).values():
                done.result(20)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.open, "log_level": 0})


@contextmanager
def secured_kafka(folder: Path, users: tuple[str, ...]) -> Iterator[SecuredKafka]:
    """Run a secured Kafka for the time of the block; certificates go into `folder`."""
    with secured_cluster(folder, users, nodes=1, settings=SHARED) as (kafka, _):
        yield kafka


@contextmanager
def secured_cluster(
    folder: Path,
    users: tuple[str, ...],
    nodes: int = 3,
    settings: Mapping[str, str] | None = None,
) -> Iterator[tuple[SecuredKafka, KafkaCluster]]:
    """Run a secured Kafka of several nodes, each with all listeners and these `settings` too."""
    authority = Authority(folder / "authority")
    free = iter(lasting_ports(len(LISTENERS) * nodes))
    ports = {number: {name: next(free) for name in LISTENERS} for number in range(1, nodes + 1)}

    def settings_of(number: int, quorum: Quorum) -> Mapping[str, str]:
        own = _settings(authority, *quorum.ports[number], ports[number], users)
        return own | dict(settings or {})

    where = {
        name.lower(): ",".join(f"127.0.0.1:{own[name]}" for own in ports.values())
        for name in LISTENERS
    }
    with kafka_cluster(nodes, settings_of) as cluster:
        kafka = SecuredKafka(authority, cluster.bootstrap, users=users, **where)
        kafka.add_scram_users()
        yield kafka, cluster


def _settings(
    authority: Authority,
    open_port: int,
    controller: int,
    ports: Mapping[str, int],
    users: tuple[str, ...],
) -> dict[str, str]:
    listeners = {"PLAINTEXT": open_port, **ports}
    spelled = ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items())
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **LISTENERS}
    asking = [name for name, protocol in LISTENERS.items() if protocol.startswith("SASL")]
    logins = {
        f"listener.name.{name.lower()}.{mechanism.lower()}.sasl.jaas.config": _login(
            mechanism, users
        )
        for name in asking
        for mechanism in MECHANISMS
    }
    return logins | {
        "listeners": f"{spelled},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": spelled,
        "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.server("127.0.0.1")),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=(.*)$/$1/",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def _login(mechanism: str, users: tuple[str, ...]) -> str:
    """Return who may log in: SCRAM's users are kept by the brokers, those of PLAIN stand here."""
    if mechanism != "PLAIN":
        return f"{_MODULES}.scram.ScramLoginModule required;"
    known = " ".join(f'user_{name}="{PASSWORD}"' for name in users)
    return f"{_MODULES}.plain.PlainLoginModule required {known};"

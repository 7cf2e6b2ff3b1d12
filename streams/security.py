"""How this process gets into a Kafka: what its clients trust, and how they prove who they are.

One table in librdkafka's names, because whoever runs Kafka knows them; each client gets it in its
own words from `runtime/kafka/connection.py`, Faust from `control/agents.py`. Passwords never show
themselves.
"""

import ssl
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from streams.errors import Misconfigured
from streams.shapes import Problem, problems

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Annotated[
    Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
    Meta(
        description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; tokens (OAUTHBEARER) and tickets "
        "(GSSAPI) only one of the three clients gets by itself"
    ),
]


class Password:
    """A text that drivers get with `reveal` and nobody else.

    >>> print(Password("hunter2"))
    ***
    """

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        self.reveal: Final = text

    def __repr__(self) -> str:
        return "***" if self.reveal else "none"

    def __bool__(self) -> bool:
        return bool(self.reveal)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Password) and self.reveal == other.reveal

    def __hash__(self) -> int:
        return hash(self.reveal)


class UnusableFile(Misconfigured):
    """A file with certificates or a key that cannot be used; `problem` names its key."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"{key} {what}")
        self.problem: Final = Problem(key, what)


_NONE: Final = Password("")


class KafkaSecurity(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[kafka]`: a Kafka that asks for nothing, unless it says more."""

    protocol: Protocol = field(name="security.protocol", default="PLAINTEXT")
    mechanism: Mechanism = field(name="sasl.mechanisms", default="")
    username: str = field(name="sasl.username", default="")
    password: Password = field(name="sasl.password", default=_NONE)
    ca: str = field(name="ssl.ca.location", default="")
    certificate: str = field(name="ssl.certificate.location", default="")
    key: str = field(name="ssl.key.location", default="")
    key_password: Password = field(name="ssl.key.password", default=_NONE)

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted, and the broker's certificate is looked at."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def has_login(self) -> bool:
        """Whether clients log in with a name and a password."""
        return self.protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    def __str__(self) -> str:
        login = f", {self.mechanism} as {self.username}" if self.has_login else ""
        own = f", certificate {self.certificate}" if self.certificate else ""
        return f"{self.protocol}{login}{own}"

    def context(self) -> ssl.SSLContext | None:
        """Return what Python's clients need for TLS, None without it.

        `UnusableFile` if it cannot be made of the files.
        """
        if not self.has_tls:
            return None
        files = {"ca": self.ca, "certificate": self.certificate, "key": self.key}
        for name, path in files.items():
            if path:
                _require_readable(f"ssl.{name}.location", path)
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except ssl.SSLError:
            what = f"names {self.ca}, which holds no certificate (PEM)"
            raise UnusableFile("ssl.ca.location", what) from None
        if self.certificate:
            self._introduce(context)
        return context

    def _introduce(self, context: ssl.SSLContext) -> None:
        """Load the own certificate; without any password OpenSSL would ask at the terminal."""
        try:
            context.load_cert_chain(self.certificate, self.key, self.key_password.reveal)
        except ssl.SSLError:
            what = (
                f"names {self.key}, which is not the key of {self.certificate}, is no PEM, or has "
                "another password"
            )
            raise UnusableFile("ssl.key.location", what) from None


KEYS: Final = tuple(each.encode_name for each in msgspec.structs.fields(KafkaSecurity))
"""What the table may hold, in librdkafka's names."""
PASSWORDS: Final = {
    "sasl.password": "STREAMS_KAFKA_PASSWORD",
    "ssl.key.password": "STREAMS_KAFKA_KEY_PASSWORD",
}
"""Keys that stand in no file, and what holds them; with _FILE, the name of a file that does."""


class KafkaAddress:
    """Where Kafka is and how to get in; printed as its brokers alone. ValueError without any.

    >>> print(KafkaAddress("kafka-1:9092,kafka-2:9092"))
    kafka-1:9092,kafka-2:9092
    """

    __slots__ = ("_brokers", "security", "servers")

    def __init__(self, brokers: str, security: KafkaSecurity | None = None) -> None:
        self._brokers = brokers
        self.servers: Final = [one.strip() for one in brokers.split(",") if one.strip()]
        self.security: Final = security or KafkaSecurity()
        if not self.servers:
            raise ValueError("no broker is named")

    def __str__(self) -> str:
        return self._brokers

    def __repr__(self) -> str:
        return f"KafkaAddress({self}, {self.security})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KafkaAddress):
            return NotImplemented
        return (self.servers, self.security) == (other.servers, other.security)

    def __hash__(self) -> int:
        return hash((*self.servers, self.security))


def given_security(table: Mapping[str, object]) -> KafkaSecurity:
    """Return what an application gives, passwords among it; `Misconfigured` if it is wrong."""
    wrong = problems(table, KafkaSecurity, password_of)
    if not wrong:
        security = msgspec.convert(table, KafkaSecurity, dec_hook=password_of)
        wrong = list(mistakes(security))
        if not wrong:
            return security
    raise Misconfigured(*(f"security: {each}" for each in wrong))


def password_of(kind: type, text: Any) -> Password:
    """Make a password out of a text, as msgspec has it made."""
    if kind is not Password or not isinstance(text, str):
        raise ValueError("no password")
    return Password(text)


def mistakes(security: KafkaSecurity) -> Iterator[Problem]:
    """Yield what does not go together, or else what cannot be used, by the key to mend."""
    values = [getattr(security, name) for name in KafkaSecurity.__struct_fields__]
    given = [key for key, value in zip(KEYS, values, strict=True) if value]
    unfit = [*_missing(security, given), *_unused(security, given)]
    yield from unfit
    if not unfit:
        try:
            security.context()
        except UnusableFile as error:
            yield error.problem


def _missing(security: KafkaSecurity, given: Collection[str]) -> Iterator[Problem]:
    needed = ("sasl.mechanisms", "sasl.username", "sasl.password") if security.has_login else ()
    for key in needed:
        if key not in given:
            where = PASSWORDS.get(key)
            how = f"; set {where}, or {where}_FILE" if where else ""
            yield Problem(key, f"is missing: {security.protocol} needs it{how}")
    pair = ("ssl.certificate.location", "ssl.key.location")
    for key, other in (pair, pair[::-1]):
        if other in given and key not in given:
            yield Problem(key, f"is missing beside {other}: both may name one file")


def _unused(security: KafkaSecurity, given: Collection[str]) -> Iterator[Problem]:
    """Find what this protocol makes no use of: whoever wrote it counts on it."""
    for key in given:
        kind = key.partition(".")[0]
        if (kind == "sasl" and not security.has_login) or (kind == "ssl" and not security.has_tls):
            yield Problem(key, f"is set, but security.protocol is {security.protocol}")


def _require_readable(key: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise UnusableFile(key, f"names {path}, which cannot be read: {error.strerror}") from None

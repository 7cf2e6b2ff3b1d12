"""Addresses as people write them, and as they may be printed: without their passwords."""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

# to the last @: a password that should have been escaped is covered as a whole
_PASSWORD: Final = re.compile(r"(://[^:@/]*:).*@")
_QUERY_PASSWORD: Final = re.compile(r"([?&](?:sentinel_)?password=)[^&]*")

RedisKind = Literal["single", "socket", "cluster", "sentinel"]
HostPort = tuple[str, int]
_SCHEMES: Final[Mapping[str, tuple[RedisKind, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("socket", False),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
}
TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""Options that name a file: of the CA's certificates, of the client's own, of its key."""
_OPTIONS: Final[Mapping[RedisKind, frozenset[str]]] = {
    "single": frozenset(("db", "username", "password")),
    "socket": frozenset(("db", "username", "password")),
    "cluster": frozenset(("username", "password")),
    "sentinel": frozenset(("username", "password", "sentinel_username", "sentinel_password")),
}
_OF_TLS: Final = frozenset((*TLS_FILES, "ssl_check_hostname"))


def shown(url: str) -> str:
    """Return an address as it may be printed: without its password.

    >>> shown("redis://app:hunter2@localhost:6379/0?db=1")
    'redis://app:***@localhost:6379/0?db=1'
    """
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


class Login(NamedTuple):
    """Who logs in; None: the default user, or without a password."""

    username: str | None
    password: str | None


class RedisParts(NamedTuple):
    """What an address of a Redis says.

    `hosts` are the nodes of a cluster or the sentinels that are asked first, `service` is what
    sentinels call the master, `sentinels` how to log in to them; `path` is that of a socket.
    """

    kind: RedisKind
    tls: bool
    hosts: tuple[HostPort, ...]
    path: str
    service: str
    database: int
    login: Login
    sentinels: Login
    options: Mapping[str, str]


class RedisAddress:
    """Where Redis is: shown without the password, which drivers get with `reveal`.

    ValueError if `url` is no address of a Redis.

    >>> print(RedisAddress("redis+cluster://app:hunter2@10.0.0.1:7000,10.0.0.2:7000"))
    redis+cluster://app:***@10.0.0.1:7000,10.0.0.2:7000
    """

    __slots__ = ("parts", "reveal")

    def __init__(self, url: str) -> None:
        try:
            self.parts: Final = _parts(urlsplit(url))
        except ValueError as error:
            raise ValueError(f"{shown(url)} is no address of a Redis: {error}") from None
        self.reveal: Final = url

    def __str__(self) -> str:
        return shown(self.reveal)

    def __repr__(self) -> str:
        return f"RedisAddress({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RedisAddress) and self.reveal == other.reveal

    def __hash__(self) -> int:
        return hash(self.reveal)

    @property
    def has_password(self) -> bool:
        """Whether drivers log in with a password."""
        return self.parts.login.password is not None

    def with_password(self, password: str) -> "RedisAddress":
        """Return the same place with a password to log in with.

        >>> RedisAddress("redis://app@localhost/1").with_password("a/b").reveal
        'redis://app:a%2Fb@localhost/1'
        """
        split = urlsplit(self.reveal)
        host = split.netloc.rpartition("@")[2]
        login = f"{split.username or ''}:{quote(password, safe='')}"
        return RedisAddress(split._replace(netloc=f"{login}@{host}").geturl())

    def with_sentinel_password(self, password: str) -> "RedisAddress":
        """Return the same place with a password for the sentinels.

        ValueError if the address names none, or has one.
        """
        if self.parts.kind != "sentinel" or self.parts.sentinels.password is not None:
            raise ValueError("only an address of sentinels without a password takes one")
        split = urlsplit(self.reveal)
        option = f"sentinel_password={quote(password, safe='')}"
        query = f"{split.query}&{option}" if split.query else option
        return RedisAddress(split._replace(query=query).geturl())


def _parts(split: SplitResult) -> RedisParts:
    if split.scheme not in _SCHEMES or split.fragment:
        raise ValueError(f"it begins with none of {', '.join(_SCHEMES)}")
    kind, tls = _SCHEMES[split.scheme]
    options = _options(kind, split.query, tls=tls)
    service, database = _inside(kind, split.path, options)
    login = Login(_unquoted(split.username), _unquoted(split.password))
    return RedisParts(
        kind,
        tls,
        () if kind == "socket" else _hosts(kind, split.netloc.rpartition("@")[2]),
        unquote(split.path) if kind == "socket" else "",
        service,
        database,
        Login(options.get("username", login.username), options.get("password", login.password)),
        Login(options.get("sentinel_username"), options.get("sentinel_password")),
        {name: value for name, value in options.items() if name in _OF_TLS},
    )


def _options(kind: RedisKind, query: str, *, tls: bool) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = _OPTIONS[kind] | (_OF_TLS if tls else frozenset())
    if options.keys() - known:
        raise ValueError(f"of options it knows {', '.join(sorted(known))} alone")
    if options.get("ssl_check_hostname", "true") not in {"true", "false"}:
        raise ValueError("ssl_check_hostname is true or false")
    return options


def _inside(kind: RedisKind, path: str, options: Mapping[str, str]) -> tuple[str, int]:
    """Return the sentinels' name of the master, and the number of the database."""
    if kind == "socket":
        if not path:
            raise ValueError("it names no path")
        return "", _number(options.get("db", "0"))
    service, _, database = path.strip("/").partition("/")
    if kind != "sentinel":
        service, database = "", path.strip("/")
    elif not service:
        raise ValueError("it does not name the master, as in redis+sentinel://HOST:26379/main")
    number = _number(options.get("db", database or "0"))
    if kind == "cluster" and number:
        raise ValueError("a cluster has no database but 0")
    return unquote(service), number


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("the database is no number")
    return int(text)


def _hosts(kind: RedisKind, text: str) -> tuple[HostPort, ...]:
    port = 26_379 if kind == "sentinel" else 6_379
    try:
        hosts = tuple(_host(name, port) for name in text.split(","))
    except ValueError:
        raise ValueError("a port is no number from 1 to 65535") from None
    if kind == "single" and len(hosts) > 1:
        raise ValueError("several hosts are redis+cluster:// or redis+sentinel://")
    return hosts


def _host(text: str, default_port: int) -> HostPort:
    split = urlsplit(f"//{text}")
    if split.port == 0:
        raise ValueError(text)
    return split.hostname or "localhost", split.port or default_port


def _unquoted(text: str | None) -> str | None:
    return unquote(text) if text else None

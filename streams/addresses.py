"""Addresses as people write them, and as they may be printed: without their passwords."""

import re
from typing import Final
from urllib.parse import quote, urlsplit

# to the last @: a password that should have been escaped is covered as a whole
_PASSWORD: Final = re.compile(r"(://[^:@/]*:).*@")
_QUERY_PASSWORD: Final = re.compile(r"([?&]password=)[^&]*")


def shown(url: str) -> str:
    """Return an address as it may be printed: without its password.

    >>> shown("redis://app:hunter2@localhost:6379/0?db=1")
    'redis://app:***@localhost:6379/0?db=1'
    """
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


class RedisAddress:
    """Where Redis is: shown without the password, which drivers get with `reveal`.

    ValueError if `url` is no address of a Redis.

    >>> print(RedisAddress("redis://app:hunter2@localhost:6379/0"))
    redis://app:***@localhost:6379/0
    """

    __slots__ = ("reveal",)

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        # to ask for the port is to check that it is a number
        wrong = parts.port == 0 if parts.scheme in ("redis", "rediss") else not parts.path
        if wrong or parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"{shown(url)} is no address of a Redis")
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
        return shown(self.reveal) != self.reveal

    def with_password(self, password: str) -> "RedisAddress":
        """Return the same place with a password to log in with.

        >>> RedisAddress("redis://app@localhost/1").with_password("a/b").reveal
        'redis://app:a%2Fb@localhost/1'
        """
        parts = urlsplit(self.reveal)
        host = parts.netloc.rpartition("@")[2]
        login = f"{parts.username or ''}:{quote(password, safe='')}"
        return RedisAddress(parts._replace(netloc=f"{login}@{host}").geturl())

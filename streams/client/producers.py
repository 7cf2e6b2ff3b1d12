"""Who sends events: names of producers, and the tokens that they show over HTTP.

Only hashes of tokens are kept. A token is 256 random bits, so its plain SHA-256 tells nothing.
"""

import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streams.errors import Misconfigured
from streams.settings import read_toml
from streams.shapes import problems

Name = Annotated[
    str,
    Meta(pattern=r"\A[A-Za-z0-9._-]{1,100}\Z", description="letters, digits, . _ -, up to 100"),
]
Hash = Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    producers: Annotated[dict[Name, list[Hash]], Meta(min_length=1)]


class Tokens:
    """Which producer a token belongs to; no token is taken if there are none."""

    def __init__(self, producers: Mapping[str, list[str]] | None = None) -> None:
        self._names: Final = {
            one: name for name, hashes in (producers or {}).items() for one in hashes
        }

    @classmethod
    def from_toml(cls, path: Path) -> "Tokens":
        """Read a file of hashes by producer; `Misconfigured` if it cannot be used."""
        try:
            return cls(msgspec.convert(read_toml(path, "see --tokens"), _File).producers)
        except msgspec.ValidationError:  # its words would show a token given in place of a hash
            raise Misconfigured(
                f"{path}: write a table [producers] and in it NAME = [HASH, ...], as "
                "`streams intake --new-token NAME` prints them"
            ) from None

    def __bool__(self) -> bool:
        return bool(self._names)

    def producer(self, token: str) -> str | None:
        """Return the name of the producer that a token was made for."""
        return self._names.get(hash_of(token))


def require_name(name: str) -> None:
    """Raise `Misconfigured` unless a producer can be called so."""
    if found := problems(name, Name):
        raise Misconfigured(*(f"the producer's name {what}" for _, what in found))


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """Return what is kept of a token.

    >>> hash_of("secret")[:20]
    'sha256:2bb80d537b1da'
    """
    return "sha256:" + sha256(token.encode("utf-8", "surrogateescape")).hexdigest()

"""Names of headers: text, but for what careless clients write."""

from typing import Final

from streams.errors import DeadLetter
from streams.runtime.ports import Headers

PRODUCER: Final = "x-producer"
"""Header with the name of the producer that wrote a record."""


def require_names(headers: Headers) -> None:
    """Raise `DeadLetter` if a header's name was not UTF-8."""
    for name, _ in headers:
        if not name.isascii() and shown(name) != name:
            raise DeadLetter("header", "a header's name is not UTF-8")


def shown(name: str) -> str:
    r"""Return a header's name as it can be written: bytes that are not UTF-8 as `\xff`.

    >>> shown("caf\udce9"), shown("café")
    ('caf\\xe9', 'café')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

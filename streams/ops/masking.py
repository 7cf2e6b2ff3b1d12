"""Viewers are masked wherever events of strangers are printed, unless they are to be seen.

A viewer stands in a field `viewer`, at any depth; what a producer put of them into the record's key
or a header is masked too. What is no JSON may name a viewer anywhere, so only its size is told.
"""

from collections.abc import Collection
from typing import Any, Final

import msgspec

from streams.runtime.reasons import PARSER_ERRORS

MASK: Final = "***"
DEEPEST: Final = 100
"""What nests deeper is taken for no JSON: it could not be printed as such."""


class ShownRecord:
    """A record's value as people may see it; `viewers` are those that it names.

    `value` is what its JSON holds, else text.

    >>> shown = ShownRecord(b'{"viewer":"u7","video":"v1"}', reveal=False)
    >>> shown.value, shown.hides(b"u7"), shown.hides(b"v1")
    ({'viewer': '***', 'video': 'v1'}, True, False)
    """

    def __init__(self, value: bytes | None, *, reveal: bool) -> None:
        self.viewers: Final[set[str]] = set()
        self._reveal: Final = reveal
        try:
            parsed = msgspec.json.decode(value or b"null")
            masked = _masked(parsed, self.viewers)
            self.value: Any = parsed if reveal else masked
        except PARSER_ERRORS:
            self.value = _as_text(value or b"", reveal=reveal)

    def hides(self, text: bytes) -> bool:
        """Tell whether a key or a header's value is one of the viewers, and not to be seen."""
        return not self._reveal and text.decode(errors="replace") in self.viewers


def names_viewer(value: bytes | None, texts: Collection[bytes | None], viewer: str) -> int:
    """Return in how many events of a record a viewer stands; 1 where only its bytes tell.

    `texts` are its key and the values of its headers.

    >>> names_viewer(b'[{"viewer":"u7"},{"viewer":"u8"},{"viewer":"u7"}]', (), "u7")
    2
    >>> names_viewer(b'{"viewer":"u7', (), "u7"), names_viewer(b"{}", [b"u7"], "u7")
    (1, 1)
    """
    value, spelled = value or b"", viewer.encode()
    if spelled in value or b"\\u" in value:
        try:
            parsed = msgspec.json.decode(value)
            events = parsed if isinstance(parsed, list) else [parsed]
            count = sum(viewer in _viewers_of(event) for event in events)
        except PARSER_ERRORS:
            return 1
        if count:
            return count
    return int(spelled in texts)


def _viewers_of(parsed: Any) -> set[str]:
    viewers: set[str] = set()
    _masked(parsed, viewers)
    return viewers


def _masked(parsed: Any, viewers: set[str], depth: int = 0) -> Any:  # whatever JSON holds
    """Return JSON with its viewers masked, and add them to `viewers`."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(parsed, list):
        return [_masked(one, viewers, depth + 1) for one in parsed]
    if not isinstance(parsed, dict):
        return parsed
    masked = {}
    for name, one in parsed.items():
        masked[name] = _masked(one, viewers, depth + 1)
        if name == "viewer":
            viewers.add(one if isinstance(one, str) else msgspec.json.encode(one).decode())
            masked[name] = MASK
    return masked


def _as_text(value: bytes, *, reveal: bool) -> str:
    if reveal:
        return value.decode(errors="replace")
    return f"{len(value):,} bytes, no JSON: see --reveal"

"""Times and durations as the command line spells them."""

import re
from datetime import UTC, datetime
from typing import Final

from streams.errors import Halt

_DURATION: Final = re.compile(r"\A(\d+(?:\.\d+)?)(ms|s|m|h|d)\Z")
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text: str) -> int:
    """Return a duration in milliseconds; `Halt` if it is none.

    >>> duration_ms("90s"), duration_ms("1.5m")
    (90000, 90000)
    """
    match = _DURATION.match(text)
    if match is None:
        raise Halt(f"{text!r} is no duration: write 500ms, 30s, 5m, 2h or 1d")
    return round(float(match[1]) * _UNIT_MS[match[2]])


def time_ms(text: str, now: int) -> int:
    """Return a time in milliseconds since 1970: ISO 8601, or from now, `-1h` or `+30s`.

    Without a zone it is UTC. `Halt` if it is none.

    >>> time_ms("1970-01-01T00:00:01", 0), time_ms("-1h", 7_200_000)
    (1000, 3600000)
    """
    if text[:1] in ("-", "+"):
        offset = duration_ms(text[1:])
        return now - offset if text[0] == "-" else now + offset
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Halt(f"{text!r} is no time: write ISO 8601 (2026-01-31T12:00:00Z) or -1h") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)

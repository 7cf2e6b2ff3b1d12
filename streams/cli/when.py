"""Times, durations and rates as the command line spells them: one way for every verb.

Words that are none of it raise `click.BadParameter`, which click completes with the option's name.
"""

import re
import time
from datetime import UTC, datetime
from typing import Any, Final, Literal

import click

Edge = Literal["earliest", "latest"]
"""An end of a log as it is now."""

TIMES: Final = "ISO 8601 (UTC where no zone stands), -1h, now, or milliseconds since 1970"
"""How a time is spelled, for help texts and refusals."""

_DURATION: Final = re.compile(r"\A([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d|w)\Z")
_NUMBER: Final = re.compile(r"\A[0-9]{1,12}(?:\.[0-9]{1,9})?\Z")
_UNIT_MS: Final = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_EDGES: Final[dict[str, Edge]] = {
    "earliest": "earliest",
    "beginning": "earliest",
    "latest": "latest",
    "end": "latest",
    "now": "latest",
}


def duration_ms(text: str) -> int:
    """Return a duration in milliseconds.

    >>> duration_ms("90s"), duration_ms("1.5m"), duration_ms("2w")
    (90000, 90000, 1209600000)
    >>> duration_ms("5")
    Traceback (most recent call last):
    click.exceptions.BadParameter: '5' is no duration: write 500ms, 30s, 5m, 2h, 1d or 1w
    """
    match = _DURATION.match(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no duration: write 500ms, 30s, 5m, 2h, 1d or 1w")
    return round(float(match[1]) * _UNIT_MS[match[2]])


def moment_ms(text: str, now: int) -> int:
    """Return a time in milliseconds since 1970; `-1h` and `+30s` count from `now`.

    >>> moment_ms("1970-01-01T00:00:01", 0), moment_ms("1970-01-01T02:00+02:00", 0)
    (1000, 0)
    >>> moment_ms("-1h", 7_200_000), moment_ms("+30s", 0), moment_ms("now", 5)
    (3600000, 30000, 5)
    >>> moment_ms("1767012912345", 0)
    1767012912345
    >>> moment_ms("1767012912", 0)
    Traceback (most recent call last):
    click.exceptions.BadParameter: '1767012912' is no time: milliseconds since 1970 have 13 digits
    """
    if text == "now":
        return now
    if text[:1] in ("-", "+"):
        offset = duration_ms(text[1:])
        return max(0, now - offset if text[0] == "-" else now + offset)
    if text.isascii() and text.isdigit() and len(text) != len("20260131"):
        return _epoch_ms(text)
    return _iso_ms(text)


def bound_ms(text: str, now: int) -> int | Edge:
    """Return where in a log to start or end: one of its ends, or a time as `moment_ms`.

    `now` is the end as it is: what a producer with a clock ahead wrote lies before it.

    >>> bound_ms("beginning", 0), bound_ms("now", 0), bound_ms("-1s", 1_500)
    ('earliest', 'latest', 500)
    """
    return _EDGES.get(text) or moment_ms(text, now)


def rate_per_s(text: str) -> float:
    """Return how many a second: `500/s`, or `500`.

    >>> rate_per_s("500/s"), rate_per_s("0.5")
    (500.0, 0.5)
    """
    number = text.removesuffix("/s")
    if not _NUMBER.match(number) or not float(number):
        raise click.BadParameter(f"{text!r} is no rate: write 500/s, or 500")
    return float(number)


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _epoch_ms(text: str) -> int:
    if len(text) != len("1767012912345"):
        raise click.BadParameter(f"{text!r} is no time: milliseconds since 1970 have 13 digits")
    return int(text)


def _iso_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time: write {TIMES}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, round(moment.timestamp() * 1000))


class Duration(click.ParamType):
    """An option's duration; the command gets milliseconds."""

    name = "duration"

    def convert(self, value: Any, *_: object) -> int:
        """Return milliseconds; a default may stand as a number of them."""
        return value if isinstance(value, int) else duration_ms(value)


class Moment(click.ParamType):
    """An option's time; the command gets milliseconds since 1970."""

    name = "time"

    def convert(self, value: Any, *_: object) -> int:
        """Return milliseconds since 1970, `-1h` counted from now."""
        return value if isinstance(value, int) else moment_ms(value, now_ms())


class Bound(click.ParamType):
    """An option's place in a log; the command gets `earliest`, `latest` or milliseconds."""

    name = "time"

    def convert(self, value: Any, *_: object) -> int | Edge:
        """Return an end of the log or milliseconds since 1970, `-1h` counted from now."""
        return value if isinstance(value, int) else bound_ms(value, now_ms())


class Rate(click.ParamType):
    """An option's rate; the command gets a number a second."""

    name = "rate"

    def convert(self, value: Any, *_: object) -> float:
        """Return how many a second."""
        return value if isinstance(value, float) else rate_per_s(value)


DURATION: Final = Duration()
MOMENT: Final = Moment()
BOUND: Final = Bound()
RATE: Final = Rate()

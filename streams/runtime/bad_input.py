"""Watches the share of bad records per partition and minute: alarms, then asks for a pause."""

from typing import Final, Literal

MINUTE_S: Final = 60.0
ALARM_PERCENT: Final = 1
PAUSE_PERCENT: Final = 20
LEAST_RECORDS: Final = 500
"""A minute with fewer records says nothing about a producer."""


class BadInput:
    """Counts records and refusals of one partition by minutes of the given clock.

    >>> guard = BadInput()
    >>> guard.note(0.0, records=1_000, bad=5), guard.note(1.0, records=1_000, bad=20)
    ('fine', 'alarm')
    >>> guard.note(2.0, records=1_000, bad=100), guard.note(3.0, records=1_000, bad=900)
    ('fine', 'pause')
    """

    __slots__ = ("_alarmed", "_bad", "_records", "_since")

    def __init__(self) -> None:
        self._since = float("-inf")
        self._records = self._bad = 0
        self._alarmed = False

    def note(self, now: float, records: int, bad: int) -> Literal["fine", "alarm", "pause"]:
        """Add a batch; "alarm" once a minute above 1 %, "pause" above 20 %."""
        if now - self._since >= MINUTE_S:
            self._since, self._records, self._bad, self._alarmed = now, 0, 0, False
        self._records += records
        self._bad += bad
        if self._records < LEAST_RECORDS:
            return "fine"
        if self._bad * 100 > self._records * PAUSE_PERCENT:
            return "pause"
        if self._bad * 100 > self._records * ALARM_PERCENT and not self._alarmed:
            self._alarmed = True
            return "alarm"
        return "fine"

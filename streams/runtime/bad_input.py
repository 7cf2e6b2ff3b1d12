"""Watches the share of bad events per partition and minute: alarms, then asks for a pause."""

from typing import Final, Literal

MINUTE_S: Final = 60.0
ALARM_PERCENT: Final = 1
PAUSE_PERCENT: Final = 20
LEAST_EVENTS: Final = 500
"""A minute with fewer events says nothing about a producer."""


class BadInput:
    """Counts events and refusals of one partition by minutes of the given clock.

    >>> guard = BadInput()
    >>> guard.note(0.0, events=1_000, bad=5), guard.note(1.0, events=1_000, bad=20)
    ('fine', 'alarm')
    >>> guard.note(2.0, events=1_000, bad=100), guard.note(3.0, events=1_000, bad=900)
    ('fine', 'pause')
    """

    __slots__ = ("_alarmed", "_bad", "_events", "_since")

    def __init__(self) -> None:
        self._since = float("-inf")
        self._events = self._bad = 0
        self._alarmed = False

    def note(self, now: float, events: int, bad: int) -> Literal["fine", "alarm", "pause"]:
        """Add a batch; "alarm" once a minute above 1 %, "pause" above 20 %."""
        if now - self._since >= MINUTE_S:
            self._since, self._events, self._bad, self._alarmed = now, 0, 0, False
        self._events += events
        self._bad += bad
        if self._events < LEAST_EVENTS:
            return "fine"
        if self._bad * 100 > self._events * PAUSE_PERCENT:
            return "pause"
        if self._bad * 100 > self._events * ALARM_PERCENT and not self._alarmed:
            self._alarmed = True
            return "alarm"
        return "fine"

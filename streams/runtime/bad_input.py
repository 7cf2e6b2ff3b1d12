"""Watches the share of bad records per partition and minute, and how a pause comes to its end."""

from typing import Final, Literal

from streams.core.units import MICROS

MINUTE_S: Final = 60.0
ALARM_PERCENT: Final = 1
PAUSE_PERCENT: Final = 20
LEAST_RECORDS: Final = 500
"""A minute with fewer records says nothing about shares; its first bad one is told anyway."""
PAUSE_S: Final = 10.0
TRICKLE_S: Final = 1.0
TRICKLE_RECORDS: Final = 100
"""After a pause so many records at a time are taken, until not too many of them are bad."""

Judgement = Literal["fine", "notice", "alarm", "pause"]


class BadInput:
    """Counts the records of one partition, and how much of them was bad, by minutes of a clock.

    A record counts as bad by the share of its elements that were refused, in micro-units: one bad
    element of an array of fifty is not a bad producer, an array of fifty bad ones is one record.

    >>> share = BadInput()
    >>> share.note(0.0, 1_000, 5 * MICROS), share.note(1.0, 1_000, 20 * MICROS)
    ('notice', 'alarm')
    >>> share.note(2.0, 1_000, 100 * MICROS), share.note(3.0, 1_000, 900 * MICROS)
    ('fine', 'pause')
    """

    __slots__ = ("_alarmed", "_bad", "_noticed", "_pauses", "_records", "_since")

    def __init__(self, *, pauses: bool = True) -> None:
        self._pauses = pauses  # or only alarms
        self._since = float("-inf")
        self._records = self._bad = 0
        self._noticed = self._alarmed = False

    def note(self, now: float, records: int, bad_micros: int) -> Judgement:
        """Add a batch: "notice" at a minute's first bad record, "alarm" once it is above 1 %.

        "pause" whenever it is above 20 %.
        """
        if now - self._since >= MINUTE_S:
            self._since, self._records, self._bad = now, 0, 0
            self._noticed = self._alarmed = False
        self._records += records
        self._bad += bad_micros
        if self._pauses and self.is_above(PAUSE_PERCENT):
            return "pause"
        if self.is_above(ALARM_PERCENT) and not self._alarmed:
            self._alarmed = self._noticed = True
            return "alarm"
        if bad_micros and not self._noticed:
            self._noticed = True
            return "notice"
        return "fine"

    def is_above(self, percent: int) -> bool:
        """Tell whether more than so much of this minute is bad, if it says anything yet."""
        worth_judging = self._records >= LEAST_RECORDS
        return worth_judging and self._bad * 100 > self._records * percent * MICROS


class Rest:
    """When a partition with too many bad records is read, and how much of it at once.

    First nothing for `PAUSE_S`, then a few records at a time, then all.
    """

    __slots__ = ("resting", "until")

    def __init__(self) -> None:
        self.until = float("-inf")
        self.resting = False

    def begin(self, now: float) -> None:
        """Pause."""
        self.resting = True
        self.until = now + PAUSE_S

    def note(self, now: float, records: int, bad_micros: int) -> bool:
        """Judge the few records just taken; tell whether all may be taken from now on."""
        self.resting = bad_micros * 100 > records * PAUSE_PERCENT * MICROS
        self.until = now + TRICKLE_S if self.resting else float("-inf")
        return not self.resting

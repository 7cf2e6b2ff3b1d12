"""Checks lines of events as the pipeline will check them."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from streams.client.intake import events_in, take_event
from streams.client.lines import InputLine
from streams.errors import DeadLetter, RejectReason


class InvalidEvent(NamedTuple):
    """An event that would be refused; `element` is its place in its line's array."""

    line: int
    element: int
    reason: RejectReason
    message: str


class Validation:
    """Counts what is `valid` and what is `invalid`; `now` gives the time in ms since 1970."""

    def __init__(self, now: Callable[[], int], limit: int) -> None:
        self._now: Final = now
        self._limit: Final = limit
        self.valid = 0
        self.invalid = 0

    def refusals(self, line: InputLine) -> Iterator[InvalidEvent]:
        """Yield each event of a line that would be refused, and count all of them."""
        try:
            events = events_in(line.text, self._limit)
        except DeadLetter as letter:
            yield self._refused(line, 0, letter)
            return
        for element, value in enumerate(events):
            try:
                take_event(value, self._now(), self._limit)
                self.valid += 1
            except DeadLetter as letter:
                yield self._refused(line, element, letter)

    def _refused(self, line: InputLine, element: int, letter: DeadLetter) -> InvalidEvent:
        self.invalid += 1
        return InvalidEvent(line.number, element, letter.reason, str(letter))

"""A judgement has a price, and it is that of the events that are judged."""

from kit.events import FIXED

from streams.lab.judging import judgement_micros


def test_a_judgement_takes_some_microseconds() -> None:
    assert 1 < judgement_micros(FIXED) < 5_000

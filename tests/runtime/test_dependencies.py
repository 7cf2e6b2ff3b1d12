"""A dependency that is gone is said once, then once a minute, and once when it is back."""

import logging

import pytest

from streams.runtime.dependencies import Dependency


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kafka(clock: Clock) -> Dependency:
    made = Dependency("Kafka", clock)
    made.watched = True
    return made


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def fail_for(kafka: Dependency, clock: Clock, seconds: float) -> None:
    end = clock.now + seconds
    while clock.now < end:
        kafka.failed("connection refused")
        clock.now += 0.1


def test_an_outage_of_forty_seconds_is_two_lines(
    kafka: Dependency, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fail_for(kafka, clock, 40)
    clock.now += 3
    kafka.answered()
    assert lines(caplog) == [
        "Kafka does not answer: connection refused; trying again",
        "Kafka answers again, after 43 s",
    ]


def test_a_longer_one_has_a_line_a_minute(
    kafka: Dependency, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fail_for(kafka, clock, 150)
    assert len(lines(caplog)) == 3
    assert "has not answered for 60 s" in lines(caplog)[1]


def test_an_answer_among_failures_is_not_the_end(
    kafka: Dependency, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    kafka.failed("one of three brokers is away")
    clock.now += 1
    kafka.answered()
    assert kafka.gone
    kafka.failed("again")
    clock.now += 5
    kafka.answered()
    assert not kafka.gone
    assert len(lines(caplog)) == 2


def test_a_second_outage_begins_anew(
    kafka: Dependency, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        kafka.failed("away")
        clock.now += 10
        kafka.answered()
    assert lines(caplog)[2:] == [
        "Kafka does not answer: away; trying again",
        "Kafka answers again, after 10 s",
    ]


def test_observers_see_each_change_once(kafka: Dependency, clock: Clock) -> None:
    seen: list[tuple[str, bool]] = []
    kafka.observers.append(lambda name, up: seen.append((name, up)))
    kafka.answered()
    fail_for(kafka, clock, 5)
    clock.now += 3
    kafka.answered()
    kafka.answered()
    assert seen == [("Kafka", False), ("Kafka", True)]


def test_what_is_not_watched_says_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    Dependency("Redis", clock).failed("connection refused")
    assert lines(caplog) == []
    assert logging.getLogger("streams.dependencies").isEnabledFor(logging.ERROR)

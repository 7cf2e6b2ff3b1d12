"""What becomes a log line, and what it looks like."""

import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from streams.errors import Denied, Retry, Unreachable
from streams.runtime.dependencies import KAFKA
from streams.runtime.logs import JsonLines, LogOptions, Quieter, TextLines, set_up_logs

CONNECT = "Unable connect to node with id %s: %s"


class Kept(logging.Handler):
    """Keeps the lines that would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def untouched() -> Iterator[None]:
    """Put the process's logging and the state of Kafka back after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ["streams", "streams.control.agents", "aiokafka", "faust", "mode"]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, one in levels.items():
        logging.getLogger(name).setLevel(one)
    KAFKA.watched, KAFKA._gone_since = False, None


@pytest.fixture
def kept(untouched: None) -> Kept:
    handler = Kept()
    set_up_logs(LogOptions(name="w1"), handler)
    return handler


def record(message: str, *arguments: object, name: str = "aiokafka.client") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, None)


def with_error(message: str) -> logging.LogRecord:
    try:
        raise ValueError("bad\nluck")
    except ValueError:
        return logging.LogRecord(
            "streams.x", logging.ERROR, __file__, 1, message, (), sys.exc_info()
        )


def test_four_thousand_failures_to_connect_are_one_line(kept: Kept) -> None:
    KAFKA.watched = True
    for _ in range(4_200):
        logging.getLogger("aiokafka.client").error(CONNECT, 1, "refused")
    (line,) = kept.lines
    assert line.endswith(
        "ERROR w1 Kafka does not answer: Unable connect to node with id 1: refused; trying again"
    )


def test_what_waits_for_a_broker_that_is_known_to_be_gone_is_not_said_again(kept: Kept) -> None:
    KAFKA.watched = True
    ours = logging.getLogger("streams.worker")
    ours.warning("checking the topic waits: %s", Unreachable("no Kafka broker"))
    logging.getLogger("aiokafka.client").error(CONNECT, 1, "refused")
    ours.warning("checking the topic waits: %s", Unreachable("no Kafka broker"))
    ours.warning("partition %d is bad", 3)
    assert [line.partition(" w1 ")[2].split(":")[0] for line in kept.lines] == [
        "checking the topic waits",
        "Kafka does not answer",
        "partition 3 is bad",
    ]


def test_another_error_of_a_library_comes_once_a_minute() -> None:
    now = [0.0]
    quieter = Quieter(logging.INFO, lambda: now[0])
    assert quieter.filter(record("Topic %s not found", "a"))
    assert not quieter.filter(record("Topic %s not found", "a"))
    assert quieter.filter(record("Topic %s is not authorized", "a"))
    now[0] = 60.0
    assert quieter.filter(record("Topic %s not found", "a"))


def test_what_a_broker_denies_is_said_once_a_minute() -> None:
    now = [0.0]
    quieter = Quieter(logging.INFO, lambda: now[0])

    def passes(error: Retry) -> bool:
        return quieter.filter(record("reading waits: %s", error, name="streams.worker"))

    assert [passes(Denied("not yours")), passes(Denied("not yours"))] == [True, False]
    assert passes(Denied("nor this"))
    assert [passes(Retry("for now")), passes(Retry("for now"))] == [True, True]
    now[0] = 60.0
    assert passes(Denied("not yours"))


def test_warnings_of_libraries_are_for_those_who_ask_for_debug(untouched: None) -> None:
    for level, lines in (("info", 0), ("debug", 1)):
        handler = Kept()
        set_up_logs(LogOptions(level=level), handler)
        logging.getLogger("aiokafka.consumer.group_coordinator").warning("rebalancing")
        assert len(handler.lines) == lines


def test_levels_hold_for_our_own_lines(untouched: None) -> None:
    handler = Kept()
    set_up_logs(LogOptions(level="warning"), handler)
    logging.getLogger("streams.worker").info("assigned")
    logging.getLogger("streams.worker").warning("halted")
    assert len(handler.lines) == 1


def test_an_exception_is_one_line_and_a_traceback_only_for_those_who_ask() -> None:
    line = TextLines("w", tracebacks=False).format(with_error("went wrong"))
    assert line.endswith("ERROR w went wrong: ValueError: bad luck")
    assert "Traceback" in TextLines("w", tracebacks=True).format(with_error("went wrong"))


def test_json_is_one_object_a_line_with_the_same_message() -> None:
    line = JsonLines("w", tracebacks=False).format(with_error("ging schief ü"))
    assert "\n" not in line
    fields = json.loads(line)
    assert fields.pop("time").endswith("Z")
    assert fields == {
        "level": "error",
        "writer": "w",
        "logger": "streams.x",
        "message": "ging schief ü: ValueError: bad luck",
    }
    assert "traceback" in JsonLines("w", tracebacks=True).format(with_error("x"))


def test_a_process_without_a_name_is_its_host_and_number() -> None:
    assert LogOptions().writer.endswith(f":{os.getpid()}")
    assert LogOptions(name="w7").writer == "w7"

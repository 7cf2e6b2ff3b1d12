"""Log lines for people and for machines: one line each, that says which process writes it.

What client libraries say comes through us. That a broker does not answer is a fact of the
dependency, said once; their other errors come once a minute each.
"""

import json
import logging
import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import Final, Literal

from streams.errors import Denied, Retry
from streams.runtime.dependencies import DEPENDENCIES, KAFKA, REPEAT_S
from streams.runtime.ports import Clock

Format = Literal["text", "json"]
LIBRARIES: Final = frozenset(("aiokafka", "faust", "mode", "redis", "kafka", "asyncio"))
_UNANSWERED: Final = (
    "Unable connect to",
    "Unable to request metadata",
    "Unable to update metadata",
    "Failed fetch messages",
    "Failed fetch offsets",
    "Error sending %s to node",
    "Group Coordinator Request failed",
    "FindCoordinator Request failed",
    "Marking the coordinator dead",
    "Heartbeat send request failed",
    "Heartbeat session expired",
    "Cannot send %r to",
    "Could not send %r",
    "Got error produce response: %s",
    "LeaveGroup request failed",
    "OffsetCommit failed before join",
    "Failed to commit on finallization",
)
"""How aiokafka's messages begin that mean: a broker does not answer."""


@dataclass(frozen=True)
class LogOptions:
    """How to log: the format, the least level, and a name in place of host and process id."""

    format: Format = "text"
    level: str = "info"
    name: str | None = None

    @property
    def writer(self) -> str:
        """Return what tells this process from others."""
        return self.name or f"{socket.gethostname()}:{os.getpid()}"


def set_up_logs(options: LogOptions, handler: logging.Handler | None = None) -> None:
    """Write this process's log lines to stderr, or to a handler, and nowhere else."""
    level = logging.getLevelNamesMapping()[options.level.upper()]
    handler = handler or logging.StreamHandler(sys.stderr)
    lines = TextLines if options.format == "text" else JsonLines
    handler.setFormatter(lines(options.writer, tracebacks=level <= logging.DEBUG))
    handler.addFilter(Quieter(level))
    logging.basicConfig(level=max(level, logging.ERROR), handlers=[handler], force=True)
    logging.getLogger("streams").setLevel(level)
    # Faust's own steps; what is said of the group is said by `streams.worker`, in its own words.
    logging.getLogger("streams.control.agents").setLevel(max(level, logging.WARNING))
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(min(level, logging.WARNING))


class Quieter(logging.Filter):
    """Lets a library's error pass once a minute, and none that a dependency's own line covers."""

    def __init__(self, level: int, clock: Clock = time.monotonic) -> None:
        super().__init__()
        self._level = level
        self._clock = clock
        self._passed: dict[tuple[str, str], float] = {}  # when a library last said such a thing

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record becomes a line."""
        if self._level <= logging.DEBUG:
            return True
        if record.name.partition(".")[0] not in LIBRARIES:
            return not _waits_for_what_is_gone(record) and self._is_news(record)
        if str(record.msg).startswith(_UNANSWERED):
            KAFKA.failed(record.getMessage())
            return False
        return record.levelno >= logging.ERROR and self._is_due((record.name, str(record.msg)))

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Let what a broker denies pass once a minute: it is asked for all the time."""
        denied = any(isinstance(each, Denied) for each in _arguments(record))
        return not denied or self._is_due((record.name, record.getMessage()))

    def _is_due(self, what: tuple[str, str]) -> bool:
        now = self._clock()
        if now - self._passed.get(what, -REPEAT_S) < REPEAT_S:
            return False
        self._passed[what] = now
        return True


class TextLines(logging.Formatter):
    """`2026-11-27 03:11:16,123 INFO host:4711 message`, a traceback only with `tracebacks`."""

    def __init__(self, writer: str, *, tracebacks: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(writer)s %(message)s")
        self.writer: Final = writer
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        record.writer = self.writer
        if self._tracebacks:
            return super().format(record)
        record.message = message_of(record)
        record.asctime = self.formatTime(record)
        return self.formatMessage(record)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, writer, logger, message, with `tracebacks` those too."""

    def __init__(self, writer: str, *, tracebacks: bool) -> None:
        super().__init__()
        self.writer: Final = writer
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "writer": self.writer,
            "logger": record.name,
            "message": message_of(record),
        }
        if self._tracebacks and record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def message_of(record: logging.LogRecord) -> str:
    """Return a record's message, and what its exception is, in one line."""
    text = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        text = f"{text}: {type(error).__name__}: {error}"
    return " ".join(text.splitlines())


def _waits_for_what_is_gone(record: logging.LogRecord) -> bool:
    """Tell whether one of ours only says that it waits, while a dependency is known to be gone."""
    waits = any(isinstance(argument, Retry) for argument in _arguments(record))
    return waits and any(dependency.gone for dependency in DEPENDENCIES)


def _arguments(record: logging.LogRecord) -> tuple[object, ...]:
    return record.args if isinstance(record.args, tuple) else ()

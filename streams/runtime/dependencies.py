"""Which of the servers that this process needs do not answer: said once, not by every caller.

One line when one is gone, one a minute while it stays gone, one when it is back, and how long it
was. A dependency is the same for the whole process, however many clients talk to it. It is watched
from the end of the start on: a start that fails has a line of its own.
"""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from streams.runtime.ports import Clock

QUIET_S: Final = 3.0
"""An answer means that a dependency is back once its last failure is so long ago."""
REPEAT_S: Final = 60.0
log: Final = logging.getLogger("streams.dependencies")


class Dependency:
    """A server, or a cluster of them, that is there or gone. Safe to use from any thread.

    `parts_away` names the nodes of a cluster that did not answer when they were last asked: it is
    back only when all of them are.
    """

    def __init__(self, name: str, clock: Clock = time.monotonic) -> None:
        self.name: Final = name
        self.watched = False
        self.parts_away: Final[set[str]] = set()
        self.observers: Final[
            list[Callable[[str, bool], None]]
        ] = []  # of name and whether it is up
        self._clock = clock
        self._lock = Lock()
        self._gone_since: float | None = None
        self._failed_at = self._line_at = 0.0

    @property
    def gone(self) -> bool:
        """Whether it failed and has not answered since."""
        return self._gone_since is not None

    def failed(self, why: str) -> None:
        """Take note that a call was not answered, and why, in words."""
        if not self.watched:
            return
        with self._lock:
            now = self._failed_at = self._clock()
            begins = self._gone_since is None
            if begins:
                self._gone_since = now
            elif now - self._line_at < REPEAT_S:
                return
            self._line_at = now
            gone_s = now - (self._gone_since or now)
        if begins:
            log.error("%s does not answer: %s; trying again", self.name, why)
            self._tell(up=False)
        else:
            log.error("%s has not answered for %.0f s: %s", self.name, gone_s, why)

    def answered(self) -> None:
        """Take note that a call was answered."""
        if self._gone_since is None or self.parts_away:
            return
        with self._lock:
            now = self._clock()
            if self._gone_since is None or now - self._failed_at < QUIET_S:
                return
            gone_s = now - self._gone_since
            self._gone_since = None
        log.warning("%s answers again, after %.0f s", self.name, gone_s)
        self._tell(up=True)

    def _tell(self, *, up: bool) -> None:
        for observer in self.observers:
            observer(self.name, up)


KAFKA: Final = Dependency("Kafka")
REDIS: Final = Dependency("Redis")
DEPENDENCIES: Final = (KAFKA, REDIS)

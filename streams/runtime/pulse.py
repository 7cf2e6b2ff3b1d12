"""Whether this process is stuck and whether it is ready: looked at by its loop, read by threads.

Twice a second the event loop asks each half of the process and leaves what it heard behind. Who
reads it needs no lock, and a loop that leaves nothing any more is an answer too.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Final, Literal, NamedTuple, Protocol

from streams.runtime.dependencies import DEPENDENCIES
from streams.runtime.ports import Clock

BEAT_S: Final = 0.5
LOOK_S: Final = 1.0
log: Final = logging.getLogger("streams.health")


class Vital(Protocol):
    """A half of the process, which says how it is; asked in the event loop, never waits."""

    def stuck(self) -> Sequence[str]:
        """Return why it gets on no more though nothing keeps it from it, one line a cause."""

    def unready(self) -> Sequence[str]:
        """Return why it does not do all of its work, one line a cause."""


class Heartbeat(NamedTuple):
    """What was heard at one beat."""

    stuck: Sequence[str]
    unready: Sequence[str]


class Pulse:
    """How this process stands; `stuck_s` is how long its loop may stand still, 0 for ever."""

    def __init__(self, stuck_s: float, clock: Clock = time.monotonic) -> None:
        self.vitals: Final[list[Vital]] = []
        self.phase: Literal["starting", "running", "stopping"] = "starting"
        self.beats = 0
        self._stuck_s: Final = stuck_s
        self._clock: Final = clock
        self._beat_at = clock()
        self._heard = Heartbeat((), ("starting",))

    async def beat(self) -> None:
        """Ask all halves again and again."""
        while True:
            self.listen()
            await asyncio.sleep(BEAT_S)

    def listen(self) -> None:
        """Ask all halves once."""
        gone = [f"{one.name} does not answer" for one in DEPENDENCIES if one.gone]
        stuck = [line for vital in self.vitals for line in vital.stuck()]
        unready = [line for vital in self.vitals for line in vital.unready()]
        if self.phase != "running":
            unready.insert(0, self.phase)
        self._heard = Heartbeat(stuck, [*gone, *unready])
        self._beat_at = self._clock()
        self.beats += 1

    def stuck(self) -> Sequence[str]:
        """Return why to end this process, [] if it is well: what a new one would be no better at.

        A halted partition and a Redis that is away are no reasons.
        """
        still_s = self._clock() - self._beat_at
        if self.beats and self._stuck_s and still_s > self._stuck_s / 2:
            return [f"the event loop has stood still for {still_s:.0f} s"]
        return self._heard.stuck

    def unready(self) -> Sequence[str]:
        """Return why this process does not do all of its work, [] if it does."""
        return [*self.stuck(), *self._heard.unready]


def watch_the_loop(
    pulse: Pulse, stuck_s: float, leave: Callable[[int], object] = os._exit
) -> Thread:
    """End this process when its event loop stands still for `stuck_s`; a loop cannot do it itself.

    Looks are counted, and not the time between them: whoever was stopped and goes on is not stuck.
    """
    thread = Thread(target=_watch, args=(pulse, stuck_s, leave), name="pulse", daemon=True)
    thread.start()
    return thread


def _watch(pulse: Pulse, stuck_s: float, leave: Callable[[int], object]) -> None:
    look_s = min(LOOK_S, stuck_s / 10)
    looks, beats = 0, pulse.beats
    while looks * look_s < stuck_s:
        time.sleep(look_s)
        moved = pulse.beats != beats or not beats
        looks, beats = 0 if moved else looks + 1, pulse.beats
    log.error("STUCK the event loop has stood still for %.0f s: this process ends", stuck_s)
    leave(1)

"""Several processes of one command, kept alive: one that ends is started anew, all stop together.

Each is a process of its own with its own name, whose lines on stderr are passed on, those that name
nobody under its name. Its stdin is open for as long as it is looked after: a crew that dies takes
nobody along by force, and leaves nobody behind.
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from streams.errors import Halt, Misconfigured
from streams.runtime.ports import Clock

PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before a process is started again, by how often it failed in a row."""
SOUND_S: Final = 60.0
"""Who ran for so long has not failed in a row."""
START_S: Final = 60.0
"""So long a process may take until it answers."""
STOP_S: Final = 30.0
"""Longest time that a process may take to stop in order."""
USAGE: Final = 2
"""Exit code of a process that no new start can mend."""
LINE_BYTES: Final = 1 << 20
log: Final = logging.getLogger("streams.crew")


class Recruit(NamedTuple):
    """A process to be: its name, how it is started, and the socket that it answers at."""

    name: str
    command: Sequence[str]
    listening: socket.socket


class Hand:
    """One place in the crew, whoever fills it at the moment."""

    def __init__(self, recruit: Recruit) -> None:
        self.recruit: Final = recruit
        self.process: asyncio.subprocess.Process | None = None
        self.began_at = 0.0
        self.starts = 0
        self.failures = 0  # in a row
        self.code = 0  # that the last one ended with

    @property
    def name(self) -> str:
        """What its lines and its series are told by."""
        return self.recruit.name

    @property
    def failed(self) -> bool:
        """Whether the last one ended in no good order; SIGTERM ends one that had not begun yet."""
        return self.code not in (0, -signal.SIGTERM)

    @property
    def alive(self) -> bool:
        """Whether a process fills the place."""
        return self.process is not None and self.process.returncode is None


class Crew:
    """Keeps one process alive for each recruit, until it is told to stop.

    `say` writes a line to people.
    """

    def __init__(
        self,
        recruits: Sequence[Recruit],
        say: Callable[[str], object],
        clock: Clock = time.monotonic,
    ) -> None:
        self.hands: Final = [Hand(recruit) for recruit in recruits]
        self._say: Final = say
        self._clock: Final = clock
        self._stopping: Final = asyncio.Event()

    async def run(self) -> None:
        """Keep all alive until a signal is passed on; return when all have ended.

        `Halt` if one cannot be started at all, or did not end in good order.
        """
        keeping = [asyncio.create_task(self._keep(hand), name=hand.name) for hand in self.hands]
        try:
            await asyncio.gather(*keeping)
        finally:
            self.pass_on(signal.SIGTERM)
            await asyncio.wait(keeping)
        failed = [f"{hand.name} ended with {hand.code}" for hand in self.hands if hand.failed]
        if failed:
            raise Halt("; ".join(failed), code="crew")

    def pass_on(self, number: int) -> None:
        """Send a signal that asks for an end to every process; nobody is started any more."""
        self._stopping.set()
        for hand in self.hands:
            self._send(hand, number)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    def is_starting(self, hand: Hand) -> bool:
        """Tell whether a process is so young that it need not answer yet."""
        return self._clock() - hand.began_at < START_S

    async def _keep(self, hand: Hand) -> None:
        """Fill a place again and again."""
        while not self.stopping:
            hand.began_at = self._clock()
            hand.code = await self._live(hand)
            if self.stopping:
                return
            if hand.code == USAGE:
                raise Misconfigured(f"{hand.name} cannot be started")
            sound = not hand.code or self._clock() - hand.began_at >= SOUND_S
            hand.failures = 0 if sound else hand.failures + 1
            pause = PAUSES_S[min(hand.failures, len(PAUSES_S) - 1)]
            log.error("%s ended with %d; started again in %g s", hand.name, hand.code, pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _live(self, hand: Hand) -> int:
        """Start a process and return what it ended with."""
        hand.process = process = await asyncio.create_subprocess_exec(
            *hand.recruit.command,
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(hand.recruit.listening.fileno(),),
            start_new_session=True,  # a terminal's Ctrl-C comes through here, once
            limit=LINE_BYTES,
        )
        hand.starts += 1
        if self.stopping:  # told while it was being started
            self._send(hand, signal.SIGTERM)
        telling = asyncio.create_task(self._tell(hand, process))
        ending = asyncio.create_task(self._end(hand))
        try:
            return await process.wait()
        finally:
            ending.cancel()
            await asyncio.wait([telling])

    async def _tell(self, hand: Hand, process: asyncio.subprocess.Process) -> None:
        """Pass on what a process says."""
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # longer than any line of ours
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip("\n")
            self._say(text.replace("streams: ", f"streams {hand.name}: ", 1))

    async def _end(self, hand: Hand) -> None:
        """Kill a process that does not stop in time."""
        await self._stopping.wait()
        await asyncio.sleep(STOP_S)
        log.error("%s does not stop within %g s: killed", hand.name, STOP_S)
        self._send(hand, signal.SIGKILL)

    def _send(self, hand: Hand, number: int) -> None:
        if hand.alive:
            assert hand.process is not None
            with suppress(ProcessLookupError):
                hand.process.send_signal(number)

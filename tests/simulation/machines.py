"""Processes that die, freeze and are slow, and the wires between them and everything else.

A process reaches the world by calls alone. Each call takes time there and time back, and what it
does is done at one instant between: whoever dies meanwhile has done it or has not, and never
hears. So a death at any await is a death before or after the effect of some call.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final
from zlib import crc32

from simulation.loop import VirtualLoop, outside

from streams.errors import Retry, StreamsError

HERE: Final[ContextVar["Machine | None"]] = ContextVar("machine", default=None)
PATIENCE_S: Final = 0.8
"""A caller waits so long for a reply that does not come."""


@dataclass
class Net:
    """What calls meet on their way: their times, what is away, whose replies are lost.

    What is drawn for a call depends on the seed and the call alone: calls of one instant are made
    in an order that Python's hashes have a part in. `trace` is a checksum of every call so far, and
    when it was made.
    """

    loop: VirtualLoop
    seed: int
    away: set[str] = field(default_factory=set)  # kinds of ports that refuse every call
    deaf: dict[str, int] = field(default_factory=dict)  # replies still to lose, by kind of port
    # what befalls whoever writes somewhere next
    traps: dict[str, Callable[["Machine"], None]] = field(default_factory=dict)
    trace: int = 0
    _drawn: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def note(self, *what: object) -> None:
        """Take something that happened into the trace."""
        text = f"{self.loop.now:.6f} {what}"
        self.trace = crc32(text.encode(), self.trace)

    def draw(self, what: str) -> int:
        """Return 32 bits of chance: others each time, the same for all lives of the seed."""
        count = self._drawn[what] = self._drawn[what] + 1
        return crc32(f"{what} {count}".encode(), self.seed) * 0x9E3779B1 >> 7 & 0xFFFFFFFF

    def refuses(self, kind: str) -> bool:
        """Tell whether a call is refused: it has no effect."""
        return kind in self.away

    def loses_reply(self, kind: str) -> bool:
        """Tell whether a call's reply is lost: it has had its effect."""
        left = self.deaf.get(kind, 0)
        if left:
            self.deaf[kind] = left - 1
        return left > 0


def now(made: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns that waits for nothing."""
    try:
        made.send(None)
    except StopIteration as end:
        return end.value
    made.close()
    raise AssertionError(f"{made} waits inside of a twin")


class Machine:
    """One process from its start to its end; its tasks are those made in its context."""

    def __init__(self, net: Net, name: str) -> None:
        self.name: Final = name
        self.net: Final = net
        self.dead = False
        self.pace_s = 0.002  # the longest way of one call there, and the longest back
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in the order in which they were made
        self.random: Final = Random(f"{net.seed} {name}")
        self.ended: Callable[[], None] = lambda: None  # called once, when it died
        self._steps_left: int | None = None
        self._awake = asyncio.Event()
        self._awake.set()
        self._context: Final = Context()
        self._context.run(HERE.set, self)

    # ------------------------------------------------------------------ tasks

    def spawn(self, work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """Begin some work as this process."""
        return self.net.loop.create_task(work, name=name or self.name, context=self._context)

    async def work_here(
        self, work: Callable[[], Coroutine[Any, Any, Any]], timeout_s: float
    ) -> bool:
        """Have this process do something that others wait for; False if it does not in time."""

        async def when_awake() -> None:
            await self.awake()
            await work()

        task = self.spawn(when_awake())
        done, _ = await asyncio.wait([task], timeout=timeout_s)
        if not done:
            task.cancel()
            return False
        return not task.cancelled() and task.exception() is None

    # ------------------------------------------------------------------ what befalls it

    def freeze(self) -> None:
        """Stop it as SIGSTOP does: it makes no call, and hears of none."""
        self._awake.clear()

    def thaw(self) -> None:
        """Let it go on as if nothing had been."""
        self._awake.set()

    def dies_in(self, steps: int) -> None:
        """Have it die at a step: there is one before each effect of a call, and one behind it."""
        self._steps_left = steps

    def kill(self) -> None:
        """End it as SIGKILL does."""
        if not self.dead:
            self.dead = True
            self.net.note(self.name, "dies")
            outside(self.net.loop, 0.0, self._begin_burial)

    def _begin_burial(self) -> None:
        self.net.loop.create_task(self._bury())

    async def _bury(self) -> None:
        while left := [task for task in self.tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.sleep(0)
        self.ended()

    # ------------------------------------------------------------------ calls

    def about_to(self, where: str) -> None:
        """Let befall it what befalls whoever writes there next."""
        if (trap := self.net.traps.pop(where, None)) is not None:
            trap(self)

    async def awake(self) -> None:
        """Return unless it is dead, and not while it is frozen."""
        while not self._awake.is_set() and not self.dead:
            await self._awake.wait()
        if self.dead:
            await asyncio.get_running_loop().create_future()

    def step(self) -> None:
        """Take one step towards its death, if one is ordained."""
        if self._steps_left is not None:
            self._steps_left -= 1
            if self._steps_left <= 0:
                self._steps_left = None
                self.kill()

    def way_s(self, what: str) -> float:
        """Return how long something is on its way."""
        return self.net.draw(f"{self.name} {what}") * self.pace_s / (1 << 32)

    async def call(
        self, kind: str, method: Callable[..., Coroutine[Any, Any, Any]], *given: Any, **more: Any
    ) -> Any:
        """Make a call and return its reply."""
        if self.net.traps and method.__name__ == "put":
            self.about_to("dossiers")
        await self.awake()
        reply = self.net.loop.create_future()
        made = partial(method, *given, **more)
        what = f"{method.__name__} {given[0] if given and isinstance(given[0], str | int) else ''}"
        arriving = partial(self._arrive, (kind, what), made, reply)
        outside(self.net.loop, self.way_s(what), arriving)
        answer = await reply
        await self.awake()
        return answer

    def _arrive(
        self,
        which: tuple[str, str],
        made: Callable[[], Coroutine[Any, Any, Any]],
        reply: asyncio.Future[Any],
    ) -> None:
        """Do what a call asks for, whether or not its caller still lives; then reply."""
        net, (kind, what) = self.net, which
        self.step()
        if self.dead and net.draw(what) & 1:  # it never left
            return
        error: StreamsError | None = None
        answer, wait_s = None, self.way_s(what)
        if net.refuses(kind):
            error, wait_s = Retry(f"{kind} is away"), wait_s + PATIENCE_S / 4
        else:
            try:
                answer = now(made())
            except StreamsError as raised:
                error = raised
            net.note(self.name, kind, what, type(error).__name__)
            self.step()
            if net.loses_reply(kind):
                error, wait_s = Retry(f"{kind} does not answer"), PATIENCE_S
        outside(net.loop, wait_s, partial(reply_to, reply, answer, error))


def reply_to(reply: asyncio.Future[Any], answer: Any, error: Exception | None) -> None:
    """Give a caller who still waits its answer, or an error."""
    if reply.done():
        return
    if error is None:
        reply.set_result(answer)
    else:
        reply.set_exception(error)


class Wire:
    """A port as one process reaches it: each of its methods is a call."""

    def __init__(self, machine: Machine, kind: str, port: Any, *streams: str) -> None:
        self._machine = machine
        self._kind = kind
        self._port = port
        self._streams = streams

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name in self._streams:
            return partial(self._stream, method)
        return partial(self._machine.call, self._kind, method)

    async def _stream(self, method: Callable[..., AsyncIterator[Any]], *given: Any) -> Any:
        """Yield what a port yields; all of it is of one instant."""

        async def all_of_it() -> list[Any]:
            return [each async for each in method(*given)]

        for each in await self._machine.call(self._kind, all_of_it):
            yield each


def tasks_by_machine(
    loop: asyncio.AbstractEventLoop, work: Any, **more: Any
) -> "asyncio.Task[Any]":
    """Make a task, known to the process in whose context it is made."""
    task = asyncio.Task(work, loop=loop, **more)
    context: Context | None = more.get("context")
    machine = HERE.get() if context is None else context.get(HERE)
    if machine is not None:
        machine.tasks[task] = None
        task.add_done_callback(machine.tasks.pop)
    return task
